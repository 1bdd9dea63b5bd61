"""What an organization has switched on, in Pulumi Cloud's words.

The names are those of `OrganizationMetadata` and `OrganizationFeatures` in the published schema.
"""

from __future__ import annotations

from typing import Any

from litestar import get

from control_plane.api.deployment_wire import rfc3339
from control_plane.domain.principal import Principal
from control_plane.services import organizations
from control_plane.services.world import World

HERE = ("dependencyCachingEnabled", "deployEnabled", "selfHostedDeploymentsEnabled")
NOT_HERE = (
    "agentIntegrationCatalogEnabled",
    "agentPoolRegistrationEnabled",
    "agentScheduledTasksEnabled",
    "agentTriggeredTasksEnabled",
    "aiAgentsEnabled",
    "aiAgentsReadOnly",
    "aleEnabled",
    "approvalsEnabled",
    "auditLogUIFilteringEnabled",
    "auditLogsEnabled",
    "bitbucketVCSEnabled",
    "bringYourOwnKeyEnabled",
    "cliIntegrationCatalogEnabled",
    "crossGuardEnabled",
    "customRoleCondition",
    "customRolesEnabled",
    "customTemplatesEnabled",
    "customVCSEnabled",
    "discoveredStacksEnabled",
    "driftDetectionEnabled",
    "entityUserAssignmentsEnabled",
    "environmentRevisionTagsEnabled",
    "environmentSecretRotationEnabled",
    "environmentsEnabled",
    "environmentsRestoreEnabled",
    "escEditorRevampEnabled",
    "escOnboardingAzureOAuthClientEnabled",
    "escOnboardingEnabled",
    "escOnboardingGcpOAuthClientEnabled",
    "escOnboardingV2Enabled",
    "fixDriftWithNeoEnabled",
    "ghAppDetailedDiffEnabled",
    "gitHubEnterpriseCloudDataResidencyEnabled",
    "gitHubEnterpriseIntegrationEnabled",
    "iacCloudImportEnabled",
    "insightsAutoPolicyPacksEnabled",
    "insightsMonetizationEnabled",
    "integrationAssistantEnabled",
    "legacyDeploymentsOrgToken",
    "neoByokEnabled",
    "neoCustomAgentsEnabled",
    "neoCustomRolesEnabled",
    "neoPlanModeEnabled",
    "neoSecurityEnabled",
    "neoTaskSharingEnabled",
    "nlpSearchEnabled",
    "pangeaAccountsScanPageEnabled",
    "policyExceptionsEnabled",
    "policyIssueManagementEnabled",
    "policyManagementV2Enabled",
    "propertySearchUIEnabled",
    "resourceExportEnabled",
    "resourceSearchEnabled",
    "restoreStacksEnabled",
    "scimEnabled",
    "selfServeIDPRemoval",
    "serviceBackedConfigEnabled",
    "staticDefaultRolesEnabled",
    "themingEnabled",
    "webhooksEnabled",
)
FEATURES = dict.fromkeys(HERE, True) | dict.fromkeys(NOT_HERE, False)
ADMINISTERS = 103
"""A stack permission: here every member may do everything with every stack."""


@get("/api/orgs/{organization:str}/metadata")
async def organization_metadata(
    world: World, principal: Principal, organization: str
) -> dict[str, Any]:
    """An organization's figures and features. What Slipway has not is counted 0 and off."""
    found = await organizations.figures(world, principal, organization)
    row = found.organization
    return {
        "id": row.id,
        "kind": "single-user" if row.personal else "pulumi",
        "created": rfc3339(row.created_at),
        "userRole": "admin" if row.login in principal.admin_of else "member",
        "memberCount": found.members,
        "stackCount": found.stacks,
        "accountCount": 0,
        "environmentCount": 0,
        "defaultStackPermission": ADMINISTERS,
        "defaultAccountPermission": 0,
        "defaultEnvironmentPermission": "none",
        "membersCanCreateStacks": True,
        "membersCanDeleteStacks": True,
        "membersCanTransferStacks": False,
        "membersCanCreateTeams": False,
        "membersCanCreateAccounts": False,
        "features": FEATURES,
        "auditLogsEnabled": False,
        "webhooksEnabled": False,
        "aiEnablement": "disabled",
        "insightsTrialUsingPolicy": False,
        "naturalLanguageSearchDisabled": True,
        "neoAgentDisabled": True,
        "neoApprovalMode": "manual",
        "neoCLIExplanationsDisabled": True,
        "neoEnabled": False,
        "neoTaskSharingMode": "none",
        "preferredVCS": "none",
    }


ROUTES: list[Any] = [organization_metadata]

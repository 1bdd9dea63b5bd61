"""The fields of the deployment settings' form: all that the settings have, in people's order."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field of the form: where its value is in the settings, and how it is asked for."""

    path: str
    label: str
    kind: str = "text"
    """text, flag, number, lines (a list, one per line) or secret."""
    hint: str = ""

    @property
    def id(self) -> str:
        """Its name in the page."""
        return self.path.replace(".", "-")


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that belong together; one that is seldom needed is folded."""

    title: str
    fields: Sequence[Field]
    folded: bool = False
    note: str = ""


_GIT = "sourceContext.git"
_HG = "sourceContext.hg"
_TEMPLATE = "sourceContext.template"
_CONTEXT = "operationContext"
_OPTIONS = f"{_CONTEXT}.options"
_OIDC = f"{_CONTEXT}.oidc"
_EXECUTOR = "executorContext"
_IMAGE = f"{_EXECUTOR}.executorImage"


def _credentials(path: str) -> list[Field]:
    return [
        Field(path=f"{path}.accessToken", label="Access token", kind="secret"),
        Field(path=f"{path}.basicAuth.userName", label="User name", kind="secret"),
        Field(path=f"{path}.basicAuth.password", label="Password", kind="secret"),
        Field(path=f"{path}.sshAuth.sshPrivateKey", label="SSH private key", kind="secret"),
        Field(path=f"{path}.sshAuth.password", label="Its passphrase", kind="secret"),
    ]


def _pushes(path: str) -> list[Field]:
    return [
        Field(path=f"{path}.repository", label="Repository", hint="Its owner and name"),
        Field(path=f"{path}.deployCommits", label="Deploy pushed commits", kind="flag"),
        Field(path=f"{path}.previewPullRequests", label="Preview pull requests", kind="flag"),
        Field(path=f"{path}.pullRequestTemplate", label="Review stacks from this", kind="flag"),
        Field(path=f"{path}.deployPullRequest", label="Deploy this pull request", kind="number"),
        Field(path=f"{path}.paths", label="Only for changes in", kind="lines", hint="One a line"),
        Field(path=f"{path}.reviewStackLabels", label="Review stacks for labels", kind="lines"),
        Field(path=f"{path}.deployTags", label="Deploy pushed tags", kind="flag"),
        Field(path=f"{path}.tagFilters", label="Only for tags", kind="lines"),
    ]


GROUPS: Sequence[Group] = (
    Group(
        title="Source",
        fields=(
            Field(path=f"{_GIT}.repoUrl", label="Git repository", hint="Over HTTPS or SSH"),
            Field(path=f"{_GIT}.branch", label="Branch"),
            Field(path=f"{_GIT}.commit", label="Commit", hint="In place of a branch"),
            Field(path=f"{_GIT}.tag", label="Tag", hint="In place of a branch"),
            Field(path=f"{_GIT}.repoDir", label="Directory", hint="Where Pulumi.yaml is"),
        ),
    ),
    Group(
        title="Credentials of the repository",
        folded=True,
        note="They are sealed to the runner when they arrive here, and never shown again.",
        fields=_credentials(f"{_GIT}.gitAuth"),
    ),
    Group(
        title="What runs",
        fields=(
            Field(
                path=f"{_CONTEXT}.preRunCommands",
                label="Commands before the operation",
                kind="lines",
                hint="One a line",
            ),
            Field(path=f"{_OPTIONS}.shell", label="Shell", hint="For the commands"),
            Field(
                path=f"{_OPTIONS}.skipInstallDependencies",
                label="Do not install dependencies",
                kind="flag",
            ),
            Field(
                path=f"{_OPTIONS}.skipIntermediateDeployments",
                label="Of several waiting, deploy only the newest",
                kind="flag",
            ),
            Field(
                path=f"{_OPTIONS}.refresh",
                label="Refresh before each update, preview and destroy",
                kind="flag",
            ),
            Field(
                path=f"{_OPTIONS}.deleteAfterDestroy",
                label="Remove the stack once it is destroyed",
                kind="flag",
            ),
            Field(
                path=f"{_OPTIONS}.remediateIfDriftDetected",
                label="Repair drift when it is found",
                kind="flag",
            ),
        ),
    ),
    Group(
        title="Narrower than the stack",
        folded=True,
        note="These hold for every deployment. For one alone, give them where it is started.",
        fields=(
            Field(
                path=f"{_OPTIONS}.targets", label="Targets", kind="lines", hint="URNs, one a line"
            ),
            Field(
                path=f"{_OPTIONS}.targetDependents",
                label="And what depends on them",
                kind="flag",
            ),
            Field(
                path=f"{_OPTIONS}.message",
                label="Message",
                hint="In the history; empty: the commit's first line",
            ),
        ),
    ),
    Group(
        title="Runner",
        folded=True,
        fields=(
            Field(path="agentPoolID", label="Runner pool", hint="Its id; empty: the default pool"),
            Field(path=f"{_EXECUTOR}.workingDirectory", label="Working directory"),
            Field(path=f"{_EXECUTOR}.executorRootPath", label="Root path"),
            Field(
                path=f"{_IMAGE}.reference",
                label="Image",
                hint="Only Pulumi's own run: pulumi/pulumi. Others are kept, and refused when"
                " deployed.",
            ),
            Field(path=f"{_IMAGE}.isDefault", label="It is the default image", kind="flag"),
            Field(path=f"{_IMAGE}.credentials.username", label="Registry's user name"),
            Field(
                path=f"{_IMAGE}.credentials.password", label="Registry's password", kind="secret"
            ),
            Field(path="cacheOptions.enable", label="Cache dependencies", kind="flag"),
        ),
    ),
    Group(
        title="OpenID Connect",
        folded=True,
        fields=(
            Field(path=f"{_OIDC}.aws.roleArn", label="AWS role"),
            Field(path=f"{_OIDC}.aws.sessionName", label="AWS session name"),
            Field(path=f"{_OIDC}.aws.duration", label="AWS duration"),
            Field(path=f"{_OIDC}.aws.policyArns", label="AWS policies", kind="lines"),
            Field(path=f"{_OIDC}.azure.clientId", label="Azure client"),
            Field(path=f"{_OIDC}.azure.tenantId", label="Azure tenant"),
            Field(path=f"{_OIDC}.azure.subscriptionId", label="Azure subscription"),
            Field(path=f"{_OIDC}.gcp.projectId", label="Google project"),
            Field(path=f"{_OIDC}.gcp.workloadPoolId", label="Google workload pool"),
            Field(path=f"{_OIDC}.gcp.providerId", label="Google provider"),
            Field(path=f"{_OIDC}.gcp.serviceAccount", label="Google service account"),
            Field(path=f"{_OIDC}.gcp.region", label="Google region"),
            Field(path=f"{_OIDC}.gcp.tokenLifetime", label="Google token's lifetime"),
        ),
    ),
    Group(
        title="Push to deploy",
        folded=True,
        note="A push to the branch deploys the stack; a pull request to it is previewed.",
        fields=[
            *_pushes("gitHub"),
            Field(path="gitHub.installationId", label="Installation", kind="number"),
        ],
    ),
    Group(
        title="Kept for other servers",
        folded=True,
        note="Fields that Pulumi Cloud has and runners here do not use; they stay as they are.",
        fields=[
            Field(path="tag", label="Tag"),
            Field(path=f"{_CONTEXT}.operation", label="Operation"),
            Field(path=f"{_CONTEXT}.role.id", label="Role's id"),
            Field(path=f"{_CONTEXT}.role.name", label="Role's name"),
            Field(path=f"{_CONTEXT}.role.defaultIdentifier", label="Role's default identifier"),
            Field(path="vcs.provider", label="Another host of repositories"),
            *_pushes("vcs"),
            Field(path=f"{_HG}.repoUrl", label="Mercurial repository"),
            Field(path=f"{_HG}.branch", label="Mercurial branch"),
            Field(path=f"{_HG}.revision", label="Mercurial revision"),
            Field(path=f"{_HG}.repoDir", label="Mercurial directory"),
            *_credentials(f"{_HG}.hgAuth"),
            Field(path=f"{_TEMPLATE}.sourceUrl", label="Template"),
            Field(path=f"{_TEMPLATE}.projectSourceUrl", label="Template's project"),
            *_credentials(f"{_TEMPLATE}.gitAuth"),
        ],
    ),
)
FIELDS: Sequence[Field] = [field for group in GROUPS for field in group.fields]
VARIABLES = f"{_CONTEXT}.environmentVariables"
"""Where the environment variables are, which are rows of the form and no field."""

"""Where our answers differ from the Cloud REST SDK's models, on purpose; each with its reason.

A key is the end of a difference, as the recorder writes them: with the operation in it where it
stands for one answer, without where it stands for a model wherever that is answered.
"""

from __future__ import annotations

from tests.support.recorder import Answer

MORE = "Slipway tells more than Pulumi Cloud does, and clients pass over what they do not know"
CLI_MODEL = "the CLI's own type has it; the published one only in lists"
NO_CLIENT = "not a part of Pulumi Cloud's API: Slipway's own"
OLD_CLIENT = "CLIs up to 3.113.0 call it; the schema has the address that came after it"

FIELDS: dict[str, dict[str, str]] = {
    "AppUpdateInfo": dict.fromkeys(["deploymentID"], MORE),
    "DeploymentNestedUpdate": dict.fromkeys(["resourceChanges"], MORE),
    "EngineEvent": {"sequence": "the CLI's own type has it, and readers may want to tell gaps"},
    "GetDeploymentResponse": {
        **dict.fromkeys(
            ["agentPool", "inheritSettings", "paused", "projectName", "stackName", "updates"],
            CLI_MODEL,
        ),
        **dict.fromkeys(
            [
                "cancelRequested",
                "commit",
                "consoleUrl",
                "ended",
                "exitCode",
                "log",
                "message",
                "needsRecoverySince",
                "organizationName",
                "queue",
                "reason",
                "started",
                "trigger",
            ],
            MORE,
        ),
    },
    "ListDeploymentSnapshot": dict.fromkeys(
        [
            "cancelRequested",
            "commit",
            "consoleUrl",
            "ended",
            "exitCode",
            "log",
            "message",
            "organizationName",
            "queue",
            "reason",
            "started",
            "trigger",
        ],
        MORE,
    ),
    "OrgDeploymentsMetadataResponse": dict.fromkeys(["note", "pausedBy", "pausedStacks"], MORE),
    "Organization": dict.fromkeys(["concurrency", "personal"], MORE),
    "StackDeploymentsMetadataResponse": dict.fromkeys(["note", "pausedBy"], MORE),
    "StepRun": dict.fromkeys(["message"], MORE),
}
"""Fields of ours that a model does not have."""

KNOWN: dict[str, str] = {
    **{
        f".{field}: unknown to {model}": reason
        for model, fields in FIELDS.items()
        for field, reason in fields.items()
    },
    **dict.fromkeys(
        [
            "GET /health/ready is not in the schema",
            "GET /health/live is not in the schema",
            "/health/ready 503: no code",
            "GET /api/stacks/…/deployments/…/log is not in the schema",
            "GET /api/orgs/…/deployments/queue is not in the schema",
        ],
        NO_CLIENT,
    ),
}
"""True of every answer."""

KNOWN_TO_CLI: dict[str, str] = {
    "/integrations/github-app is not in the schema": "the CLI's own list of endpoints has it",
    "/events .continuationToken: null": "the CLI goes on at an empty one, and ends at null",
    "/events .events[].type: missing": "the CLI's own type has none",
    ".metadata.old: null": "engines write null, and the CLI gets back what it sent",
    ".metadata.new: null": "engines write null, and the CLI gets back what it sent",
    ".metadata.detailedDiff: null": "to the CLI null is not the same as an empty difference",
    ".environmentVariables{}: str where a SecretValue belongs": "the CLI takes objects for secrets",
    ".secret: missing": "the CLI reads a secret's ciphertext alone; it is never shown",
    ".executorImage: str where a DockerImage belongs": "the form in which CLIs write an image",
}
"""True only of answers to clients that ask in the CLI's words (`application/vnd.pulumi+N`)."""


def explained(difference: str, answer: Answer) -> bool:
    """Whether a difference is listed here."""
    known = [*KNOWN, *(KNOWN_TO_CLI if answer.to_cli else ())]
    return any(difference.endswith(each) for each in known)

"""Which fields deployment settings are known to have, and what each may hold.

One tree, `SETTINGS`, says which fields there are, which of them are secrets, and under which name
a secret is sealed. Fields it does not name are kept as they come, unless a secret is in them.
Source: `DeploymentSettings` of
the Pulumi CLI and of the Pulumi Cloud API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Text:
    """A string."""


@dataclass(frozen=True)
class Address:
    """A URL without credentials in it."""


@dataclass(frozen=True)
class Flag:
    """A boolean; the texts `true` and `false` are taken too, as documentation samples send them."""


@dataclass(frozen=True)
class Number:
    """A whole number."""


@dataclass(frozen=True)
class Texts:
    """A list of strings; it is always replaced as a whole."""


@dataclass(frozen=True)
class Secret:
    """A value that may be sealed; it is replaced as a whole."""

    name: str
    """What it is sealed as."""
    always: bool = True
    """Whether a bare string means a secret too."""


@dataclass(frozen=True)
class Variables:
    """Environment variables by name."""

    def each(self, name: str) -> Secret:
        """The rule of one variable."""
        return Secret(f"env/{name}", always=False)


@dataclass(frozen=True)
class Fields:
    """An object with known fields."""

    known: Mapping[str, Rule]
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other spellings on the wire."""
    only_text: str = ""
    """The field that a bare string in the object's place stands for."""
    closed: bool = False
    """Whether there may be no other fields: among credentials, a misspelled one is a secret."""


Rule = Text | Address | Flag | Number | Texts | Secret | Variables | Fields

_AUTH = Fields(
    {
        "accessToken": Secret("git/accessToken"),
        "sshAuth": Fields(
            {
                "sshPrivateKey": Secret("git/sshPrivateKey"),
                "password": Secret("git/sshPassphrase"),
            },
            closed=True,
        ),
        "basicAuth": Fields(
            {"userName": Secret("git/userName"), "password": Secret("git/password")}, closed=True
        ),
    },
    closed=True,
)
"""Credentials of a source. A deployment has one source, so all kinds share the names."""

_URL = {"repoURL": "repoUrl"}

_SOURCE = Fields(
    {
        "git": Fields(
            {
                "repoUrl": Address(),
                "branch": Text(),
                "commit": Text(),
                "tag": Text(),
                "repoDir": Text(),
                "gitAuth": _AUTH,
            },
            aliases=_URL,
        ),
        "hg": Fields(
            {
                "repoUrl": Address(),
                "branch": Text(),
                "revision": Text(),
                "repoDir": Text(),
                "hgAuth": _AUTH,
            },
            aliases=_URL,
        ),
        "template": Fields(
            {"sourceUrl": Address(), "projectSourceUrl": Address(), "gitAuth": _AUTH}
        ),
    }
)

_TRIGGERS: dict[str, Rule] = {
    "repository": Text(),
    "deployCommits": Flag(),
    "previewPullRequests": Flag(),
    "pullRequestTemplate": Flag(),
    "deployPullRequest": Number(),
    "paths": Texts(),
    "reviewStackLabels": Texts(),
    "deployTags": Flag(),
    "tagFilters": Texts(),
}

_OIDC = Fields(
    {
        "aws": Fields(
            {"roleArn": Text(), "sessionName": Text(), "duration": Text(), "policyArns": Texts()}
        ),
        "azure": Fields({"clientId": Text(), "tenantId": Text(), "subscriptionId": Text()}),
        "gcp": Fields(
            {
                "projectId": Text(),
                "region": Text(),
                "workloadPoolId": Text(),
                "providerId": Text(),
                "serviceAccount": Text(),
                "tokenLifetime": Text(),
            }
        ),
    }
)

_OPERATION = Fields(
    {
        "oidc": _OIDC,
        "preRunCommands": Texts(),
        "operation": Text(),
        "environmentVariables": Variables(),
        "options": Fields(
            {
                "skipInstallDependencies": Flag(),
                "skipIntermediateDeployments": Flag(),
                "shell": Text(),
                "deleteAfterDestroy": Flag(),
                "remediateIfDriftDetected": Flag(),
                # What Pulumi Cloud does not have: options of the CLI for the operation.
                "targets": Texts(),
                "targetDependents": Flag(),
                "refresh": Flag(),
                "message": Text(),
            }
        ),
        "role": Fields({"id": Text(), "name": Text(), "defaultIdentifier": Text()}),
    }
)

_EXECUTOR = Fields(
    {
        "workingDirectory": Text(),
        "executorRootPath": Text(),
        "executorImage": Fields(
            {
                "reference": Text(),
                "isDefault": Flag(),
                "credentials": Fields(
                    {"username": Text(), "password": Secret("image/password")}, closed=True
                ),
            },
            only_text="reference",
        ),
    }
)

SETTINGS = Fields(
    {
        "tag": Text(),
        "agentPoolID": Text(),
        "executorContext": _EXECUTOR,
        "sourceContext": _SOURCE,
        "gitHub": Fields(_TRIGGERS | {"installationId": Number()}),
        "vcs": Fields(_TRIGGERS | {"provider": Text()}),
        "operationContext": _OPERATION,
        "cacheOptions": Fields({"enable": Flag()}),
    },
    aliases={"agentPoolId": "agentPoolID"},
)
"""The whole of a stack's deployment settings."""

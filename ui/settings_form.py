"""Deployment settings as a form, and a sent form as a patch of the settings. Pure.

A secret is never in the form: its field is empty, and left empty it stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

Settings = dict[str, Any]

SPARE_ROWS = 3
"""Empty rows for more environment variables, on a page without a script."""


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field of the form: where its value is in the settings, and how it is asked for."""

    path: str
    label: str
    kind: str = "text"
    """text, flag, lines (a list, one per line) or secret."""
    hint: str = ""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that belong together; one that is seldom needed is folded."""

    title: str
    fields: Sequence[Field]
    folded: bool = False


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """An environment variable as a row of the form."""

    name: str = ""
    value: str = ""
    secret: bool = False


_GIT = "sourceContext.git"
_AUTH = f"{_GIT}.gitAuth"
_CONTEXT = "operationContext"
_OPTIONS = f"{_CONTEXT}.options"
_OIDC = f"{_CONTEXT}.oidc"

GROUPS: Sequence[Group] = (
    Group(
        title="Source",
        fields=(
            Field(path=f"{_GIT}.repoUrl", label="Git repository"),
            Field(path=f"{_GIT}.branch", label="Branch"),
            Field(path=f"{_GIT}.commit", label="Commit", hint="In place of a branch"),
            Field(path=f"{_GIT}.tag", label="Tag", hint="In place of a branch"),
            Field(path=f"{_GIT}.repoDir", label="Directory", hint="Of the project"),
        ),
    ),
    Group(
        title="Credentials of the repository",
        folded=True,
        fields=(
            Field(path=f"{_AUTH}.accessToken", label="Access token", kind="secret"),
            Field(path=f"{_AUTH}.basicAuth.userName", label="User name", kind="secret"),
            Field(path=f"{_AUTH}.basicAuth.password", label="Password", kind="secret"),
            Field(path=f"{_AUTH}.sshAuth.sshPrivateKey", label="SSH private key", kind="secret"),
            Field(path=f"{_AUTH}.sshAuth.password", label="Its passphrase", kind="secret"),
        ),
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
                path=f"{_OPTIONS}.deleteAfterDestroy",
                label="Remove the stack once it is destroyed",
                kind="flag",
            ),
            Field(
                path=f"{_OPTIONS}.remediateIfDriftDetected",
                label="Repair drift when it is found",
                kind="flag",
            ),
            Field(path=f"{_OPTIONS}.shell", label="Shell", hint="For the commands"),
        ),
    ),
    Group(
        title="Runner",
        folded=True,
        fields=(
            Field(path="agentPoolID", label="Runner pool", hint="Its id; empty: the default pool"),
            Field(path="executorContext.executorImage.reference", label="Image"),
            Field(path="executorContext.workingDirectory", label="Working directory"),
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
)
FIELDS: Sequence[Field] = [field for group in GROUPS for field in group.fields]


def values_of(settings: Settings) -> dict[str, Any]:
    """What each field shows, by its path; of a secret only whether there is one."""
    return {field.path: _shown(field, _at(settings, field.path)) for field in FIELDS}


def variables_of(settings: Settings) -> list[Variable]:
    """The environment variables by name, and spare rows."""
    stored = _at(settings, f"{_CONTEXT}.environmentVariables") or {}
    rows = [
        Variable(name=name, value=value)
        if isinstance(value, str)
        else Variable(name=name, secret=True)
        for name, value in sorted(stored.items())
    ]
    return rows + [Variable()] * SPARE_ROWS


def patch_of(form: Mapping[str, Any], variables: Sequence[Variable], stored: Settings) -> Settings:
    """What a sent form changes. What stays as it is, is not in the patch."""
    patch: Settings = {}
    shown = values_of(stored)
    for field in FIELDS:
        wanted = _wanted(field, form)
        if field.kind == "secret":
            if form.get(f"remove:{field.path}"):
                _put(patch, field.path, None)
            elif wanted:
                _put(patch, field.path, {"secret": wanted})
        elif wanted != shown[field.path]:
            _put(patch, field.path, wanted or (False if field.kind == "flag" else None))
    changed = _changed_variables(variables, stored)
    if changed:
        _put(patch, f"{_CONTEXT}.environmentVariables", changed)
    return patch


def sent_values(form: Mapping[str, Any], stored: Settings) -> dict[str, Any]:
    """What each field shows again after a form was refused; secrets must be given once more."""
    shown = values_of(stored)
    return {
        field.path: shown[field.path] if field.kind == "secret" else _wanted(field, form)
        for field in FIELDS
    }


def without_secrets(variables: Sequence[Variable]) -> list[Variable]:
    """Rows to show again; a secret's value is not sent back."""
    return [msgspec.structs.replace(each, value="") if each.secret else each for each in variables]


def _changed_variables(variables: Sequence[Variable], stored: Settings) -> Settings:
    before = _at(stored, f"{_CONTEXT}.environmentVariables") or {}
    wanted = {each.name: each for each in variables if each.name}
    changed: Settings = {name: None for name in before if name not in wanted}
    for name, each in wanted.items():
        was_secret = name in before and not isinstance(before[name], str)
        if each.secret and not (was_secret and not each.value):
            changed[name] = {"secret": each.value}
        elif not each.secret and before.get(name) != each.value:
            changed[name] = each.value
    return changed


def _shown(field: Field, value: Any) -> Any:
    match field.kind:
        case "flag" | "secret":
            return bool(value)
        case "lines":
            return list(value or [])
    if isinstance(value, dict):
        return ""
    return value or ""


def _wanted(field: Field, form: Mapping[str, Any]) -> Any:
    given = form.get(field.path, "")
    match field.kind:
        case "flag":
            return bool(given)
        case "lines":
            lines = [line.rstrip() for line in str(given).splitlines()]
            return [line for line in lines if line]
    # A private key is nothing without the line break at its end; browsers send \r\n.
    text = str(given).replace("\r\n", "\n")
    return text if field.kind == "secret" else text.strip()


def _at(settings: Settings, path: str) -> Any:
    found: Any = settings
    for key in path.split("."):
        if isinstance(found, str) and key == "reference":
            # An image without credentials is answered as its name alone.
            return found
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _put(patch: Settings, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for key in parents:
        patch = patch.setdefault(key, {})
    patch[last] = value

"""Deployment settings as people compare them: flat, by name, and without a single secret.

Environment variables are told by name alone: also those that are no secrets are often private.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

Settings = dict[str, Any]

TITLES = {
    "agentPoolID": "Runner pool",
    "sourceContext.git.repoUrl": "Repository",
    "sourceContext.git.branch": "Branch",
    "sourceContext.git.commit": "Commit asked for",
    "sourceContext.git.tag": "Tag",
    "sourceContext.git.repoDir": "Directory",
    "operationContext.preRunCommands": "Commands before",
    "operationContext.options.skipInstallDependencies": "Without installing dependencies",
    "operationContext.options.skipIntermediateDeployments": "Skips intermediate deployments",
    "operationContext.options.shell": "Shell",
    "operationContext.options.deleteAfterDestroy": "Deletes the stack after destroy",
    "operationContext.options.remediateIfDriftDetected": "Remediates drift",
    "operationContext.options.targets": "Only these resources",
    "operationContext.options.targetDependents": "Dependents of these too",
    "operationContext.options.refresh": "Refreshes first",
    "operationContext.options.message": "Message",
    "executorContext.workingDirectory": "Working directory",
    "executorContext.executorImage.reference": "Image",
}
"""Names of settings for people; any other is told by its path."""

_VARIABLES = "operationContext.environmentVariables"
_SECRET = {"ciphertext", "secret"}
_NOT_OF_ONE_RUN = ("gitHub", "vcs", "tag", "operationContext.operation")
"""What settings hold beside what one deployment does: its triggers."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as it is shown."""

    title: str
    text: str


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """An environment variable, without its value."""

    name: str
    secret: bool


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment was run with."""

    settings: list[Setting]
    variables: list[Variable]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A setting that two deployments do not share; empty: not set."""

    title: str
    before: str
    after: str


def outline(settings: Settings) -> Outline:
    """What is set, in the order of the settings' tree."""
    variables = _variables(settings)
    return Outline(
        settings=[
            Setting(title=_title(path), text=_text(value)) for path, value in _leaves(settings)
        ],
        variables=[
            Variable(name=name, secret=isinstance(value, dict))
            for name, value in sorted(variables.items())
        ],
    )


def differences(before: Settings, after: Settings) -> list[Difference]:
    """What was set otherwise; of variables and secrets only that they are others."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    paths = [path for path in {**old, **new} if old.get(path) != new.get(path)]
    found = [
        Difference(
            title=_title(path),
            before=_text(old[path]) if path in old else "",
            after=_other(old.get(path), new[path]) if path in new else "",
        )
        for path in paths
    ]
    return found + _of_variables(_variables(before), _variables(after))


def _of_variables(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    return [
        Difference(
            title=f"Variable {name}",
            before="set" if name in old else "",
            after=("another value" if name in old else "set") if name in new else "",
        )
        for name in sorted({**old, **new})
        if old.get(name) != new.get(name)
    ]


def _other(old: Any, new: Any) -> str:
    text = _text(new)
    return "another secret" if _is_secret(new) and _is_secret(old) else text


def _variables(settings: Settings) -> Mapping[str, Any]:
    found = (settings.get("operationContext") or {}).get("environmentVariables")
    return found if isinstance(found, dict) else {}


def _leaves(settings: Settings, path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        here = f"{path}.{key}" if path else key
        if here == _VARIABLES or here in _NOT_OF_ONE_RUN:
            continue
        if isinstance(value, dict) and not _is_secret(value):
            yield from _leaves(value, here)
        elif value not in (None, "", [], False):
            yield here, value


def _is_secret(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and set(value) <= _SECRET


def _title(path: str) -> str:
    return TITLES.get(path) or path


def _text(value: Any) -> str:
    if _is_secret(value):
        return "a secret"
    if value is True:
        return "yes"
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return str(value)

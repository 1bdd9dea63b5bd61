"""The form that deploys a stack, as the request that it means. Pure."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from litestar.datastructures import FormMultiDict

from control_plane.domain.deployment import Operation
from control_plane.errors import BadRequest
from ui.settings_form import Variable, rows_of, with_spare_rows, without_secrets


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """What one deployment does otherwise than the stack's settings say; as it was typed."""

    branch: str = ""
    commit: str = ""
    message: str = ""
    targets: str = ""
    dependents: bool = False
    refresh: bool = False
    variables: tuple[Variable, ...] = (Variable(),)
    operation: str = ""

    @property
    def are_any(self) -> bool:
        """Whether something is chosen, so that the options stand open."""
        return self != Choices(operation=self.operation)


def choices_of(form: FormMultiDict) -> Choices:
    """What was typed."""
    return Choices(
        branch=_text(form, "branch"),
        commit=_text(form, "commit"),
        message=_text(form, "message"),
        targets=_text(form, "targets"),
        dependents=bool(form.get("dependents")),
        refresh=bool(form.get("refresh")),
        variables=tuple(rows_of(form)),
        operation=_text(form, "operation"),
    )


def operation_of(choices: Choices) -> Operation:
    """Which operation; raises BadRequest."""
    try:
        return Operation(choices.operation)
    except ValueError:
        raise BadRequest(detail=f"'{choices.operation}' is no operation.") from None


def request_of(choices: Choices) -> dict[str, Any]:
    """The patch of the stack's settings that the choices are; raises BadRequest."""
    if choices.branch and choices.commit:
        raise BadRequest(detail="Give a branch or a commit, not both.")
    # Naming one of them replaces whichever the stack's settings name.
    git = {"branch": choices.branch} if choices.branch else {}
    git |= {"commit": choices.commit} if choices.commit else {}
    context = {"environmentVariables": _variables(choices), "options": _options(choices)}
    context = {key: each for key, each in context.items() if each}
    request: dict[str, Any] = {"sourceContext": {"git": git}} if git else {}
    return request | ({"operationContext": context} if context else {})


def key_of(once: str, choices: Choices) -> str:
    """What makes a form sent twice one deployment; other choices on the same page are another.

    A browser that goes back to the page shows it with the key that was used already.
    """
    return f"{once} {hashlib.sha256(msgspec.json.encode(choices)).hexdigest()}" if once else ""


def shown_again(choices: Choices) -> Choices:
    """The choices for the form after a problem: secrets must be typed once more."""
    kept = [each for each in without_secrets(choices.variables) if each.name or each.value]
    return msgspec.structs.replace(choices, variables=tuple(with_spare_rows(kept, 1)))


def _options(choices: Choices) -> dict[str, Any]:
    targets = [line.strip() for line in choices.targets.splitlines() if line.strip()]
    options: dict[str, Any] = {"targets": targets} if targets else {}
    if targets and choices.dependents:
        options["targetDependents"] = True
    if choices.refresh:
        options["refresh"] = True
    if choices.message:
        options["message"] = choices.message
    return options


def _variables(choices: Choices) -> dict[str, Any]:
    for each in choices.variables:
        if each.value and not each.name:
            raise BadRequest(detail="An environment variable has a value and no name.")
    return {
        each.name: {"secret": each.value} if each.secret else each.value
        for each in choices.variables
        if each.name
    }


def _text(form: FormMultiDict, key: str) -> str:
    return str(form.get(key, "")).strip()

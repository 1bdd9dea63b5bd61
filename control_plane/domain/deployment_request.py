"""A request to deploy, as clients send it: which operation, and what it changes in the settings."""

from __future__ import annotations

from typing import Any, NamedTuple

from control_plane.domain import deployment_settings
from control_plane.domain.deployment import Operation
from control_plane.errors import BadRequest

OPERATIONS = ", ".join(Operation)


class Request(NamedTuple):
    """A request that could be understood."""

    operation: Operation
    inherit_settings: bool
    patch: dict[str, Any]
    """What it changes, for this one deployment, in the settings that it inherits."""


def read(body: dict[str, Any], *, from_cli: bool = False) -> Request:
    """A request in today's form; raises BadRequest naming what is wrong."""
    nested = _nested_operation(body)
    asked = body.get("operation")
    if asked in (None, "") and nested:
        raise BadRequest(
            detail="operation belongs to the top level of the request, not into operationContext."
        )
    if nested not in (None, "", asked):
        raise BadRequest(detail="operationContext.operation differs from operation; leave it out.")
    inherit = body.get("inheritSettings")
    if inherit is not None and not isinstance(inherit, bool):
        raise BadRequest(detail="inheritSettings must be true or false.")
    return Request(
        operation=_operation(asked),
        inherit_settings=inherit is not False,
        patch=one_run_patch(body, from_cli=from_cli),
    )


def read_first_form(body: dict[str, Any]) -> Request:
    """A request in the form of the preview API, up to CLI 3.113.0: nothing is inherited."""
    asked = _nested_operation(body) or body.get("operation")
    return Request(_operation(asked), False, one_run_patch(body))


def one_run_patch(request: dict[str, Any], *, from_cli: bool = False) -> dict[str, Any]:
    """What a request changes, for one deployment, in the settings it inherits.

    Clients send every field of a request, filled or not. So an empty string, list or object says
    nothing here, and neither does a pool of null; any other null removes what would be inherited.
    An environment variable may be empty. The CLI's options say something only where they are true:
    it cannot leave one out.
    """
    patch = {
        key: value
        for key, value in deployment_settings.said(request).items()
        if key not in ("operation", "inheritSettings")
        and not (key in ("agentPoolID", "agentPoolId") and value is None)
    }
    context = patch.get("operationContext")
    if isinstance(context, dict):
        context = {key: value for key, value in context.items() if key != "operation"}
        options = context.get("options")
        if from_cli and isinstance(options, dict):
            context["options"] = {k: v for k, v in options.items() if v is not False}
        patch["operationContext"] = context
    return deployment_settings.without_empty(patch)


def _nested_operation(body: dict[str, Any]) -> Any:
    context = body.get("operationContext")
    return context.get("operation") if isinstance(context, dict) else None


def _operation(asked: Any) -> Operation:
    if asked in (None, ""):
        raise BadRequest(detail=f"operation is missing; use {OPERATIONS}.")
    try:
        return Operation(asked)
    except ValueError:
        name = f"'{asked[:100]}'" if isinstance(asked, str) else "this"
        raise BadRequest(detail=f"operation: {name} is unknown; use {OPERATIONS}.") from None

"""Deployment settings as a form, and a sent form as a patch of the settings. Pure.

A secret is never in the form: its field is empty, and left empty it stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from litestar.datastructures import FormMultiDict

from control_plane.errors import BadRequest
from ui.settings_fields import FIELDS, VARIABLES, Field

Settings = dict[str, Any]

SPARE_ROWS = 3
"""Empty rows for more environment variables, on a page without a script."""


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """An environment variable as a row of the form."""

    name: str = ""
    value: str = ""
    secret: bool = False


def values_of(settings: Settings) -> dict[str, Any]:
    """What each field shows, by its path; of a secret only whether there is one."""
    return {field.path: _shown(field, _at(settings, field.path)) for field in FIELDS}


def variables_of(settings: Settings) -> list[Variable]:
    """The environment variables by name, and spare rows."""
    stored = _at(settings, VARIABLES) or {}
    rows = [
        Variable(name=name, value=value)
        if isinstance(value, str)
        else Variable(name=name, secret=True)
        for name, value in sorted(stored.items())
    ]
    return with_spare_rows(rows)


def with_spare_rows(rows: Sequence[Variable], number: int = SPARE_ROWS) -> list[Variable]:
    """The rows, and empty ones for more."""
    return [*rows, *[Variable()] * number]


def rows_of(form: FormMultiDict) -> list[Variable]:
    """The rows of a form; the fields of one have the same place in their lists."""
    names, values = form.getall("variable", []), form.getall("value", [])
    secret = {str(row) for row in form.getall("secret", [])}
    return [
        Variable(name=str(name).strip(), value=str(value), secret=str(row) in secret)
        for row, (name, value) in enumerate(zip(names, values, strict=False))
    ]


def wrong_field(detail: str) -> str:
    """The path of the field that a problem is about, as far as its text names one; else empty."""
    named = [
        path
        for path in (VARIABLES, *(field.path for field in FIELDS))
        if re.match(re.escape(path) + r"(?![A-Za-z])", detail)
    ]
    return max(named, key=len, default="")


def patch_of(form: Mapping[str, Any], variables: Sequence[Variable], stored: Settings) -> Settings:
    """What a sent form changes; raises BadRequest for rows that contradict each other.

    What stays as it is, is not in the patch.
    """
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
            _put(patch, field.path, None if wanted in ("", []) else _sent(field, wanted))
    changed = _changed_variables(variables, stored)
    if changed:
        _put(patch, VARIABLES, changed)
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
    before = _at(stored, VARIABLES) or {}
    wanted: dict[str, Variable] = {}
    for each in variables:
        if each.name in wanted:
            raise BadRequest(detail=f"{VARIABLES}.{each.name} is there twice.")
        if each.name:
            wanted[each.name] = each
    changed: Settings = {name: None for name in before if name not in wanted}
    for name, each in wanted.items():
        was_secret = name in before and not isinstance(before[name], str)
        if was_secret and not each.secret and not each.value:
            raise BadRequest(
                detail=f"{VARIABLES}.{name} is a secret: to make it plain, type its value."
            )
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
        case "number":
            return "" if value is None else str(value)
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
    if field.kind == "number":
        return str(given).strip()
    # A private key is nothing without the line break at its end; browsers send \r\n.
    text = str(given).replace("\r\n", "\n")
    return text if field.kind == "secret" else text.strip()


def _sent(field: Field, wanted: Any) -> Any:
    if field.kind == "number" and re.fullmatch(r"[0-9]{1,15}", wanted):
        return int(wanted)
    # What is no number is left for the server, which names the field.
    return wanted


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

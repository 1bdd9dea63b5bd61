"""Reading deployment settings as clients send them: checked, and brought to one form.

Errors name the field and what it must be, and never the value: it may be a secret.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from control_plane.domain.settings_schema import (
    SETTINGS,
    Address,
    Fields,
    Flag,
    Number,
    Rule,
    Secret,
    Text,
    Texts,
    Variables,
)
from control_plane.errors import BadRequest

Settings = dict[str, Any]

DEPTH_MAX = 32
CIPHERTEXT_BYTES_MIN = 48
"""An HPKE ciphertext holds at least an encapsulated key (32 bytes) and a tag (16 bytes)."""

_WITH_USER = re.compile(r"([\w+.-]*)://([^/?#]*)@")
_SHORT_WITH_PASSWORD = re.compile(r"\s*[^/@:]*:[^/@]*@")
_SSH_SCHEMES = ("ssh", "git+ssh", "ssh+git")
_VARIABLE = re.compile(r"[^=\x00]{1,256}\Z")


def read(settings: Any) -> Settings:
    """Settings, or a patch of them, in one form; null stays where a patch removes something."""
    return _read_fields(SETTINGS, settings, ())


def read_secret(rule: Secret, value: Any, path: tuple[str, ...]) -> Any:
    """One of the wire forms of a secret value, as `"text"`, `{"secret"}` or `{"ciphertext"}`."""
    if isinstance(value, str):
        text, secret = value, rule.always
    else:
        _require(isinstance(value, dict), path, 'a text, or {"secret": "text"}')
        if value.get("ciphertext"):
            return {"ciphertext": _read_ciphertext(value["ciphertext"], path)}
        text, secret = _plaintext_of(value)
        secret = secret or rule.always
    _require(_is_text(text), path, "a text without NUL")
    return {"secret": text} if secret else text


def require_no_credentials(url: str, path: tuple[str, ...]) -> None:
    """Raise BadRequest for a URL with a password or token in it: it would be kept in plain text.

    A user alone is no credential of SSH; of anything else it may be a token.
    """
    found = _WITH_USER.search(url)
    if found is None:
        secret = "://" not in url and _SHORT_WITH_PASSWORD.match(url) is not None
    else:
        scheme, user = found.groups()
        secret = ":" in user or scheme.lower() not in _SSH_SCHEMES
    if secret:
        raise BadRequest(
            detail=f"{'.'.join(path)} must have no user or password in it; put credentials into"
            " gitAuth."
        )


def _read(rule: Rule | None, value: Any, path: tuple[str, ...]) -> Any:
    if len(path) > DEPTH_MAX:
        raise BadRequest(detail=f"{'.'.join(path[:3])} is nested more than {DEPTH_MAX} deep.")
    if value is None:
        return None
    match rule:
        case Fields():
            return _read_fields(rule, value, path)
        case Variables():
            return _read_variables(rule, value, path)
        case Secret():
            return read_secret(rule, value, path)
        case Flag():
            return _read_flag(value, path)
        case Number():
            _require(isinstance(value, int) and not isinstance(value, bool), path, "a whole number")
        case Texts():
            _require(isinstance(value, list) and all(map(_is_text, value)), path, "a list of texts")
        case Text():
            _require(_is_text(value), path, "a text")
        case Address():
            _require(_is_text(value), path, "a text")
            require_no_credentials(value, path)
        case None:
            _require_no_secret(value, path)
            _require_shallow(value, path)
    return value


def _read_fields(rule: Fields, value: Any, path: tuple[str, ...]) -> Settings:
    if rule.only_text and isinstance(value, str):
        value = {rule.only_text: value}
    _require(isinstance(value, dict), path, "an object")
    read: Settings = {}
    for key, each in value.items():
        name = rule.aliases.get(key, key)
        if rule.closed and name not in rule.known and each is not None:
            raise _misplaced_secret((*path, name))
        if name == key or name not in value:
            read[name] = _read(rule.known.get(name), each, (*path, name))
    return read


def _read_variables(rule: Variables, value: Any, path: tuple[str, ...]) -> Settings:
    _require(isinstance(value, dict), path, "an object of names and values")
    read: Settings = {}
    for name, each in value.items():
        if not _VARIABLE.match(name):
            raise BadRequest(
                detail=f"{'.'.join(path)} has a name that is empty, too long, or has '=' or NUL."
            )
        read[name] = _read(rule.each(name), each, (*path, name))
    return read


def _read_flag(value: Any, path: tuple[str, ...]) -> bool:
    if value in ("true", "false"):
        return bool(value == "true")
    _require(isinstance(value, bool), path, "true or false")
    return bool(value)


def _plaintext_of(value: Settings) -> tuple[Any, bool]:
    """The text in an object, and whether it is secret: an object is, unless it says otherwise."""
    if isinstance(value.get("isSecret"), bool):
        return value.get("value") or "", value["isSecret"]
    # Clients made from the published schema write an empty secret beside a plain text.
    if not value.get("secret") and value.get("plaintext") is not None:
        return value["plaintext"], False
    # Go clients leave an empty secret out of its object.
    return "" if value.get("secret") is None else value["secret"], True


def _read_ciphertext(value: Any, path: tuple[str, ...]) -> str:
    try:
        whole = len(base64.b64decode(value, validate=True)) >= CIPHERTEXT_BYTES_MIN
    except (binascii.Error, TypeError, ValueError):
        whole = False
    _require(whole, (*path, "ciphertext"), "a ciphertext that this server made")
    return str(value)


def _require(right: bool, path: tuple[str, ...], what: str) -> None:
    if not right:
        raise BadRequest(detail=f"{'.'.join(path) or 'The body'} must be {what}.")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\x00" not in value


def _require_shallow(value: Any, path: tuple[str, ...]) -> None:
    for key, each in value.items() if isinstance(value, dict) else _items(value):
        _read(None, each, (*path, key))


def _items(value: Any) -> list[tuple[str, Any]]:
    return [("…", each) for each in value] if isinstance(value, list) else []


def _require_no_secret(value: Any, path: tuple[str, ...]) -> None:
    """Only known fields have a name to seal a secret under; elsewhere it would stay as it is."""
    if isinstance(value, dict) and (
        value.get("secret") is not None or value.get("isSecret") in (True, "true")
    ):
        raise _misplaced_secret(path)


def _misplaced_secret(path: tuple[str, ...]) -> BadRequest:
    return BadRequest(
        detail=f"'{'.'.join(path)}' is not a field of the settings, so its secret cannot be kept."
    )

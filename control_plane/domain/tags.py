"""Tags of stacks: what is allowed, and how they are kept."""

from __future__ import annotations

import re

import msgspec

NAME = re.compile(r"[A-Za-z0-9_.:-]{1,40}\Z")
"""The CLI's own rule for tag names."""
VALUE_CHARACTERS_MAX = 256
COUNT_MAX = 500
"""How many tags a stack may have: they are read with it."""
PROJECT = "pulumi:project"
"""The tag that holds the project's name."""


class IllegalTag(ValueError):
    """A tag that cannot be kept; the text says why."""


def require_legal(tags: dict[str, str]) -> None:
    """Raise IllegalTag naming the first tag that is not allowed."""
    if len(tags) > COUNT_MAX:
        raise IllegalTag(f"A stack may have {COUNT_MAX} tags; these are {len(tags)}.")
    for name, value in tags.items():
        if not NAME.match(name):
            raise IllegalTag(
                f"The tag name '{name[:60]}' is not allowed: use 1 to 40 letters, digits, "
                "'-', '_', '.', ':'."
            )
        if len(value) > VALUE_CHARACTERS_MAX:
            raise IllegalTag(
                f"The value of tag '{name}' is longer than {VALUE_CHARACTERS_MAX} characters."
            )


def encode(tags: dict[str, str]) -> str:
    """Tags as text for the record."""
    return msgspec.json.encode(tags).decode()


def decode(text: str) -> dict[str, str]:
    """Tags from the record."""
    return msgspec.json.decode(text, type=dict[str, str])

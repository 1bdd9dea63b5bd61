"""Names of organizations, projects and stacks: what is allowed, and how the three are written."""

from __future__ import annotations

import re
from typing import NamedTuple

NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}\Z")
"""Pulumi's own rule for project and stack names."""


RESERVED = frozenset(
    {
        "-",
        "api",
        "cli-login",
        "dev",
        "health",
        "metrics",
        "schema",
        "settings",
        "sign-in",
        "sign-out",
        "static",
        "welcome",
    }
)
"""What stands first in addresses of this server, and so can name no organization."""


class StackName(NamedTuple):
    """The three-part name of a stack."""

    organization: str
    project: str
    stack: str

    def __str__(self) -> str:
        """`org/project/stack`, as the CLI writes it."""
        return "/".join(self)


def is_legal(name: str) -> bool:
    """Whether an organization, project or stack may be called so."""
    return bool(NAME.match(name)) and name not in {".", ".."}

"""What makes a deployment happen: one value, whatever door it came through."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from control_plane.domain.deployment import Operation


class Trigger(StrEnum):
    """The door."""

    API = "api"
    CLI = "cli"
    CONSOLE = "console"
    PUSH = "push"
    PULL_REQUEST = "pull_request"
    SCHEDULE = "schedule"
    WEBHOOK = "webhook"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """From what on GitHub a deployment comes. It stays with it, and with what runs it again."""

    installation_id: int
    repository_id: int
    full_name: str
    ref: str
    sha: str
    delivery_id: str = ""
    title: str = ""
    author: str = ""
    pull_request: int | None = None
    is_fork: bool = False
    """Whether the code is of somebody outside: no secrets, no write, nothing of other stacks."""


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A request to deploy a stack."""

    operation: Operation
    request: dict[str, Any] = {}
    """A patch of deployment settings as it came over the wire; secrets may be plain text."""
    inherit_settings: bool = True
    """Whether the patch is laid over the stack's stored settings, or stands alone."""
    trigger: Trigger = Trigger.API
    origin: Origin | None = None
    initiator: str = ""
    """What the client says of itself, such as `automation-api`."""

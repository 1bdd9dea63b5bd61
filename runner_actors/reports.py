"""What a stack's actor answers to the gateway, as JSON."""

from __future__ import annotations

from typing import Literal

import msgspec


class RunReport(msgspec.Struct, kw_only=True):
    """How a deployment ended for the actor that had it."""

    deployment_id: str
    generation: int
    ended: Literal["concluded", "lease_lost", "not_started", "refused", "nothing"]
    """
    concluded    the control plane has the outcome
    lease_lost   the lease ended first; the tree is gone, and nothing more was written
    not_started  the runner was lost before the engine could start; the grant may be released
    refused      this actor cannot take or open the grant; `message` says why
    nothing      salvage: there is no spool of that deployment here
    """
    reason: str = ""
    message: str = ""
    log_complete: bool = True
    """False when a part of the log was lost, or could not be stored."""


class Busy(msgspec.Struct, kw_only=True):
    """The deployment that an actor is working on."""

    deployment_id: str
    generation: int


class RunnerStatus(msgspec.Struct, kw_only=True):
    """What an actor is doing now."""

    busy: Busy | None
    idle_seconds: float
    pid: int

"""Sentences for users that the actor and the gateway both say."""

from __future__ import annotations


def ended_by_cancel(by: str, timeout_seconds: float) -> tuple[str, str]:
    """The reason and the message of a deployment that was told to stop.

    Who cancels has a name. Without one it was the control plane itself, for time's sake.
    """
    if by:
        return "cancelled", f"Cancelled by {by}."
    return "timed_out", over_time(timeout_seconds)


def over_time(timeout_seconds: float) -> str:
    """What is said of a deployment that its time limit has stopped."""
    limit = duration(timeout_seconds)
    return f"It did not end within {limit}, the time limit of a deployment, and was stopped."


def duration(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"

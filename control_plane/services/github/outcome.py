"""What came of a delivery, and for each stack of the repository what it meant: the why-not."""

from __future__ import annotations

import msgspec


class StackVerdict(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What one stack made of an event: a deployment, or the first rule that said no."""

    stack: str
    """`project/stack`."""
    code: str
    """`deployed`, or the rule's stable code."""
    message: str
    """The rule in a sentence."""
    deployment_id: str = ""
    version: int = 0
    operation: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a delivery."""

    summary: str
    """What happened on GitHub, in few words."""
    message: str = ""
    """What followed, or why nothing did."""
    verdicts: tuple[StackVerdict, ...] = ()
    ignored: bool = False

    @property
    def deployment_count(self) -> int:
        """How many deployments it queued."""
        return sum(1 for each in self.verdicts if each.deployment_id)

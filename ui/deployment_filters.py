"""Which deployments a page lists, as its address says it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated

import msgspec
from litestar.params import QueryParameter

from control_plane.errors import BadRequest
from control_plane.services.deployment_queries import ListQuery

DAY_MS = 86_400_000
COUNTED_MAX = 1000
"""How many more than a page shows are counted, when not just all of them are listed."""

Number = Annotated[int, QueryParameter(name="page")]
Words = Annotated[str, QueryParameter(name="q", max_length=200)]
Choice = Annotated[str, QueryParameter(max_length=200)]
Since = Annotated[str, QueryParameter(name="from", max_length=40)]
Until = Annotated[str, QueryParameter(name="to", max_length=40)]


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen, word by word as it stands in the address."""

    words: str = ""
    status: str = ""
    operation: str = ""
    trigger: str = ""
    project: str = ""
    who: str = ""
    since: str = ""
    until: str = ""

    @property
    def parameters(self) -> dict[str, str]:
        """The address's parameters; empty ones as well."""
        return {
            "q": self.words,
            "status": self.status,
            "operation": self.operation,
            "trigger": self.trigger,
            "project": self.project,
            "who": self.who,
            "from": self.since,
            "to": self.until,
        }

    @property
    def any(self) -> bool:
        """Whether anything is chosen at all."""
        return any(self.parameters.values())

    @property
    def rare(self) -> bool:
        """Whether anything is chosen of what is asked for rarely."""
        return any((self.trigger, self.project, self.who, self.since, self.until))

    def query(self, number: int, size: int) -> ListQuery:
        """What the services are asked; raises BadRequest for a date that is none."""
        since, until = _day("from", self.since), _day("to", self.until)
        return ListQuery(
            page=number,
            page_size=size,
            statuses=[self.status] if self.status else (),
            operations=[self.operation] if self.operation else (),
            triggers=[self.trigger] if self.trigger else (),
            project=self.project,
            who=self.who,
            words=self.words,
            count_max=COUNTED_MAX if self.any else None,
            since=since,
            until=None if until is None else until + DAY_MS,
        )


def _day(name: str, text: str) -> int | None:
    """When a day begins (UTC), in Unix milliseconds; None for an empty text."""
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
        begins = datetime(day.year, day.month, day.day, tzinfo=UTC)
    except ValueError:
        raise BadRequest(detail=f"{name} must be a day, like 2026-11-24.") from None
    return int(begins.timestamp()) * 1000


def provide_filters(
    words: Words = "",
    status: Choice = "",
    operation: Choice = "",
    trigger: Choice = "",
    project: Choice = "",
    who: Choice = "",
    since: Since = "",
    until: Until = "",
) -> Filters:
    """The filters in the address."""
    return Filters(
        words=words.strip(),
        status=status,
        operation=operation,
        trigger=trigger,
        project=project.strip(),
        who=who.strip(),
        since=since.strip(),
        until=until.strip(),
    )

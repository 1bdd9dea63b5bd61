"""What changes on an open page, as server-sent events."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator, Callable

import msgspec
from litestar.response import ServerSentEventMessage

from control_plane.domain.deployment import ENDED
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import Problem
from control_plane.services import deployment_logs, deployment_queries
from control_plane.services.deployment_queries import Shown
from control_plane.services.hints import deployment_topic
from control_plane.services.world import World

WAIT_SECONDS = 10.0
"""At least so often something is sent, so that a connection that is cut is noticed."""
CHUNK_BYTES = 256 * 1024

Render = Callable[[World, StackName, Shown], str]


class Place(msgspec.Struct, frozen=True):
    """Where a reader of a log is: so many bytes of that attempt have been shown."""

    attempt: int
    offset: int

    @classmethod
    def read(cls, text: str) -> Place | None:
        """From an event's id; None for what is none."""
        attempt, _, offset = text.partition(".")
        if not (attempt.isascii() and attempt.isdigit() and offset.isascii() and offset.isdigit()):
            return None
        return cls(int(attempt), int(offset)) if len(text) < 40 else None

    def __str__(self) -> str:
        return f"{self.attempt}.{self.offset}"


async def follow(
    world: World,
    principal: Principal,
    name: StackName,
    deployment_id: str,
    last: str,
    render: Render,
) -> AsyncIterator[ServerSentEventMessage]:
    """A deployment's page until the deployment has ended and its log is whole."""
    place = Place.read(last)
    state = ""
    with world.broker.subscribe(deployment_topic(deployment_id)) as wakes:
        while True:
            try:
                shown = await deployment_queries.show(world, principal, name, deployment_id)
                log = await deployment_logs.describe(world, principal, name, deployment_id)
            except Problem as problem:
                yield ServerSentEventMessage(event="gone", data=_json(problem.message))
                return
            if place is None or place.attempt != log.attempt or place.offset > log.length:
                # A deployment that begins anew begins its log anew.
                place = Place(log.attempt, 0)
                yield ServerSentEventMessage(event="begin", data="{}", id=str(place))
            async for reached, text in _texts(world, log, place):
                place = reached
                yield ServerSentEventMessage(event="log", data=_json(text), id=str(place))
            rendered = render(world, name, shown)
            if rendered != state:
                state = rendered
                yield ServerSentEventMessage(event="state", data=_json(rendered))
            if shown.row.status in ENDED and place.offset == log.length:
                yield ServerSentEventMessage(event="end", data="{}")
                return
            if not await wakes.wait(WAIT_SECONDS):
                yield ServerSentEventMessage(comment="still here")


async def _texts(
    world: World, log: deployment_logs.Log, place: Place
) -> AsyncIterator[tuple[Place, str]]:
    """The log's text from a place on. A character that is cut in two waits for its other half."""
    offset = place.offset
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    async for body in deployment_logs.read(world, log, offset, log.length):
        for begin in range(0, len(body), CHUNK_BYTES):
            chunk = body[begin : begin + CHUNK_BYTES]
            text = decoder.decode(chunk)
            offset += len(chunk)
            pending = len(decoder.getstate()[0])
            if text:
                yield Place(log.attempt, offset - pending), text
    rest = decoder.decode(b"", final=True)
    if rest and log.complete:
        yield Place(log.attempt, log.length), rest


def _json(value: str) -> str:
    """One line, whatever is in it: a line break would end the event's field."""
    return msgspec.json.encode(value).decode()

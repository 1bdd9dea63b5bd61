"""Pages are sent compressed, but in a way that their length tells a stranger nothing.

A page holds secrets beside words from its address, such as a search. Who can choose those words,
and watch the length of what comes, could guess a secret bit by bit: it compresses best when the
guess is right (BREACH). Against it:

* The token of the forms is masked anew on each page (`services.sessions`): it never repeats.
* Answers to forms, which may show a secret once, are not compressed at all.
* Each page carries a file name of random length, which its reader never sees ("Heal the BREACH"):
  single bytes of difference drown in it, for what else on a page is nobody's business.
* The session's cookie is SameSite=Lax: another site cannot fetch pages, only lead a person to one.

Streams of events are not touched: each event is to leave at once.
"""

from __future__ import annotations

import gzip
import io
import secrets
from typing import Any

from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.types import ASGIApp, Receive, Scope, Send

LEVEL = 5
"""Of 9: more takes longer than it saves on the way."""
SMALL_BYTES = 1024
"""Below this it saves nothing: it is one packet in any case."""
PADDING_BYTES_MAX = 100


def compressed(app: ASGIApp) -> ASGIApp:
    """The console whose pages are compressed for whoever takes them so."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        asked: Any = scope
        is_read = asked["type"] == "http" and asked["method"] == "GET"
        await app(scope, receive, _Compressing(scope, send) if is_read else send)

    return answer


def accepts_gzip(headers: Headers) -> bool:
    """Whether a client takes gzip: it names it, and does not refuse it by a weight of nothing."""
    for each in headers.get("accept-encoding", "").split(","):
        coding, _, weight = each.partition(";")
        if coding.strip().lower() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


class _Compressing:
    """Holds an answer's head back until its body is here: then both change together."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._accepts = accepts_gzip(Headers.from_scope(scope))
        self._send = send
        self._head: Any = None

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start" and _is_page(message):
            self._head = message
            return
        if self._head is None or message["type"] != "http.response.body":
            await self._send(message)
            return
        head, self._head = self._head, None
        headers = MutableScopeHeaders(head)
        headers["Vary"] = "Accept-Encoding"
        body = message["body"]
        whole = not message.get("more_body", False)
        if self._accepts and whole and len(body) >= SMALL_BYTES:
            message["body"] = packed(body)
            headers["Content-Encoding"] = "gzip"
            headers["Content-Length"] = str(len(message["body"]))
        await self._send(head)
        await self._send(message)


def _is_page(head: Any) -> bool:
    headers = MutableScopeHeaders(head)
    kind = headers.get("content-type", "")
    return kind.startswith("text/html") and "content-encoding" not in headers


def packed(body: bytes) -> bytes:
    """A page's bytes compressed, with a name of random length."""
    name = "x" * secrets.randbelow(PADDING_BYTES_MAX)
    made = io.BytesIO()
    with gzip.GzipFile(name, "wb", LEVEL, made, mtime=0) as file:
        file.write(body)
    return made.getvalue()

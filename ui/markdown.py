"""Markdown of strangers as a part of a page: no HTML of theirs, no links that do something.

Images are shown as links: a page of this server loads nothing from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markupsafe import Markup

CHARACTERS_MAX = 100_000
HEADINGS_BELOW = 2
"""A page has its own headings of the first two levels."""
HEADING_MAX = 6
SCHEMES = ("http", "https", "mailto")
REFERENCE = re.compile(r"\$\{outputs\.([A-Za-z_][\w-]*(?:\.[\w-]+)*)\}")
"""How the README of a stack names one of its outputs, or a part of one."""


def rendered(text: str) -> Markup:
    """The text as HTML that may stand in a page."""
    # Whatever was in the text is escaped by the renderer.
    return Markup(_RENDERER.render(text[:CHARACTERS_MAX]))  # noqa: S704


def with_outputs(text: str, outputs: dict[str, Any]) -> str:
    """The text with each `${outputs.name.part}` replaced by the value; unknown ones stay."""

    def value_of(match: re.Match[str]) -> str:
        found: Any = outputs
        for key in match[1].split("."):
            if not isinstance(found, dict) or key not in found:
                return match[0]
            found = found[key]
        return found if isinstance(found, str) else str(found)

    return REFERENCE.sub(value_of, text)


def _harmless(state: StateCore) -> None:
    for token in state.tokens:
        # Aligned columns come as an inline style.
        token.attrs.pop("style", None)
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(HEADING_MAX, int(token.tag[1]) + HEADINGS_BELOW)}"
        if token.children:
            token.children = _linked(token.children)


def _linked(tokens: Sequence[Token]) -> list[Token]:
    """Inline tokens whose links lead to other sites only, and whose images are links."""
    kept: list[Token] = []
    leading: list[bool] = []
    for token in tokens:
        if token.type == "link_open":
            leading.append(_leads_outside(str(token.attrs.get("href", ""))))
            if leading[-1]:
                token.attrs["rel"] = "noopener noreferrer nofollow"
                kept.append(token)
        elif token.type == "link_close":
            if leading.pop():
                kept.append(token)
        elif token.type == "image":
            kept += _instead_of(token, inside_a_link=any(leading))
        else:
            kept.append(token)
    return kept


def _leads_outside(address: str) -> bool:
    return urlsplit(address).scheme in SCHEMES


def _instead_of(image: Token, *, inside_a_link: bool) -> list[Token]:
    address = str(image.attrs.get("src", ""))
    words = Token("text", "", 0)
    words.content = image.content or address or "image"
    if inside_a_link or not _leads_outside(address):
        return [words]
    begin, end = Token("link_open", "a", 1), Token("link_close", "a", -1)
    begin.attrs = {"href": address, "rel": "noopener noreferrer nofollow"}
    return [begin, words, end]


def _renderer() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    made.core.ruler.push("harmless", _harmless)
    return made


_RENDERER = _renderer()

"""Markdown of strangers: what is drawn of it can do nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.markdown import rendered, with_outputs

TAGS = {"p", "h3", "h4", "h5", "h6", "em", "strong", "s", "a", "code", "pre", "ul", "ol", "li"}
TAGS |= {"blockquote", "hr", "br", "table", "thead", "tbody", "tr", "th", "td"}
ATTRIBUTES = {("a", "href"), ("a", "rel"), ("a", "title"), ("code", "class"), ("ol", "start")}


class Reader(HTMLParser):
    """Which elements and attributes there are."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def read(text: str) -> list[tuple[str, dict[str, str | None]]]:
    reader = Reader()
    reader.feed(rendered(text))
    return reader.found


PIECES = st.sampled_from(
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](data:text/html,<script>)",
        "[x](//evil.test)",
        "[x](/sign-out)",
        "[x](https://a.test 'y\" onclick=z')",
        "![i](https://a.test/i.png)",
        "![i](javascript:x)",
        "[![i](https://a.test/i.png)](javascript:x)",
        "[a]: javascript:x",
        "[a]",
        "<https://a.test>",
        "<javascript:x>",
        "# h",
        "|a|b|\n|-:|:-:|\n|1|2|",
        "```<x onclick=y>\ncode\n```",
        "* l",
        "\n",
        "\n\n",
        " ",
        "**",
        "`",
        "&#106;avascript:",
    ]
)


@given(st.lists(PIECES | st.text(max_size=6), max_size=12).map("".join))
def test_nothing_is_drawn_that_could_act(text: str) -> None:
    for tag, attributes in read(text):
        assert tag in TAGS
        for name, value in attributes.items():
            assert (tag, name) in ATTRIBUTES
            if name == "href":
                assert re.match(r"(?i)(https?|mailto):", value or "")


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("# Title", "<h3>Title</h3>"),
        ("a <b>c</b>", "<p>a &lt;b&gt;c&lt;/b&gt;</p>"),
        ("[in](/sign-out) page", "<p>in page</p>"),
        ("![a picture](x.png)", "<p>a picture</p>"),
    ],
)
def test_what_is_drawn(text: str, html: str) -> None:
    assert rendered(text).strip() == html


def test_outputs_stand_in_the_text() -> None:
    outputs = {"a": {"b": 1}, "url": "https://x.test", "none": None}
    text = "${outputs.a.b} ${outputs.url} ${outputs.missing} ${outputs.a.c} ${other} ${outputs.}"
    assert with_outputs(text, outputs) == (
        "1 https://x.test ${outputs.missing} ${outputs.a.c} ${other} ${outputs.}"
    )

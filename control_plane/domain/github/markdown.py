"""Markdown for GitHub in which no text from outside can be anything but text.

Texts of users, programs and providers stand only in code: there GitHub makes no links, mentions and
references of them, reads no HTML, and shows them as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

_COLOUR = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|<\{%[^%]*%\}>")
"""Terminal sequences, and the engine's colour tags."""
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""What is not seen, or turns the writing round: control characters, and format characters."""
_TICKS = re.compile(r"`{11,}")
_SAFE_IN_URL = "%/:=&?~#+!$,;'@()*[]-._"


def size(text: str) -> int:
    """How long GitHub may take a text for: in bytes, of which a character has at least one."""
    return len(text.encode())


def plain(text: str) -> str:
    """A text without colours and unseen characters, its lines ended by line feeds."""
    text = _COLOUR.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = text.encode(errors="replace").decode()
    return _TICKS.sub("``````````…", _UNSEEN.sub("", text))


def cut(text: str, size_max: int) -> str:
    """The beginning of a text, with a mark where it was cut."""
    if size(text) <= size_max:
        return text
    mark = "…"
    return text.encode()[: max(0, size_max - size(mark))].decode(errors="ignore") + mark


def code(text: str, size_max: int = 200) -> str:
    """A text in one line, as code."""
    line = cut(" ".join(plain(text).split()), size_max)
    if not line:
        return "nothing"
    ticks = "`" * (_longest_run(line) + 1)
    # Where a tick or a space stands at an end, one more space belongs to the mark.
    space = " " if line[0] in "` " or line[-1] in "` " else ""
    return f"{ticks}{space}{line}{space}{ticks}"


def block(text: str, language: str = "") -> str:
    """A text in lines, as a block of code."""
    text = plain(text).strip("\n")
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


BLOCK_SIZE_MAX = 64
"""The most that `block` adds to a text."""


def details(summary: str, content: str) -> str:
    """Something that is seen once it is opened; the summary must be ours."""
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def link(text: str, url: str) -> str:
    """A link to an http(s) address, else the text alone; the text must be ours, or code."""
    if not url.startswith(("https://", "http://")):
        return text
    return f"[{text}](<{quote(plain(url), safe=_SAFE_IN_URL)}>)"


def first_lines(lines: Iterable[str], size_max: int) -> tuple[list[str], int]:
    """As many lines from the beginning as fit, and how many are left."""
    kept: list[str] = []
    left, room = 0, size_max
    for line in lines:
        room -= size(line) + 1
        if room >= 0 and not left:
            kept.append(line)
        else:
            left += 1
    return kept, left


def last_lines(text: str, size_max: int) -> tuple[str, bool]:
    """The end of a text, from the beginning of a line, and whether something was left out."""
    if size(text) <= size_max:
        return text, False
    end = text.encode()[-max(size_max, 1) :].decode(errors="ignore")
    _, found, whole = end.partition("\n")
    return (whole if found else end), True


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)

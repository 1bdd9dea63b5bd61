"""Patterns that say which files, or which tags, a stack depends on.

A pattern is about the whole name, from its beginning to its end, in its very letters:

* `*` stands for anything within one component, `**` for anything at all;
* `**/` as a component of its own stands for any number of components, none too: `**/x` is also `x`;
* `?` stands for one character within a component, `[a-z]` for one of these, `[!a-z]` for another;
* a backslash takes the meaning from the next character;
* `dir/` is everything below `dir`; a leading `/` or `./` says nothing.

A name is chosen when some pattern matches it, or all patterns exclude, and no pattern that begins
with `!` does. So what is excluded stays excluded, whatever the order: not as in `.gitignore`.
Source of that rule: Pulumi's documentation of path filtering.

Matching takes time in proportion to the name's length, whatever the pattern. Where trying one way
after the other could take longer, all positions in the pattern that could have been reached are the
bits of one number, and nothing is tried twice.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import msgspec

PATTERN_CHARACTERS_MAX = 1024
"""A longer pattern matches nothing."""


def chooses(patterns: Sequence[str], name: str) -> bool:
    """Whether patterns choose a name; no patterns choose every name."""
    return first_chosen(patterns, (name,)) is not None


def first_chosen(patterns: Sequence[str], names: Sequence[str]) -> str | None:
    """The first, by the alphabet, of the names that patterns choose.

    The same names are often asked about for a thousand stacks: what was found is kept for a while.
    """
    includes, excludes = _sides(tuple(patterns))
    index = _index(tuple(names))
    included = [index.matching(each) for each in includes] or [index.names]
    excluded = [index.matching_set(each) for each in excludes]
    found = (
        next((name for name in some if not any(name in out for out in excluded)), None)
        for some in included
    )
    return min((name for name in found if name is not None), default=None)


def matches(pattern: str, name: str) -> bool:
    """Whether one pattern, without `!`, is about this name."""
    glob = _compile(pattern)
    if glob is None or len(name) < len(glob.prefix) + len(glob.suffix):
        return False
    if not (name.startswith(glob.prefix) and name.endswith(glob.suffix)):
        return False
    middle = name[len(glob.prefix) : len(name) - len(glob.suffix)]
    return _middle_matches(glob, middle)


@lru_cache(maxsize=4096)
def _sides(patterns: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The patterns that include, and those that exclude, without their `!`; empty ones are none."""
    said = [each.strip() for each in patterns]
    includes = [each for each in said if each and not each.startswith("!")]
    excludes = [each[1:] for each in said if each.startswith("!") and each[1:]]
    return tuple(includes), tuple(excludes)


class _Index:
    """Names in their order, and which of them each pattern matches."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = sorted(names)
        self._found: dict[str, list[str]] = {}
        self._sets: dict[str, frozenset[str]] = {}

    def matching(self, pattern: str) -> list[str]:
        """The names that a pattern matches, in their order."""
        found = self._found.get(pattern)
        if found is None:
            found = [name for name in self._beginning_like(pattern) if matches(pattern, name)]
            if len(self._found) < _PATTERNS_MAX:
                self._found[pattern] = found
        return found

    def matching_set(self, pattern: str) -> frozenset[str]:
        """The same, to look one up in."""
        found = self._sets.get(pattern)
        if found is None:
            found = frozenset(self.matching(pattern))
            if len(self._sets) < _PATTERNS_MAX:
                self._sets[pattern] = found
        return found

    def _beginning_like(self, pattern: str) -> Iterator[str]:
        """Those that have the pattern's literal beginning; they lie side by side."""
        glob = _compile(pattern)
        prefix = glob.prefix if glob else ""
        for name in islice(self.names, bisect_left(self.names, prefix), None):
            if not name.startswith(prefix):
                return
            yield name


_PATTERNS_MAX = 10_000
_index = lru_cache(maxsize=4)(_Index)
"""Few: a push may touch many files, and is forgotten soon."""


class _One(msgspec.Struct, frozen=True):
    """One character: this one; or, in a class, one in these ranges, or one in none of them."""

    text: str = ""
    ranges: tuple[tuple[str, str], ...] = ()
    other: bool = False

    def accepts(self, character: str) -> bool:
        if self.text:
            return character == self.text
        return character != "/" and self.other != any(
            first <= character <= last for first, last in self.ranges
        )


class _Many(msgspec.Struct, frozen=True):
    """Any number of characters; `deep`: also of other components."""

    deep: bool


class _Components(msgspec.Struct, frozen=True):
    """Any number of whole components, each with its slash."""


_Token = _One | _Many | _Components
_ANY = _One(other=True)


class _Glob(NamedTuple):
    """A pattern: literal at both ends, and tokens between."""

    prefix: str
    tokens: tuple[_Token, ...]
    suffix: str
    stars: int
    """How many of the tokens stand for any number of characters."""


@lru_cache(maxsize=16_384)
def _compile(pattern: str) -> _Glob | None:
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        return None
    pattern = pattern.removeprefix("./").removeprefix("/")
    tokens = _tokens(pattern + "**" if pattern.endswith("/") else pattern)
    first = next((i for i, each in enumerate(tokens) if not _is_literal(each)), len(tokens))
    last = next((i for i, each in enumerate(reversed(tokens)) if not _is_literal(each)), 0)
    last = max(first, len(tokens) - last)
    middle = tuple(tokens[first:last])
    return _Glob(
        prefix=_literal(tokens[:first]),
        tokens=middle,
        suffix=_literal(tokens[last:]),
        stars=sum(not isinstance(each, _One) for each in middle),
    )


@lru_cache(maxsize=4096)
def _expression(tokens: tuple[_Token, ...]) -> re.Pattern[str]:
    """The tokens as a regular expression: quick, unless there are many stars and much text."""
    return re.compile("".join(map(_part, tokens)), re.DOTALL)


def _part(token: _Token) -> str:
    match token:
        case _Components():
            return "(?:.*/)?"
        case _Many(deep=deep):
            return ".*" if deep else "[^/]*"
        case _One(text="", ranges=ranges, other=other):
            inside = "".join(
                f"{re.escape(first)}-{re.escape(last)}" for first, last in ranges if first <= last
            )
            if not inside:
                return "[^/]" if other else r"(?!)"
            return f"(?!/)[{'^' if other else ''}{inside}]"
        case _One(text=text):
            return re.escape(text)


def _is_literal(token: _Token) -> bool:
    return isinstance(token, _One) and bool(token.text)


def _literal(tokens: Sequence[_Token]) -> str:
    return "".join(each.text for each in tokens if isinstance(each, _One))


def _tokens(pattern: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(pattern):
        begins = at == 0 or pattern[at - 1] == "/"
        if pattern.startswith("**/", at) and begins:
            tokens.append(_Components())
            at += 3
        elif pattern[at] == "*":
            end = len(pattern) - len(pattern[at:].lstrip("*"))
            tokens.append(_Many(deep=end - at > 1))
            at = end
        elif pattern[at] == "?":
            tokens.append(_ANY)
            at += 1
        elif pattern[at] == "[" and (found := _class(pattern, at)):
            one, at = found
            tokens.append(one)
        else:
            at += pattern[at] == "\\" and at + 1 < len(pattern)
            tokens.append(_One(pattern[at]))
            at += 1
    return tokens


def _class(pattern: str, at: int) -> tuple[_One, int] | None:
    """The class of characters that begins here, and where it ends; None if it does not end."""
    start = at + 1
    other = pattern[start : start + 1] in ("!", "^")
    start += other
    # A bracket that stands first is one of the characters.
    end = pattern.find("]", start + 1)
    if end < 0:
        return None
    ranges: list[tuple[str, str]] = []
    while start < end:
        if pattern[start + 1] == "-" and start + 2 < end:
            ranges.append((pattern[start], pattern[start + 2]))
            start += 3
        else:
            ranges.append((pattern[start], pattern[start]))
            start += 1
    return _One(ranges=tuple(ranges), other=other), end + 1


def _middle_matches(glob: _Glob, text: str) -> bool:
    match glob.tokens:
        case ():
            return not text
        case (_Many(deep=deep),):
            return deep or "/" not in text
    # Each further star multiplies the ways to try by the text's length.
    if glob.stars <= 1 or (glob.stars == 2 and len(text) <= _SHORT_CHARACTERS):
        return _expression(glob.tokens).fullmatch(text) is not None
    return _walk(glob.tokens, text)


_SHORT_CHARACTERS = 256


class _Machine:
    """The tokens as an automaton: bit i is "all before token i has been matched"."""

    def __init__(self, tokens: tuple[_Token, ...]) -> None:
        self.goal = 0
        self.deep = 0
        """Positions that stay where they are on any character."""
        self.shallow = 0
        """Positions that stay on any character but a slash."""
        self.slash = 0
        """Positions that go on behind a slash."""
        self.jumps: list[tuple[int, int]] = []
        """From which position, to which others, without a character."""
        self.ones: list[tuple[int, _One]] = []
        self._accepting: dict[str, int] = {}
        for token in tokens:
            self._add(token)

    def _add(self, token: _Token) -> None:
        here = self.goal
        match token:
            case _One():
                self.ones.append((here, token))
                self.goal = here + 1
            case _Many(deep=deep):
                self.deep |= deep << here
                self.shallow |= (not deep) << here
                self.jumps.append((here, 1 << here + 1))
                self.goal = here + 1
            case _Components():
                # `here` is left at once, to behind it all, or into a component that must end.
                self.jumps.append((here, 0b110 << here))
                self.deep |= 1 << here + 1
                self.slash |= 1 << here + 1
                self.goal = here + 2

    def step(self, positions: int, character: str) -> int:
        """The positions behind one more character."""
        moved = (positions & self._accepts(character)) << 1
        stay = self.deep if character == "/" else self.deep | self.shallow
        return self.closed(moved | positions & stay)

    def closed(self, positions: int) -> int:
        """The positions, and those reached from them without a character."""
        for start, targets in self.jumps:
            if positions >> start & 1:
                positions |= targets
        return positions

    def _accepts(self, character: str) -> int:
        known = self._accepting.get(character)
        if known is None:
            known = self.slash if character == "/" else 0
            for at, one in self.ones:
                known |= one.accepts(character) << at
            if len(self._accepting) < 256:
                self._accepting[character] = known
        return known


_machine = lru_cache(maxsize=4096)(_Machine)


def _walk(tokens: tuple[_Token, ...], text: str) -> bool:
    machine = _machine(tokens)
    positions = machine.closed(1)
    for character in text:
        positions = machine.step(positions, character)
        if not positions:
            return False
    return bool(positions >> machine.goal & 1)

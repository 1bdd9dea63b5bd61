"""Which files and tags patterns choose, against a slow reading of the same rules."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from control_plane.domain.github import globs

LETTERS = st.sampled_from(list("aab/.-"))
names = st.text(LETTERS, min_size=1, max_size=9)
patterns = st.lists(
    st.sampled_from(["a", "b", "/", "*", "**", "**/", "/**/", "?", "[ab]", "[!a]", "."]), max_size=6
).map("".join)


def naive(pattern: str, name: str) -> bool:
    """By trying every way; exponential, and obvious."""
    pattern = pattern.removeprefix("./").removeprefix("/")
    if pattern.endswith("/"):
        pattern += "**"
    return any(rest == "" for rest in _rests(pattern, name, begins=True))


def _rests(pattern: str, name: str, *, begins: bool) -> Iterator[str]:
    """What of a name can be left behind the pattern."""
    if not pattern:
        yield name
        return
    if begins and pattern.startswith("**/"):
        whole = [end + 1 for end, character in enumerate(name) if character == "/"]
        for end in (0, *whole):
            yield from _rests(pattern[3:], name[end:], begins=True)
        return
    if pattern.startswith("*"):
        stars = len(pattern) - len(pattern.lstrip("*"))
        for end in range(len(name) + 1):
            if stars > 1 or "/" not in name[:end]:
                yield from _rests(pattern[stars:], name[end:], begins=False)
        return
    known = {"?": "[^/]", "[ab]": "[ab]", "[!a]": "[^a/]"}
    token = next((each for each in known if pattern.startswith(each)), pattern[0])
    if name and re.match(known.get(token, re.escape(token)), name):
        yield from _rests(pattern[len(token) :], name[1:], begins=token == "/")


@settings(deadline=None, max_examples=1500)
@given(patterns, names)
@example("**/", "a")
@example("**/a", "ba")
@example("a**/b", "a/b")
@example("a/**/b", "a/b")
@example("*a*", "aa")
def test_a_pattern_matches_what_its_rules_say(pattern: str, name: str) -> None:
    assert globs.matches(pattern, name) == naive(pattern, name)


@given(st.lists(st.tuples(st.booleans(), patterns.filter(bool)), max_size=4), names, st.randoms())
def test_excluding_wins_and_order_never_matters(
    said: list[tuple[bool, str]], name: str, random: object
) -> None:
    written = ["!" + each if out else each for out, each in said]
    excluded = any(naive(each, name) for out, each in said if out)
    includes = [each for out, each in said if not out]
    included = not includes or any(naive(each, name) for each in includes)
    assert globs.chooses(written, name) == (included and not excluded)
    assert globs.chooses(written[::-1], name) == globs.chooses(written, name)


@given(st.lists(patterns | patterns.map("!{}".format), max_size=3), st.lists(names, max_size=5))
def test_of_many_names_the_first_is_found(written: list[str], some: list[str]) -> None:
    chosen = [name for name in some if globs.chooses(written, name)]
    assert globs.first_chosen(written, some) == min(chosen, default=None)


@given(names)
def test_without_patterns_everything_is_chosen(name: str) -> None:
    assert globs.chooses([], name)
    assert globs.chooses(["", " ", "!"], name)


@given(st.text(max_size=12), st.text(max_size=12))
def test_any_text_is_a_pattern(pattern: str, name: str) -> None:
    assert globs.matches(pattern, name) in (True, False)


@given(st.text(min_size=1, max_size=12).map(lambda text: f"x{text}x"))
def test_an_escaped_text_matches_itself_alone(text: str) -> None:
    escaped = "".join("\\" + each for each in text)
    assert globs.matches(escaped, text)
    assert not globs.matches(escaped, text + "x")


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("infra/**", "infra/a/b.ts", True),
        ("infra/**", "infra", False),
        ("infra/", "infra/a/b.ts", True),
        ("/infra/*.ts", "infra/b.ts", True),
        ("*.ts", "infra/b.ts", False),
        ("**/*.ts", "b.ts", True),
        ("INFRA/**", "infra/a", False),
        ("v[0-9]*", "v1.2.3", True),
        ("v[0-9]*", "vnext", False),
        ("release/*", "release/1", True),
        ("[", "[", True),
        ("[]]", "]", True),
        ("a" * 2000, "a" * 2000, False),
    ],
)
def test_examples(pattern: str, name: str, expected: bool) -> None:
    assert globs.matches(pattern, name) is expected


def test_the_documented_example() -> None:
    """Pulumi's: everything but migrations, and only migrations."""
    assert not globs.chooses(["!migrations/*"], "migrations/1.sql")
    assert globs.chooses(["!migrations/*"], "main.ts")
    assert globs.first_chosen(["migrations/*"], ["main.ts", "migrations/1.sql"]) == (
        "migrations/1.sql"
    )


@pytest.mark.parametrize("pattern", ["*a" * 200 + "b", "**/a" * 100 + "/b", "a**" * 300 + "b"])
def test_time_is_in_proportion_to_the_name(pattern: str) -> None:
    """By backtracking, these would not end."""
    assert not globs.matches(pattern, "a" * 4000 + "/" + "a/" * 40 + "c")
    assert not globs.matches(pattern.removesuffix("b") + "*[b]", "a" * 4000)

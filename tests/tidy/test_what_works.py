"""README's table of what works is about the client tests that there are."""

from __future__ import annotations

from tests.support import what_works


def test_the_table_says_what_the_client_tests_say() -> None:
    """`make clients` writes it anew: a file more or less, or another first line, needs that."""
    assert what_works.shown() == {suite.path: suite.cells() for suite in what_works.suites()}

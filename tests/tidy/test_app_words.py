"""README says of the GitHub App what its manifest asks for."""

from __future__ import annotations

from tests.support import app_words


def test_readme_says_what_each_permission_and_event_is_for() -> None:
    """`python -m tests.support.app_words` writes it anew."""
    assert app_words.shown() == app_words.table()

"""Which options of the CLI a grant means."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from runner_actors.contract import Operation
from runner_actors.steps.operate import options_of
from tests.unit.runner.test_job import grant


def options(operation: str, **changes: Any) -> list[str]:
    return options_of(grant(operation=operation, **changes))


@pytest.mark.parametrize("operation", get_args(Operation))
def test_nothing_wanted_adds_nothing(operation: str) -> None:
    assert options(operation) == []
    assert options(operation, target_dependents=True) == [], "of no targets nothing depends"


@pytest.mark.parametrize("operation", get_args(Operation))
def test_no_value_can_be_an_option(operation: str) -> None:
    found = options(operation, targets=["--yes", "urn:a"], message="--help", target_dependents=True)
    assert found == ["--target=--yes", "--target=urn:a", "--target-dependents", "--message=--help"]


def test_only_what_does_not_refresh_by_itself_refreshes_first() -> None:
    refreshing = {name for name in get_args(Operation) if options(name, refresh=True)}
    assert refreshing == {"update", "preview", "destroy"}

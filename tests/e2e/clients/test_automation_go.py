"""Go's Automation API, unmodified from its module: local programs and remote deployments."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.clients.automation_checks import CHECKS, Driver, driving, keep_settings
from tests.e2e.clients.conftest import RecordedSlipway
from tests.support.automation_drivers import go


@pytest.fixture(scope="module")
def driver(
    recorded_slipway: RecordedSlipway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Driver]:
    with driving(go(), recorded_slipway, tmp_path_factory.mktemp("go")) as driver:
        keep_settings(recorded_slipway, driver.request)
        yield driver


@pytest.mark.parametrize("scenario", CHECKS)
def test_go(driver: Driver, scenario: str) -> None:
    CHECKS[scenario](driver.run(scenario))


def test_an_unknown_pool_is_refused(driver: Driver) -> None:
    """Only Go's SDK can name a pool."""
    pool = driver.run("remote-errors")["pool"]
    assert pool["type"] == "CommandError"
    assert "[400]" in pool["text"]
    assert "'no-such-pool'" in pool["text"]

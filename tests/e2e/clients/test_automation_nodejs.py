"""Node.js's Automation API, unmodified from npm: local programs and remote deployments."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.clients.automation_checks import CHECKS, Driver, driving, keep_settings
from tests.e2e.clients.conftest import RecordedSlipway
from tests.support.automation_drivers import nodejs


@pytest.fixture(scope="module")
def driver(
    recorded_slipway: RecordedSlipway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Driver]:
    with driving(nodejs(), recorded_slipway, tmp_path_factory.mktemp("nodejs")) as driver:
        keep_settings(recorded_slipway, driver.request)
        yield driver


@pytest.mark.parametrize("scenario", CHECKS)
def test_nodejs(driver: Driver, scenario: str) -> None:
    CHECKS[scenario](driver.run(scenario))

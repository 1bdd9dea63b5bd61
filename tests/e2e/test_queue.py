"""Order and limits, seen from outside while real programs run."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.support.programs import OUTPUTS, SLOW, repository
from tests.support.slipway import ENDED, Slipway, Stack
from tests.support.waiting import wait_for

LIVE = {"accepted", "running"}


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = SLOW.replace("SECONDS", "2")
    return repository(tmp_path_factory.mktemp("programs") / "slow", "slow", program)


def _deployments(slipway: Slipway) -> list[dict]:
    answer = slipway.http.get("/api/orgs/ada/deployments", params={"pageSize": 100})
    return list(answer.json()["deployments"])


def test_I2_twelve_stacks_never_more_than_ten_live(slipway: Slipway, slow: Path) -> None:
    stacks = [slipway.stack("slow", f"many-{number}") for number in range(12)]
    ids = {stack.submit(slow)["id"] for stack in stacks}
    most = 0

    def all_ended() -> bool:
        nonlocal most
        mine = [each for each in _deployments(slipway) if each["id"] in ids]
        most = max(most, sum(each["status"] in LIVE for each in mine))
        assert most <= 10
        return len(mine) == 12 and all(each["status"] in ENDED for each in mine)

    wait_for(all_ended, "all twelve have ended", 240)
    assert most == 10, "ten slots were used"
    assert {each["status"] for each in _deployments(slipway) if each["id"] in ids} == {"succeeded"}


def test_I1_five_of_one_stack_strictly_in_order(slipway: Slipway, slow: Path) -> None:
    stack = slipway.stack("slow", "ordered")
    ids = [stack.submit(slow)["id"] for _ in range(5)]
    ended = [stack.wait(each, seconds=180) for each in ids]
    assert [each["version"] for each in ended] == [1, 2, 3, 4, 5]
    assert [each["status"] for each in ended] == ["succeeded"] * 5
    for earlier, later in itertools.pairwise(ended):
        last_step = earlier["jobs"][0]["steps"][-1]["lastUpdated"]
        assert last_step <= later["jobs"][0]["steps"][0]["started"]


def test_two_stacks_of_one_organization_run_at_once(slipway: Slipway, slow: Path) -> None:
    stacks: list[Stack] = [slipway.stack("slow", f"pair-{number}") for number in range(2)]
    ids = [stack.submit(slow)["id"] for stack in stacks]
    wait_for(
        lambda: all(
            stack.deployment(each)["status"] == "running"
            for stack, each in zip(stacks, ids, strict=True)
        ),
        "both run at the same time",
        60,
    )
    for stack, each in zip(stacks, ids, strict=True):
        assert stack.wait(each)["status"] == "succeeded"


def test_a_paused_stack_waits_and_says_so(slipway: Slipway, tmp_path: Path) -> None:
    program = repository(tmp_path / "paused", "paused", OUTPUTS)
    stack = slipway.stack("paused")
    git = {"repoUrl": str(program), "branch": "main"}
    settings = {"sourceContext": {"git": git}}
    slipway.http.post(f"{stack.path}/deployments/settings", json=settings).raise_for_status()
    slipway.http.post(f"{stack.path}/deployments/pause").raise_for_status()
    submitted = stack.submit(None)
    assert stack.deployment(submitted["id"])["status"] == "not-started"
    assert stack.deployment(submitted["id"])["paused"] is True
    slipway.http.post(f"{stack.path}/deployments/resume").raise_for_status()
    assert stack.wait(submitted["id"])["status"] == "succeeded"

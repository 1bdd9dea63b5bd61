"""`slipway up` as a user runs it: the demonstration, Ctrl-C, starting again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import HANGING, repository
from tests.support.slipway import TOKEN, USER, Slipway
from tests.support.waiting import wait_for


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_the_demonstration_once(data_dir: Path) -> None:
    slipway = Slipway(data_dir).start("--demo", "--once", wait=False)
    output, _ = slipway.process.communicate(timeout=300)
    assert slipway.process.returncode == 0, output
    for words in ("== Get source ==", "== pulumi update ==", "greeting: Hello, world!", "[secret]"):
        assert words in output
    assert not slipway.processes()

    again = Slipway(data_dir).start()
    stacks = again.http.get("/api/user/stacks").json()["stacks"]
    assert [(each["projectName"], each["stackName"]) for each in stacks] == [
        ("hello-python", "dev")
    ]
    assert TOKEN in again.stop()


def test_ctrl_c_with_a_running_deployment_leaves_no_process(data_dir: Path, tmp_path: Path) -> None:
    slipway = Slipway(data_dir).start()
    program = repository(tmp_path / "hanging", "hanging", HANGING)
    stack = slipway.stack("hanging")
    submitted = stack.submit(program)
    stack.wait_for_log(submitted["id"], "hanging now")
    slipway.stop()

    again = Slipway(data_dir).start()
    try:
        ended = again.http.get(f"{stack.path}/deployments/{submitted['id']}").json()
        wait_for(
            lambda: (
                again.http.get(f"{stack.path}/deployments/{submitted['id']}").json()["status"]
                == "failed"
            ),
            f"the interrupted deployment has ended: {ended}",
            60,
        )
        assert (
            "hanging now" in again.http.get(f"{stack.path}/deployments/{submitted['id']}/log").text
        )
    finally:
        again.stop()


def test_killed_outright_it_comes_back_with_everything(data_dir: Path, tmp_path: Path) -> None:
    slipway = Slipway(data_dir).start()
    slipway.stack("kept")
    slipway.process.send_signal(signal.SIGKILL)
    slipway.process.wait()
    wait_for(lambda: not slipway.processes(), f"children end: {slipway.processes()}", 30)
    again = Slipway(data_dir).start()
    try:
        names = [
            each["projectName"] for each in again.http.get("/api/user/stacks").json()["stacks"]
        ]
        assert names == ["kept"]
    finally:
        again.stop()


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "control_plane", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | environment,
        check=False,
    )


def test_a_port_in_use_is_named(data_dir: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = _run("up", "--port", str(port), "--data-dir", str(data_dir))
    assert done.returncode == 1
    assert f"Port {port}" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_tokens_users_and_organizations_from_the_command_line(data_dir: Path) -> None:
    slipway = Slipway(data_dir).start()
    try:
        where = ("--data-dir", str(data_dir))
        assert _run("user", "create", "bob", *where).returncode == 0
        token = _run("token", "create", "--user", "bob", *where).stdout.strip()
        assert _run("org", "create", "platform", "--admin", USER, *where).returncode == 0
        assert _run("org", "add-member", "platform", "bob", *where).returncode == 0
        answer = slipway.http.get("/api/user", headers={"Authorization": f"token {token}"}).json()
        assert answer["githubLogin"] == "bob"
        assert [each["githubLogin"] for each in answer["organizations"]] == ["bob", "platform"]
        wrong = _run("token", "create", "--user", "nobody", *where)
        assert wrong.returncode == 1
        assert "User 'nobody'" in wrong.stderr
    finally:
        slipway.stop()

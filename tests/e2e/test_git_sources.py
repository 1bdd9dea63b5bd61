"""Programs from real Git servers, with each kind of credential, and without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.git_servers import SshServer, http_server, ssh_server
from tests.support.programs import OUTPUTS, git, repository
from tests.support.slipway import Slipway

PASSWORD = "a-password-for-git"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    plain = repository(root / "program", "served", OUTPUTS)
    git(root, "clone", "--quiet", "--bare", str(plain), "program.git")
    return root


@pytest.fixture(scope="module", params=["", "a passphrase"])
def ssh(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("ssh") / "server", request.param) as server:
        server.passphrase = request.param
        yield server


def test_http_without_credentials(slipway: Slipway, root: Path) -> None:
    stack = slipway.stack("served", "anonymous")
    with http_server(root) as url:
        stack.deploy(f"{url}/program.git")
        stack.deploy(f"{url}/program.git")
    assert stack.outputs() == {"answer": 42}


@pytest.mark.parametrize(
    "auth",
    [
        {"basicAuth": {"userName": "bot", "password": {"secret": PASSWORD}}},
        {"basicAuth": {"userName": {"secret": "bot"}, "password": {"secret": PASSWORD}}},
    ],
)
def test_http_with_a_password(slipway: Slipway, root: Path, auth: dict[str, Any]) -> None:
    stack = slipway.stack("served", f"basic-{len(str(auth))}")
    with http_server(root, "bot", PASSWORD) as url:
        ended = stack.deploy(f"{url}/program.git", git={"gitAuth": auth})
    assert PASSWORD not in stack.log(ended["id"])


def test_http_with_a_wrong_password_says_so(slipway: Slipway, root: Path) -> None:
    stack = slipway.stack("served", "wrong-password")
    auth = {"basicAuth": {"userName": "bot", "password": {"secret": "not-the-password"}}}
    with http_server(root, "bot", PASSWORD) as url:
        submitted = stack.submit(f"{url}/program.git", git={"gitAuth": auth})
        ended = stack.wait(submitted["id"])
    assert (ended["status"], ended["reason"]) == ("failed", "source_error")
    assert "uthentication" in ended["message"]
    assert "not-the-password" not in ended["message"] + stack.log(ended["id"])


def test_ssh_with_a_key(slipway: Slipway, root: Path, ssh: SshServer) -> None:
    stack = slipway.stack("served", f"ssh-{bool(ssh.passphrase)}")
    key: dict[str, Any] = {"sshPrivateKey": {"secret": ssh.private_key}}
    if ssh.passphrase:
        key["password"] = {"secret": ssh.passphrase}
    ended = stack.deploy(ssh.url(root / "program.git"), git={"gitAuth": {"sshAuth": key}})
    assert "PRIVATE KEY" not in stack.log(ended["id"])
    assert stack.outputs() == {"answer": 42}

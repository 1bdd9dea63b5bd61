"""What the gateway and the local Ray prepare before they start, and what they leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import x25519

from runner_actors import ray_files
from runner_actors.contract import Hold
from runner_actors.control_plane_client import ControlPlaneClient
from runner_actors.gateway import driver_environment, public_key
from runner_actors.local_ray import (
    LocalRayError,
    LocalRaySettings,
    ray_arguments,
    ray_environment,
)
from runner_actors.loopback import direct_mounts
from runner_actors.pool_client import PoolClient
from tests.support.gateway_bench import runner_settings
from tests.support.pool_server import POOL_TOKEN, pool_server

ENVIRONMENT = {
    "SLIPWAY_RUNNER__RAY_ADDRESS": "127.0.0.1:7000",
    "SLIPWAY_RAY__TEMP_DIR": "/short",
    "SLIPWAY_RAY__TOKEN_PATH": "/secret/token",
}


def test_the_pools_key_is_made_once_and_only_its_user_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "pool" / "key"
    made = public_key(path)
    assert public_key(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    private = x25519.X25519PrivateKey.from_private_bytes(path.read_bytes())
    assert private.public_key().public_bytes_raw() == made
    assert list(path.parent.iterdir()) == [path]


def test_a_driver_uses_the_token_and_stays_on_loopback(tmp_path: Path) -> None:
    local = runner_settings(tmp_path, ray_address="127.0.0.1:7000")
    made = driver_environment(local, {"SLIPWAY_RAY__TOKEN_PATH": "/t"})
    assert made["RAY_AUTH_MODE"] == "token"
    assert made["RAY_AUTH_TOKEN_PATH"] == "/t"
    assert made["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    remote = runner_settings(tmp_path, ray_address="10.0.0.1:7000")
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in driver_environment(remote, {})
    assert "RAY_AUTH_MODE" not in driver_environment(remote, {"RAY_AUTH_MODE": "disabled"})


def test_local_ray_reads_its_settings_from_the_environment() -> None:
    settings = LocalRaySettings.from_environment(ENVIRONMENT | {"SLIPWAY_RAY__SLOTS": "3"})
    assert (settings.host, settings.port, settings.slots) == ("127.0.0.1", "7000", 3)
    assert '--resources={"deployment_slot":3}' in ray_arguments(settings)


def test_local_ray_names_what_is_missing() -> None:
    with pytest.raises(LocalRayError, match="SLIPWAY_RAY__TOKEN_PATH"):
        LocalRaySettings.from_environment({"SLIPWAY_RAY__TEMP_DIR": "/short"})


def test_workers_inherit_no_settings_of_slipway() -> None:
    settings = LocalRaySettings.from_environment(ENVIRONMENT)
    inherited = {"PATH": "/bin", "SLIPWAY_BOOTSTRAP_TOKEN": "secret", "RAY_ADDRESS": "elsewhere"}
    environment = ray_environment(settings, inherited)
    assert environment["PATH"] == "/bin"
    assert environment["RAY_AUTH_TOKEN_PATH"] == "/secret/token"
    assert "secret" not in environment.values()
    assert "RAY_ADDRESS" not in environment


def test_local_ray_ends_with_a_message_when_it_cannot_start() -> None:
    with tempfile.TemporaryDirectory() as temp_dir, ray_files.exclusive(Path(temp_dir)):
        environment = {**ENVIRONMENT, "SLIPWAY_RAY__TEMP_DIR": temp_dir, "PATH": os.defpath}
        done = subprocess.run(
            [sys.executable, "-m", "runner_actors.local_ray"],
            env=environment,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1
    assert f"Another Ray runs in {temp_dir}." in done.stderr


def test_sessions_and_logs_of_the_dead_are_removed(tmp_path: Path) -> None:
    ray_dir = ray_files.ray_dir(tmp_path)
    logs = ray_dir / "session_1" / "logs"
    (logs / "events").mkdir(parents=True)
    (ray_dir / "session_latest").symlink_to(ray_dir / "session_1")
    alive = f"worker-ab-cd-{os.getpid()}.out"
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead = [f"worker-ab-cd-{ended.pid}.err", f"python-core-worker-ab_{ended.pid}.log"]
    for name in [alive, *dead, "raylet.out", f"events/event_CORE_WORKER_{ended.pid}.log"]:
        (logs / name).touch()
    ray_files.prune_logs(ray_dir)
    assert {path.name for path in logs.iterdir()} == {alive, "raylet.out", "events"}
    assert not list((logs / "events").iterdir())
    ray_files.make_anew(tmp_path)
    assert not list(ray_dir.iterdir())


def test_only_what_is_rays_is_removed(tmp_path: Path) -> None:
    mine, shared = tmp_path / "mine", tmp_path / "shared"
    for directory in (mine, shared):
        with ray_files.exclusive(directory):
            ray_files.make_anew(directory)
            (shared / "other").touch() if directory is shared else None
            ray_files.remove(directory)
    assert not mine.exists()
    assert [path.name for path in shared.iterdir()] == ["other"]


def test_the_cluster_token_is_made_once_and_only_its_user_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "pool" / "token"
    ray_files.ensure_token(path)
    made = path.read_text()
    ray_files.ensure_token(path)
    assert path.read_text() == made
    assert len(made) == 64
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_kill_leaves_no_empty_cluster_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"

    def killed(_: int) -> str:
        assert not path.exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(ray_files.secrets, "token_hex", killed)
    with pytest.raises(KeyboardInterrupt):
        ray_files.ensure_token(path)
    assert not list(tmp_path.iterdir())


def test_an_empty_cluster_token_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch()
    ray_files.ensure_token(path)
    assert len(path.read_text()) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_local_ray_refuses_a_directory_that_is_too_long_for_sockets() -> None:
    with pytest.raises(LocalRayError, match="SLIPWAY_RAY__TEMP_DIR is too long"):
        LocalRaySettings.from_environment(ENVIRONMENT | {"SLIPWAY_RAY__TEMP_DIR": "/" + "x" * 60})


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names a proxy that nobody answers at."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("proxies")
async def test_a_gateway_reaches_this_machine_without_a_proxy() -> None:
    with pool_server() as server:
        api = PoolClient(server.url, POOL_TOKEN)
        assert (await api.live_grants()).grants == []
        await api.close()


@pytest.mark.usefixtures("proxies")
async def test_an_actor_reaches_this_machine_without_a_proxy() -> None:
    with pool_server() as server:
        client = ControlPlaneClient(server.url)
        hold = Hold(generation=1)
        state = await client.post(server.make_live(), "hold", "token", hold, 5.0)
        assert state.lease_seconds == server.lease_seconds
        await client.close()


def test_only_this_machine_is_reached_without_a_proxy() -> None:
    assert direct_mounts("http://127.0.0.1:8080") == {"all://127.0.0.1": None}
    assert direct_mounts("http://LocalHost") == {"all://localhost": None}
    assert direct_mounts("https://[::1]:8080/") == {"all://[::1]": None}
    assert direct_mounts("https://slipway.example.com") == {}
    assert direct_mounts("http://10.0.0.1") == {}


def test_a_logged_failure_has_no_values_of_variables() -> None:
    program = """
import structlog
from runner_actors.gateway import _set_up_logging
_set_up_logging()
token = "slp-" + "secret"
try:
    raise ValueError("what went wrong")
except ValueError:
    structlog.get_logger().exception("gateway ends")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert '"exc_value": "what went wrong"' in done.stderr
    assert "slp-secret" not in done.stderr


def test_a_gateway_without_settings_says_which_are_missing() -> None:
    done = _gateway({})
    assert done.returncode == 1
    assert "control_plane_url" in done.stderr


def test_a_gateway_that_is_refused_says_why(tmp_path: Path) -> None:
    with pool_server() as server:
        server.refuses = True
        (tmp_path / "token").write_text("wrong")
        settings = runner_settings(tmp_path, server.url, ray_address="127.0.0.1:1")
        done = _gateway(
            {
                f"SLIPWAY_RUNNER__{name.upper()}": str(getattr(settings, name))
                for name in settings.__struct_fields__
            }
        )
    assert done.returncode == 1
    assert "The control plane refuses to register: the token is not known" in done.stderr
    assert "Traceback" not in done.stderr


def _gateway(settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLIPWAY_", "RAY_"))}
    return subprocess.run(
        [sys.executable, "-m", "runner_actors.gateway"],
        env=kept | settings,
        capture_output=True,
        text=True,
        timeout=60,
    )

"""A runner node for flow tests: keys, directories, programs in Git, and a StackRunner on them.

The `pulumi` of these tests is a small script: it runs the program's `program.sh`. It stands for
the CLI only where the pipeline around it is tested, and never in the end-to-end tests.
"""

from __future__ import annotations

import contextlib
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import x25519

from runner_actors.contract import (
    GitAuth,
    GitSource,
    Grant,
    LogEnded,
    LogSegment,
    StepEnded,
    StepStarted,
    Value,
    seal,
    seal_context,
    segment_key,
)
from runner_actors.reports import RunReport
from runner_actors.settings import RunnerSettings
from runner_actors.stack_runner import StackRunner, _own_version
from tests.flow.runner.fake_control_plane import FakeControlPlane
from tests.support.programs import commit, git, write

STACK_ID = "8f14e45f-ceea-467f-a9d2-3b1c5c1f1a11"
PULUMI = """#!/bin/bash
case "$1" in
  version) echo v0.0.0 ;;
  install) test ! -f install.sh || exec bash install.sh ;;
  *) exec bash program.sh "$@" ;;
esac
"""


class Node:
    """One node, with one stack's runner on it."""

    def __init__(self, directory: Path, control_plane: FakeControlPlane, url: str) -> None:
        self.directory = directory
        self.control_plane = control_plane
        key = x25519.X25519PrivateKey.generate()
        self.public_key = key.public_key().public_bytes_raw()
        (directory / "pool.key").write_bytes(key.private_bytes_raw())
        tools = directory / "tools"
        tools.mkdir()
        (tools / "pulumi").write_text(PULUMI)
        (tools / "pulumi").chmod(0o755)
        self.settings = RunnerSettings(
            control_plane_url=url,
            pool_token_path=str(directory / "pool.token"),
            pool_key_path=str(directory / "pool.key"),
            work_dir=str(directory / "work"),
            toolchain_dir=str(tools),
            log_store=str(directory / "logs"),
            allow_local_sources=True,
        )
        self.runners: list[StackRunner] = []
        self.identity = str(uuid.uuid4())
        self.repository = directory / "repository"

    def runner(self, **changes: Any) -> StackRunner:
        settings = msgspec.structs.replace(self.settings, **changes)
        runner = StackRunner("org/project/stack", msgspec.json.encode(settings))
        self.runners.append(runner)
        return runner

    async def close(self) -> None:
        for runner in self.runners:
            await runner.close()

    def program(self, script: str = "echo deployed", **files: str) -> str:
        """A repository whose program is a shell script; gives the commit."""
        if not self.repository.exists():
            self.repository.mkdir()
            git(self.repository, "init", "--quiet", "--initial-branch=main")
        basic = {"Pulumi.yaml": "name: project\nruntime: python\n", "program.sh": script}
        write(self.repository, {**basic, **files})
        return commit(self.repository, "The program")

    def seal(self, value: str, name: str) -> str:
        return seal(value.encode(), self.public_key, seal_context(STACK_ID, name))

    def secret(self, value: str, name: str) -> Value:
        return Value(sealed=self.seal(value, name))

    def grant(self, **changes: Any) -> Grant:
        self.control_plane.generation = generation = changes.get("generation", 1)
        identity = changes.get("deployment_id", self.identity)
        lease = f"lease/{identity}/{generation}"
        given = {
            "deployment_id": identity,
            "generation": generation,
            "stack_id": STACK_ID,
            "organization": "org",
            "project": "project",
            "stack": "stack",
            "version": 7,
            "operation": "update",
            "slot_limit": 10,
            "lease_seconds": self.control_plane.lease_seconds,
            "timeout_seconds": 60.0,
            "grace_seconds": 5.0,
            "sealed_runner_token": self.seal(self.control_plane.token, f"{lease}/runner"),
            "sealed_cli_token": self.seal("cli-token-of-this-lease", f"{lease}/cli"),
            "api_url": "https://api.example.invalid",
            "console_url": "https://console.example.invalid/org/project/stack/deployments/7",
            "source": GitSource(repo_url=str(self.repository), branch="main"),
            "log_prefix": f"org/project/stack/{identity}.{generation}",
            "slipway_version": _own_version(),
        }
        return Grant(**(given | changes))

    def source(self, auth: dict[str, str] | None = None, **changes: Any) -> GitSource:
        names = {
            "access_token": "accessToken",
            "ssh_private_key": "sshPrivateKey",
            "ssh_passphrase": "sshPassphrase",
            "user_name": "userName",
            "password": "password",
        }
        sealed = {f: self.secret(v, f"git/{names[f]}") for f, v in (auth or {}).items()}
        given: dict[str, Any] = {"repo_url": str(self.repository), "auth": GitAuth(**sealed)}
        return GitSource(**(given | changes))

    async def deploy(self, runner: StackRunner, grant: Grant | None = None) -> RunReport:
        answer = await runner.run(msgspec.json.encode(grant or self.grant()))
        return msgspec.json.decode(answer, type=RunReport)

    async def again(self, runner: StackRunner, **changes: Any) -> RunReport:
        """Another deployment of the same stack."""
        self.control_plane.events.clear()
        self.control_plane.alive = True
        self.identity = str(uuid.uuid4())
        return await self.deploy(runner, self.grant(**changes))

    # What readers see.

    def log(self) -> str:
        """The whole log, from the announced segments; checks what readers rely on."""
        parts, offset, step = [], 0, 0
        for number, event in enumerate(self.control_plane.of(LogSegment)):
            data = Path(self.settings.log_store, segment_key(self._prefix(), number)).read_bytes()
            assert (event.segment, event.offset, event.length) == (number, offset, len(data))
            assert event.line_breaks == data.count(b"\n")
            assert event.step >= step
            assert event.marks[0][0] == 0
            assert event.marks == sorted(event.marks)
            offset, step = offset + event.length, event.step
            parts.append(data)
        for ended in self.control_plane.of(LogEnded):
            assert (ended.length, ended.segments) == (offset, len(parts))
        return b"".join(parts).decode()

    def _prefix(self) -> str:
        root = Path(self.settings.log_store)
        newest = max(root.glob("org/project/stack/*"), key=lambda path: path.stat().st_mtime_ns)
        return str(newest.relative_to(root))

    def steps(self) -> list[tuple[str, bool | None]]:
        """Names of the steps, and how each ended."""
        ended = {event.step: event.succeeded for event in self.control_plane.of(StepEnded)}
        started = self.control_plane.of(StepStarted)
        assert [event.step for event in started] == list(range(len(started)))
        return [(event.name, ended.get(event.step)) for event in started]

    def clone(self) -> Path:
        """The stack's kept clone."""
        return next(Path(self.settings.work_dir).glob("stacks/*/branch/source"))

    def leftovers(self) -> list[str]:
        """What a deployment should have removed."""
        work = Path(self.settings.work_dir)
        spools = [str(path.relative_to(work)) for path in work.glob("spool/*")]
        return spools + [str(path.relative_to(work)) for path in work.glob("stacks/*/*/run")]


def sh(*command: str | Path) -> bytes:
    """Run a command for its output, whatever its exit code."""
    return subprocess.run(command, capture_output=True, check=False).stdout


@contextlib.contextmanager
def small_disk(directory: Path, size: str) -> Iterator[None]:
    """A disk of its own under a directory; needs root."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)

"""What our figures stand beside: Ray itself, one INSERT per commit, the CLI on its file backend.

Run as a module it is a Ray driver: it joins the running Ray that its environment names, reads one
JSON command a line, and answers each with the milliseconds that Ray took.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Integer, MetaData, Table, Text, event
from sqlalchemy.ext.asyncio import create_async_engine

from runner_actors.process_tree import descendants, send
from tests.bench.servers import end, runner_environment
from tests.bench.wire import ROOT
from tests.support.slipway import Slipway

ANSWER_SECONDS_MAX = 60
LEAVE_SECONDS_MAX = 10

# Ray.


class BareRay:
    """An actor of no particular kind on the server's own Ray, driven from another process."""

    def __init__(self, server: Slipway) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.yardsticks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | _ray_environment(server),
            text=True,
            # Ctrl-C is for the benchmark alone, which then ends the driver.
            start_new_session=True,
        )

    def __enter__(self) -> BareRay:
        return self

    def __exit__(self, *_: object) -> None:
        """The driver ends at the end of its input; it takes its actors along."""
        if self._process.stdin:
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LEAVE_SECONDS_MAX)
        end(self._process)

    def call(self, program: Path | None = None) -> tuple[float, float]:
        """Milliseconds from a call of a living actor to its method; to a process it started."""
        return self._ask("call", program)

    def create(self, program: Path | None = None) -> tuple[float, float]:
        """The same for an actor that has to be made first, in a process of its own.

        An environment that nobody else has keeps it out of the spare processes that our gateway
        holds ready: this is what Ray takes by itself.
        """
        return self._ask("create", program)

    def _ask(self, verb: str, program: Path | None) -> tuple[float, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        question = {"verb": verb, "program": str(program) if program else None}
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS_MAX)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            raise RuntimeError("the Ray driver of the yardstick does not answer")
        entered, started = json.loads(line)
        return entered, started


def _ray_environment(server: Slipway) -> dict[str, str]:
    """Where the server's Ray is and how to get in, as its gateway was told."""
    told = runner_environment(server)
    own = {name: value for name, value in told.items() if name.startswith(("RAY_", "SLIPWAY_R"))}
    # As the gateway does: or Ray replaces a loopback address by the machine's own.
    return own | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


class Bare:
    """The actor of the yardstick: notes when its method is entered, and when a program runs."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    def call(self, program: str | None) -> tuple[int, int]:
        entered = time.time_ns()
        if program is not None:
            command = [program, "version"]
            self._processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        return entered, time.time_ns()

    def settle(self) -> None:
        """Wait for the programs, outside of what is measured."""
        while self._processes:
            self._processes.pop().wait()


class _Driver:
    def __init__(self) -> None:
        import ray

        self._ray = ray
        ray.init(
            address=os.environ["SLIPWAY_RUNNER__RAY_ADDRESS"],
            namespace="bench",
            log_to_driver=False,
            configure_logging=False,
        )
        self._living = self._make()
        ray.get(self._living.call.remote(None))

    def _make(self) -> Any:
        name = uuid.uuid4().hex
        actor = self._ray.remote(Bare).options(
            name=name,
            lifetime="detached",
            num_cpus=0,
            max_restarts=0,
            runtime_env={"env_vars": {"BENCH_ACTOR": name}},
        )
        return actor.remote()

    def call(self, program: str | None) -> list[float]:
        began = time.time_ns()
        moments = self._ray.get(self._living.call.remote(program))
        self._ray.get(self._living.settle.remote())
        return [(moment - began) / 1e6 for moment in moments]

    def create(self, program: str | None) -> list[float]:
        began = time.time_ns()
        actor = self._make()
        moments = self._ray.get(actor.call.remote(program))
        self._ray.get(actor.settle.remote())
        self._ray.kill(actor)
        return [(moment - began) / 1e6 for moment in moments]

    def close(self) -> None:
        self._ray.kill(self._living)
        self._ray.shutdown()


def drive() -> None:
    """The driver's loop. Ray may print what it likes; the answers have a channel of their own."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    driver = _Driver()
    try:
        for line in sys.stdin:
            question = json.loads(line)
            print(json.dumps(getattr(driver, question["verb"])(question["program"])), file=answers)
    finally:
        driver.close()


# One INSERT per commit.


class SingleInserts:
    """Rows of a deployment's size, each in a durable transaction of its own, by SQLAlchemy."""

    def __init__(self, directory: Path, writers: int, text_bytes: int = 700) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._engine_url = f"sqlite+aiosqlite:///{directory / 'inserts.db'}"
        self._writers = writers
        self._text = "x" * text_bytes
        self._table = Table(
            "submissions",
            MetaData(),
            Column("position", Integer, primary_key=True),
            Column("id", Text, nullable=False, unique=True),
            Column("stack_id", Text, nullable=False, index=True),
            Column("settings", Text, nullable=False),
        )

    def rate(self, count: int) -> float:
        """Committed rows a second."""
        return asyncio.run(self._rate(count))

    async def _rate(self, count: int) -> float:
        engine = create_async_engine(
            self._engine_url, pool_size=1, max_overflow=0, connect_args={"isolation_level": None}
        )

        @event.listens_for(engine.sync_engine, "connect")
        def _configure(connection: Any, _record: Any) -> None:
            for pragma in ("journal_mode = WAL", "synchronous = FULL"):
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine.sync_engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        async with engine.begin() as connection:
            await connection.run_sync(self._table.metadata.create_all)
        ids = iter([uuid.uuid4().hex for _ in range(count)])

        async def write() -> None:
            for each in ids:
                row = {"id": each, "stack_id": each[:3], "settings": self._text}
                async with engine.begin() as connection:
                    await connection.execute(self._table.insert(), row)

        began = time.perf_counter()
        await asyncio.gather(*(write() for _ in range(self._writers)))
        seconds = time.perf_counter() - began
        await engine.dispose()
        return count / seconds


# The CLI.


class Cli:
    """The real CLI in a program's directory, logged in to one backend."""

    def __init__(
        self,
        tools: Path,
        directory: Path,
        home: Path,
        backend_url: str,
        token: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PULUMI", "SLIPWAY"))}
        self._environment = inherited | {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "PULUMI_HOME": str(home),
            "PULUMI_BACKEND_URL": backend_url,
            "PULUMI_ACCESS_TOKEN": token,
            "PULUMI_CONFIG_PASSPHRASE": "bench",
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            **(variables or {}),
        }

    def run(self, *arguments: str) -> float:
        """Run a command to its good end; gives its milliseconds."""
        began = time.perf_counter()
        process = subprocess.Popen(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate()
        except BaseException:
            # Language hosts and plugins are of other groups, and would outlive it.
            send([process.pid, *descendants(process.pid)], signal.SIGKILL)
            process.wait()
            raise
        milliseconds = (time.perf_counter() - began) * 1000
        if process.returncode:
            raise RuntimeError(f"pulumi {' '.join(arguments)} failed:\n{output[-3000:]}")
        return milliseconds

    def up(self) -> float:
        return self.run("up", "--yes", "--skip-preview")


def file_backend(
    tools: Path,
    directory: Path,
    scratch: Path,
    stack: str = "dev",
    variables: Mapping[str, str] | None = None,
) -> Cli:
    """The CLI on a new file backend, with a stack selected."""
    (scratch / "state").mkdir(parents=True)
    url = f"file://{scratch / 'state'}"
    cli = Cli(tools, directory, scratch / "home", url, variables=variables)
    cli.run("stack", "init", stack)
    return cli


if __name__ == "__main__":
    drive()

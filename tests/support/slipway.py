"""`slipway up` as a real process, and what a user of its REST API would do with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import httpx

from control_plane import toolchain
from tests.support.processes import marked
from tests.support.waiting import wait_for

USER = "ada"
TOKEN = "pul-" + "e2e0" * 12
MARK = "SUITE_MARK_OF_PROCESSES"
ENDED = ("succeeded", "failed", "skipped")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Slipway:
    """One server with its local Ray. Everything it starts carries a mark in its environment."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.mark = uuid.uuid4().hex
        self.settings = settings
        self.http = httpx.Client(
            base_url=self.url, headers={"Authorization": f"token {TOKEN}"}, timeout=60
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *arguments: str, wait: bool = True) -> Slipway:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLIPWAY", "RAY"))}
        environment |= {
            MARK: self.mark,
            "SLIPWAY_BOOTSTRAP_USER": USER,
            "SLIPWAY_BOOTSTRAP_TOKEN": TOKEN,
            **self.settings,
        }
        command = [sys.executable, "-m", "control_plane", "up", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--data-dir", str(self.data_dir), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if wait:
            self.wait_until_ready()
        return self

    def wait_until_ready(self, seconds: float = 120) -> None:
        def ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"slipway up ended: {self.process.stdout.read()}")
            try:
                return self.http.get("/health/ready").status_code == 200
            except httpx.HTTPError:
                return False

        wait_for(ready, f"{self.url} is ready\n{self.logs()}", seconds)

    def stop(self) -> str:
        """Ctrl-C; returns what was printed. Nothing that was started may be left."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            output, _ = self.process.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"slipway up did not stop\n{self.logs()}") from None
        wait_for(lambda: not self.processes(), f"no process left: {self.processes()}", 15)
        return output

    def processes(self) -> dict[int, str]:
        """Everything that carries this server's mark: pid -> command line."""
        return marked(f"{MARK}={self.mark}")

    def pids(self, part: str) -> list[int]:
        """Processes of this server whose command line contains the part."""
        return [pid for pid, line in self.processes().items() if part in line]

    def logs(self) -> str:
        texts = []
        for name in ("serve", "gateway", "ray"):
            path = self.data_dir / "log" / f"{name}.log"
            if path.exists():
                tail = path.read_text(errors="replace")[-3000:]
                texts.append(f"--- {name} ---\n{tail}")
        return "\n".join(texts)

    # What a user does.

    def stack(self, project: str, name: str = "dev", organization: str = USER) -> Stack:
        return Stack(self, organization, project, name).create()

    def cli_environment(self, home: Path) -> dict[str, str]:
        """An environment in which the real CLI is logged in to this server."""
        tools = toolchain.find()
        assert tools is not None, "make setup has not been run"
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PULUMI_", "SLIPWAY_"))},
            "PATH": f"{tools.bin_dir}:{os.environ['PATH']}",
            "PULUMI_BACKEND_URL": self.url,
            "PULUMI_ACCESS_TOKEN": TOKEN,
            "PULUMI_HOME": str(home),
            "PULUMI_SKIP_UPDATE_CHECK": "1",
        }


class Stack:
    """One stack of a server, reached by REST."""

    def __init__(self, slipway: Slipway, organization: str, project: str, name: str) -> None:
        self.slipway = slipway
        self.http = slipway.http
        self.organization, self.project, self.name = organization, project, name
        self.path = f"/api/stacks/{organization}/{project}/{name}"

    def create(self) -> Stack:
        answer = self.http.post(
            f"/api/stacks/{self.organization}/{self.project}", json={"stackName": self.name}
        )
        assert answer.status_code == 200, answer.text
        return self

    def submit(
        self,
        repository: Path | str | None,
        operation: str = "update",
        git: dict[str, Any] | None = None,
        install: bool = False,
        **request: Any,
    ) -> dict[str, Any]:
        body: dict[str, Any] = {"operation": operation, **request}
        if repository is not None and not install:
            # The test programs' environment has all they need; installing would take seconds.
            context = {"options": {"skipInstallDependencies": True}}
            body["operationContext"] = context | request.get("operationContext", {})
        if repository is not None:
            source = {"repoUrl": str(repository), "branch": "main", **(git or {})}
            body["sourceContext"] = {"git": source}
        answer = self.http.post(f"{self.path}/deployments", json=body)
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def deployment(self, deployment_id: str) -> dict[str, Any]:
        answer = self.http.get(f"{self.path}/deployments/{deployment_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait_for_status(
        self, deployment_id: str, *statuses: str, seconds: float = 90
    ) -> dict[str, Any]:
        """The deployment once it has one of the statuses."""
        last: dict[str, Any] = {}

        def reached() -> bool:
            last.update(self.deployment(deployment_id))
            return last["status"] in statuses

        try:
            wait_for(reached, f"{self.path} #{deployment_id} is {statuses}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{last}\n{self.log(deployment_id)}") from None
        return last

    def wait(self, deployment_id: str, seconds: float = 120) -> dict[str, Any]:
        """The deployment once it has ended."""
        return self.wait_for_status(deployment_id, *ENDED, seconds=seconds)

    def deploy(
        self, repository: Path | str | None, operation: str = "update", **request: Any
    ) -> dict[str, Any]:
        """Submit and wait for the end; fails unless it succeeded."""
        ended = self.wait(self.submit(repository, operation, **request)["id"])
        assert ended["status"] == "succeeded", f"{ended}\n{self.log(ended['id'])}"
        return ended

    def log(self, deployment_id: str) -> str:
        """The whole log as text."""
        return self.http.get(f"{self.path}/deployments/{deployment_id}/log").text

    def wait_for_log(self, deployment_id: str, text: str, seconds: float = 60) -> None:
        try:
            wait_for(lambda: text in self.log(deployment_id), f"{text!r} in the log", seconds)
        except AssertionError as error:
            state = self.deployment(deployment_id)
            raise AssertionError(f"{error}\n{state}\n{self.log(deployment_id)}") from None

    def outputs(self) -> dict[str, Any]:
        deployment = self.http.get(f"{self.path}/export").json()["deployment"]
        for resource in deployment.get("resources", []):
            if resource["type"] == "pulumi:pulumi:Stack":
                return dict(resource.get("outputs", {}))
        return {}

"""The real `pulumi` CLI as a user has it: its own home directory, one project, one server."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_plane import toolchain
from tests.support.app import TOKEN
from tests.support.programs import write


@dataclass
class Cli:
    """Runs commands in a project's directory, logged in to a server."""

    url: str
    project: Path
    home: Path
    token: str = TOKEN

    @property
    def environment(self) -> dict[str, str]:
        tools = toolchain.find()
        assert tools is not None, "make setup has not been run"
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PULUMI_", "SLIPWAY_"))},
            "PATH": f"{tools.bin_dir}:{os.environ['PATH']}",
            "PULUMI_ACCESS_TOKEN": self.token,
            "PULUMI_BACKEND_URL": self.url,
            "PULUMI_HOME": str(self.home),
            "PULUMI_SKIP_UPDATE_CHECK": "1",
        }

    def begin(
        self, *arguments: str, stdin: int = subprocess.DEVNULL, **environment: str
    ) -> subprocess.Popen[str]:
        """Start a command and let it run."""
        return subprocess.Popen(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.project,
            env=self.environment | environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(
        self, *arguments: str, status: int | None = 0, text: str = "", **environment: str
    ) -> str:
        """Run a command to its end, with a text to read; returns all that it printed."""
        with self.begin(*arguments, stdin=subprocess.PIPE, **environment) as process:
            output, _ = process.communicate(text)
        assert status is None or process.returncode == status, output
        return output

    def json(self, *arguments: str, **environment: str) -> Any:
        """Run a command that prints JSON and nothing else."""
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.project,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def up(self, *arguments: str, **more: Any) -> str:
        """`pulumi up` without its preview."""
        return self.run("up", "--yes", "--skip-preview", *arguments, **more)

    def program(self, text: str) -> None:
        """Replace the program."""
        write(self.project, {"__main__.py": text})

    def resources(self) -> list[str]:
        """The names of the resources in the stack's state."""
        deployment = self.json("stack", "export")["deployment"]
        return [each["urn"].rpartition("::")[2] for each in deployment.get("resources", [])]

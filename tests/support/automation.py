"""What the Automation API tests of all languages share: an environment, and programs to deploy.

The programs lie in one repository, as they do for users: reachable with a password over HTTP, with
a key over SSH.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.git_servers import SshServer, http_server, ssh_server
from tests.support.programs import HANGING, git, repository, virtualenv
from tests.support.slipway import Slipway

GIT_USER = "bot"
GIT_PASSWORD = "a-password-for-git"
PROJECT = "remote"

ECHO = """
import os, pathlib, pulumi

class Thing(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("test:index:Thing", name)
        self.register_outputs({})

Thing("thing")
prepared = pathlib.Path("prepared")
pulumi.export("region", os.environ.get("REGION", ""))
pulumi.export("key", pulumi.Output.secret(os.environ.get("KEY", "")))
pulumi.export("prepared", prepared.read_text() if prepared.exists() else "")
pulumi.export("nested", {"numbers": [1, 2.5], "nothing": None, "yes": True})
"""
"""Says what the deployment's request gave it."""

PREPARE = 'printf "%s" "prepared in $REGION" > prepared'
"""A pre-run command for it."""

FAILING = """
import pulumi
raise Exception("the remote program says no")
"""

PROGRAMS = {"echo": ECHO, "failing": FAILING, "hanging": HANGING}


@dataclass
class Sources:
    """One repository with a program in each of its folders."""

    http_url: str
    """Asks for GIT_USER and GIT_PASSWORD."""
    ssh_url: str
    ssh: SshServer
    key_file: Path
    head: str


@contextlib.contextmanager
def serving_sources(directory: Path) -> Iterator[Sources]:
    """Serve the repository over HTTP and SSH for as long as the block lasts."""
    project = (
        f"name: {PROJECT}\nruntime:\n  name: python\n  options:\n    virtualenv: {virtualenv()}\n"
    )
    files = {f"{name}/__main__.py": text for name, text in PROGRAMS.items()}
    files |= {f"{name}/Pulumi.yaml": project for name in PROGRAMS}
    plain = repository(directory / "programs", PROJECT, files=files)
    git(directory, "clone", "--quiet", "--bare", str(plain), "programs.git")
    with (
        http_server(directory, GIT_USER, GIT_PASSWORD) as http,
        ssh_server(directory / "ssh") as ssh,
    ):
        yield Sources(
            http_url=f"{http}/programs.git",
            ssh_url=ssh.url(directory / "programs.git"),
            ssh=ssh,
            key_file=directory / "ssh" / "user",
            head=git(plain, "rev-parse", "HEAD"),
        )


def client_environment(slipway: Slipway, home: Path) -> dict[str, str]:
    """What a user exports before starting a program that uses the Automation API."""
    # Of a workspace without a directory, the SDKs leave a temporary one behind.
    (home / "tmp").mkdir(parents=True, exist_ok=True)
    environment = slipway.cli_environment(home)
    wanted = ("PATH", "PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN", "PULUMI_HOME")
    return {name: environment[name] for name in wanted} | {"TMPDIR": str(home / "tmp")}

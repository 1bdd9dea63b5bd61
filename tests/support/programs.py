"""Small real Pulumi programs in real Git repositories, for the tests to deploy.

They run on this environment's own Python, which has `pulumi`, so that no test waits for a
`pip install` that it does not test.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

OUTPUTS = """
import pulumi
pulumi.export("answer", 42)
"""

FAILING = """
import pulumi
raise Exception("the program says no")
"""

NOT_PYTHON = """
def broken(:
"""

HANGING = """
import sys, time
print("hanging now", flush=True)
time.sleep(3600)
"""

DEAF = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf now", flush=True)
time.sleep(3600)
"""

SLOW = """
import pulumi, time
from pulumi.dynamic import CreateResult, Resource, ResourceProvider

class Provider(ResourceProvider):
    def create(self, props):
        time.sleep(float(props["seconds"]))
        return CreateResult("made", props)

class Slow(Resource):
    def __init__(self, name, seconds):
        super().__init__(Provider(), name, {"seconds": seconds})

print("creating slowly", flush=True)
Slow("slow", float(pulumi.Config().get("seconds") or SECONDS))
pulumi.export("done", True)
"""

RESOURCES = """
import pulumi

class Thing(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("test:index:Thing", name)
        self.register_outputs({"name": name})

for number in range(COUNT):
    Thing(f"thing-{number}")
pulumi.export("count", COUNT)
"""


NOT_FOR_PROGRAMS = "pulumi_cloud_sdk"
"""A package that says it needs a plugin: every `pulumi up` would look for that in vain."""


def virtualenv() -> Path:
    """A virtual environment with `pulumi` for all test programs, made once per Python and lock.

    It takes its packages from this environment, which `pulumi install` must not touch.
    """
    lock = (Path(__file__).parent.parent.parent / "requirements.lock").read_bytes()
    text = lock + sys.prefix.encode() + sys.version.encode() + NOT_FOR_PROGRAMS.encode()
    key = hashlib.sha256(text).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cache / "slipway" / f"test-programs-{key}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (place / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
            packages = next(place.glob("lib/python*/site-packages"))
            (packages / "these.pth").write_text(f"{_links(place.with_suffix('.packages'))}\n")
            # As `pulumi install` does; the first one would replace pip under the others' feet.
            tools = ["pip", "setuptools", "wheel"]
            pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--upgrade"]
            subprocess.run([*pip, *tools], check=True)
            (place / "ready").touch()
    return place


def _links(directory: Path) -> Path:
    """A directory of links to this environment's packages, outside of any that pip may change."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if not package.name.startswith(NOT_FOR_PROGRAMS):
            (directory / package.name).symlink_to(package)
    return directory


def git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=directory, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def repository(
    directory: Path, project: str, program: str = OUTPUTS, *, files: dict[str, str] | None = None
) -> Path:
    """A repository with one Python program on branch `main`; returns its path."""
    directory.mkdir(parents=True)
    write(
        directory,
        {
            "Pulumi.yaml": f"""
                name: {project}
                runtime:
                  name: python
                  options:
                    virtualenv: {virtualenv()}
                """,
            "__main__.py": program,
            **(files or {}),
        },
    )
    git(directory, "init", "--quiet", "--initial-branch=main")
    commit(directory, "The program")
    return directory


def write(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))


def commit(directory: Path, message: str) -> str:
    """Commit everything; returns the commit."""
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(directory, "rev-parse", "HEAD")

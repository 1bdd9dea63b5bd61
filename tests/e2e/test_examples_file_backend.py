"""The examples, run by the real CLI on a machine's own state: what a new user does first.

Each takes the whole way: install, create, find nothing to do, change, destroy.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from control_plane import toolchain

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("examples")]

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS_MAX = 300


@pytest.fixture(scope="module")
def bin_dir() -> Path:
    found = toolchain.find()
    if found is None:
        pytest.fail("There is no Pulumi CLI; run `make setup` first.")
    return found.bin_dir


@dataclass
class Program:
    """A copy of an example, with a stack `dev` in a folder of its own."""

    directory: Path
    state: Path
    environment: dict[str, str]

    def pulumi(self, *arguments: str) -> str:
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
        )
        assert done.returncode == 0, f"pulumi {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def up(self, *arguments: str) -> str:
        return self.pulumi("up", "--yes", "--skip-preview", *arguments)

    def outputs(self) -> dict[str, object]:
        printed = self.pulumi("stack", "output", "--json", "--show-secrets")
        outputs: dict[str, object] = json.loads(printed)
        return outputs

    def resources(self) -> list[dict[str, object]]:
        exported = json.loads(self.pulumi("stack", "export"))
        resources: list[dict[str, object]] = exported["deployment"].get("resources", [])
        return resources

    def stored(self) -> str:
        return "".join(
            path.read_text(errors="replace") for path in self.state.rglob("*") if path.is_file()
        )


@pytest.fixture(params=["python", "nodejs", "go"])
def program(request: pytest.FixtureRequest, tmp_path: Path, bin_dir: Path) -> Iterator[Program]:
    generated = shutil.ignore_patterns("venv", "node_modules", "Pulumi.*.yaml", "__pycache__")
    directory = tmp_path / "program"
    shutil.copytree(EXAMPLES / request.param, directory, ignore=generated)
    state = tmp_path / "state"
    state.mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")},
        "PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}",
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_BACKEND_URL": state.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "correct horse battery staple",
        "PULUMI_SKIP_UPDATE_CHECK": "1",
    }
    made = Program(directory, state, environment)
    made.pulumi("install")
    made.pulumi("stack", "init", "dev")
    yield made
    made.pulumi("destroy", "--yes", "--skip-preview")
    assert made.resources() == []


def test_an_example_lives_a_whole_life(program: Program) -> None:
    printed = program.up()
    first = program.outputs()
    assert first["greeting"] == "Hello, world!"
    assert first["size"] == 16
    assert len(str(first["password"])) == 16
    assert str(first["password"]) not in printed + program.stored()

    program.up("--expect-no-changes")
    assert program.outputs() == first

    program.pulumi("config", "set", "name", "Ana")
    program.pulumi("config", "set", "size", "20")
    program.up()
    second = program.outputs()
    assert second["greeting"] == "Hello, Ana!"
    assert second["size"] == 20
    assert len(str(second["password"])) == 20

    program.pulumi("config", "set", "--secret", "password", "hunter2-hunter2")
    printed = program.up()
    assert program.outputs()["password"] == "hunter2-hunter2"
    assert "hunter2-hunter2" not in printed + program.stored()


# The launcher in front of the Python host, with a host that only says how it was called.

SAYS_HOW = '#!/bin/sh\nprintf "%s\\n" "$@"\n'


@pytest.fixture
def launcher(tmp_path: Path, bin_dir: Path) -> Path:
    if not (bin_dir / "pulumi-language-python-host").is_file():
        pytest.skip("this CLI came with hosts of its own age, which need no launcher")
    copy = tmp_path / "bin" / "pulumi-language-python"
    copy.parent.mkdir()
    shutil.copy(bin_dir / copy.name, copy)
    host = copy.with_name("pulumi-language-python-host")
    host.write_text(SAYS_HOW)
    host.chmod(0o755)
    return copy


@pytest.mark.parametrize(
    ("file", "content", "virtualenv"),
    [
        ("Pulumi.yaml", "runtime: {name: python, options: {virtualenv: venv}}", "venv"),
        ("Pulumi.yaml", "runtime:\n  name: python\n  options:\n    virtualenv: ../v\n", "../v"),
        ("Pulumi.yml", 'runtime: {name: python, options: {virtualenv: "/opt/v"}}', "/opt/v"),
        ("PulumiPolicy.yaml", "runtime: {name: python, options: {virtualenv: venv}}", "venv"),
        ("Pulumi.yaml", "runtime: python", None),
        ("Pulumi.yaml", "runtime: {name: python}", None),
        ("Pulumi.yaml", "runtime: {name: python, options: {typechecker: mypy}}", None),
        ("Pulumi.yaml", "runtime: [this, is: not, a project", None),
        ("other.yaml", "runtime: {name: python, options: {virtualenv: venv}}", None),
    ],
)
def test_the_launcher_tells_the_host_which_environment_to_use(
    launcher: Path, tmp_path: Path, file: str, content: str, virtualenv: str | None
) -> None:
    project = tmp_path / "project"
    (project / "src" / "deep").mkdir(parents=True)
    (project / file).write_text(content)
    told = [f"-root={project}", f"-virtualenv={virtualenv}"] if virtualenv else []
    for directory in (project, project / "src" / "deep"):
        called = subprocess.run(
            [launcher, "127.0.0.1:4711"], cwd=directory, capture_output=True, text=True, check=True
        )
        assert called.stdout.splitlines() == [*told, "127.0.0.1:4711"]

"""What a machine can judge about the repository itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from control_plane import config_example

ROOT = Path(__file__).resolve().parent.parent.parent


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_the_example_configuration_is_generated() -> None:
    assert (ROOT / "configs" / "slipway.example.toml").read_text() == config_example.render()


@pytest.mark.parametrize("folder", ["control_plane", "runner_actors"])
def test_every_module_says_what_it_is_for(folder: str) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*.py")
        if "migrations" not in path.parts and not path.read_text().lstrip().startswith('"""')
    ]
    assert silent == []


def test_no_lock_file_holds_an_address() -> None:
    locks = [path for path in _tracked() if path.name.endswith((".lock", "package-lock.json"))]
    assert locks
    for path in locks:
        assert "https://" not in path.read_text(), path


def test_no_file_is_everyones() -> None:
    """A module of this size has more than one reason to change."""
    long = {
        str(path.relative_to(ROOT)): lines
        for path in _tracked()
        if path.suffix == ".py"
        and "migrations" not in path.parts
        and (lines := len(path.read_text().splitlines())) > 500
    }
    assert long == {}


def test_the_import_rules_name_every_module_of_the_runner_side() -> None:
    rules = (ROOT / "pyproject.toml").read_text()
    modules = {path.stem for path in (ROOT / "runner_actors").glob("*.py")} - {
        "__init__",
        "contract",
    }
    assert {name for name in modules if f'"runner_actors.{name}",' not in rules} == set()


def test_every_make_target_that_the_documents_name_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for document in ("README.md", "CONTRIBUTING.md"):
        for line in (ROOT / document).read_text().splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "make":
                assert f"\n{words[1]}:" in makefile, line

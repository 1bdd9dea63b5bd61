"""The program in the clone: its directory, its `Pulumi.yaml`, and the dependencies beside it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner_actors.attempt import Attempt, Failure, Program
from runner_actors.environment import program_environment
from runner_actors.steps.remote import SourceRefused

PROJECT_FILES = ("Pulumi.yaml", "Pulumi.yml", "Pulumi.json")
PROJECT_BYTES_MAX = 1 << 20
_KEY_VERSION = b"1"
_DEPENDENCY_FILES = re.compile(
    r"requirements.*\.txt|constraints.*\.txt|pyproject\.toml|setup\.(py|cfg)|uv\.lock|uv\.toml"
    r"|poetry\.(lock|toml)|Pipfile(\.lock)?|\.python-version|package(-lock)?\.json|\.npmrc"
    r"|npm-shrinkwrap\.json|yarn\.lock|\.yarnrc(\.yml)?|pnpm-(lock|workspace)\.yaml|bun\.lockb?"
    r"|\.node-version|\.nvmrc|go\.(mod|sum|work)|.*\.(cs|fs|vb)proj|packages\.lock\.json"
    r"|pom\.xml|build\.gradle(\.kts)?|\.tool-versions"
)
_MOVING = re.compile(rb"git\+|file:|link:|\bpath\s*=|\.\.?/|^\s*-e\b|--editable", re.M)
"""A dependency that may change although the file that names it does not."""
_TOOLS = ("pulumi", "python3", "node", "npm", "go", "dotnet", "java")


def find(attempt: Attempt) -> Failure | None:
    """Find the program that the settings name, and set up the environment it will have."""
    grant = attempt.grant
    try:
        program = attempt.program or _program(attempt)
    except SourceRefused as refusal:
        return Failure("source_error", str(refusal))
    if program.name != grant.project:
        return Failure(
            "source_error",
            f"{PROJECT_FILES[0]} names the project '{program.name}', but this stack belongs to the "
            f"project '{grant.project}'. Correct the repository's directory or the name.",
        )
    attempt.program = program
    attempt.dependency_key = attempt.dependency_key or _dependency_key(attempt, program)
    attempt.environment = program_environment(
        attempt.machine,
        grant,
        attempt.workspace,
        attempt.secrets.environment,
        attempt.secrets.cli_token,
        attempt.source.commit if attempt.source else "",
    )
    return None


def _program(attempt: Attempt) -> Program:
    source = attempt.grant.source
    return read(attempt.workspace.source, source.repo_dir if source else "")


def read(source: Path, repo_dir: str) -> Program:
    """The program in a directory of the clone. Raises SourceRefused."""
    directory = _directory(source, repo_dir)
    shown = repo_dir.strip("/") or "."
    file = next((file for name in PROJECT_FILES if (file := directory / name).is_file()), None)
    if file is None:
        raise SourceRefused(f"There is no Pulumi.yaml in '{shown}' of the repository.")
    content = _parsed(file)
    if not isinstance(content, dict) or not isinstance(content.get("name"), str):
        raise SourceRefused(f"'{shown}/{file.name}' of the repository has no project name.")
    runtime = content.get("runtime")
    described = runtime if isinstance(runtime, dict) else {"name": runtime}
    options = described.get("options")
    return Program(
        directory,
        content["name"],
        str(described.get("name") or ""),
        options if isinstance(options, dict) else {},
    )


def _directory(source: Path, repo_dir: str) -> Path:
    parts = [part for part in repo_dir.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in repo_dir:
        raise SourceRefused(f"The directory '{repo_dir}' is not inside the repository.")
    directory = source.joinpath(*parts)
    if not directory.is_dir():
        raise SourceRefused(f"The repository has no directory '{repo_dir}'.")
    if not directory.resolve().is_relative_to(source.resolve()):
        raise SourceRefused(f"The directory '{repo_dir}' is not inside the repository.")
    return directory


def _parsed(file: Path) -> Any:
    import yaml  # type: ignore[import-untyped]  # late: a runner's start is mostly imports

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        if file.stat().st_size > PROJECT_BYTES_MAX:
            raise SourceRefused(f"{file.name} of the repository is too large.")
        return yaml.load(file.read_text(), Loader=loader)  # noqa: S506  both are safe loaders
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise SourceRefused(f"{file.name} of the repository is not valid YAML.") from None
    except OSError as problem:
        raise SourceRefused(f"{file.name} cannot be read: {problem.strerror}.") from None


# Dependencies. They stay in the clone while what they were made from stays the same.


def kept_dependencies(attempt: Attempt, made_from: str) -> list[str]:
    """Patterns (for `git clean --exclude`) of the dependencies that still fit; often none."""
    try:
        program = attempt.program = _program(attempt)
    except SourceRefused:
        return []
    attempt.dependency_key = _dependency_key(attempt, program)
    if made_from != attempt.dependency_key:
        return []
    relative = os.path.relpath(program.directory, attempt.workspace.source)
    inside = "" if relative == "." else f"/{relative}"
    own = {".venv", "venv", "sdks", _virtualenv(program)} - {""}
    return ["node_modules", "/.venv", *sorted(f"{inside}/{name}" for name in own)]


def dependencies_lie_there(program: Program, source: Path) -> bool:
    """Whether what an installation puts beside the program is there."""
    if program.runtime == "nodejs":
        return any((d / "node_modules").is_dir() for d in _upwards(program.directory, source))
    virtualenv = _virtualenv(program)
    if program.runtime == "python" and virtualenv:
        return (program.directory / virtualenv / "pyvenv.cfg").is_file()
    return True


def _dependency_key(attempt: Attempt, program: Program) -> str:
    """Everything that decides what an installation would give, as one hash."""
    source = attempt.workspace.source
    digest = hashlib.sha256(_KEY_VERSION)
    moving = False
    for file in _dependency_files(program.directory, source):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(source)}\0{len(content)}\0".encode() + content)
        moving = moving or (file.suffix not in (".lock", ".sum") and bool(_MOVING.search(content)))
    for command in attempt.grant.pre_run_commands:
        digest.update(f"run\0{command}\0".encode())
    path = attempt.machine.get("PATH")
    for tool in _TOOLS:
        digest.update(_identity(tool, path))
    if moving and attempt.source:
        digest.update(attempt.source.commit.encode())
    return digest.hexdigest()


def _dependency_files(directory: Path, source: Path) -> Iterator[Path]:
    """The project file, and what names dependencies in its directory or in one above."""
    for each in _upwards(directory, source):
        for name in sorted(os.listdir(each)):
            wanted = _DEPENDENCY_FILES.fullmatch(name) or name in PROJECT_FILES
            if wanted and (each / name).is_file():
                yield each / name


def _upwards(directory: Path, source: Path) -> Iterator[Path]:
    yield directory
    while directory != source:
        directory = directory.parent
        yield directory


def _virtualenv(program: Program) -> str:
    """The program's own virtual environment, if it lies in its directory."""
    name = program.options.get("virtualenv")
    if program.runtime != "python" or not isinstance(name, str):
        return ""
    inside = (program.directory / name).resolve().is_relative_to(program.directory.resolve())
    return name.strip("/") if inside and not name.startswith("/") else ""


def _identity(tool: str, path: str | None) -> bytes:
    found = shutil.which(tool, path=path)
    if not found:
        return b""
    stat = os.stat(found)
    return f"{os.path.realpath(found)}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode()

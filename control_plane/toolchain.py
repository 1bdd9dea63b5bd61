"""Gets the Pulumi CLI and its language hosts: from PATH, from Pulumi's installer, or built with Go.

What to get is written in `cluster/toolchain/recipe.toml`; this module knows how. `find` looks and
never builds; `ensure` looks, then installs into a cache outside the repository. A folder in that
cache is whole or absent: work happens in a sibling folder, under a lock, and ends with a rename.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

Source = Literal["path", "installer", "go"]
Progress = Callable[[str], None]

INSTALLER_URL = "https://get.pulumi.com"
CURL_OPTIONS = ("-fsSL", "--proto", "=https", "--connect-timeout", "5", "--max-time", "60")
VERSION_SECONDS_MAX = 10.0
STEP_SECONDS_MAX = 3600.0
HEARTBEAT_SECONDS = 15.0
STOP_SECONDS_MAX = 5.0

USE_PATH = "install Pulumi (https://www.pulumi.com/docs/install/) and put it on PATH"
REQUIRED = ("pulumi", "pulumi-language-python", "pulumi-language-nodejs", "pulumi-language-go")
MARKER = "toolchain.json"


class ToolchainError(Exception):
    """There is no usable Pulumi CLI, and the message says why and what to do."""


class Unavailable(Exception):
    """One of the ways to a toolchain does not work here; says why and what would help."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.why = why
        self.remedy = remedy


@dataclass(frozen=True)
class Toolchain:
    """A folder to put on PATH: it holds `pulumi` and everything the CLI starts by name."""

    bin_dir: Path
    version: str
    source: Source


# What callers use.


def find(cache_dir: str | Path = "") -> Toolchain | None:
    """What can be used at once; builds and downloads nothing."""
    recipe = read_recipe(cache_dir)
    try:
        return on_path(recipe)
    except Unavailable:
        return in_cache(recipe)


def ensure(progress: Progress | None = None, cache_dir: str | Path = "") -> Toolchain:
    """What can be used, after installing it when it has to be; blocks for minutes then."""
    recipe = read_recipe(cache_dir)
    try:
        return on_path(recipe)
    except Unavailable as missing:
        return in_cache(recipe) or _obtain(recipe, missing, progress or _to_stderr)


def version_of(bin_dir: Path) -> str:
    """Asks the CLI in a folder for its version, as in `3.259.0`."""
    command = [str(bin_dir / "pulumi"), "version"]
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "1"}
    try:
        answer = subprocess.check_output(
            command, env=environment, stderr=subprocess.PIPE, text=True, timeout=VERSION_SECONDS_MAX
        )
    except (OSError, subprocess.SubprocessError) as failure:
        raise ToolchainError(f"{command[0]} does not say its version: {failure}") from failure
    match = re.match(r"v?(\d+\.\d+\.\d+)", answer.strip())
    if match is None:
        raise ToolchainError(f"{command[0]} does not say its version: {answer.strip()!r}")
    return match[1]


# The recipe and the cache.


@dataclass(frozen=True)
class Recipe:
    """`recipe.toml`, where it lies, and the folder of the cache that belongs to it."""

    version: str
    directory: Path
    content: Mapping[str, Any]
    cached: Path


def read_recipe(cache_dir: str | Path = "") -> Recipe:
    """Reads the recipe from the checkout, or from where the wheel put it."""
    directory = _recipe_directory()
    content = tomllib.loads((directory / "recipe.toml").read_text())
    version = str(content["version"])
    cached = Path(cache_dir or _default_cache()) / f"{version}-{_fingerprint(directory)}"
    return Recipe(version, directory, content, cached.resolve())


def _default_cache() -> Path:
    """Outside the repository, shared by all checkouts of a user."""
    if configured := os.environ.get("SLIPWAY_TOOLCHAIN__CACHE_DIR"):
        return Path(configured).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "slipway" / "toolchain"


def in_cache(recipe: Recipe) -> Toolchain | None:
    """What an earlier `ensure` left, if it is whole."""
    bin_dir = recipe.cached / "bin"
    try:
        noted = json.loads((recipe.cached / MARKER).read_text())
    except (OSError, ValueError):
        return None
    whole = not _missing_in(bin_dir)
    return Toolchain(bin_dir, noted["version"], noted["source"]) if whole else None


def _recipe_directory() -> Path:
    checkout = Path(__file__).resolve().parent.parent
    for root in (checkout, Path(sys.prefix) / "share" / "slipway"):
        directory = root / "cluster" / "toolchain"
        if (directory / "recipe.toml").is_file():
            return directory
    raise ToolchainError(
        "Slipway's own files are incomplete: cluster/toolchain/recipe.toml is missing. "
        "Install Slipway again, or run it from a complete checkout."
    )


def _fingerprint(directory: Path) -> str:
    """Changes with anything that changes the result, so that a stale cache is never used."""
    digest = hashlib.sha256(f"{platform.system()} {platform.machine()}".encode())
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.suffix in {".toml", ".mod", ".sum", ".go"}:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(directory).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:12]


def _missing_in(bin_dir: Path) -> list[str]:
    return [name for name in REQUIRED if not os.access(bin_dir / name, os.X_OK)]


# The first way: PATH.


def on_path(recipe: Recipe) -> Toolchain:
    """The user's own installation, if it is new enough and whole."""
    found = shutil.which("pulumi")
    if found is None:
        raise Unavailable("there is no `pulumi` on PATH.", USE_PATH)
    if Path(found).resolve().parent == recipe.cached / "bin" and (ours := in_cache(recipe)):
        return ours
    version = _acceptable_version(Path(found), recipe)
    return Toolchain(_one_directory(Path(found), recipe), version, "path")


def _acceptable_version(found: Path, recipe: Recipe) -> str:
    try:
        version = version_of(found.parent)
    except ToolchainError as failure:
        raise Unavailable(f"{failure}.", USE_PATH) from failure
    oldest = str(recipe.content["version_min"])
    if _numbers(version) < _numbers(oldest):
        raise Unavailable(f"{found} is {version}; {oldest} or newer is needed.", USE_PATH)
    return version


def _one_directory(found: Path, recipe: Recipe) -> Path:
    """Hosts may lie beside the CLI, beside the link to it, or elsewhere on PATH."""
    for directory in (found.resolve().parent, found.parent.absolute()):
        if not _missing_in(directory):
            return directory
    executables = {name: shutil.which(name) for name in REQUIRED}
    missing = [name for name, path in executables.items() if path is None]
    if missing:
        raise Unavailable(f"{found} has no {', '.join(missing)} beside it or on PATH.", USE_PATH)
    targets = {name: os.path.abspath(path) for name, path in executables.items() if path}
    try:
        return _gather(recipe.cached.parent, targets)
    except OSError as failure:
        why = f"{found} and its language hosts lie apart, and linking them failed: {failure}."
        raise Unavailable(why, USE_PATH) from failure


def _gather(cache: Path, targets: Mapping[str, str]) -> Path:
    """One folder of links, since a runner puts one folder on PATH."""
    digest = hashlib.sha256(json.dumps(targets).encode()).hexdigest()[:12]
    gathered = cache / f"path-{digest}" / "bin"
    if not _missing_in(gathered):
        return gathered
    with _workspace(gathered.parent) as workspace:
        links = workspace / "links"
        (links / "bin").mkdir(parents=True)
        for name, target in targets.items():
            (links / "bin" / name).symlink_to(target)
        with contextlib.suppress(OSError):  # another process was faster, with the same links
            links.rename(gathered.parent)
    return gathered


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


# The ways that install: one process at a time, in a workspace, finished by a rename.


def _obtain(recipe: Recipe, missing: Unavailable, say: Progress) -> Toolchain:
    try:
        with _lock(recipe.cached, say):
            return in_cache(recipe) or _first_that_works(recipe, missing, say)
    except OSError as failure:
        raise ToolchainError(
            f"The cache of toolchains, {recipe.cached.parent}, cannot be used: {failure}. "
            "Make room and let this user write there, or set SLIPWAY_TOOLCHAIN__CACHE_DIR."
        ) from failure


def _first_that_works(recipe: Recipe, missing: Unavailable, say: Progress) -> Toolchain:
    _remove_abandoned(recipe.cached)
    failures = [("PATH", missing)]
    for title, source, install in WAYS:
        try:
            return _install(recipe, source, install, say)
        except Unavailable as failure:
            say(f"toolchain: {title}: {failure.why}")
            failures.append((title, failure))
    raise ToolchainError(_explanation(failures))


def _install(recipe: Recipe, source: Source, install: Installer, say: Progress) -> Toolchain:
    started = time.monotonic()
    with _workspace(recipe.cached) as workspace:
        result = workspace / "toolchain"
        (result / "bin").mkdir(parents=True)
        install(recipe, workspace, result, say)
        _check(recipe, result / "bin")
        toolchain = Toolchain(recipe.cached / "bin", recipe.version, source)
        _publish(result, toolchain)
    say(f"toolchain: ready after {time.monotonic() - started:.0f} s: {toolchain.bin_dir}")
    return toolchain


def _check(recipe: Recipe, bin_dir: Path) -> None:
    remedy = "remove the cache folder and try again; report it if it stays"
    if missing := _missing_in(bin_dir):
        raise Unavailable(f"the result has no {', '.join(missing)}.", remedy)
    try:
        version = version_of(bin_dir)
    except ToolchainError as failure:
        raise Unavailable(f"{failure}.", remedy) from failure
    if version != recipe.version:
        raise Unavailable(f"the result is {version} instead of {recipe.version}.", remedy)


def _publish(result: Path, toolchain: Toolchain) -> None:
    noted = {"version": toolchain.version, "source": toolchain.source}
    (result / MARKER).write_text(json.dumps(noted))
    final = toolchain.bin_dir.parent
    if final.exists():  # damaged, or we would not have come here
        shutil.rmtree(final)
    result.rename(final)


@contextlib.contextmanager
def _lock(final: Path, say: Progress) -> Iterator[None]:
    """The file stays: removing it would let two processes lock two files of one name."""
    final.parent.mkdir(parents=True, exist_ok=True)
    with final.with_name(f"{final.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("toolchain: another process is installing it; waiting for that one")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _workspace(final: Path) -> Iterator[Path]:
    """A sibling of the result, hence on the same file system; gone afterwards whatever happens."""
    final.parent.mkdir(parents=True, exist_ok=True)
    workspace = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    try:
        yield workspace
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _remove_abandoned(final: Path) -> None:
    """What a killed process left; the lock says that nobody works there any more."""
    for workspace in final.parent.glob(f".{final.name}-*"):
        shutil.rmtree(workspace, ignore_errors=True)


def _explanation(failures: Sequence[tuple[str, Unavailable]]) -> str:
    lines = ["Slipway needs the Pulumi CLI, and none of the three ways to get it worked:"]
    lines += [f"  {n}. {title}: {why.why}" for n, (title, why) in enumerate(failures, start=1)]
    lines += ["Any one of these helps; then run `make setup` again:"]
    lines += [f"  - {why.remedy}" for _, why in failures]
    return "\n".join(lines)


# The second way: Pulumi's installer.


def _run_installer(recipe: Recipe, workspace: Path, result: Path, say: Progress) -> None:
    remedy = f"let this machine reach {INSTALLER_URL}"
    if shutil.which("curl") is None:  # the installer itself calls it, too
        raise Unavailable("curl is not installed.", f"install curl, and {remedy}")
    script = str(workspace / "install.sh")
    # The script writes to $HOME, $TMPDIR and the working directory: make all three ours.
    environment = {**os.environ, "HOME": str(workspace), "TMPDIR": str(workspace)}
    fetch = ["curl", *CURL_OPTIONS, "--output", script, INSTALLER_URL]
    install = ["sh", script, "--version", recipe.version]
    install += ["--install-root", str(result), "--no-edit-path"]
    steps = Steps(2, environment, remedy, say)
    steps.run(f"fetching the installer from {INSTALLER_URL}", fetch, workspace)
    steps.run(f"installing pulumi {recipe.version}", install, workspace)


# The third way: Go.


def _build_with_go(recipe: Recipe, workspace: Path, result: Path, say: Progress) -> None:
    remedy = f"install Go {recipe.content['go_version_min']} or newer (https://go.dev/doc/install)"
    if shutil.which("go") is None:
        raise Unavailable("Go is not installed.", remedy)
    environment = {**os.environ, **recipe.content["go"]["environment"], "GOTMPDIR": str(workspace)}
    executables, scripts = recipe.content["executable"], recipe.content["scripts"]
    remedy += ", on a machine that reaches a Go module proxy"
    steps = Steps(len(executables) + len(scripts), environment, remedy, say)
    for executable in executables:
        _build(recipe, executable, result / "bin", steps)
    for group in scripts:
        _copy_scripts(recipe, group, result / "bin", steps)


def _build(recipe: Recipe, executable: Mapping[str, str], bin_dir: Path, steps: Steps) -> None:
    go, name = recipe.content["go"], executable["name"]
    note = f" ({executable['note']})" if "note" in executable else ""
    ldflags = f"{go['ldflags']} {executable.get('ldflags', '')}".strip()
    command = ["go", "build", *go["flags"], "-ldflags", ldflags, "-o", str(bin_dir / name)]
    directory = recipe.directory / executable["module"]
    steps.run(f"building {name} with Go{note}", [*command, executable["package"]], directory)


def _copy_scripts(recipe: Recipe, group: Mapping[str, Any], bin_dir: Path, steps: Steps) -> None:
    command = ["go", "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", group["source"]]
    answer = steps.run("copying scripts", command, recipe.directory / group["module"])
    source = Path(answer.splitlines()[-1])
    for file in group["files"]:
        target = bin_dir / Path(file).name
        shutil.copyfile(source / file, target)
        target.chmod(0o755)


# Commands that may take minutes.


@dataclass
class Steps:
    """Runs one command after another, and says every few seconds where it is."""

    total: int
    environment: Mapping[str, str]
    remedy: str
    say: Progress
    number: int = 0

    def run(self, what: str, command: Sequence[str], directory: Path) -> str:
        """Gives what the command printed, or fails with the end of it."""
        self.number += 1
        self._report(what)
        with tempfile.TemporaryFile() as output:
            how = self._wait(self._start(command, directory, output))
            output.seek(0)
            printed = output.read().decode(errors="replace")
        if how:
            raise Unavailable(f"`{command[0]}` {how}{_last_lines(printed)}", self.remedy)
        return printed

    def _start(
        self, command: Sequence[str], directory: Path, output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def _wait(self, process: subprocess.Popen[bytes]) -> str:
        """Empty when all went well, otherwise how it ended."""
        started = time.monotonic()
        try:
            while (elapsed := time.monotonic() - started) < STEP_SECONDS_MAX:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(HEARTBEAT_SECONDS)
                    return f"failed with exit code {code}" if code else ""
                self._report(f"{elapsed + HEARTBEAT_SECONDS:.0f} s so far")
            return f"did not end in {STEP_SECONDS_MAX:.0f} s"
        finally:
            _stop(process)

    def _report(self, what: str) -> None:
        self.say(f"toolchain: step {self.number} of {self.total}: {what}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Politely first: Go stops its compilers and cleans up after an interrupt."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS_MAX)


def _last_lines(printed: str, lines_max: int = 5) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", printed)
    lines = [line.rstrip() for line in plain.splitlines() if line.strip()]
    return ":" + "".join(f"\n       {line}" for line in lines[-lines_max:]) if lines else "."


Installer = Callable[[Recipe, Path, Path, Progress], None]

WAYS: tuple[tuple[str, Source, Installer], ...] = (
    ("Pulumi's installer", "installer", _run_installer),
    ("Go build", "go", _build_with_go),
)


# The command line.


def main(arguments: Sequence[str] | None = None) -> int:
    """`path`, `install` or `version`; the answer alone goes to stdout."""
    verbs: dict[str, Callable[[], object]] = {
        "path": lambda: _found().bin_dir,
        "install": lambda: ensure().bin_dir,
        "version": lambda: "pulumi {0.version} ({0.source}) in {0.bin_dir}".format(_found()),
    }
    chosen = list(sys.argv[1:] if arguments is None else arguments)
    if len(chosen) != 1 or chosen[0] not in verbs:
        print(f"usage: python -m control_plane.toolchain {'|'.join(verbs)}", file=sys.stderr)
        return 2
    try:
        print(verbs[chosen[0]]())
    except ToolchainError as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("toolchain: stopped; nothing was left half-made", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _found() -> Toolchain:
    found = find()
    if found is None:
        raise ToolchainError("There is no Pulumi CLI yet. Run `make setup` to install it.")
    return found


if __name__ == "__main__":
    raise SystemExit(main())

"""Where the Pulumi CLI comes from: order, errors, and what a half-finished build leaves (nothing).

Every machine here is made of shell scripts in one folder; nothing is built and nothing downloaded.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from control_plane import toolchain
from control_plane.toolchain import ToolchainError

HOSTS = ("pulumi-language-python", "pulumi-language-nodejs", "pulumi-language-go")
SYSTEM_TOOLS = ("sh", "cat", "chmod", "cp", "dirname", "echo", "mkdir", "rm", "sleep", "touch")

FETCHES_AN_INSTALLER = """
while [ "$1" != --output ]; do shift; done
cat > "$2" <<'SCRIPT'
[ "$1" = --version ] && [ "$3" = --install-root ] && [ "$5" = --no-edit-path ] || exit 9
for name in pulumi pulumi-language-python pulumi-language-nodejs pulumi-language-go; do
  printf '#!/bin/sh\\necho v%s\\n' "${INSTALLS:-$2}" > "$4/bin/$name"
  chmod +x "$4/bin/$name"
done
touch "$HOME/profile" "$TMPDIR/archive"
SCRIPT
"""

BUILDS = """
echo "$@" >> "$GO_CALLS"
if [ "$1" = list ]; then echo "$GO_MODULE"; exit 0; fi
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\necho v3.259.0\\n' > "$2"
chmod +x "$2"
"""


class Machine:
    """A PATH with a few harmless system tools and whatever a test installs."""

    def __init__(self, root: Path) -> None:
        self.bin = root / "bin"
        self.cache = root / "cache"
        self.go_calls = root / "go-calls"
        self.module = root / "module"
        self.bin.mkdir()
        for tool in SYSTEM_TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")

    def install(self, name: str, script: str, folder: Path | None = None) -> Path:
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def install_pulumi(self, version: str = "3.300.1", folder: Path | None = None) -> None:
        self.install("pulumi", f"echo v{version}", folder)
        for host in HOSTS:
            self.install(host, "true", folder)

    def install_go(self, script: str = BUILDS) -> None:
        for group in toolchain.read_recipe().content["scripts"]:
            for file in group["files"]:
                self.install(Path(file).name, "true", (self.module / file).parent)
        self.install("go", script)

    def left_over(self) -> list[str]:
        """What is in the cache besides whole toolchains and lock files."""
        return [
            path.name
            for path in self.cache.iterdir()
            if path.suffix != ".lock" and not (path / toolchain.MARKER).is_file()
        ]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setenv("PATH", str(made.bin))
    monkeypatch.setenv("SLIPWAY_TOOLCHAIN__CACHE_DIR", str(made.cache))
    monkeypatch.setenv("GO_CALLS", str(made.go_calls))
    monkeypatch.setenv("GO_MODULE", str(made.module))
    return made


def quiet(_line: str) -> None:
    pass


# On PATH.


def test_a_pulumi_on_path_is_taken_as_it_is(machine: Machine) -> None:
    machine.install_pulumi("3.300.1")
    found = toolchain.ensure(quiet)
    assert found == toolchain.Toolchain(machine.bin, "3.300.1", "path")
    assert toolchain.find() == found
    assert not machine.cache.exists()


def test_a_linked_pulumi_is_followed_to_its_hosts(machine: Machine, tmp_path: Path) -> None:
    machine.install_pulumi(folder=tmp_path / "opt" / "pulumi")
    (machine.bin / "pulumi").symlink_to(tmp_path / "opt" / "pulumi" / "pulumi")
    found = toolchain.find()
    assert found is not None
    assert found.bin_dir == tmp_path / "opt" / "pulumi"


def test_hosts_elsewhere_on_path_are_gathered_in_one_folder(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.install("pulumi", "echo v3.300.1")
    for host in HOSTS:
        machine.install(host, "true", tmp_path / "hosts")
    monkeypatch.setenv("PATH", f"{machine.bin}:{tmp_path / 'hosts'}")
    found = toolchain.find()
    assert found is not None
    assert sorted(os.listdir(found.bin_dir)) == sorted(["pulumi", *HOSTS])
    assert toolchain.version_of(found.bin_dir) == "3.300.1"
    assert toolchain.find() == found


@pytest.mark.parametrize("version", ["3.199.9", "2.300.0"])
def test_an_old_pulumi_on_path_is_not_taken(machine: Machine, version: str) -> None:
    machine.install_pulumi(version)
    assert toolchain.find() is None
    with pytest.raises(ToolchainError, match=rf"{version}; 3\.200\.0 or newer"):
        toolchain.ensure(quiet)


def test_a_pulumi_without_its_hosts_is_not_taken(machine: Machine) -> None:
    machine.install("pulumi", "echo v3.300.1")
    machine.install("pulumi-language-go", "true")
    with pytest.raises(ToolchainError, match="no pulumi-language-python, pulumi-language-nodejs"):
        toolchain.ensure(quiet)


@pytest.mark.parametrize("script", ["echo what", "exit 3"])
def test_a_pulumi_that_does_not_say_its_version_is_not_taken(machine: Machine, script: str) -> None:
    machine.install_pulumi()
    machine.install("pulumi", script)
    assert toolchain.find() is None


def test_the_version_is_read_without_its_decoration(machine: Machine) -> None:
    machine.install("pulumi", "echo v3.260.1-alpha.1234+abc")
    assert toolchain.version_of(machine.bin) == "3.260.1"


# Installing.


def test_the_installer_goes_before_the_build(machine: Machine) -> None:
    machine.install("curl", FETCHES_AN_INSTALLER)
    machine.install_go()
    lines: list[str] = []
    made = toolchain.ensure(lines.append)
    assert (made.source, made.version) == ("installer", "3.259.0")
    assert made.bin_dir.parent.parent == machine.cache
    assert made.bin_dir.parent.name.startswith("3.259.0-")
    assert not machine.go_calls.exists()
    assert [line.split(":")[1] for line in lines] == [
        " step 1 of 2",
        " step 2 of 2",
        " ready after 0 s",
    ]
    assert machine.left_over() == []


def test_the_build_follows_when_the_network_is_closed(machine: Machine) -> None:
    machine.install("curl", "echo 'Could not resolve host' >&2; exit 6")
    machine.install_go()
    made = toolchain.ensure(quiet)
    assert made.source == "go"
    expected = {executable["name"] for executable in toolchain.read_recipe().content["executable"]}
    assert expected | {"pulumi-language-python-exec"} <= set(os.listdir(made.bin_dir))
    assert os.access(made.bin_dir / "pulumi-resource-pulumi-python", os.X_OK)


def test_what_was_installed_is_found_and_not_installed_again(machine: Machine) -> None:
    machine.install_go()
    made = toolchain.ensure(quiet)
    calls = machine.go_calls.read_text()
    assert toolchain.find() == made
    assert toolchain.ensure(quiet) == made
    assert machine.go_calls.read_text() == calls


def test_our_own_folder_on_path_keeps_its_name(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.install_go()
    made = toolchain.ensure(quiet)
    monkeypatch.setenv("PATH", f"{made.bin_dir}:{machine.bin}")
    assert toolchain.find() == made


def test_an_installer_that_brings_another_version_is_not_believed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTALLS", "3.1.0")
    machine.install("curl", FETCHES_AN_INSTALLER)
    machine.install_go()
    lines: list[str] = []
    assert toolchain.ensure(lines.append).source == "go"
    assert any("the result is 3.1.0 instead of 3.259.0" in line for line in lines)


def test_the_error_says_for_all_three_ways_why_and_what_to_do(machine: Machine) -> None:
    machine.install("curl", "echo 'Could not resolve host' >&2; exit 6")
    machine.install_go("echo 'module lookup disabled' >&2; exit 1")
    with pytest.raises(ToolchainError) as failure:
        toolchain.ensure(quiet)
    assert str(failure.value).splitlines() == [
        "Slipway needs the Pulumi CLI, and none of the three ways to get it worked:",
        "  1. PATH: there is no `pulumi` on PATH.",
        "  2. Pulumi's installer: `curl` failed with exit code 6:",
        "       Could not resolve host",
        "  3. Go build: `go` failed with exit code 1:",
        "       module lookup disabled",
        "Any one of these helps; then run `make setup` again:",
        "  - install Pulumi (https://www.pulumi.com/docs/install/) and put it on PATH",
        "  - let this machine reach https://get.pulumi.com",
        "  - install Go 1.25.11 or newer (https://go.dev/doc/install), "
        "on a machine that reaches a Go module proxy",
    ]
    assert machine.left_over() == []
    assert toolchain.find() is None


def test_the_error_names_missing_tools(machine: Machine) -> None:
    with pytest.raises(ToolchainError, match=r"(?s)curl is not installed.*Go is not installed"):
        toolchain.ensure(quiet)


def test_an_unusable_cache_is_named(machine: Machine) -> None:
    machine.cache.write_text("a file where a folder should be")
    with pytest.raises(ToolchainError, match="set SLIPWAY_TOOLCHAIN__CACHE_DIR"):
        toolchain.ensure(quiet)


def test_a_long_step_says_that_it_goes_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "HEARTBEAT_SECONDS", 0.01)
    machine.install_go("sleep 0.1\n" + BUILDS)
    lines: list[str] = []
    toolchain.ensure(lines.append)
    assert any(line.endswith("step 1 of 9: 0 s so far") for line in lines)


def test_a_step_without_end_is_ended(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(toolchain, "STEP_SECONDS_MAX", 0.1)
    machine.install_go("exec sleep 3600")
    with pytest.raises(ToolchainError, match="`go` did not end"):
        toolchain.ensure(quiet)


# Whole or absent.


def break_off(machine: Machine) -> None:
    """What a process leaves that was killed in the middle of a build."""
    final = toolchain.read_recipe().cached
    machine.install_pulumi(
        "3.259.0", final.with_name(f".{final.name}-abcdef") / "toolchain" / "bin"
    )


def lose_the_marker(machine: Machine) -> None:
    machine.install_pulumi("3.259.0", toolchain.read_recipe().cached / "bin")


def lose_a_host(machine: Machine) -> None:
    machine.install_go()
    (toolchain.ensure(quiet).bin_dir / "pulumi-language-go").unlink()


def garble_the_marker(machine: Machine) -> None:
    machine.install_go()
    (toolchain.ensure(quiet).bin_dir.parent / toolchain.MARKER).write_text("{")


@pytest.mark.parametrize("damage", [break_off, lose_the_marker, lose_a_host, garble_the_marker])
def test_a_toolchain_that_is_not_whole_is_ignored_and_replaced(
    machine: Machine, damage: Callable[[Machine], None]
) -> None:
    damage(machine)
    assert toolchain.find() is None
    machine.install_go()
    assert toolchain.ensure(quiet).source == "go"
    assert toolchain.find() is not None
    assert machine.left_over() == []


def test_two_processes_build_once(machine: Machine) -> None:
    machine.install_go("sleep 0.05\n" + BUILDS)
    said: list[str] = []
    made: list[toolchain.Toolchain] = []
    threads = [
        threading.Thread(target=lambda: made.append(toolchain.ensure(said.append)))
        for _ in range(2)
    ]
    other = start_install()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert other.wait(30) == 0
    assert made[0] == made[1]
    calls = machine.go_calls.read_text().splitlines()
    assert len([call for call in calls if "cmd/pulumi " in f"{call} " and "build" in call]) == 1
    assert any("another process is installing it" in line for line in said)


def test_an_interrupt_leaves_nothing_half_made(machine: Machine) -> None:
    machine.install_go(BUILDS + "\nexec sleep 3600")
    process = start_install()
    assert process.stderr is not None
    while "building pulumi " not in (line := process.stderr.readline()):
        assert line, "it ended before it built"
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 130
    assert "nothing was left half-made" in process.stderr.read()
    assert machine.left_over() == []
    assert toolchain.find() is None


def start_install() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "control_plane.toolchain", "install"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A suite that runs in the background ignores SIGINT, and its children would, too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


# The recipe.


def test_the_cache_folder_follows_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "toolchain"
    shutil.copytree(toolchain.read_recipe().directory, copy)
    monkeypatch.setattr(toolchain, "_recipe_directory", lambda: copy)
    before = toolchain.read_recipe(tmp_path).cached
    (copy / "README.md").write_text("other words")
    assert toolchain.read_recipe(tmp_path).cached == before
    (copy / "cli" / "go.sum").write_text("")
    assert toolchain.read_recipe(tmp_path).cached != before


def test_the_cache_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIPWAY_TOOLCHAIN__CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert toolchain.read_recipe().cached.parent == tmp_path / "xdg" / "slipway" / "toolchain"
    monkeypatch.setenv("SLIPWAY_TOOLCHAIN__CACHE_DIR", str(tmp_path / "chosen"))
    assert toolchain.read_recipe().cached.parent == tmp_path / "chosen"
    assert toolchain.read_recipe(tmp_path / "given").cached.parent == tmp_path / "given"


def test_the_recipe_agrees_with_itself() -> None:
    recipe = toolchain.read_recipe()
    names = {executable["name"] for executable in recipe.content["executable"]}
    assert set(toolchain.REQUIRED) <= names
    for executable in recipe.content["executable"]:
        go_mod = (recipe.directory / executable["module"] / "go.mod").read_text()
        assert f"\ngo {recipe.content['go_version_min']}\n" in go_mod
        if not executable["package"].startswith("./"):
            assert f"\t{executable['package']}\n" in go_mod.replace("tool ", "\t")
    cli = next(e for e in recipe.content["executable"] if e["name"] == "pulumi")
    assert f"version.Version=v{recipe.version}" in cli["ldflags"]


def test_a_wheel_finds_the_recipe_where_it_was_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "share" / "slipway" / "cluster" / "toolchain"
    shutil.copytree(toolchain.read_recipe().directory, shared)
    monkeypatch.setattr(toolchain, "__file__", str(tmp_path / "lib" / "control_plane" / "x.py"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert toolchain.read_recipe().directory == shared
    assert tomllib.loads((shared / "recipe.toml").read_text())["version"]
    shutil.rmtree(shared)
    with pytest.raises(ToolchainError, match="own files are incomplete"):
        toolchain.find()


# The command line.


def test_path_prints_the_folder_alone(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.install_pulumi("3.300.1")
    assert toolchain.main(["path"]) == 0
    assert capsys.readouterr() == (f"{machine.bin}\n", "")
    assert toolchain.main(["version"]) == 0
    assert capsys.readouterr().out == f"pulumi 3.300.1 (path) in {machine.bin}\n"


def test_path_without_a_toolchain_says_how_to_get_one(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toolchain.main(["path"]) == 1
    answer = capsys.readouterr()
    assert answer.out == ""
    assert "make setup" in answer.err


@pytest.mark.parametrize("arguments", [[], ["build"], ["path", "twice"]])
def test_unknown_words_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert toolchain.main(arguments) == 2
    assert (
        "usage: python -m control_plane.toolchain path|install|version" in capsys.readouterr().err
    )

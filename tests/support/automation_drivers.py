"""The Automation API drivers: their languages' SDKs, installed or built once per version."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DRIVERS = ROOT / "tests" / "e2e" / "clients" / "automation"
NODEJS_PACKAGES = ("package.json", "package-lock.json")
NODEJS_VERSION = ROOT / "examples" / "nodejs"
"""Where the version of `@pulumi/pulumi` is pinned: the example and the driver use the same."""


def nodejs() -> list[str]:
    """The command that runs the Node.js driver."""

    def install(place: Path) -> None:
        for name in NODEJS_PACKAGES:
            shutil.copy(NODEJS_VERSION / name, place)
        npm = ["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(npm, cwd=place, check=True)

    place = _made_once("nodejs", [NODEJS_VERSION / name for name in NODEJS_PACKAGES], install)
    # Beside its packages, since that is where Node.js looks for them.
    driver = place / f"driver-{_digest([DRIVERS / 'driver.js'])}.js"
    partial = driver.with_suffix(f".{os.getpid()}")
    shutil.copy(DRIVERS / "driver.js", partial)
    partial.replace(driver)
    return ["node", str(driver)]


def go() -> list[str]:
    """The command that runs the Go driver."""
    module = DRIVERS / "go"

    def build(place: Path) -> None:
        # The flags of the toolchain's own build, so that both share Go's build cache.
        command = ["go", "build", "-trimpath", "-mod=readonly", "-buildvcs=false"]
        environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}
        subprocess.run(
            [*command, "-o", str(place / "driver"), "."], cwd=module, env=environment, check=True
        )

    sources = [module / name for name in ("go.mod", "go.sum", "main.go", "remote.go")]
    return [str(_made_once("go", sources, build) / "driver")]


def _made_once(name: str, sources: list[Path], make: Callable[[Path], None]) -> Path:
    """A directory outside of the repository with what is made of the sources, by one process."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cache / "slipway" / f"clients-{name}-{_digest(sources)}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (place / "ready").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            make(place)
            (place / "ready").touch()
    return place


def _digest(sources: list[Path]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]

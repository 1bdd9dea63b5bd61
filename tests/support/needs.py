"""What the suite needs beyond Python packages: installed where that is allowed, else named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NEEDS = {
    "chromium": "chromium",
    "git": "git",
    "node": "nodejs",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
}
SBIN = "/usr/sbin:/sbin"


def missing() -> dict[str, str]:
    path = os.environ.get("PATH", "") + os.pathsep + SBIN
    return {tool: package for tool, package in NEEDS.items() if not shutil.which(tool, path=path)}


def install(packages: list[str]) -> None:
    quiet = {"stdout": subprocess.DEVNULL}
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=False, env=environment, **quiet)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    subprocess.run(command, check=False, env=environment, **quiet)


def main() -> None:
    lacking = missing()
    if lacking and os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing for the tests:", ", ".join(sorted(lacking.values())), flush=True)
        install(sorted(lacking.values()))
        lacking = missing()
    if lacking:
        print(
            "The test suite needs what is not here: "
            + ", ".join(f"{tool} (Debian: {package})" for tool, package in lacking.items()),
            file=sys.stderr,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()

"""One file of a package on npm: fetched once into the user's cache, checked by the digest."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import subprocess
import tarfile
from pathlib import Path


def file(package: str, version: str, sha512: str, path: str) -> Path:
    """The file at this path in the package; `sha512` is the archive's, as npm gives it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = f"{package.lstrip('@').replace('/', '-')}-{version}"
    place = cache / "slipway" / name
    place.mkdir(parents=True, exist_ok=True)
    wanted = place / path.replace("/", "-")
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.exists():
            command = ["npm", "pack", "--silent", f"{package}@{version}"]
            subprocess.run(command, cwd=place, check=True, capture_output=True)
            archive = place / f"{name}.tgz"
            digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            assert digest == sha512, f"{package} {version} is not what it was: {digest}"
            with tarfile.open(archive) as tar:
                member = tar.extractfile(f"package/{path}")
                assert member is not None
                (place / "partial").write_bytes(member.read())
            (place / "partial").rename(wanted)
    return wanted

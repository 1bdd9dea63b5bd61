"""What Ray leaves on the disk of a machine: sessions, logs of workers, the access token."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

TAIL_BYTES = 2000
_PID = re.compile(r"[-_](\d+)\.(?:out|err|log)$")
"""Logs of workers and drivers are named after their process."""


class InUse(RuntimeError):
    """Another local Ray runs on the same directory."""


@contextlib.contextmanager
def exclusive(temp_dir: Path) -> Iterator[None]:
    """Hold Ray's directory for one process at a time, and make it; raises InUse."""
    temp_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    temp_dir.chmod(0o700)
    with (temp_dir / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(f"Another Ray runs in {temp_dir}.") from None
        yield


def address_file(ray_dir: Path) -> Path:
    """Ray writes its address here once a node is up."""
    return ray_dir / "ray_current_cluster"


def ray_dir(temp_dir: Path) -> Path:
    """Ray opens its directory to everybody, so it gets one inside ours, which is closed."""
    return temp_dir / "r"


def make_anew(temp_dir: Path) -> None:
    """An empty directory for Ray, whatever an earlier run left; for the holder of ours only."""
    shutil.rmtree(ray_dir(temp_dir), ignore_errors=True)
    ray_dir(temp_dir).mkdir(exist_ok=True)


def remove(temp_dir: Path) -> None:
    """Remove all files of Ray, and our directory if nothing else is in it; for its holder only."""
    shutil.rmtree(ray_dir(temp_dir), ignore_errors=True)
    (temp_dir / "lock").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        temp_dir.rmdir()


def prune_logs(ray_dir: Path) -> None:
    """Remove the logs of processes that have ended: each actor leaves five files."""
    for log in ray_dir.glob("session_*/logs/**/*.*"):
        pid = _PID.search(log.name)
        if pid and not os.path.exists(f"/proc/{pid[1]}"):
            log.unlink(missing_ok=True)


def ensure_token(path: Path) -> None:
    """Make the file that holds the cluster's access token, readable to this user alone.

    It comes into being whole: an empty one would keep the cluster from ever starting again.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size:
            return
        path.unlink()
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write_secret(beside, secrets.token_hex(32))
        # Linked, not renamed: of two that begin at once, the first one's token stays.
        with contextlib.suppress(FileExistsError):
            os.link(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _write_secret(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def tail(path: Path) -> str:
    """The end of a log, for a message."""
    with contextlib.suppress(OSError):
        return path.read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip()
    return ""

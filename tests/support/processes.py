"""Processes as a test sees them: found by what is in their environment, and ended."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def marked(mark: str) -> dict[int, str]:
    """All processes with `NAME=value` in their environment, this one excepted: pid -> command."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(entry.name)] = line.decode(errors="replace").strip()
    return {pid: line for pid, line in found.items() if line}


def end_marked(mark: str) -> None:
    """Kill what a test left behind on purpose, such as the plugins of an engine it killed."""
    for pid in marked(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

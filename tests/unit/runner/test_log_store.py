"""Who may read what a log store keeps in a directory."""

from __future__ import annotations

import os
from pathlib import Path

from runner_actors.log_store import DirectoryLogStore


async def test_logs_are_for_their_own_user_alone(tmp_path: Path) -> None:
    root = tmp_path / "kept" / "logs"
    before = os.umask(0o022)
    try:
        await DirectoryLogStore(root).put("org/project/one.1/0.log", b"text")
    finally:
        os.umask(before)
    modes = {path.is_dir(): path.stat().st_mode & 0o777 for path in (tmp_path / "kept").rglob("*")}
    assert modes == {True: 0o700, False: 0o600}
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700

"""The files of one stack on a node: its checkout, what each deployment starts fresh, the caches.

    stacks/<stack id>/<trust>/source   the clone; stays, with its dependencies, for the next time
                             /state    what the clone holds (JSON)
                             /lock     held by the shim whose processes may use all of this
                             /run      homes, temporary files: new for each deployment
    caches/<organization>/<trust>      package caches and Pulumi's plugins, shared by its stacks

Code of a pull request (see `contract.Trust`) never shares a file with code of a branch.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from runner_actors.contract import Grant

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
_OLD = "old-"
_MACHINE_SETTINGS = (
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    ".config/go/env",
    ".config/pip/pip.conf",
    ".config/uv/uv.toml",
    ".pip/pip.conf",
)
"""Which registries this machine uses: each deployment's home starts with a copy."""
_SHARED_BY_PULUMI = ("plugins", "policies")
"""What stays of a Pulumi home; its credentials and its own logs go with the deployment."""
_MACHINE_SETTINGS_BYTES_MAX = 64 * 1024


class SourceState(msgspec.Struct, kw_only=True):
    """What the clone holds. `fetched` is the object that was asked for: a commit, or a tag."""

    fetched: str = ""
    commit: str = ""
    message: str = ""
    author: str = ""
    dependencies: str = ""
    """The key of the dependencies that lie in the clone; empty while they may be incomplete."""
    caches_cleared_at_ms: int = 0
    """As the grant had it (see `contract.Grant`) for which the clone was made."""


class Workspace:
    """The paths of one stack's deployments under one trust, and the state of its clone."""

    def __init__(self, work_dir: str, grant: Grant) -> None:
        root = Path(work_dir).absolute()
        self.root = root / "stacks" / safe_name(grant.stack_id) / grant.trust
        self.cache = root / "caches" / safe_name(grant.organization) / grant.trust
        self.lock = self.root / "lock"
        self.source = self.root / "source"
        self.known_hosts = self.root / "known_hosts"
        self.run = self.root / "run"
        self.home = self.run / "home"
        self.temporary = self.run / "tmp"
        self.pulumi_home = self.run / "pulumi"
        self.pulumi_env = self.run / "PULUMI_ENV"
        self._state_path = self.root / "state"

    def create(self) -> None:
        """Make the directories that must be there before anything can be locked."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.cache.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def renew(self) -> None:
        """Throw away what the last deployment had for itself, and begin again. Raises OSError."""
        await self.clear()
        for directory in (self.run, self.home, self.temporary, self.pulumi_home, self.source):
            directory.mkdir(exist_ok=True, mode=0o700)
        for shared in _SHARED_BY_PULUMI:
            (self.cache / "pulumi" / shared).mkdir(parents=True, exist_ok=True)
            (self.pulumi_home / shared).symlink_to(self.cache / "pulumi" / shared)
        self.pulumi_env.touch(mode=0o600)
        _copy_machine_settings(self.home)

    async def clear(self) -> None:
        """Throw away what a deployment had for itself, and what earlier ones could not."""
        for path in [self.run, *self.root.glob(f"{_OLD}*")]:
            if path.exists():
                await asyncio.to_thread(_remove, path)

    async def forget_source(self) -> None:
        """Throw the clone away. Raises OSError."""
        self._state_path.unlink(missing_ok=True)
        if self.source.exists():
            aside = self.root / f"{_OLD}{uuid.uuid4().hex}"
            self.source.rename(aside)
            await asyncio.to_thread(_remove, aside)
        self.source.mkdir(mode=0o700)

    def state(self) -> SourceState:
        """What the clone holds; nothing, when that is not known."""
        try:
            return msgspec.json.decode(self._state_path.read_bytes(), type=SourceState)
        except (OSError, msgspec.DecodeError):
            return SourceState()

    def save_state(self, state: SourceState) -> None:
        """Note what the clone holds. Raises OSError."""
        beside = self._state_path.with_name("state.new")
        beside.write_bytes(msgspec.json.encode(state))
        beside.rename(self._state_path)


def safe_name(name: str) -> str:
    """A name as one component of a path: itself, or its hash if it could be anything else."""
    return name if _PLAIN_NAME.fullmatch(name) else hashlib.sha256(name.encode()).hexdigest()


def _copy_machine_settings(home: Path) -> None:
    for name in _MACHINE_SETTINGS:
        original = Path.home() / name
        try:
            if original.stat().st_size > _MACHINE_SETTINGS_BYTES_MAX:
                continue
            text = original.read_bytes()
        except OSError:
            continue
        copy = home / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(text)


def _remove(path: Path) -> None:
    """Remove a tree, also where a program has taken away the right to write."""

    def permit(action: Callable[..., Any], name: str, _: object) -> None:
        parent = os.path.dirname(name)
        for each in (parent, name):
            if not os.path.islink(each):
                os.chmod(each, stat.S_IRWXU)
        action(name)

    def retry(action: Callable[..., Any], name: str, problem: object) -> None:
        try:
            permit(action, name, problem)
        except OSError:
            return  # what cannot be removed now is tried again by the next deployment

    shutil.rmtree(path, onerror=retry)

"""The ports in one hand: what every service is given first."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from control_plane.config import Config
from control_plane.services.github.ports import ChangedFiles, GitHub
from control_plane.services.group_commit import GroupCommit
from control_plane.services.ports import Broker, Cipher, Clock, LogReader, ObjectStore
from control_plane.services.progress_tracker import Tracker
from control_plane.services.shared_reads import SharedReads
from control_plane.services.state_views_cache import Views
from control_plane.services.token_cache import TokenCache
from control_plane.services.watching import Watches
from control_plane.store.transaction import Database


def unix_milliseconds() -> int:
    """The wall clock, in Unix milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything outside a service: the record, the stores, the keys, the clock, the settings."""

    config: Config
    database: Database
    objects: ObjectStore
    logs: LogReader
    broker: Broker
    cipher: Cipher
    github: GitHub
    changed_files: ChangedFiles
    now: Clock = unix_milliseconds
    token_cache: TokenCache = field(default_factory=TokenCache)
    submissions: GroupCommit[Any, Any] = field(default_factory=GroupCommit)
    """Where submitters meet, to share a commit."""
    deliveries: GroupCommit[Any, Any] = field(default_factory=GroupCommit)
    """Where webhook deliveries meet, likewise."""
    watches: Watches = field(default_factory=Watches)
    """What many look at, and is looked at once."""
    shared_reads: SharedReads = field(default_factory=SharedReads)
    """Where readers of logs meet, to share a read."""
    progress: Tracker = field(default_factory=Tracker)
    """How far updates have come that are looked at."""
    views: Views = field(default_factory=Views)
    """What was read of states that are looked at."""

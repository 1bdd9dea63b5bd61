"""The files of one deployment on the node's disk: what outlives the actor and the shim.

    out      the output, already redacted, byte for byte as it goes to the log store
    index    one record per piece of `out`: its step, when it was written, its length
    runs     JSON lines: which step and which command began, and how each command ended
    grant    the grant as it came, secrets still sealed
    events   JSON lines: the numbered events, written before they are sent (see `outbox.py`)
    lock     held (flock) by the shim as long as any process of the deployment may live

The shim writes `out`, `index` and `runs`; the actor, or whoever salvages after it, the others.
Only the standard library is imported, and little of it: the shim starts with this module.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import time
from typing import Any

OUT, INDEX, RUNS, GRANT, EVENTS, LOCK = "out", "index", "runs", "grant", "events", "lock"
RESERVE = "reserve"
RESERVE_BYTES = 256 * 1024
"""Set aside at the start and given up when the disk is full, for the last words."""

_RECORD = struct.Struct("<IQI")


class SpoolFull(Exception):
    """No more output is kept; the text is the reason, `disk_full` or `output_limit`."""


def spool_directory(work_dir: str, deployment_id: str, generation: int) -> str:
    """Where the spool of one grant lies."""
    return os.path.join(work_dir, "spool", f"{deployment_id}.{generation}")


def try_lock(path: str) -> int | None:
    """Take an exclusive flock that lasts as long as the descriptor; None when another holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


class SpoolWriter:
    """The shim's end: appends output and records. Times are Unix milliseconds."""

    def __init__(self, directory: str, bytes_max: int) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        self._out = self._open(OUT)
        self._index = self._open(INDEX)
        self._runs = self._open(RUNS)
        self.total = os.fstat(self._out).st_size
        self.step = 0
        self._line_open = self.total > 0 and os.pread(self._out, 1, self.total - 1) != b"\n"
        self._full = False
        self._reserve()

    def append(self, data: bytes) -> None:
        """Add output of the current step. Raises SpoolFull once; what still fitted is kept.

        After that everything is dropped, so that the programs can still write while they stop.
        """
        if self._full:
            return
        room = max(0, self._bytes_max - self.total)
        try:
            self._write(data[:room])
        except OSError:
            self._full = True
            self._give_up_reserve()
            raise SpoolFull("disk_full") from None
        if len(data) > room:
            self._full = True
            raise SpoolFull("output_limit")

    def append_line(self, line: bytes) -> None:
        """Add a line of our own, over any limit; it starts on a new line."""
        try:
            self._write((b"\n" if self._line_open else b"") + line + b"\n")
        except OSError:
            return  # the disk is full to the last byte, and the outcome says so

    def begin_step(self, number: int, name: str) -> None:
        """What is appended from now on belongs to this step."""
        self.step = number
        self.record({"step": {"number": number, "name": name}})

    def record(self, entry: dict[str, Any], durable: bool = False) -> None:
        """Add a line to `runs`, on the disk's platter before this returns if it is durable."""
        try:
            os.write(self._runs, json.dumps(entry).encode() + b"\n")
            if durable:
                os.fsync(self._runs)
        except OSError:
            return  # a full or broken disk; whoever salvages then takes the run for unfinished

    def settle(self) -> None:
        """Nothing more will be written."""
        self._give_up_reserve()
        self.record({"settled": {"total": self.total}})
        for descriptor in (self._out, self._index, self._runs):
            os.close(descriptor)

    def _write(self, data: bytes) -> None:
        begin = self.total
        try:
            while self.total - begin < len(data):
                self.total += os.write(self._out, data[self.total - begin :])
        finally:
            if written := self.total - begin:
                self._line_open = data[written - 1 : written] != b"\n"
                self._note_written(written)

    def _note_written(self, length: int) -> None:
        record = _RECORD.pack(self.step, time.time_ns() // 1_000_000, length)
        try:
            os.write(self._index, record)
        except OSError:
            return  # readers count what lies beyond the index to the last step they know

    def _open(self, name: str) -> int:
        path = os.path.join(self._directory, name)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)

    def _give_up_reserve(self) -> None:
        try:
            os.unlink(os.path.join(self._directory, RESERVE))
        except OSError:
            return

    def _reserve(self) -> None:
        path = os.path.join(self._directory, RESERVE)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
        except OSError:
            return  # as good as full: the first output will tell
        finally:
            os.close(descriptor)


class Piece:
    """A stretch of output that was written at once."""

    __slots__ = ("at_ms", "length", "offset", "step")

    def __init__(self, step: int, at_ms: int, offset: int, length: int) -> None:
        self.step, self.at_ms, self.offset, self.length = step, at_ms, offset, length


class SpoolReader:
    """The actor's end, while the shim is still writing or after it is gone."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._out = self._open(OUT)
        self._index = self._open(INDEX)
        self._torn = b""
        self._indexed = 0
        self._last: tuple[int, int] = (0, 0)

    def new_pieces(self) -> list[Piece]:
        """What the index has gained since the last call."""
        data = self._torn + os.read(self._index, 1 << 20)
        whole = len(data) - len(data) % _RECORD.size
        self._torn = data[whole:]
        return [self._piece(*record) for record in _RECORD.iter_unpack(data[:whole])]

    def rest(self) -> Piece | None:
        """What was written and no longer indexed, by a shim that was killed between the two."""
        length = os.fstat(self._out).st_size - self._indexed
        step, at_ms = self._last
        return self._piece(step, at_ms, length) if length > 0 else None

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the output; fewer than asked for only when the file is damaged."""
        return os.pread(self._out, length, offset)

    def runs(self) -> list[dict[str, Any]]:
        """The records of `runs`; a torn last line is left out."""
        return read_json_lines(os.path.join(self.directory, RUNS))

    def close(self) -> None:
        """Close the files."""
        os.close(self._out)
        os.close(self._index)

    def _piece(self, step: int, at_ms: int, length: int) -> Piece:
        piece = Piece(step, at_ms, self._indexed, length)
        self._indexed += length
        self._last = (step, at_ms)
        return piece

    def _open(self, name: str) -> int:
        return os.open(os.path.join(self.directory, name), os.O_RDONLY | os.O_CREAT, 0o600)


def read_json_lines(path: str) -> list[dict[str, Any]]:
    """The JSON objects of a file, up to the first line that is torn; none if there is no file."""
    entries: list[dict[str, Any]] = []
    try:
        with open(path, "rb") as file:
            for line in file:
                entries.append(json.loads(line))
    except (OSError, ValueError):
        return entries
    return entries

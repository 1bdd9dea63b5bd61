"""Where log segments are kept: a directory, or S3 and what speaks it. The actor only writes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit


class LogStoreUnavailable(Exception):
    """A segment could not be written now; it may work later."""


class LogStore(Protocol):
    """Writes segments whole: a reader sees all of one or nothing."""

    async def put(self, key: str, data: bytes) -> None:
        """Write a segment, or write it again. Raises LogStoreUnavailable."""


class DirectoryLogStore:
    """Segments as files under a directory, on the disk's platter before `put` returns.

    Logs are for those whom the control plane lets read them, not for every user of the machine.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, key: str, data: bytes) -> None:
        """Write a segment beside its place and rename it there."""
        try:
            await asyncio.to_thread(self._put, self._root.joinpath(*key.split("/")), data)
        except OSError as problem:
            raise LogStoreUnavailable(str(problem)) from None

    def _put(self, path: Path, data: bytes) -> None:
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        _make_private(path.parent)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)


def _make_private(directory: Path) -> None:
    """Make a directory and its parents; `mkdir` alone has its mode only for the last of them."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)


class S3LogStore:
    """Segments as objects of a bucket. boto3 is blocking, so each call has a thread."""

    def __init__(self, bucket: str, prefix: str, endpoint: str) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._endpoint = endpoint
        self._client: Any = None

    async def put(self, key: str, data: bytes) -> None:
        """Write a segment as one object."""
        from botocore.exceptions import BotoCoreError, ClientError

        whole = f"{self._prefix}/{key}" if self._prefix else key
        try:
            await asyncio.to_thread(self._put, whole, data)
        except (BotoCoreError, ClientError, OSError) as problem:
            raise LogStoreUnavailable(str(problem)) from None

    def connect(self) -> None:
        """Make the client. It takes 0.4 s, mostly for imports, so it is worth doing early."""
        import boto3
        from botocore.config import Config

        config = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 1})
        client = boto3.session.Session().client(
            "s3", endpoint_url=self._endpoint or None, config=config
        )
        self._client = self._client or client

    def _put(self, key: str, data: bytes) -> None:
        if self._client is None:
            self.connect()
        self._client.put_object(
            Bucket=self._bucket, Key=key, Body=data, ContentType="application/octet-stream"
        )


def open_log_store(location: str, endpoint: str = "") -> LogStore:
    """A store by its address: a directory, or `s3://bucket/prefix`."""
    address = urlsplit(location)
    if address.scheme == "s3":
        return S3LogStore(address.netloc, address.path.strip("/"), endpoint)
    return DirectoryLogStore(Path(location))

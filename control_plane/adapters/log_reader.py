"""Readers of the log store, where the runner side writes: a directory, or S3 and what speaks it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from control_plane.outside import require_no_transaction
from control_plane.services.ports import LogReader

DELETE_BATCH = 1000
"""How many keys one DeleteObjects call takes."""


class DirectoryLogReader:
    """Segments as files under a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    async def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of a segment; raises KeyError when there is no such segment."""
        require_no_transaction()
        return await asyncio.to_thread(self._read, key, start, length)

    async def delete_prefix(self, prefix: str) -> None:
        """Forget all segments under a prefix."""
        require_no_transaction()
        await asyncio.to_thread(shutil.rmtree, self._path(prefix), ignore_errors=True)

    def _read(self, key: str, start: int, length: int | None) -> bytes:
        try:
            with self._path(key).open("rb") as file:
                file.seek(start)
                return file.read(-1 if length is None else length)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise KeyError(key) from None

    def _path(self, key: str) -> Path:
        path = self.root.joinpath(*key.split("/"))
        inside = path.resolve().is_relative_to(self.root.resolve())
        if not inside or path.resolve() == self.root.resolve():
            raise ValueError(f"'{key}' is not inside the log store")
        return path


class S3LogReader:
    """Segments as objects of a bucket. boto3 is blocking, so each call has a thread."""

    def __init__(self, bucket: str, prefix: str, client: Any) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.client = client

    async def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of a segment; raises KeyError when there is no such segment."""
        require_no_transaction()
        if length == 0:
            return b""
        return await asyncio.to_thread(self._read, key, start, length)

    async def delete_prefix(self, prefix: str) -> None:
        """Forget all segments under a prefix."""
        require_no_transaction()
        await asyncio.to_thread(self._delete_prefix, prefix)

    def _read(self, key: str, start: int, length: int | None) -> bytes:
        last = "" if length is None else start + length - 1
        wanted = {} if (start, length) == (0, None) else {"Range": f"bytes={start}-{last}"}
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=self._key(key), **wanted)
        except self.client.exceptions.NoSuchKey:
            raise KeyError(key) from None
        except self.client.exceptions.ClientError as error:
            # Nothing is left from that offset on: a file would give no bytes either.
            if error.response["Error"]["Code"] in ("InvalidRange", "416"):
                return b""
            raise
        return bytes(answer["Body"].read())

    def _delete_prefix(self, prefix: str) -> None:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket,
            Prefix=self._key(prefix) + "/",
            PaginationConfig={"PageSize": DELETE_BATCH},
        )
        for page in pages:
            keys = [{"Key": each["Key"]} for each in page.get("Contents", ())]
            if keys:
                self.client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": keys, "Quiet": True}
                )

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key


def open_log_reader(location: str, endpoint: str = "") -> LogReader:
    """A reader by the store's address: a directory, or `s3://bucket/prefix`."""
    address = urlsplit(location)
    if address.scheme != "s3":
        return DirectoryLogReader(Path(location))
    import boto3  # S3 is optional, and boto3 takes 0.2 s to import

    client = boto3.client("s3", endpoint_url=endpoint or None)
    return S3LogReader(address.netloc, address.path.strip("/"), client)

"""Object stores behind the ports: a directory, or S3 and what speaks its API."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from control_plane.outside import require_no_transaction
from control_plane.services.ports import ObjectStore


class DirectoryStore:
    """Objects as files under a directory; written beside, synced and renamed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    async def put(self, key: str, body: bytes) -> None:
        """Keep an object durably."""
        require_no_transaction()
        await asyncio.to_thread(self._put, self._path(key), body)

    async def get(self, key: str) -> bytes:
        """The object's bytes; raises KeyError."""
        require_no_transaction()
        try:
            return await asyncio.to_thread(self._path(key).read_bytes)
        except FileNotFoundError:
            raise KeyError(key) from None

    async def delete(self, key: str) -> None:
        """Forget an object."""
        require_no_transaction()
        await asyncio.to_thread(self._path(key).unlink, missing_ok=True)

    def _path(self, key: str) -> Path:
        path = self.root.joinpath(*key.split("/"))
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise ValueError(f"'{key}' leads out of the object store")
        return path

    def _put(self, path: Path, body: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=".put-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise


class S3Store:
    """Objects in a bucket. boto3 is blocking, so each call has a thread."""

    def __init__(self, bucket: str, prefix: str, client: Any) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.client = client

    async def put(self, key: str, body: bytes) -> None:
        """Keep an object durably."""
        require_no_transaction()
        await asyncio.to_thread(
            self.client.put_object, Bucket=self.bucket, Key=self._key(key), Body=body
        )

    async def get(self, key: str) -> bytes:
        """The object's bytes; raises KeyError."""
        require_no_transaction()
        return await asyncio.to_thread(self._get, key)

    async def delete(self, key: str) -> None:
        """Forget an object."""
        require_no_transaction()
        await asyncio.to_thread(self.client.delete_object, Bucket=self.bucket, Key=self._key(key))

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _get(self, key: str) -> bytes:
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=self._key(key))
        except self.client.exceptions.NoSuchKey:
            raise KeyError(key) from None
        return bytes(answer["Body"].read())


def open_store(location: str, endpoint: str = "") -> ObjectStore:
    """A store by its address: a directory, or `s3://bucket/prefix`."""
    address = urlsplit(location)
    if address.scheme != "s3":
        return DirectoryStore(Path(location))
    import boto3  # S3 is optional, and boto3 takes 0.2 s to import

    client = boto3.client("s3", endpoint_url=endpoint or None)
    return S3Store(address.netloc, address.path.strip("/"), client)

"""What every log reader does, checked on a directory and on a real S3 API (moto's server)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from control_plane.adapters import log_reader
from control_plane.adapters.log_reader import DirectoryLogReader, S3LogReader
from control_plane.services.ports import LogReader
from runner_actors.contract import segment_key

BODY = bytes(range(256)) * 40
PREFIX = "org/project/stack/one"


class Store:
    """A log store with segments in it, and its reader."""

    def __init__(self, reader: LogReader, write: Callable[[str, bytes], None]) -> None:
        self.reader = reader
        self.write = write


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    server.stop()


@pytest.fixture(params=["directory", "s3", "s3 with a prefix"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "directory":

        def write_file(key: str, body: bytes) -> None:
            path = tmp_path / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

        return Store(DirectoryLogReader(tmp_path), write_file)
    client = request.getfixturevalue("s3")
    prefix = "logs/of/slipway" if "prefix" in request.param else ""
    bucket = f"b-{uuid.uuid4()}"
    client.create_bucket(Bucket=bucket)

    def write_object(key: str, body: bytes) -> None:
        whole = f"{prefix}/{key}" if prefix else key
        client.put_object(Bucket=bucket, Key=whole, Body=body)

    return Store(S3LogReader(bucket, prefix, client), write_object)


@pytest.mark.parametrize(
    ("start", "length"),
    [(0, None), (0, 0), (0, 1), (0, len(BODY)), (7, 100), (len(BODY) - 3, 3), (17, None)],
)
async def test_any_part_of_a_segment_is_read(store: Store, start: int, length: int | None) -> None:
    store.write(segment_key(PREFIX, 0), BODY)
    end = None if length is None else start + length
    assert await store.reader.read(segment_key(PREFIX, 0), start, length) == BODY[start:end]


async def test_past_the_end_there_is_nothing(store: Store) -> None:
    store.write(segment_key(PREFIX, 0), b"short")
    assert await store.reader.read(segment_key(PREFIX, 0), 3, 100) == b"rt"
    assert await store.reader.read(segment_key(PREFIX, 0), 5, 100) == b""
    assert await store.reader.read(segment_key(PREFIX, 0), 5) == b""
    assert await store.reader.read(segment_key(PREFIX, 0), 500, 1) == b""


async def test_an_empty_segment_is_empty(store: Store) -> None:
    store.write(segment_key(PREFIX, 0), b"")
    assert await store.reader.read(segment_key(PREFIX, 0)) == b""


async def test_a_missing_segment_is_a_key_error(store: Store) -> None:
    for key in (segment_key(PREFIX, 4), segment_key("never/was", 0)):
        with pytest.raises(KeyError):
            await store.reader.read(key)
        with pytest.raises(KeyError):
            await store.reader.read(key, 3, 10)


async def test_deleting_a_prefix_leaves_its_neighbours(store: Store) -> None:
    for prefix in (PREFIX, PREFIX + "more", "org/project/other"):
        store.write(segment_key(prefix, 0), BODY)
        store.write(segment_key(prefix, 1), BODY)
    await store.reader.delete_prefix(PREFIX)
    for segment in (0, 1):
        with pytest.raises(KeyError):
            await store.reader.read(segment_key(PREFIX, segment))
        assert await store.reader.read(segment_key(PREFIX + "more", segment)) == BODY
        assert await store.reader.read(segment_key("org/project/other", segment)) == BODY
    await store.reader.delete_prefix(PREFIX)


async def test_more_segments_than_one_call_deletes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reader, "DELETE_BATCH", 3)
    for segment in range(8):
        store.write(segment_key(PREFIX, segment), b"x")
    await store.reader.delete_prefix(PREFIX)
    for segment in range(8):
        with pytest.raises(KeyError):
            await store.reader.read(segment_key(PREFIX, segment))


@pytest.mark.parametrize("key", ["../outside.log", "a/../../outside.log", "."])
async def test_a_key_cannot_lead_out_of_the_directory(tmp_path: Path, key: str) -> None:
    (tmp_path / "outside.log").write_bytes(b"not a log")
    reader = DirectoryLogReader(tmp_path / "logs")
    with pytest.raises(ValueError, match="not inside the log store"):
        await reader.read(key)
    with pytest.raises(ValueError, match="not inside the log store"):
        await reader.delete_prefix(key)

"""What every log store does, checked on a directory and on a real S3 API (moto's server)."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner_actors.contract import segment_key
from runner_actors.log_store import LogStore, LogStoreUnavailable, S3LogStore, open_log_store
from tests.support.moto_process import moto_server

PREFIX = "org/project/stack/one.1"
BODY = bytes(range(256)) * 5000


class Kept:
    """A store, and a look at what it keeps."""

    def __init__(self, store: LogStore, keys: Callable[[], dict[str, bytes]]) -> None:
        self.store = store
        self.keys = keys


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with moto_server() as client:
        yield client


@pytest.fixture(params=["directory", "s3", "s3 with a prefix"])
def kept(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    if request.param == "directory":
        return Kept(open_log_store(str(tmp_path / "logs")), lambda: _files(tmp_path / "logs"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = request.getfixturevalue("s3")
    bucket = f"b-{uuid.uuid4()}"
    client.create_bucket(Bucket=bucket)
    prefix = "some/where" if "prefix" in request.param else ""
    store = open_log_store(f"s3://{bucket}/{prefix}", client.meta.endpoint_url)
    return Kept(store, lambda: _objects(client, bucket, f"{prefix}/" if prefix else ""))


def _files(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def _objects(client: Any, bucket: str, prefix: str) -> dict[str, bytes]:
    found = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {
        each["Key"].removeprefix(prefix): client.get_object(Bucket=bucket, Key=each["Key"])[
            "Body"
        ].read()
        for each in found
    }


async def test_a_segment_is_kept_byte_for_byte(kept: Kept) -> None:
    await kept.store.put(segment_key(PREFIX, 0), BODY)
    await kept.store.put(segment_key(PREFIX, 1), b"")
    assert kept.keys() == {segment_key(PREFIX, 0): BODY, segment_key(PREFIX, 1): b""}


async def test_a_segment_that_is_written_again_is_replaced(kept: Kept) -> None:
    await kept.store.put(segment_key(PREFIX, 0), b"longer at first")
    await kept.store.put(segment_key(PREFIX, 0), b"then short")
    assert kept.keys() == {segment_key(PREFIX, 0): b"then short"}


async def test_a_directory_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "org").write_text("a file is in the way")
    with pytest.raises(LogStoreUnavailable):
        await open_log_store(str(tmp_path)).put(segment_key(PREFIX, 0), BODY)


async def test_an_interrupted_write_leaves_nothing_under_the_key(tmp_path: Path) -> None:
    store = open_log_store(str(tmp_path))
    await store.put(segment_key(PREFIX, 0), BODY)
    leftovers = [name for name in os.listdir(tmp_path / PREFIX) if name.startswith(".")]
    assert leftovers == []


@pytest.mark.parametrize("bucket", ["no-such-bucket-anywhere", None])
async def test_an_s3_that_refuses_or_is_away_is_unavailable(
    s3: Any, bucket: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    endpoint = s3.meta.endpoint_url if bucket else "http://127.0.0.1:1"
    store = S3LogStore(bucket or "any", "", endpoint)
    with pytest.raises(LogStoreUnavailable):
        await store.put(segment_key(PREFIX, 0), BODY)

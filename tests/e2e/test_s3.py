"""State and logs in S3: a whole deployment against moto's server, with real boto3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.support.moto_process import moto_server
from tests.support.programs import OUTPUTS, repository
from tests.support.slipway import Slipway

ACCESS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test-secret-key",
    "AWS_DEFAULT_REGION": "eu-west-1",
}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in ACCESS.items():
        monkeypatch.setenv(name, value)
    with moto_server() as client:
        client.create_bucket(
            Bucket="slipway",
            CreateBucketConfiguration={"LocationConstraint": ACCESS["AWS_DEFAULT_REGION"]},
        )
        yield client.meta.endpoint_url


def test_state_and_logs_are_kept_in_a_bucket(endpoint: str, tmp_path: Path) -> None:
    server = Slipway(
        tmp_path / "data",
        SLIPWAY_STORE__LOG_STORE="s3://slipway/logs-of-it",
        SLIPWAY_STORE__LOG_STORE_ENDPOINT=endpoint,
        SLIPWAY_STORE__OBJECT_STORE="s3://slipway/state-of-it",
        SLIPWAY_STORE__OBJECT_STORE_ENDPOINT=endpoint,
    ).start()
    try:
        program = "import os\nprint('keys', sorted(k for k in os.environ if k.startswith('AWS')))\n"
        stack = server.stack("bucket")
        ended = stack.deploy(repository(tmp_path / "program", "bucket", program + OUTPUTS))
        assert "keys []" in stack.log(ended["id"]), "the runner's own keys are not the program's"
        assert stack.outputs() == {"answer": 42}
        keys = [
            each["Key"]
            for each in boto3.client("s3", endpoint_url=endpoint).list_objects_v2(Bucket="slipway")[
                "Contents"
            ]
        ]
        assert any(key.startswith("logs-of-it/") for key in keys)
        assert any(key.startswith("state-of-it/") for key in keys)
        assert not (tmp_path / "data" / "logs").exists()
        assert not (tmp_path / "data" / "objects").exists()
    finally:
        server.stop()

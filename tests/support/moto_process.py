"""A real S3 API on this machine: moto's server as a process of its own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import boto3
import botocore.exceptions

from tests.support.waiting import wait_for

_MAIN = "from moto.server import main; main()"


@contextlib.contextmanager
def moto_server() -> Iterator[Any]:
    """Gives a boto3 client of it; its endpoint is `client.meta.endpoint_url`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", _MAIN, "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, **quiet)
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    try:
        wait_for(lambda: _answers(client), "moto's server answers", 60)
        yield client
    finally:
        server.kill()
        server.wait()


def _answers(client: Any) -> bool:
    with contextlib.suppress(botocore.exceptions.BotoCoreError):
        client.list_buckets()
        return True
    return False

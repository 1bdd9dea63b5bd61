"""What a runner process must know: where the control plane is, and where its own files are."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec


class RunnerSettings(msgspec.Struct, kw_only=True, frozen=True):
    """Settings of the gateway and of every stack actor; handed to actors as JSON, so no secrets.

    Secrets are named by path: files that only the runner's user may read (mode 0600).
    """

    control_plane_url: str
    pool_token_path: str
    """Holds the pool's token: the gateway's right to take work."""
    pool_key_path: str
    """Holds the pool's raw X25519 private key (32 bytes), which opens sealed secrets."""
    work_dir: str
    """Workspaces, caches and spools of this node."""
    toolchain_dir: str
    """The directory that holds `pulumi` and its language hosts."""
    log_store: str
    """Where log segments go: a directory, or `s3://bucket/prefix`."""
    log_store_endpoint: str = ""
    """Another S3 endpoint than AWS's own; empty for AWS."""
    ray_address: str = ""
    """`host:port` of the head's GCS."""
    ray_namespace: str = "slipway"
    idle_seconds: float = 60.0
    """How long a stack's actor stays after its deployment."""
    idle_actors_max: int = 4
    """How many idle actors may stay on a node."""
    allow_local_sources: bool = False
    """Whether a repository may be a path of this machine (the embedded mode only)."""
    output_bytes_max: int = 1 << 30
    """How much output of one deployment is kept before the program is stopped."""

    @classmethod
    def from_environment(cls) -> RunnerSettings:
        """Read `SLIPWAY_RUNNER__<FIELD>` variables; raises ValueError naming the missing ones."""
        values = {
            field.name: os.environ[f"SLIPWAY_RUNNER__{field.name.upper()}"]
            for field in msgspec.structs.fields(cls)
            if f"SLIPWAY_RUNNER__{field.name.upper()}" in os.environ
        }
        try:
            return msgspec.convert(values, cls, strict=False)
        except msgspec.ValidationError as problem:
            raise ValueError(
                f"The runner's settings are incomplete: {problem}. "
                "Each is an environment variable SLIPWAY_RUNNER__<NAME>."
            ) from None

    def secret(self, path: str) -> bytes:
        """Read one of the secret files."""
        return Path(path).read_bytes().strip()

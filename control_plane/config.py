"""The settings of the process: a TOML file, then environment variables `SLIPWAY_<SECTION>__<KEY>`.

Later sources win: built-in defaults, the file, the environment, the command line.
`configs/slipway.example.toml` is generated from this module.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import msgspec


class ConfigError(ValueError):
    """A setting has a wrong type or does not exist."""


class Server(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where the control plane listens, and how clients reach it."""

    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str = ""
    """How clients and runners reach this server; empty means http://<host>:<port>."""
    body_bytes_max: int = 256 * 1024 * 1024
    """The most a request body may hold, after decompression."""
    log_format: str = "json"
    """`json` or `console`."""
    session_days: float = 14.0
    """How long one stays signed in to the console."""
    login_link_minutes: float = 15.0
    """How long a one-time link to the console may be used."""


class Store(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where the record of truth is kept."""

    data_dir: str = ".slipway"
    """Holds the database, state, logs and keys of an embedded server."""
    database_url: str = ""
    """SQLAlchemy URL; empty means SQLite in the data directory."""
    object_store: str = ""
    """Where checkpoints go: a directory or s3://bucket/prefix; empty means the data directory."""
    object_store_endpoint: str = ""
    log_store: str = ""
    """Where log segments are: a directory or s3://bucket/prefix; empty means the data directory."""
    log_store_endpoint: str = ""


class Deployments(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Limits and times of deployments."""

    lease_seconds: float = 30.0
    timeout_seconds: float = 7200.0
    grace_seconds: float = 10.0
    """How long a graceful stop may take before the process tree is killed."""
    queue_expiry_seconds: float = 7 * 86400.0
    log_retention_days: float = 90.0
    organization_limit: int = 10
    """How many deployments of a new organization may be live at once."""
    attempts_max: int = 3
    """How often a deployment is queued again when its runner is lost before the engine starts."""
    queued_max: int = 20_000
    """How many deployments of one organization may wait."""
    environment_variables_max: int = 500
    local_sources: bool = False
    """Whether a repository may be a path of the runner's machine; `slipway up` turns it on."""


class Updates(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Times of the state backend."""

    lease_seconds: float = 300.0
    """The Pulumi CLI counts on 300 seconds whatever it is told."""


class Runner(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The local runner cluster that `slipway up` starts."""

    slots: int = 10
    idle_seconds: float = 60.0
    idle_actors_max: int = 4
    work_dir: str = ""
    """Workspaces and caches; empty means the data directory."""


class Toolchain(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where the Pulumi CLI comes from."""

    cache_dir: str = ""
    """Empty means the user's cache directory."""


class GitHub(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which GitHub is used: GitHub.com or an Enterprise Server."""

    base_url: str = "https://github.com"
    """Where people and git reach it."""
    api_url: str = ""
    """Its REST API; empty means https://api.github.com, or <base_url>/api/v3 of another server."""
    timeout_seconds: float = 20.0
    """How long GitHub may take for one answer."""
    git_timeout_seconds: float = 120.0
    """How long git may take to fetch what two commits differ in."""
    missed_interval_seconds: float = 300.0
    """How often it is looked for pushes and deliveries that were missed."""
    mirrors_bytes_max: int = 2 * 1024 * 1024 * 1024
    """How much the mirrors may hold that changed files are found in; the oldest go first."""


class Janitor(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How often the background chores run."""

    interval_seconds: float = 1.0
    retention_interval_seconds: float = 3600.0


class Config(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """All settings of a Slipway process."""

    server: Server = msgspec.field(default_factory=Server)
    store: Store = msgspec.field(default_factory=Store)
    deployments: Deployments = msgspec.field(default_factory=Deployments)
    updates: Updates = msgspec.field(default_factory=Updates)
    runner: Runner = msgspec.field(default_factory=Runner)
    toolchain: Toolchain = msgspec.field(default_factory=Toolchain)
    janitor: Janitor = msgspec.field(default_factory=Janitor)
    github: GitHub = msgspec.field(default_factory=GitHub)

    @property
    def public_url(self) -> str:
        """The server's address without a trailing slash, the same for developers and runners."""
        host = self.server.host
        if host in ("0.0.0.0", "::", ""):  # noqa: S104 - all interfaces, of which this is one
            host = "127.0.0.1"
        return (self.server.public_url or f"http://{host}:{self.server.port}").rstrip("/")

    @property
    def data_dir(self) -> Path:
        """The data directory as an absolute path."""
        return Path(self.store.data_dir).expanduser().resolve()

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.store.database_url or f"sqlite+aiosqlite:///{self.data_dir / 'slipway.db'}"

    @property
    def object_store(self) -> str:
        """The place of checkpoints in force."""
        return self.store.object_store or str(self.data_dir / "objects")

    @property
    def log_store(self) -> str:
        """The place of log segments in force."""
        return self.store.log_store or str(self.data_dir / "logs")

    @property
    def work_dir(self) -> str:
        """The local runner's directory in force."""
        return self.runner.work_dir or str(self.data_dir / "runner")

    @property
    def github_url(self) -> str:
        """GitHub's address without a trailing slash."""
        return self.github.base_url.rstrip("/")

    @property
    def github_api_url(self) -> str:
        """The address of GitHub's API in force."""
        given = self.github.api_url.rstrip("/")
        if given:
            return given
        if self.github_url == "https://github.com":
            return "https://api.github.com"
        return f"{self.github_url}/api/v3"


def load(
    file: Path | None = None,
    environment: dict[str, str] | None = None,
    overrides: dict[str, dict[str, Any]] | None = None,
) -> Config:
    """Read all sources. Raises ConfigError naming the setting that is wrong, and its source."""
    values: dict[str, dict[str, Any]] = {}
    if file is not None:
        _merge(values, _read_file(file), str(file))
    _merge(values, _from_environment(os.environ if environment is None else environment), "env")
    _merge(values, overrides or {}, "command line")
    try:
        return msgspec.convert(values, Config, strict=False)
    except msgspec.ValidationError as problem:
        raise ConfigError(f"A setting is wrong: {problem}") from None


def _read_file(file: Path) -> dict[str, dict[str, Any]]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as problem:
        raise ConfigError(f"Cannot read the configuration {file}: {problem.strerror}") from None
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(f"The configuration {file} is not valid TOML: {problem}") from None


def _from_environment(environment: Any) -> dict[str, dict[str, Any]]:
    sections = {field.name for field in msgspec.structs.fields(Config)}
    values: dict[str, dict[str, Any]] = {}
    for name, value in environment.items():
        section, separator, key = name.removeprefix("SLIPWAY_").lower().partition("__")
        if name.startswith("SLIPWAY_") and separator and section in sections:
            values.setdefault(section, {})[key] = value
    return values


def _merge(into: dict[str, dict[str, Any]], more: dict[str, dict[str, Any]], source: str) -> None:
    for section, keys in more.items():
        if not isinstance(keys, dict):
            raise ConfigError(f"'{section}' in {source} must be a section")
        into.setdefault(section, {}).update(keys)

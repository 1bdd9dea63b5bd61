"""Where settings come from, which source wins, and what a wrong one says."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from control_plane.config import Config, ConfigError, load


def test_defaults_need_nothing() -> None:
    config = load(environment={})
    assert config.public_url == "http://127.0.0.1:8080"
    assert config.database_url.startswith("sqlite+aiosqlite:///")
    assert config.deployments.timeout_seconds == 7200


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "slipway.toml"
    file.write_text('[server]\nhost = "0.0.0.0"\nport = 1\n[deployments]\nlease_seconds = 5\n')
    environment = {"SLIPWAY_SERVER__PORT": "2", "SLIPWAY_DEPLOYMENTS__LEASE_SECONDS": "6.5"}
    config = load(file, environment, {"server": {"port": 3}})
    assert (config.server.host, config.server.port) == ("0.0.0.0", 3)
    assert config.deployments.lease_seconds == 6.5


def test_every_setting_is_a_variable() -> None:
    for section in msgspec.structs.fields(Config):
        for key in msgspec.structs.fields(section.type):
            sample = {int: "7", float: "7.5", str: "x", bool: "true"}[key.type]
            name = f"SLIPWAY_{section.name}__{key.name}".upper()
            config = load(environment={name: sample})
            value = getattr(getattr(config, section.name), key.name)
            assert value == msgspec.convert(sample, key.type, strict=False)


@pytest.mark.parametrize(
    ("given", "api_url"),
    [
        ({}, "https://api.github.com"),
        ({"base_url": "https://github.com/"}, "https://api.github.com"),
        ({"base_url": "https://git.example.com/"}, "https://git.example.com/api/v3"),
        ({"base_url": "https://g", "api_url": "https://api.g/"}, "https://api.g"),
    ],
)
def test_the_api_is_where_that_github_has_it(given: dict[str, str], api_url: str) -> None:
    assert load(environment={}, overrides={"github": given}).github_api_url == api_url


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"SLIPWAY_SERVER__PORT": "many"}, "port"),
        ({"SLIPWAY_SERVER__PROT": "1"}, "prot"),
    ],
)
def test_a_wrong_setting_is_named(environment: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(environment=environment)


def test_a_missing_and_a_broken_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load(tmp_path / "nowhere.toml", {})
    broken = tmp_path / "broken.toml"
    broken.write_text("[server\n")
    with pytest.raises(ConfigError, match="TOML"):
        load(broken, {})

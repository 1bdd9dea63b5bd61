"""What the pool's key opens, and that it opens nothing for another place."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import x25519

from runner_actors.contract import GitAuth, GitSource, Trust, Value, seal, seal_context
from runner_actors.unseal import CannotUnseal, Unsealer, open_secrets, runner_token
from tests.unit.runner.test_job import grant

KEY = x25519.X25519PrivateKey.generate()


def sealed(value: str, name: str, stack: str = "s") -> str:
    public = KEY.public_key().public_bytes_raw()
    return seal(value.encode(), public, seal_context(stack, name))


@pytest.fixture
def unsealer(tmp_path: Path) -> Unsealer:
    (tmp_path / "key").write_bytes(KEY.private_bytes_raw())
    return Unsealer.from_file(str(tmp_path / "key"), "s")


def test_tokens_variables_and_git_credentials(unsealer: Unsealer) -> None:
    auth = GitAuth(
        access_token=Value(sealed=sealed("git-token", "git/accessToken")),
        user_name=Value(sealed=sealed("ana", "git/userName")),
    )
    granted = grant(
        sealed_runner_token=sealed("of the runner", "lease/d/1/runner"),
        sealed_cli_token=sealed("of the CLI", "lease/d/1/cli"),
        environment={"A": Value(plain="x"), "B": Value(sealed=sealed("hidden", "env/B"))},
        source=GitSource(repo_url="https://h/r", auth=auth),
    )
    assert runner_token(granted, unsealer) == "of the runner"
    secrets = open_secrets(granted, unsealer)
    assert secrets.cli_token == "of the CLI"
    assert secrets.environment == {"A": "x", "B": "hidden"}
    assert secrets.git == {"access_token": "git-token", "user_name": "ana"}
    assert set(secrets.hidden) == {b"of the CLI", b"hidden", b"git-token"}


@pytest.mark.parametrize(
    "value",
    [
        sealed("x", "env/OTHER"),
        sealed("x", "env/A", stack="another"),
        sealed("x", "env/A")[:-8] + "AAAAAAA=",
        "not base64!",
        "",
    ],
    ids=["another name", "another stack", "changed", "not base64", "empty"],
)
def test_nothing_opens_in_another_place(unsealer: Unsealer, value: str) -> None:
    with pytest.raises(CannotUnseal, match="'env/A'"):
        unsealer.open(value, "env/A")


def test_a_review_stack_opens_its_own_values_and_its_templates() -> None:
    """And no others: the ids come with the grant."""
    both = Unsealer(KEY.private_bytes_raw(), "review", "template")
    for stack in ("review", "template"):
        assert both.open(sealed(stack, "env/A", stack), "env/A") == stack.encode()
        value = Value(sealed=sealed(stack, "env/A", stack))
        assert both.text(value, "env/A") == stack
    with pytest.raises(CannotUnseal):
        both.open(sealed("x", "env/A", "other"), "env/A")
    alone = Unsealer(KEY.private_bytes_raw(), "review", "")
    for stack in ("template", ""):
        with pytest.raises(CannotUnseal):
            alone.open(sealed("x", "env/A", stack), "env/A")


@pytest.mark.parametrize("trust", ["branch", "pull_request", "fork"])
def test_a_sources_token_is_hidden_and_a_forks_program_does_not_get_it(
    unsealer: Unsealer, trust: Trust
) -> None:
    granted = grant(
        sealed_runner_token=sealed("of the runner", "lease/d/1/runner"),
        sealed_cli_token=sealed("of the CLI", "lease/d/1/cli"),
        source=GitSource(repo_url="https://h/r", token_wanted=True),
        trust=trust,
    )
    secrets = open_secrets(granted, unsealer, sealed("ghs_x", "lease/d/1/source"))
    assert secrets.git == {"access_token": "ghs_x"}
    assert b"ghs_x" in secrets.hidden
    assert secrets.environment == ({} if trust == "fork" else {"GITHUB_TOKEN": "ghs_x"})


def test_a_key_is_taken_as_it_is(tmp_path: Path) -> None:
    """A key may begin or end with what looks like white space."""
    key = x25519.X25519PrivateKey.from_private_bytes(b" " * 31 + b"\n")
    (tmp_path / "key").write_bytes(key.private_bytes_raw())
    value = seal(b"x", key.public_key().public_bytes_raw(), seal_context("s", "env/A"))
    assert Unsealer.from_file(str(tmp_path / "key"), "s").open(value, "env/A") == b"x"
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(CannotUnseal, match="32 bytes"):
        Unsealer.from_file(str(tmp_path / "key"), "s")
    with pytest.raises(CannotUnseal, match="cannot be read"):
        Unsealer.from_file(str(tmp_path / "none"), "s")

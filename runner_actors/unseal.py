"""Opens what was sealed to the pool's key. What comes out lives in memory only."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import x25519

from runner_actors.contract import ANY_NAME, SEAL_SUITE, GitAuth, Grant, Value, seal_context

KEY_BYTES = 32
_GIT_NAMES = {
    "access_token": "accessToken",
    "ssh_private_key": "sshPrivateKey",
    "ssh_passphrase": "sshPassphrase",
    "user_name": "userName",
    "password": "password",
}
"""Fields of a GitAuth by the names they are sealed under."""


class CannotUnseal(Exception):
    """A sealed value could not be opened; the text names it and says what to do."""


class Unsealer:
    """The pool's private key, for the values of one stack, and of the one it was made from."""

    def __init__(self, private_key: bytes, *stack_ids: str) -> None:
        self._key = x25519.X25519PrivateKey.from_private_bytes(private_key)
        self._stack_ids = [stack_id for stack_id in stack_ids if stack_id]

    @classmethod
    def from_file(cls, path: str, *stack_ids: str) -> Unsealer:
        """Read the pool's key; raises CannotUnseal when the file is not one."""
        try:
            private_key = Path(path).read_bytes()
        except OSError as problem:
            raise CannotUnseal(f"the pool's key cannot be read: {problem}") from None
        if len(private_key) != KEY_BYTES:
            raise CannotUnseal(f"the pool's key {path} must hold {KEY_BYTES} bytes")
        return cls(private_key, *stack_ids)

    def open(self, sealed: str, name: str) -> bytes:
        """The plain value of a sealed one; raises CannotUnseal."""
        opened = self._decrypt(sealed, name)
        if opened is None:
            raise CannotUnseal(
                f"'{name}' was not sealed to this pool's key for this stack. "
                "Set the secret again in the stack's deployment settings."
            )
        return opened

    def _decrypt(self, sealed: str, name: str) -> bytes | None:
        try:
            body = base64.b64decode(sealed, validate=True)
        except (ValueError, binascii.Error):
            return None
        for stack_id in self._stack_ids:
            try:
                return SEAL_SUITE.decrypt(body, self._key, seal_context(stack_id, name))
            except (InvalidTag, ValueError):
                continue
        return None

    def text(self, value: Value, name: str) -> str:
        """A setting's value, whichever way it is given; raises CannotUnseal."""
        if value.sealed is None:
            return value.plain or ""
        opened = self._decrypt(value.sealed, ANY_NAME)
        if opened is None:
            opened = self.open(value.sealed, name)
        return opened.decode(errors="surrogateescape")


@dataclass(frozen=True)
class Secrets:
    """Everything of a grant that was sealed, opened; plain variables stand among the others."""

    cli_token: str
    environment: dict[str, str]
    git: dict[str, str]
    hidden: list[bytes]
    """What must not appear in the log."""

    @property
    def of_user(self) -> bool:
        """Whether there are others than the deployment's own token."""
        return len(self.hidden) > 1


def runner_token(grant: Grant, unsealer: Unsealer) -> str:
    """The token that events are posted with. Raises CannotUnseal."""
    return unsealer.open(grant.sealed_runner_token, _lease_name(grant, "runner")).decode()


def open_secrets(grant: Grant, unsealer: Unsealer, sealed_source_token: str = "") -> Secrets:
    """Open what a deployment needs to run. Raises CannotUnseal, naming the value.

    With the source's own token, the program finds it as GITHUB_TOKEN, unless its code is of a fork.
    """
    cli_token = unsealer.open(grant.sealed_cli_token, _lease_name(grant, "cli")).decode()
    variables = grant.environment.items()
    environment = {name: unsealer.text(value, f"env/{name}") for name, value in variables}
    git = _git_secrets(grant.source.auth if grant.source else None, unsealer)
    if sealed_source_token:
        token = unsealer.open(sealed_source_token, _lease_name(grant, "source")).decode()
        git["access_token"] = token
        if grant.trust != "fork":
            environment.setdefault("GITHUB_TOKEN", token)
    secret = [environment[name] for name, value in variables if value.sealed is not None]
    # A user name is often a common word, and no secret.
    secret += [value for name, value in git.items() if name != "user_name"]
    hidden = [value.encode(errors="surrogateescape") for value in (cli_token, *secret)]
    return Secrets(cli_token, environment, git, hidden)


def _git_secrets(auth: GitAuth | None, unsealer: Unsealer) -> dict[str, str]:
    given = {field: getattr(auth, field, None) for field in _GIT_NAMES}
    return {
        field: unsealer.text(value, f"git/{_GIT_NAMES[field]}")
        for field, value in given.items()
        if value is not None
    }


def _lease_name(grant: Grant, kind: str) -> str:
    return f"lease/{grant.deployment_id}/{grant.generation}/{kind}"

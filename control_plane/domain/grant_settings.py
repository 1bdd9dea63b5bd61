"""From a deployment's settings to what its runner is told: plain values, and sealed ones."""

from __future__ import annotations

from typing import Any

import msgspec

from runner_actors.contract import GitAuth, GitSource, Value

Settings = dict[str, Any]


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a grant that comes from settings."""

    source: GitSource | None
    environment: dict[str, Value]
    pre_run_commands: list[str]
    skip_install_dependencies: bool
    shell: str
    delete_after_destroy: bool
    targets: list[str]
    target_dependents: bool
    refresh: bool
    message: str


def work_of(settings: Settings) -> Work:
    """What the settings want done."""
    operation = settings.get("operationContext") or {}
    options = operation.get("options") or {}
    variables = operation.get("environmentVariables") or {}
    return Work(
        source=_source(settings),
        environment={name: value(each) for name, each in variables.items()},
        pre_run_commands=list(operation.get("preRunCommands") or []),
        skip_install_dependencies=bool(options.get("skipInstallDependencies")),
        shell=options.get("shell") or "",
        delete_after_destroy=bool(options.get("deleteAfterDestroy")),
        targets=list(options.get("targets") or []),
        target_dependents=bool(options.get("targetDependents")),
        refresh=bool(options.get("refresh")),
        message=options.get("message") or "",
    )


def skips_intermediate(settings: Settings) -> bool:
    """Whether a deployment with these settings takes the place of older ones in the queue."""
    options = (settings.get("operationContext") or {}).get("options") or {}
    return bool(options.get("skipIntermediateDeployments"))


def value(each: Any) -> Value:
    """A kept value: a bare string, or a sealed one."""
    if isinstance(each, dict):
        return Value(sealed=each.get("ciphertext", ""))
    return Value(plain=str(each))


def _source(settings: Settings) -> GitSource | None:
    git = (settings.get("sourceContext") or {}).get("git") or {}
    if not git.get("repoUrl"):
        return None
    branch = git.get("branch") or ""
    if git.get("tag") and not branch:
        branch = f"refs/tags/{git['tag']}"
    return GitSource(
        repo_url=git["repoUrl"],
        branch=branch,
        commit=git.get("commit") or "",
        repo_dir=git.get("repoDir") or "",
        auth=_auth(git.get("gitAuth") or {}),
    )


def _auth(auth: Settings) -> GitAuth | None:
    ssh, basic = auth.get("sshAuth") or {}, auth.get("basicAuth") or {}
    found = {
        "access_token": auth.get("accessToken"),
        "ssh_private_key": ssh.get("sshPrivateKey"),
        "ssh_passphrase": ssh.get("password"),
        "user_name": basic.get("userName"),
        "password": basic.get("password"),
    }
    given = {name: value(each) for name, each in found.items() if each is not None}
    return GitAuth(**given) if given else None

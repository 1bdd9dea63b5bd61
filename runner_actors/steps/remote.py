"""What a repository's address may be, and how git reaches it with which credentials.

The address, the branch and the directory come from whoever may set deployment settings, and the
repository itself may hold anything, so nothing of it may become an option, another protocol, a
path of this machine, or a question that our credentials answer for another host.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

from runner_actors.shim_client import secret_text
from runner_actors.workspace import Workspace

_SCP_LIKE = re.compile(r"(?:(?P<user>[\w.+-]+)@)?(?P<host>[A-Za-z0-9][\w.-]*):(?P<path>[^:].*)")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_BRANCH = re.compile(r"[^-\x00-\x20\x7f~^:?*\[\\][^\x00-\x20\x7f~^:?*\[\\]*")
_COMMIT = re.compile(r"[0-9A-Fa-f]{4,64}")

ASKPASS = """#!/bin/sh
# Answers the questions of git and ssh, and only for the host that the credentials are for.
case "$1" in
  "Username for '$ASKPASS_SCHEME://$ASKPASS_HOST': ") cat "$ASKPASS_USER" ;;
  "Password for '$ASKPASS_SCHEME://"*"@$ASKPASS_HOST': ") cat "$ASKPASS_PASSWORD" ;;
  "Enter passphrase for key '"*) cat "$ASKPASS_PASSPHRASE" ;;
  *) exit 1 ;;
esac
"""


class SourceRefused(Exception):
    """The source's settings cannot be used; the text tells the user why."""


@dataclass(frozen=True)
class Remote:
    """A repository's address, without credentials in it."""

    url: str
    scheme: str
    host: str
    user: str = ""
    password: str = ""


def remote_of(repo_url: str, allow_local: bool) -> Remote:
    """Check an address. Raises SourceRefused."""
    if not repo_url or repo_url.startswith("-") or _CONTROL.search(repo_url):
        raise SourceRefused(f"'{repo_url}' is not the address of a repository.")
    if "::" not in repo_url and "://" not in repo_url and not repo_url.startswith("/"):
        if match := _SCP_LIKE.fullmatch(repo_url):
            return Remote(repo_url, "ssh", match["host"], match["user"] or "")
    elif repo_url.startswith(("/", "file:///")):
        if allow_local:
            return Remote(repo_url, "file", "")
        raise SourceRefused("Repositories on the runner's own disk are not allowed here.")
    elif repo_url.startswith(("https://", "http://", "ssh://")):
        return _parsed(repo_url)
    raise SourceRefused(
        f"'{repo_url}' is not an address that can be cloned from: it must begin with https:// or "
        "ssh://, or look like git@host:owner/repository."
    )


def _parsed(repo_url: str) -> Remote:
    """Take credentials out of an address. Git asks for them by the host as it is written there."""
    try:
        parts = urlsplit(repo_url)
        if not parts.hostname or parts.hostname.startswith("-") or parts.port == 0:
            raise ValueError("no host")
    except ValueError:
        raise SourceRefused(f"'{repo_url}' is not the address of a repository.") from None
    host = parts.netloc.rpartition("@")[2]
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    netloc = f"{parts.username}@{host}" if parts.scheme == "ssh" and user else host
    url = urlunsplit(parts._replace(netloc=netloc))
    return Remote(url, parts.scheme, host, user, password)


def branch_ref(branch: str) -> str:
    """The full name of a branch or another ref; empty for the repository's HEAD."""
    if not branch:
        return ""
    if not _BRANCH.fullmatch(branch) or ".." in branch or branch.endswith((".lock", "/", ".")):
        raise SourceRefused(f"'{branch}' is not the name of a branch.")
    return branch if branch.startswith("refs/") else f"refs/heads/{branch}"


def commit_id(commit: str) -> str:
    """A commit's id, in small letters."""
    if commit and not _COMMIT.fullmatch(commit):
        raise SourceRefused(f"'{commit}' is not the id of a commit.")
    return commit.lower()


def git_environment(
    machine: Mapping[str, str], workspace: Workspace, remote: Remote, askpass: bool
) -> dict[str, str]:
    """What git runs with: no questions to a terminal, few protocols, our configuration only."""
    script = str(workspace.run / "askpass") if askpass else "/bin/false"
    return {
        **machine,
        "HOME": str(workspace.home),
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_GLOBAL": str(workspace.run / "gitconfig"),
        "GIT_ALLOW_PROTOCOL": "https:http:ssh" + (":file" if remote.scheme == "file" else ""),
        "GIT_ASKPASS": script,
        "SSH_ASKPASS": script,
        "SSH_ASKPASS_REQUIRE": "force",
        "GIT_SSH_VARIANT": "ssh",
        "ASKPASS_SCHEME": remote.scheme,
        "ASKPASS_HOST": remote.host,
    }


def credential_files(remote: Remote, given: Mapping[str, str]) -> dict[str, str]:
    """Which secrets this address takes, by the variable that will hold each one's path.

    Of several that are given, the key counts for ssh, and for https the token before the password.
    """
    if remote.scheme == "ssh":
        key = given.get("ssh_private_key", "")
        files = {"GIT_KEY": key if key.endswith("\n") or not key else key + "\n"}
        files["ASKPASS_PASSPHRASE"] = given.get("ssh_passphrase", "")
    elif token := given.get("access_token"):
        files = {"ASKPASS_USER": _token_user(remote), "ASKPASS_PASSWORD": token}
    else:
        password = given.get("password") or remote.password
        user = given.get("user_name") or remote.user
        # A lone user name is how some hosts take a token: `https://<token>@host`.
        password = password or ("x-oauth-basic" if user else "")
        files = {"ASKPASS_USER": user, "ASKPASS_PASSWORD": password}
    files = {name: value for name, value in files.items() if value}
    return {name: secret_text(value.encode()) for name, value in files.items()}


def _token_user(remote: Remote) -> str:
    """Hosts ignore the name that comes with a token, but for Bitbucket."""
    return "x-token-auth" if remote.host.endswith("bitbucket.org") else "x-access-token"


def ssh_command(workspace: Workspace, with_key: bool, with_passphrase: bool) -> str:
    """How git calls ssh: with the deployment's key only, never this machine's own identities."""
    options = [
        "IdentityAgent=none",
        "IdentitiesOnly=yes",
        "PasswordAuthentication=no",
        "KbdInteractiveAuthentication=no",
        "StrictHostKeyChecking=accept-new",
        f'UserKnownHostsFile="{workspace.known_hosts}"',
        "ConnectTimeout=30",
        "ServerAliveInterval=15",
        f"BatchMode={'no' if with_passphrase else 'yes'}",
        f"PubkeyAuthentication={'yes' if with_key else 'no'}",
    ]
    words = ["ssh", "-F", "/dev/null", *(f"-o{option}" for option in options)]
    return " ".join(map(shlex.quote, words)) + (' -i "$GIT_KEY"' if with_key else "")

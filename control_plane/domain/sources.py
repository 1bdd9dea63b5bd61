"""Where a deployment's program may come from: addresses, branches, commits and directories.

Only the address's words are judged here, so that a wrong one is refused before it is queued. The
runner judges them again before git sees them.
"""

from __future__ import annotations

import re
from typing import Any

from control_plane.errors import BadRequest

REMOTE = re.compile(
    r"(https?|ssh)://([^/\s@]*@)?[^-/\s@][^/\s@]*/\S+|[\w.-]+@[A-Za-z0-9][\w.-]*:\S+"
)
"""Addresses that git fetches over a network: URLs, and `user@host:path`.

Anything else is refused, since git would take `ext::…` as a command and `-…` as an option.
"""
LOCAL = re.compile(r"/\S|file:///\S")

_REFERENCE = re.compile(r"[^-\x00-\x20\x7f~^:?*\[\\][^\x00-\x20\x7f~^:?*\[\\]*")
"""What git takes for a name (git-check-ref-format), and never for an option or a range."""
_COMMIT = re.compile(r"[0-9A-Fa-f]{4,64}")
_FIELD = "sourceContext.git"


def require_usable(git: dict[str, Any], *, local: bool) -> None:
    """Raise BadRequest naming what of a source no runner would take; `local`: whether paths may be.

    The address must be there.
    """
    _require_address(git["repoUrl"], local)
    for key in ("branch", "tag"):
        _require_reference(key, git.get(key) or "")
    commit = git.get("commit") or ""
    if commit and not _COMMIT.fullmatch(commit):
        raise BadRequest(
            detail=f"{_FIELD}.commit must be the id of a commit, or the first digits of one."
        )
    if ".." in (git.get("repoDir") or "").split("/"):
        raise BadRequest(detail=f"{_FIELD}.repoDir must be a directory inside the repository.")


def _require_address(repository: str, local: bool) -> None:
    if LOCAL.match(repository):
        if not local:
            raise BadRequest(
                detail=f"{_FIELD}.repoUrl: '{_shown(repository)}' is a local path,"
                " which this server does not deploy from. Use an https:// or ssh:// address."
            )
    elif not REMOTE.fullmatch(repository):
        raise BadRequest(
            detail=f"{_FIELD}.repoUrl: '{_shown(repository)}' is no address that git"
            " can clone from here. Use https://…, ssh://… or user@host:path."
        )


def _shown(url: str) -> str:
    """An address for an error's text: what stands before an '@' may be a password."""
    return re.sub(r"^.*@", "…@", url, flags=re.DOTALL)[:200]


def _require_reference(key: str, name: str) -> None:
    if name.startswith("-"):
        raise BadRequest(detail=f"{_FIELD}.{key} must not begin with '-'.")
    legal = _REFERENCE.fullmatch(name) and ".." not in name
    if name and (not legal or name.endswith((".lock", "/", "."))):
        raise BadRequest(detail=f"{_FIELD}.{key}: git knows no {key} of such a name.")

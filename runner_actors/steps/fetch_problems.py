"""What git's words about a failed fetch mean for the user. Git speaks English here (`LC_ALL=C`)."""

from __future__ import annotations

import re

NO_REF = re.compile(
    r"couldn't find remote ref|not our ref|unadvertised object|no such ref"
    r"|does not allow request",
    re.I,
)
_NO_ACCESS = re.compile(
    r"authentication failed|could not read (?:username|password)|permission denied|error: 40[13]"
    r"|terminal prompts disabled|host key verification failed|invalid credentials|access denied",
    re.I,
)
_NO_HOST = re.compile(
    r"could not resolve host|failed to connect|connection (?:refused|timed out|reset|closed)"
    r"|couldn't connect|operation too slow|network is unreachable|no route to host",
    re.I,
)
_NOT_FOUND = re.compile(
    r"not found|not appear to be a git repository|error: 404|no such file or directory"
    r"|does not exist",
    re.I,
)


def explain(said: str, url: str, branch: str, commit: str, with_credentials: bool) -> str | None:
    """A sentence for the user; None when the words are unknown, as those of a broken clone are."""
    if NO_REF.search(said):
        missing = f"The repository {url} has no branch '{branch}'."
        return no_such_commit(url, commit) if commit else missing
    if _NO_ACCESS.search(said):
        return f"The repository {url} cannot be read. {_no_access(with_credentials)}"
    if _NO_HOST.search(said):
        return f"The host of {url} cannot be reached from the runner. Try again later."
    if _NOT_FOUND.search(said):
        return f"The repository {url} was not found, or the credentials do not reach it."
    return None


def no_such_commit(url: str, commit: str) -> str:
    """The message for a commit that is nowhere in the repository."""
    return f"The repository {url} has no commit '{commit}'."


def _no_access(with_credentials: bool) -> str:
    if with_credentials:
        return "Authentication failed: the credentials in the deployment settings are not accepted."
    return "It does not exist, or it needs credentials and the deployment settings have none."

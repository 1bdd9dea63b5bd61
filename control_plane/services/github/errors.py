"""What went wrong with GitHub or git, as callers of their ports see it."""

from __future__ import annotations

from control_plane.errors import Problem


class GitHubProblem(Problem):
    """Bad Gateway: GitHub gave an answer that makes no sense."""

    status = 502
    slug = "github"


class GitHubUnavailable(GitHubProblem):
    """Service Unavailable: GitHub does not answer ({detail}). Try again in {retry_after_seconds}
    seconds."""

    status = 503
    slug = "github_unavailable"

    def __init__(self, detail: str, retry_after_seconds: float = 30) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(detail=detail, retry_after_seconds=round(retry_after_seconds))


class GitHubLimited(GitHubProblem):
    """Service Unavailable: GitHub allows no more requests for now. Try again in
    {retry_after_seconds} seconds."""

    status = 503
    slug = "github_limited"

    def __init__(self, retry_after_seconds: float, *, secondary: bool = False) -> None:
        self.retry_after_seconds = retry_after_seconds
        self.secondary = secondary
        super().__init__(retry_after_seconds=round(retry_after_seconds))


class GitHubMissing(GitHubProblem):
    """Not Found: GitHub has no {what}, or does not show it to this installation."""

    status = 404
    slug = "github_missing"

    def __init__(self, what: str) -> None:
        super().__init__(what=what)


class GitHubRefused(GitHubProblem):
    """Bad Gateway: GitHub refused ({github_status}): {detail}"""

    slug = "github_refused"

    def __init__(self, github_status: int, detail: str) -> None:
        self.github_status = github_status
        self.detail = detail
        super().__init__(github_status=github_status, detail=detail)


class CommitMissing(GitHubProblem):
    """Not Found: The repository has no commit {commit} (any more): it was force-pushed away."""

    status = 404
    slug = "commit_missing"

    def __init__(self, commit: str) -> None:
        self.commit = commit
        super().__init__(commit=commit)


class GitUnavailable(GitHubProblem):
    """Service Unavailable: git could not read the repository: {detail}"""

    status = 503
    slug = "git_unavailable"

    def __init__(self, detail: str) -> None:
        super().__init__(detail=detail)

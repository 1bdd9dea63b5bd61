"""What a stack's deployment settings say about when it is deployed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

PROVIDER = "github"
_BLOCKS = ("gitHub", "vcs")


class Triggers(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of `gitHub`, or of `vcs` with the provider `github`, and the branch.

    A flag that is left out is off: Go clients leave out what is false.
    """

    repository: str
    """`owner/name`, as GitHub spells it or not."""
    branch: str
    """A short name; empty when the settings name none."""
    deploy_commits: bool = False
    preview_pull_requests: bool = False
    template: bool = False
    """Whether pull requests get review stacks made after this stack."""
    pull_request: int | None = None
    """The pull request that this review stack belongs to."""
    paths: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    """One of these must be on a pull request that is to get a review stack."""
    deploy_tags: bool = False
    tag_filters: tuple[str, ...] = ()

    def is_of(self, full_name: str) -> bool:
        """Whether this is about a repository: GitHub does not tell upper case from lower case."""
        return self.repository.lower() == full_name.lower()


def read(settings: Mapping[str, Any]) -> Triggers | None:
    """The triggers in stored settings; None when they name no repository of GitHub."""
    block = _block(settings)
    if block is None:
        return None
    number = block.get("deployPullRequest")
    return Triggers(
        repository=_repository(block),
        branch=branch(settings),
        deploy_commits=block.get("deployCommits") is True,
        preview_pull_requests=block.get("previewPullRequests") is True,
        template=block.get("pullRequestTemplate") is True,
        pull_request=number if isinstance(number, int) and number > 0 else None,
        paths=_texts(block.get("paths")),
        labels=_texts(block.get("reviewStackLabels")),
        deploy_tags=block.get("deployTags") is True,
        tag_filters=_texts(block.get("tagFilters")),
    )


def block_name(settings: Mapping[str, Any]) -> str | None:
    """Under which field the triggers stand, `gitHub` or `vcs`; None when there are none."""
    for name in _BLOCKS:
        block = settings.get(name)
        if isinstance(block, dict) and _repository(block):
            provider = block.get("provider") if name == "vcs" else PROVIDER
            if isinstance(provider, str) and provider.lower() == PROVIDER:
                return name
    return None


def repository(settings: Mapping[str, Any]) -> str:
    """The repository that settings name, in lower case, to look stacks up by; empty for none."""
    block = _block(settings)
    return _repository(block).lower() if block else ""


def branch(settings: Mapping[str, Any]) -> str:
    """The branch's short name, of `main` as of `refs/heads/main`; empty when there is none."""
    source = settings.get("sourceContext")
    git = source.get("git") if isinstance(source, dict) else None
    name = git.get("branch") if isinstance(git, dict) else None
    return name.removeprefix("refs/heads/") if isinstance(name, str) else ""


def _block(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    name = block_name(settings)
    return settings[name] if name else None


def _repository(block: Mapping[str, Any]) -> str:
    name = block.get("repository")
    return name.strip().strip("/").removesuffix(".git") if isinstance(name, str) else ""


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) else ()

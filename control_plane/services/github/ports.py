"""What services need of GitHub and of git, and the errors that both answer with.

Credentials are given with each call: the control plane keeps them encrypted in its database. None
of them is ever part of an error, a repr or a log line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from control_plane.services.github.errors import CommitMissing as CommitMissing
from control_plane.services.github.errors import GitHubLimited as GitHubLimited
from control_plane.services.github.errors import GitHubMissing as GitHubMissing
from control_plane.services.github.errors import GitHubProblem as GitHubProblem
from control_plane.services.github.errors import GitHubRefused as GitHubRefused
from control_plane.services.github.errors import GitHubUnavailable as GitHubUnavailable
from control_plane.services.github.errors import GitUnavailable as GitUnavailable

FILES_OF_COMPARISON_MAX = 300
"""GitHub's own limit of the files of a comparison."""
FILES_OF_PULL_REQUEST_MAX = 3000
"""GitHub's own limit of the files of a pull request."""

READS_SOURCE = {"contents": "read", "metadata": "read"}
"""The permissions of a token that a repository is fetched with, and no more."""

Permission = Literal["admin", "maintain", "write", "triage", "read", "none"]


@dataclass(frozen=True)
class AppKey:
    """Who the control plane is to GitHub: an App's id and its private key (PEM)."""

    app_id: int
    private_key: str = field(repr=False)


@dataclass(frozen=True)
class Place:
    """A repository (`owner/name`) as one installation of an App reaches it."""

    key: AppKey
    installation_id: int
    full_name: str


@dataclass(frozen=True)
class Account:
    """A user or an organization of GitHub."""

    id: int
    login: str
    kind: str
    """`User`, `Organization` or `Enterprise`."""


@dataclass(frozen=True)
class CreatedApp:
    """What GitHub hands over, once, for a manifest's code."""

    id: int
    slug: str
    name: str
    client_id: str
    html_url: str
    owner: Account
    client_secret: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    pem: str = field(repr=False)


@dataclass(frozen=True)
class App:
    """An App as GitHub has it now."""

    id: int
    slug: str
    name: str
    html_url: str
    permissions: Mapping[str, str]
    events: tuple[str, ...]


@dataclass(frozen=True)
class Installation:
    """An App's installation in an account."""

    id: int
    account: Account
    selection: str
    """`all` or `selected` repositories."""
    permissions: Mapping[str, str]
    events: tuple[str, ...]
    suspended: bool
    html_url: str


@dataclass(frozen=True)
class Repository:
    """A repository as GitHub has it now."""

    id: int
    full_name: str
    default_branch: str
    private: bool
    fork: bool
    archived: bool
    html_url: str
    clone_url: str


@dataclass(frozen=True)
class Ref:
    """A branch or a tag, by its short name. An annotated tag's `sha` is the tag object's."""

    name: str
    sha: str
    kind: str
    """`commit` or `tag`."""


@dataclass(frozen=True)
class Commit:
    """A commit's record."""

    sha: str
    message: str
    author_name: str
    author_login: str
    html_url: str


@dataclass(frozen=True)
class Token:
    """An installation's token; it opens what it was minted for until its time."""

    token: str = field(repr=False)
    expires_at_ms: int


@dataclass(frozen=True)
class PullRequest:
    """A pull request as GitHub has it now."""

    number: int
    title: str
    state: str
    """`open` or `closed`."""
    merged: bool
    draft: bool
    author: Account
    labels: tuple[str, ...]
    html_url: str
    head_sha: str
    head_ref: str
    head_repository_id: int | None
    """None when the fork was deleted."""
    base_sha: str
    base_ref: str
    base_repository_id: int

    @property
    def from_fork(self) -> bool:
        """Whether its commits come from another repository."""
        return self.head_repository_id != self.base_repository_id


@dataclass(frozen=True)
class Files:
    """Names of changed files; of a renamed one both. `cut` when there may be more."""

    names: tuple[str, ...]
    cut: bool = False


@dataclass(frozen=True)
class CheckRun:
    """What a check run shows. Texts are cut to GitHub's 65,535 characters by the caller."""

    name: str
    status: Literal["queued", "in_progress", "completed"]
    conclusion: str = ""
    """Of a completed one: success, failure, neutral, cancelled, skipped, timed_out,
    action_required."""
    title: str = ""
    summary: str = ""
    text: str = ""
    details_url: str = ""
    external_id: str = ""
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


@dataclass(frozen=True)
class Comment:
    """A comment of a pull request."""

    id: int
    body: str
    html_url: str
    app_id: int | None
    """Which App wrote it; None for people."""


@dataclass(frozen=True)
class Delivery:
    """A webhook delivery as GitHub keeps it (for three days)."""

    id: int
    guid: str
    """The X-GitHub-Delivery header; a redelivery has the same one and another id."""
    event: str
    action: str
    delivered_at_ms: int
    status_code: int
    """What the receiver answered; 0 when nothing."""
    redelivery: bool
    installation_id: int | None
    repository_id: int | None


@dataclass(frozen=True)
class Deliveries:
    """A page of deliveries, newest first; `cursor` of the next page, empty at the end."""

    items: tuple[Delivery, ...]
    cursor: str


@dataclass(frozen=True)
class DeliveredPayload:
    """What a delivery carried."""

    delivery: Delivery
    payload: Mapping[str, object]


@dataclass(frozen=True)
class User:
    """A person of GitHub; name and email are empty when not public."""

    id: int
    login: str
    name: str
    email: str


@dataclass(frozen=True)
class UserToken:
    """What a person allowed the App: acts for the person."""

    token: str = field(repr=False)
    expires_at_ms: int | None = None
    refresh_token: str = field(repr=False, default="")


class GitHub(Protocol):
    """GitHub.com, or an Enterprise Server.

    Every coroutine raises GitHubUnavailable (no answer in time, or 5xx), GitHubLimited (nothing is
    sent again for that credential until the time is over), GitHubMissing (404, 410) and
    GitHubRefused (any other refusal); nothing is tried again by itself.
    """

    async def close(self) -> None:
        """Close the connections, at the end of the process."""

    # Addresses, for browsers.

    def manifest_url(self, state: str, organization: str = "") -> str:
        """Where a browser posts a manifest to create an App, for oneself or an organization."""

    def install_url(self, slug: str, state: str) -> str:
        """Where a person installs an App, or changes its installation."""

    def authorize_url(self, client_id: str, redirect_uri: str, state: str) -> str:
        """Where a person signs in through an App."""

    # The App.

    async def convert_manifest(self, code: str) -> CreatedApp:
        """Redeem a manifest's code; works once, within an hour."""

    async def app(self, key: AppKey) -> App:
        """The App itself."""

    async def installations(self, key: AppKey) -> tuple[Installation, ...]:
        """All installations of the App."""

    async def installation(self, key: AppKey, installation_id: int) -> Installation:
        """One installation."""

    async def delete_installation(self, key: AppKey, installation_id: int) -> None:
        """Uninstall the App from an account."""

    async def mint_token(
        self,
        key: AppKey,
        installation_id: int,
        repository_ids: Sequence[int],
        permissions: Mapping[str, str],
    ) -> Token:
        """A new token, good for an hour, for these repositories and permissions only."""

    async def deliveries(self, key: AppKey, cursor: str = "", limit: int = 100) -> Deliveries:
        """A page of the App's webhook deliveries, newest first."""

    async def delivery(self, key: AppKey, delivery_id: int) -> DeliveredPayload:
        """One delivery with its payload."""

    async def redeliver(self, key: AppKey, delivery_id: int) -> None:
        """Ask GitHub to deliver again."""

    # Repositories.

    async def repositories(self, key: AppKey, installation_id: int) -> tuple[Repository, ...]:
        """All repositories that an installation reaches."""

    async def repository_by_id(
        self, key: AppKey, installation_id: int, repository_id: int
    ) -> Repository:
        """A repository under whatever name it has now."""

    async def branches(self, place: Place, prefix: str = "", limit: int = 100) -> tuple[Ref, ...]:
        """Branches whose names begin so, by name, at most so many."""

    async def tags(self, place: Place, prefix: str = "", limit: int = 100) -> tuple[Ref, ...]:
        """Tags whose names begin so, by name, at most so many."""

    async def branch_head(self, place: Place, branch: str) -> str | None:
        """The commit a branch points to; None when there is no such branch."""

    async def commit(self, place: Place, sha: str) -> Commit:
        """A commit's record."""

    async def compare_files(self, place: Place, before: str, after: str) -> Files:
        """Files changed between a common ancestor and `after`; cut at 300."""

    async def permission(self, place: Place, login: str) -> Permission:
        """What a person may do with the repository."""

    async def organization_role(
        self, key: AppKey, installation_id: int, organization: str, login: str
    ) -> str | None:
        """`admin`, `member`, or None: a person's active part in an organization."""

    # Pull requests.

    async def pull_request(self, place: Place, number: int) -> PullRequest:
        """One pull request."""

    async def open_pull_requests(self, place: Place, base: str = "") -> tuple[PullRequest, ...]:
        """The open ones, newest first, of one target branch or of all; at most 1000."""

    async def pull_request_files(self, place: Place, number: int) -> Files:
        """Files that a pull request changes; cut at 3000."""

    async def find_comment(self, place: Place, number: int, marker: str) -> Comment | None:
        """The App's own comment with the marker in its text: the oldest of several."""

    async def create_comment(self, place: Place, number: int, body: str) -> Comment:
        """Write a comment."""

    async def update_comment(self, place: Place, comment_id: int, body: str) -> Comment:
        """Change a comment's text."""

    async def delete_comment(self, place: Place, comment_id: int) -> None:
        """Remove a comment."""

    # What commits show.

    async def create_check_run(self, place: Place, head_sha: str, check: CheckRun) -> int:
        """A new check run of a commit; gives its id."""

    async def update_check_run(self, place: Place, check_run_id: int, check: CheckRun) -> None:
        """Change what a check run shows."""

    async def set_commit_status(
        self,
        place: Place,
        sha: str,
        *,
        state: Literal["error", "failure", "pending", "success"],
        context: str,
        description: str = "",
        target_url: str = "",
    ) -> None:
        """A commit's status of one context; the latest counts. Descriptions are cut at 140."""

    async def create_deployment(
        self, place: Place, sha: str, *, environment: str, description: str, transient: bool
    ) -> int:
        """A GitHub deployment of a commit in an environment; gives its id."""

    async def set_deployment_status(
        self,
        place: Place,
        deployment_id: int,
        *,
        state: Literal[
            "error", "failure", "inactive", "in_progress", "queued", "pending", "success"
        ],
        log_url: str = "",
        description: str = "",
    ) -> None:
        """What became of a GitHub deployment."""

    # People.

    async def exchange_code(
        self, client_id: str, client_secret: str, code: str, redirect_uri: str = ""
    ) -> UserToken:
        """Redeem the code of a sign-in; GitHubRefused when it is wrong, used or old."""

    async def user(self, token: str) -> User:
        """Whose token this is."""

    async def user_installations(self, token: str) -> tuple[Installation, ...]:
        """Installations of the App in accounts that the person has access to."""

    async def controls(self, token: str, account: Account) -> bool:
        """Whether the person owns the account: it is theirs, or they are its active admin."""


class ChangedFiles(Protocol):
    """Compares commits by git, for what GitHub's own lists leave out."""

    async def between(
        self, repository_id: int, clone_url: str, token: str, before: str, after: str
    ) -> Files:
        """Files that differ between two commits. Raises CommitMissing and GitUnavailable."""

    async def of_pull_request(
        self, repository_id: int, clone_url: str, token: str, base: str, head: str
    ) -> Files:
        """Files that differ between the merge base of two commits and the second one."""

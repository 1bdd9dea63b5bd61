"""What GitHub tells by webhook, in our own words: only what something here acts on.

A text without meaning here (a body, an avatar) is not kept. An event that nothing follows from is
`Ignored`, with the reason. `payloads.parse` makes these from what GitHub sends.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

NO_COMMIT = "0" * 40
"""What stands for a commit where a branch begins or ends to exist."""


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A GitHub account: a person, an organization or an App. Its id stays, its login may change."""

    id: int
    login: str
    kind: str = ""
    """`User`, `Organization` or `Bot`; empty where GitHub does not say."""


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """A repository. Its id stays when it is renamed or transferred."""

    id: int
    full_name: str
    """`owner/name`."""
    clone_url: str = ""
    """An `https://` address without credentials; empty where GitHub does not say."""
    default_branch: str = ""
    private: bool = False
    archived: bool = False
    fork: bool = False


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """A commit, in few words."""

    id: str
    message: str
    """The whole message, or its first 65,536 characters."""
    author: str
    """The author's login at GitHub, or else the name that the commit bears."""
    at: str
    """When it was committed, as ISO 8601."""

    @property
    def title(self) -> str:
        """The message's first line."""
        return self.message.lstrip().partition("\n")[0].strip()


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """A branch or a tag that points to another commit now, begins to exist, or has ended."""

    installation_id: int | None
    repository: Repository
    ref: str
    """In full, such as `refs/heads/main`."""
    before: str
    after: str
    """What the ref points to; of an annotated tag this is the tag, not its commit."""
    created: bool
    deleted: bool
    forced: bool
    head: Commit | None
    pusher: str
    sender: Person | None
    files: tuple[str, ...] | None
    """Which files differ, sorted; None when the payload cannot say it and git must."""
    pushed_at: int | None
    """Unix seconds of the repository's last push, by which pushes to one branch are ordered."""

    @property
    def branch(self) -> str:
        """The branch's short name; empty when it is something else."""
        return _after(self.ref, "refs/heads/")

    @property
    def tag(self) -> str:
        """The tag's name; empty when it is something else."""
        return _after(self.ref, "refs/tags/")

    @property
    def commit(self) -> str:
        """The commit to deploy; empty when there is none."""
        if self.deleted:
            return ""
        return self.head.id if self.head else self.after


class End(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two ends of a pull request."""

    sha: str
    ref: str
    """A branch's short name."""
    repository: Repository | None
    """None when the repository is gone."""


class PullRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to a pull request."""

    action: str
    """GitHub's word, one of `PULL_REQUEST_ACTIONS`."""
    installation_id: int | None
    repository: Repository
    """Where the pull request is: its target."""
    number: int
    title: str
    url: str
    head: End
    base: End
    draft: bool
    open: bool
    merged: bool
    merge_commit: str
    labels: tuple[str, ...]
    author: Person | None
    """None when the account is gone."""
    association: str
    """What GitHub says the author is to the repository, such as `MEMBER` or `NONE`."""
    sender: Person | None
    label: str = ""
    """The label that was added or removed."""
    retargeted: bool = False
    """Whether `edited` moved it to another target branch."""
    retitled: bool = False
    updated_at: str = ""
    """ISO 8601."""

    @property
    def is_fork(self) -> bool:
        """Whether its commits come from outside the repository; if that is gone, they did."""
        return self.head.repository is None or self.head.repository.id != self.repository.id

    @property
    def source_ref(self) -> str:
        """The ref of the target's repository under which GitHub keeps the head, forks' too."""
        return f"refs/pull/{self.number}/head"


PULL_REQUEST_ACTIONS = frozenset(
    {
        "opened",
        "reopened",
        "synchronize",
        "edited",
        "closed",
        "labeled",
        "unlabeled",
        "ready_for_review",
        "converted_to_draft",
    }
)
"""The actions that something may follow from; `synchronize` means new commits."""


class InstallationAction(StrEnum):
    """What happened to an installation of the App."""

    CREATED = "created"
    DELETED = "deleted"
    SUSPEND = "suspend"
    UNSUSPEND = "unsuspend"
    NEW_PERMISSIONS = "new_permissions_accepted"


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """The App was installed, uninstalled, suspended, or got more permissions."""

    action: InstallationAction
    id: int
    account: Person
    permissions: dict[str, str]
    events: tuple[str, ...]
    every_repository: bool
    suspended: bool
    repositories: tuple[Repository, ...]
    """Which it may use, as far as the payload says: GitHub lists them when it is created."""
    sender: Person | None


class InstallationRepositories(msgspec.Struct, frozen=True, kw_only=True):
    """The App may use other repositories than before."""

    installation_id: int
    account: Person
    every_repository: bool
    added: tuple[Repository, ...]
    removed: tuple[Repository, ...]
    sender: Person | None


class AccountRenamed(msgspec.Struct, frozen=True, kw_only=True):
    """The account that the App is installed on has another login now."""

    installation_id: int
    account: Person
    before: str


class AuthorizationRevoked(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody took back the App's right to act for them."""

    person: Person


class RepositoryAction(StrEnum):
    """What happened to a repository."""

    CREATED = "created"
    RENAMED = "renamed"
    TRANSFERRED = "transferred"
    DELETED = "deleted"
    ARCHIVED = "archived"
    UNARCHIVED = "unarchived"
    EDITED = "edited"
    PUBLICIZED = "publicized"
    PRIVATIZED = "privatized"


class RepositoryChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A repository as it is now, and what happened to it."""

    action: RepositoryAction
    installation_id: int | None
    repository: Repository
    full_name_before: str
    """The same as now, unless it was renamed or transferred."""
    sender: Person | None


class CheckRerequested(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody wants a check again, or pressed one of its buttons."""

    installation_id: int | None
    repository: Repository
    app_id: int | None
    """Whose check it is: GitHub tells every App of its own only, Enterprise Servers do of all."""
    check_run_id: int | None
    """None when all checks of the commit are wanted again."""
    external_id: str
    """What we had called it."""
    commit: str
    button: str
    """The identifier of the button; empty for "Re-run"."""
    sender: Person | None


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A comment on a pull request that approves its head commit: `/slipway approve <commit>`."""

    installation_id: int | None
    repository: Repository
    number: int
    comment_id: int
    commit: str
    """The first digits of the commit's id."""
    author: Person
    association: str


class Ping(msgspec.Struct, frozen=True, kw_only=True):
    """GitHub tries whether it reaches us."""

    hook_id: int
    app_id: int | None


class Ignored(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing follows from this."""

    event: str
    """Its name, with its action if it has one: `pull_request.assigned`."""
    why: str


Event = (
    Push
    | PullRequest
    | Installation
    | InstallationRepositories
    | AccountRenamed
    | AuthorizationRevoked
    | RepositoryChanged
    | CheckRerequested
    | Approval
    | Ping
    | Ignored
)


def _after(text: str, prefix: str) -> str:
    return text.removeprefix(prefix) if text.startswith(prefix) else ""

"""The shapes of GitHub's webhook payloads: the fields that are read, and what each may hold.

Source: "Webhook events and payloads" in GitHub's documentation, and octokit's recorded examples.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

TEXT_CHARACTERS_MAX = 1024

_Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Sha = Annotated[str, Meta(pattern=r"^(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")]
_FullName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}\Z")]
_Name = Annotated[str, Meta(max_length=TEXT_CHARACTERS_MAX, pattern=r"^[^\x00]*\Z")]
_Ref = Annotated[str, Meta(max_length=TEXT_CHARACTERS_MAX, pattern=r"^[^\x00-\x20\x7f]+\Z")]


class Account(msgspec.Struct):
    """A person, an organization or an App."""

    id: _Id
    login: _Name
    type: _Name = ""


class Repository(msgspec.Struct):
    """A repository; where it is only listed, its id and names are all there is."""

    id: _Id
    full_name: _FullName
    clone_url: _Name = ""
    default_branch: _Name | None = ""
    private: bool = False
    archived: bool = False
    fork: bool = False
    pushed_at: int | str | None = None


class App(msgspec.Struct):
    """Something of which only the id is read."""

    id: _Id


class Beginning(msgspec.Struct):
    """What any payload may begin with."""

    action: str = ""


class Common(msgspec.Struct):
    """What nearly every payload has."""

    installation: App | None = None
    sender: Account | None = None

    @property
    def installation_id(self) -> int | None:
        """Through which installation of the App it came; None if through none."""
        return self.installation.id if self.installation else None


class Author(msgspec.Struct):
    """Who made a commit: a name, and a login if GitHub knows one."""

    name: str | None = ""
    username: str | None = ""


class Commit(msgspec.Struct):
    """A commit of a push."""

    id: _Sha
    message: str = ""
    timestamp: _Name | None = ""
    author: Author | None = None
    added: list[str] | None = None
    modified: list[str] | None = None
    removed: list[str] | None = None


class Pusher(msgspec.Struct):
    """Who pushed; a deploy key has a name too."""

    name: str | None = ""


class Push(Common, kw_only=True):
    """`push`."""

    ref: _Ref
    before: _Sha
    after: _Sha
    created: bool = False
    deleted: bool = False
    forced: bool = False
    commits: list[Commit] = []
    head_commit: Commit | None = None
    repository: Repository
    pusher: Pusher | None = None


class End(msgspec.Struct):
    """One end of a pull request; `repo` is null when it is gone."""

    sha: _Sha
    ref: _Ref
    repo: Repository | None = None


class Label(msgspec.Struct):
    """A label."""

    name: _Name


class Pull(msgspec.Struct):
    """A pull request."""

    number: _Id
    title: str
    state: str
    head: End
    base: End
    html_url: _Name = ""
    draft: bool | None = False
    merged: bool | None = False
    merge_commit_sha: _Name | None = ""
    labels: list[Label] | None = None
    user: Account | None = None
    author_association: _Name = ""
    updated_at: _Name | None = ""


class PullRequest(Common, kw_only=True):
    """`pull_request`."""

    action: str
    pull_request: Pull
    repository: Repository
    label: Label | None = None
    changes: dict[str, Any] | None = None


class Installation(msgspec.Struct):
    """An installation."""

    id: _Id
    account: Account
    permissions: dict[str, str | None] | None = None
    events: list[str] | None = None
    repository_selection: str = ""
    suspended_at: str | None = None


class InstallationEvent(msgspec.Struct, kw_only=True):
    """`installation` and `installation_repositories`."""

    action: str
    installation: Installation
    repositories: list[Repository] | None = None
    repositories_added: list[Repository] | None = None
    repositories_removed: list[Repository] | None = None
    repository_selection: str = ""
    sender: Account | None = None


class Was(msgspec.Struct):
    """What something was before."""

    was: _Name = msgspec.field(name="from", default="")


class LoginChange(msgspec.Struct):
    """An account's other login."""

    login: Was | None = None


class TargetEvent(msgspec.Struct):
    """`installation_target`."""

    account: Account
    installation: App
    changes: LoginChange | None = None


class Revoked(msgspec.Struct):
    """`github_app_authorization`."""

    sender: Account


class OwnerWas(msgspec.Struct):
    """Whose a repository was."""

    user: Account | None = None
    organization: Account | None = None


class OwnerChange(msgspec.Struct):
    """A repository has another owner."""

    was: OwnerWas | None = msgspec.field(name="from", default=None)


class NameChange(msgspec.Struct):
    """A repository has another name."""

    name: Was | None = None


class RepositoryChanges(msgspec.Struct):
    """What is different in a repository."""

    repository: NameChange | None = None
    owner: OwnerChange | None = None


class RepositoryEvent(Common, kw_only=True):
    """`repository`."""

    action: str
    repository: Repository
    changes: RepositoryChanges | None = None


class Check(msgspec.Struct):
    """A check run or a check suite."""

    id: _Id
    head_sha: _Sha
    external_id: _Name | None = ""
    app: App | None = None


class Button(msgspec.Struct):
    """A button of a check run."""

    identifier: _Name = ""


class CheckEvent(Common, kw_only=True):
    """`check_run` and `check_suite`."""

    action: str
    repository: Repository
    check_run: Check | None = None
    check_suite: Check | None = None
    requested_action: Button | None = None


class Comment(msgspec.Struct):
    """A comment."""

    id: _Id
    body: str | None = ""
    user: Account | None = None
    author_association: _Name = ""


class Issue(msgspec.Struct):
    """An issue, or a pull request seen as one."""

    number: _Id
    pull_request: dict[str, Any] | None = None


class CommentEvent(Common, kw_only=True):
    """`issue_comment`."""

    action: str
    issue: Issue
    comment: Comment
    repository: Repository


class Hook(msgspec.Struct):
    """A webhook."""

    app_id: _Id | None = None


class Ping(msgspec.Struct):
    """`ping`."""

    hook_id: _Id
    hook: Hook | None = None

"""From the JSON that GitHub sends to the events of `events.py`.

The shapes are those of "Webhook events and payloads" in GitHub's documentation, and of the examples
that octokit records. Only what is read here must be right; a payload may have anything besides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from control_plane.domain.github import events, wire
from control_plane.domain.github.events import Event, Ignored, InstallationAction, RepositoryAction
from control_plane.domain.github.wire import TEXT_CHARACTERS_MAX

PAYLOAD_BYTES_MAX = 25 * 1024 * 1024
"""GitHub sends nothing larger."""
MESSAGE_CHARACTERS_MAX = 65_536
COMMITS_MAX = 20
FILES_MAX = 300
"""From so many commits of a push, or files of a commit, on, a payload is not taken for complete.

GitHub.com says 2048 and 3000 today; these are the lowest limits it had, and some Enterprise Servers
have. Asking git costs a fetch; missing a file costs a deployment.
"""


class BadPayload(ValueError):
    """A payload that is not as GitHub documents it; the text names the event and the field."""


def parse(event: str, body: bytes) -> Event:
    """Read one delivery: the event's name (`X-GitHub-Event`) and the body. Raises BadPayload."""
    reader = _READERS.get(event)
    if reader is None:
        return Ignored(event=_text(event)[:100], why="Slipway does not use events of this kind.")
    if len(body) > PAYLOAD_BYTES_MAX:
        raise BadPayload(f"{event}: the payload is larger than {PAYLOAD_BYTES_MAX} bytes")
    try:
        return reader(body)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise BadPayload(f"{event}: {error}") from None
    except RecursionError:
        raise BadPayload(f"{event}: the payload is nested too deeply") from None


_read_head = msgspec.json.Decoder(wire.Beginning).decode
_read_push = msgspec.json.Decoder(wire.Push).decode
_read_pull = msgspec.json.Decoder(wire.PullRequest).decode
_read_installation = msgspec.json.Decoder(wire.InstallationEvent).decode
_read_target = msgspec.json.Decoder(wire.TargetEvent).decode
_read_revoked = msgspec.json.Decoder(wire.Revoked).decode
_read_repository = msgspec.json.Decoder(wire.RepositoryEvent).decode
_read_check = msgspec.json.Decoder(wire.CheckEvent).decode
_read_comment = msgspec.json.Decoder(wire.CommentEvent).decode
_read_ping = msgspec.json.Decoder(wire.Ping).decode


def _push(body: bytes) -> Event:
    given = _read_push(body)
    pushed_at = given.repository.pushed_at
    return events.Push(
        installation_id=given.installation_id,
        repository=_repository(given.repository),
        ref=given.ref,
        before=given.before,
        after=given.after,
        created=given.created,
        deleted=given.deleted,
        forced=given.forced,
        head=_commit(given.head_commit),
        pusher=_text(given.pusher.name if given.pusher else ""),
        sender=_person(given.sender),
        files=_files(given),
        pushed_at=pushed_at if isinstance(pushed_at, int) else None,
    )


def _files(given: wire.Push) -> tuple[str, ...] | None:
    """What the commits of a push touched, if the payload has all of them.

    That may be more than differs in the end: a change and its undoing are both a reason to deploy.
    """
    if given.deleted:
        return ()
    commits = given.commits
    last = given.head_commit.id if given.head_commit else given.after
    whole = 0 < len(commits) < COMMITS_MAX and commits[-1].id == last == given.after
    if given.created or given.forced or not whole:
        return None
    touched: set[str] = set()
    for commit in commits:
        lists = (commit.added, commit.modified, commit.removed)
        if any(each is None or len(each) >= FILES_MAX for each in lists):
            return None
        touched.update(*(each for each in lists if each))
    # A commit that lists nothing may be a merge, of which GitHub lists nothing in some versions.
    return tuple(sorted(touched)) or None


def _pull_request(body: bytes) -> Event:
    action = _read_head(body).action
    if action not in events.PULL_REQUEST_ACTIONS:
        return _unused("pull_request", action)
    given = _read_pull(body)
    pull, changes = given.pull_request, given.changes or {}
    return events.PullRequest(
        action=given.action,
        installation_id=given.installation_id,
        repository=_repository(given.repository),
        number=pull.number,
        title=_text(pull.title),
        url=pull.html_url,
        head=_end(pull.head),
        base=_end(pull.base),
        draft=bool(pull.draft),
        open=pull.state == "open",
        merged=bool(pull.merged),
        merge_commit=pull.merge_commit_sha or "",
        labels=tuple(label.name for label in pull.labels or ()),
        author=_person(pull.user),
        association=pull.author_association,
        sender=_person(given.sender),
        label=given.label.name if given.label else "",
        retargeted=given.action == "edited" and "base" in changes,
        retitled=given.action == "edited" and "title" in changes,
        updated_at=pull.updated_at or "",
    )


def _installation(body: bytes) -> Event:
    action = _read_head(body).action
    if action not in list(InstallationAction):
        return _unused("installation", action)
    given = _read_installation(body)
    installation = given.installation
    return events.Installation(
        action=InstallationAction(given.action),
        id=installation.id,
        account=_known(installation.account),
        permissions={_text(k): _text(v) for k, v in (installation.permissions or {}).items() if v},
        events=tuple(map(_text, installation.events or ())),
        every_repository=installation.repository_selection == "all",
        suspended=installation.suspended_at is not None,
        repositories=_repositories(given.repositories),
        sender=_person(given.sender),
    )


def _installation_repositories(body: bytes) -> Event:
    given = _read_installation(body)
    return events.InstallationRepositories(
        installation_id=given.installation.id,
        account=_known(given.installation.account),
        every_repository=given.repository_selection == "all",
        added=_repositories(given.repositories_added),
        removed=_repositories(given.repositories_removed),
        sender=_person(given.sender),
    )


def _installation_target(body: bytes) -> Event:
    action = _read_head(body).action
    if action != "renamed":
        return _unused("installation_target", action)
    given = _read_target(body)
    before = given.changes.login.was if given.changes and given.changes.login else ""
    return events.AccountRenamed(
        installation_id=given.installation.id, account=_known(given.account), before=before
    )


def _authorization(body: bytes) -> Event:
    action = _read_head(body).action
    if action != "revoked":
        return _unused("github_app_authorization", action)
    return events.AuthorizationRevoked(person=_known(_read_revoked(body).sender))


def _repository_changed(body: bytes) -> Event:
    action = _read_head(body).action
    if action not in list(RepositoryAction):
        return _unused("repository", action)
    given = _read_repository(body)
    return events.RepositoryChanged(
        action=RepositoryAction(given.action),
        installation_id=given.installation_id,
        repository=_repository(given.repository),
        full_name_before=_full_name_before(given.repository.full_name, given.changes),
        sender=_person(given.sender),
    )


def _full_name_before(now: str, changes: wire.RepositoryChanges | None) -> str:
    owner, _, name = now.partition("/")
    if changes and changes.repository and changes.repository.name:
        name = changes.repository.name.was or name
    if changes and changes.owner and changes.owner.was:
        account = changes.owner.was.organization or changes.owner.was.user
        owner = account.login if account else owner
    return f"{owner}/{name}"


def _check_run(body: bytes) -> Event:
    return _check("check_run", body, {"rerequested", "requested_action"})


def _check_suite(body: bytes) -> Event:
    return _check("check_suite", body, {"rerequested"})


def _check(event: str, body: bytes, actions: set[str]) -> Event:
    action = _read_head(body).action
    if action not in actions:
        return _unused(event, action)
    given = _read_check(body)
    check = given.check_run if event == "check_run" else given.check_suite
    if check is None:
        raise BadPayload(f"{event}: the field {event} is missing")
    return events.CheckRerequested(
        installation_id=given.installation_id,
        repository=_repository(given.repository),
        app_id=check.app.id if check.app else None,
        check_run_id=check.id if event == "check_run" else None,
        external_id=check.external_id or "",
        commit=check.head_sha,
        button=given.requested_action.identifier if given.requested_action else "",
        sender=_person(given.sender),
    )


_APPROVAL = re.compile(
    r"^/slipway[ \t]+approve[ \t]+([0-9a-fA-F]{40}|[0-9a-fA-F]{64})[ \t]*\r?$", re.MULTILINE
)
"""The commit must be named: the head may have moved since it was looked at."""


def _issue_comment(body: bytes) -> Event:
    action = _read_head(body).action
    if action != "created":
        return _unused("issue_comment", action)
    given = _read_comment(body)
    said = _APPROVAL.search(given.comment.body or "")
    if given.issue.pull_request is None or said is None or given.comment.user is None:
        return Ignored(event="issue_comment.created", why="The comment approves no pull request.")
    return events.Approval(
        installation_id=given.installation_id,
        repository=_repository(given.repository),
        number=given.issue.number,
        comment_id=given.comment.id,
        commit=said.group(1).lower(),
        author=_known(given.comment.user),
        association=given.comment.author_association,
    )


def _ping(body: bytes) -> Event:
    given = _read_ping(body)
    return events.Ping(hook_id=given.hook_id, app_id=given.hook.app_id if given.hook else None)


_READERS: dict[str, Callable[[bytes], Event]] = {
    "push": _push,
    "pull_request": _pull_request,
    "installation": _installation,
    "installation_repositories": _installation_repositories,
    "installation_target": _installation_target,
    "github_app_authorization": _authorization,
    "repository": _repository_changed,
    "check_run": _check_run,
    "check_suite": _check_suite,
    "issue_comment": _issue_comment,
    "ping": _ping,
}


def _unused(event: str, action: str) -> Ignored:
    name = f"{event}.{_text(action)[:100]}"
    return Ignored(event=name, why="Nothing here depends on this.")


def _repository(given: wire.Repository) -> events.Repository:
    return events.Repository(
        id=given.id,
        full_name=given.full_name,
        clone_url=given.clone_url,
        default_branch=given.default_branch or "",
        private=given.private,
        archived=given.archived,
        fork=given.fork,
    )


def _repositories(wires: Sequence[wire.Repository] | None) -> tuple[events.Repository, ...]:
    return tuple(map(_repository, wires or ()))


def _end(given: wire.End) -> events.End:
    repository = _repository(given.repo) if given.repo else None
    return events.End(sha=given.sha, ref=given.ref, repository=repository)


def _commit(given: wire.Commit | None) -> events.Commit | None:
    if given is None:
        return None
    author = given.author or wire.Author()
    return events.Commit(
        id=given.id,
        message=_text(given.message, MESSAGE_CHARACTERS_MAX),
        author=_text(author.username or author.name or ""),
        at=given.timestamp or "",
    )


def _person(given: wire.Account | None) -> events.Person | None:
    return _known(given) if given else None


def _known(given: wire.Account) -> events.Person:
    return events.Person(id=given.id, login=given.login, kind=given.type)


def _text(text: str | None, characters: int = TEXT_CHARACTERS_MAX) -> str:
    """A text that any database takes, and not too much of it."""
    return (text or "").replace("\x00", "")[:characters]

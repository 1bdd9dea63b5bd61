"""Whether something that happened at GitHub deploys a stack, and if not, which rule said no.

The rules are asked in this order, and the first that says no is the answer:

| push of a branch           | push of a tag              | pull request                         |
|----------------------------|----------------------------|--------------------------------------|
| other repository           | other repository           | other repository                     |
| archived                   | archived                   | review stack: see below              |
| deleted                    | deleted                    | archived                             |
| review stack               | review stack               | `previewPullRequests` is off         |
| no branch in the settings  | `deployTags` is off        | no branch in the settings            |
| other branch               | `tagFilters` leave it out  | other target branch                  |
| `deployCommits` is off     | marker in the message      | closed                               |
| marker in the message      |                            | draft                                |
| `paths` leave all files out|                            | nothing to deploy in this event      |
|                            |                            | fork, not approved                   |
|                            |                            | marker in the head commit's message  |
|                            |                            | `paths` leave all files out          |
| -> update                  | -> update                  | -> preview, supersedes older ones    |

A review stack (`deployPullRequest` is set) follows its own pull request: closed -> destroy and then
remove; otherwise archived, draft, nothing to deploy, fork, marker -> update. Pushes do not concern
it. Who asks for a pull request by hand (`AGAIN`) gets it in spite of a marker.

A fork's code runs only when a member has approved exactly that head commit, and only as a preview
without secrets, without writing to the cache, and without a token that may write. `paths` say
nothing about tags: a tag differs from nothing.

What a payload does not tell is asked for last: then the verdict is `Need`, and the same question is
asked again with it. Files that cannot be found deploy: better once too often than not at all.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from control_plane.domain.deployment import Operation
from control_plane.domain.github import globs, skipping
from control_plane.domain.github.events import NO_COMMIT, PullRequest, Push
from control_plane.domain.github.triggers import Triggers

AGAIN = "again"
"""An action that is ours: look at a pull request as it stands, as after an approval or a re-run."""

_NEWS = frozenset({"opened", "reopened", "synchronize", "ready_for_review", AGAIN})
"""What of a pull request there is something to deploy after."""


class Code(StrEnum):
    """The rule that said no. Scripts may rely on these words."""

    NO_TRIGGERS = "no-triggers"
    REPOSITORY = "repository"
    ARCHIVED = "archived"
    DELETED = "deleted"
    REVIEW_STACK = "review-stack"
    NO_BRANCH = "no-branch"
    BRANCH = "branch"
    REF = "ref"
    COMMITS_OFF = "deploy-commits-off"
    TAGS_OFF = "deploy-tags-off"
    TAG_FILTER = "tag-filter"
    PREVIEWS_OFF = "preview-pull-requests-off"
    CLOSED = "closed"
    ACTION = "action"
    DRAFT = "draft"
    FORK = "fork-not-approved"
    FORK_REVIEW_STACK = "fork-review-stack"
    SKIP_MARKER = "skip-marker"
    PATHS = "paths"
    TEMPLATE_OFF = "pull-request-template-off"
    LABEL = "label"
    OTHER_TEMPLATE = "other-template"
    OTHER_PULL_REQUEST = "other-pull-request"


class No(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is deployed."""

    code: Code
    why: str
    """A sentence for people."""
    withdraws: bool = False
    """Whether previews of this pull request that wait or run have become pointless."""


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """The payload does not say enough; ask again with `Facts` that hold this."""

    files: bool = False
    """The files that differ between `base` and `head`."""
    message: bool = False
    """The message of the commit `head`."""
    base: str = ""
    """Empty: there is nothing to compare with, so every file of the commit counts."""
    head: str = ""
    from_fork_point: bool = False
    """Whether to compare with where the two histories parted, as a pull request does."""


class Deploy(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment is wanted."""

    operation: Operation
    commit: str
    ref: str
    """Under which ref the stack's own repository has the commit, a fork's too."""
    branch: str = ""
    tag: str = ""
    pull_request: int | None = None
    environment: dict[str, str] = {}
    """Variables for the program: the runner checks out a commit, so git cannot tell it these."""
    supersedes: bool = False
    """Whether older previews of the pull request give way, waiting or running."""
    fork: bool = False
    """Whether it runs code from outside: no secrets, no cache write, no token that may write."""
    then_remove: bool = False
    """Whether the stack is removed once it is destroyed."""

    @property
    def secrets(self) -> bool:
        """Whether the program may have secrets."""
        return not self.fork

    @property
    def cache_write(self) -> bool:
        """Whether what the program leaves behind may be found by later deployments."""
        return not self.fork

    @property
    def write_token(self) -> bool:
        """Whether the program may have a token of GitHub's, and one that changes the stack."""
        return not self.fork


Verdict = Deploy | No | Need


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known besides the payload."""

    files: tuple[str, ...] | None = None
    """The files that differ; None when nobody has looked yet."""
    files_unknowable: bool = False
    """Whether looking failed for good, as when a commit has been forced away."""
    head_message: str | None = None
    """The message of a pull request's head commit; None when nobody has looked yet."""
    approved_commits: frozenset[str] = frozenset()
    """Heads of the pull request that a member of the organization approved."""


NOTHING = Facts()


def of_push(triggers: Triggers, push: Push, facts: Facts = NOTHING) -> Verdict:
    """What a push means for a stack."""
    refusal = _no_push(triggers, push)
    if refusal:
        return refusal
    verdict = _of_tag(triggers, push) if push.tag else _of_branch(triggers, push, facts)
    return verdict or Deploy(
        operation=Operation.UPDATE,
        commit=push.commit,
        ref=push.ref,
        branch=push.branch,
        tag=push.tag,
        environment=_push_environment(push),
    )


def of_pull_request(triggers: Triggers, event: PullRequest, facts: Facts = NOTHING) -> Verdict:
    """What something that happened to a pull request means for a stack that exists."""
    refusal = _other_repository(triggers, event)
    if refusal:
        return refusal
    if triggers.pull_request is not None:
        return _of_review_stack(triggers.pull_request, event, facts)
    refusal = _archived(event) or _no_preview(triggers, event) or not_now(event)
    if refusal:
        return refusal
    verdict = _fork(event, facts) or by_content(triggers.paths, event, facts)
    return verdict or Deploy(
        operation=Operation.PREVIEW,
        commit=event.head.sha,
        ref=event.source_ref,
        branch=event.head.ref,
        pull_request=event.number,
        environment=pull_request_environment(event),
        supersedes=True,
        fork=event.is_fork,
    )


def wrong_repository(triggers: Triggers, event: Push | PullRequest) -> No | None:
    """The rules about the repository."""
    return _other_repository(triggers, event) or _archived(event)


def _other_repository(triggers: Triggers, event: Push | PullRequest) -> No | None:
    name = event.repository.full_name
    if triggers.is_of(name):
        return None
    why = f"This stack is connected to {triggers.repository}, not to {name}."
    return No(code=Code.REPOSITORY, why=why)


def _archived(event: Push | PullRequest) -> No | None:
    if not event.repository.archived:
        return None
    why = f"The repository {event.repository.full_name} is archived."
    return No(code=Code.ARCHIVED, why=why)


def not_now(event: PullRequest) -> No | None:
    """The rules about the state of a pull request."""
    if event.action == "closed" or not event.open:
        how = "merged" if event.merged else "closed"
        why = f"Pull request #{event.number} is {how}."
        return No(code=Code.CLOSED, why=why, withdraws=True)
    if event.draft:
        return No(
            code=Code.DRAFT,
            why=f"Pull request #{event.number} is a draft; it runs once it is ready for review.",
            withdraws=_withdraws(event) or event.action == "converted_to_draft",
        )
    if event.action not in _NEWS and not event.retargeted:
        return No(code=Code.ACTION, why=f"'{event.action}' leaves the code as it was.")
    return None


def by_content(paths: tuple[str, ...], event: PullRequest, facts: Facts) -> No | Need | None:
    """The rules about what is in a pull request; asks for all that is missing at once."""
    files = bool(paths) and facts.files is None and not facts.files_unknowable
    message = facts.head_message is None and event.action != AGAIN
    marker = "" if event.action == AGAIN else skipping.marker(facts.head_message or "")
    if marker:
        return No(code=Code.SKIP_MARKER, why=_marked(marker), withdraws=_withdraws(event))
    if files or message:
        return Need(
            files=files,
            message=message,
            base=event.base.sha,
            head=event.head.sha,
            from_fork_point=True,
        )
    return _left_out(paths, facts.files, withdraws=_withdraws(event))


def pull_request_environment(event: PullRequest) -> dict[str, str]:
    """The variables that Pulumi sets for pull requests."""
    return {
        "PULUMI_CI_BRANCH_NAME": event.head.ref,
        "PULUMI_PR_NUMBER": str(event.number),
        "PULUMI_CI_PULL_REQUEST_SHA": event.head.sha,
    }


def _push_environment(push: Push) -> dict[str, str]:
    if push.tag:
        return {"PULUMI_CI_BRANCH_NAME": push.ref, "PULUMI_CI_TAG_NAME": push.tag}
    return {"PULUMI_CI_BRANCH_NAME": push.branch}


def _no_push(triggers: Triggers, push: Push) -> No | None:
    refusal = wrong_repository(triggers, push)
    if refusal:
        return refusal
    name = push.branch or push.tag or push.ref
    if push.deleted or not push.commit:
        return No(code=Code.DELETED, why=f"'{name}' was deleted; there is nothing to deploy.")
    if triggers.pull_request is not None:
        return No(
            code=Code.REVIEW_STACK,
            why=f"This review stack follows pull request #{triggers.pull_request}, not pushes.",
        )
    if not (push.branch or push.tag):
        return No(code=Code.REF, why=f"'{name}' is neither a branch nor a tag.")
    return None


def _of_tag(triggers: Triggers, push: Push) -> No | None:
    if not triggers.deploy_tags:
        why = f"'{push.tag}' is a tag, and this stack does not deploy tags (deployTags is off)."
        return No(code=Code.TAGS_OFF, why=why)
    if not globs.chooses(triggers.tag_filters, push.tag):
        why = f"The tag '{push.tag}' is left out by this stack's tag filters."
        return No(code=Code.TAG_FILTER, why=why)
    return _marker(push)


def _of_branch(triggers: Triggers, push: Push, facts: Facts) -> No | Need | None:
    if not triggers.branch:
        return _no_branch()
    if push.branch != triggers.branch:
        why = f"The push is to '{push.branch}'; this stack deploys '{triggers.branch}'."
        return No(code=Code.BRANCH, why=why)
    if not triggers.deploy_commits:
        why = "This stack does not deploy commits (deployCommits is off)."
        return No(code=Code.COMMITS_OFF, why=why)
    refusal = _marker(push)
    if refusal:
        return refusal
    files = push.files if push.files is not None else facts.files
    if triggers.paths and files is None and not facts.files_unknowable:
        base = "" if push.created or push.before == NO_COMMIT else push.before
        return Need(files=True, base=base, head=push.commit)
    return _left_out(triggers.paths, files)


def _marker(push: Push) -> No | None:
    marker = skipping.marker(push.head.message if push.head else "")
    return No(code=Code.SKIP_MARKER, why=_marked(marker)) if marker else None


def _marked(marker: str) -> str:
    return f"The commit's message asks for nothing to run: '{marker}'."


def _left_out(
    paths: tuple[str, ...], files: tuple[str, ...] | None, *, withdraws: bool = False
) -> No | None:
    if not paths or files is None or globs.first_chosen(paths, files) is not None:
        return None
    count = f"any of the {len(files)} changed files" if files else "any file: none has changed"
    return No(
        code=Code.PATHS,
        why=f"This stack's path filters do not choose {count}.",
        withdraws=withdraws,
    )


def _no_branch() -> No:
    return No(
        code=Code.NO_BRANCH,
        why="This stack's settings name no branch (sourceContext.git.branch).",
    )


def _no_preview(triggers: Triggers, event: PullRequest) -> No | None:
    if not triggers.preview_pull_requests:
        return No(
            code=Code.PREVIEWS_OFF,
            why="This stack does not preview pull requests (previewPullRequests is off).",
        )
    return wrong_target(triggers, event)


def wrong_target(triggers: Triggers, event: PullRequest) -> No | None:
    """The rules about the branch that a pull request is to be merged into."""
    if not triggers.branch:
        return _no_branch()
    if event.base.ref == triggers.branch:
        return None
    return No(
        code=Code.BRANCH,
        why=f"Pull request #{event.number} targets '{event.base.ref}'; this stack deploys"
        f" '{triggers.branch}'.",
        withdraws=event.retargeted,
    )


def _fork(event: PullRequest, facts: Facts) -> No | None:
    if not event.is_fork or event.head.sha in facts.approved_commits:
        return None
    return No(
        code=Code.FORK,
        why=f"Pull request #{event.number} comes from a fork; it is previewed once a member of the"
        f" organization approves commit {event.head.sha[:12]}.",
        withdraws=_withdraws(event),
    )


def _of_review_stack(number: int, event: PullRequest, facts: Facts) -> Verdict:
    if event.number != number:
        why = f"This review stack belongs to pull request #{number}."
        return No(code=Code.OTHER_PULL_REQUEST, why=why)
    # A fork's code is never run with secrets, not to take a stack down either.
    refusal = no_review_of_fork(event)
    if refusal:
        return refusal
    ended = event.action == "closed" or not event.open
    if not ended:
        verdict = _archived(event) or not_now(event) or by_content((), event, facts)
        if verdict:
            return verdict
    return Deploy(
        operation=Operation.DESTROY if ended else Operation.UPDATE,
        commit=event.head.sha,
        ref=event.source_ref,
        branch=event.head.ref,
        pull_request=event.number,
        environment=pull_request_environment(event),
        then_remove=ended,
    )


def no_review_of_fork(event: PullRequest) -> No | None:
    """A review stack is deployed with secrets, which a fork never gets."""
    if not event.is_fork:
        return None
    why = f"Pull request #{event.number} comes from a fork; forks get no review stacks."
    return No(code=Code.FORK_REVIEW_STACK, why=why)


def _withdraws(event: PullRequest) -> bool:
    """Whether older previews are about something that is no longer proposed."""
    return event.action == "synchronize" or event.retargeted

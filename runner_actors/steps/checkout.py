"""Get source: brings the workspace's clone to the wanted commit, by as little work as it takes.

The clone stays from deployment to deployment. A warm one needs a fetch of one commit (none, if
the very commit is there already), a checkout that resets what the last deployment changed, and a
clean that leaves only dependencies which still fit. Whatever is broken in it is not repaired but
thrown away and cloned again, once.
"""

from __future__ import annotations

import re
import shutil

import msgspec

from runner_actors.attempt import Attempt, Failure, Source, Tools, stopped
from runner_actors.contract import GitSource
from runner_actors.shim_client import Command, Exit
from runner_actors.steps import fetch_problems, project
from runner_actors.steps.remote import (
    ASKPASS,
    SourceRefused,
    branch_ref,
    commit_id,
    credential_files,
    git_environment,
    remote_of,
    ssh_command,
)
from runner_actors.workspace import SourceState

SOURCE_SECONDS_MAX = 900
INFO_BYTES_MAX = 64 * 1024
_PACKS_MAX = 40
"""Each fetch leaves a pack; beyond so many they are put together."""
_STALE_LOCKS = ("index.lock", "HEAD.lock", "shallow.lock", "config.lock", "packed-refs.lock")
_FULL_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_EVERYTHING = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")

_GIT_CONFIG = """\
[safe]
\tdirectory = *
[core]
\thooksPath = /dev/null
\tfsmonitor = false
[credential]
\thelper =
[gc]
\tauto = 0
[maintenance]
\tauto = false
[http]
\tlowSpeedLimit = 1000
\tlowSpeedTime = 60
"""
_CLONE_CONFIG = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
[remote "origin"]
\turl = {url}
\tfetch = +refs/heads/*:refs/remotes/origin/*
"""


class _Problem(Exception):
    """The checkout cannot go on."""

    def __init__(self, failure: Failure, clone_suspect: bool = False) -> None:
        self.failure = failure
        self.clone_suspect = clone_suspect


async def get_source(attempt: Attempt, tools: Tools) -> Failure | None:
    """Bring the clone to the wanted commit and find the program in it."""
    source = attempt.grant.source
    if source is None:
        return _source_error(
            "No source is configured for this stack: set a repository in its deployment settings."
        )
    try:
        checkout = _Checkout(attempt, tools, source)
        try:
            await checkout.bring()
        except _Problem as problem:
            if not problem.clone_suspect:
                return problem.failure
            tools.note("The kept clone cannot be used; cloning again.")
            await attempt.workspace.forget_source()
            await checkout.bring()
    except SourceRefused as refusal:
        return _source_error(str(refusal))
    except _Problem as problem:
        return problem.failure
    return project.find(attempt)


def _source_error(message: str) -> Failure:
    return Failure("source_error", message)


class _Checkout:
    """One attempt at a clone. Raises SourceRefused at once when the settings make no sense."""

    def __init__(self, attempt: Attempt, tools: Tools, source: GitSource) -> None:
        self._attempt = attempt
        self._tools = tools
        self._workspace = attempt.workspace
        self._directory = attempt.workspace.source
        self._branch = source.branch
        self._ref = branch_ref(source.branch)
        self._commit = commit_id(source.commit)
        self._remote = remote_of(source.repo_url, tools.allow_local_sources)
        self._files = credential_files(self._remote, attempt.secrets.git)
        self._environment = self._git_environment()

    async def bring(self) -> None:
        """Fetch, reset, clean, and tell which commit it is."""
        fresh = await self._prepare()
        try:
            state = self._workspace.state()
            fetched = await self._fetch(state)
            await self._git("checkout", "--quiet", "--force", "--detach", fetched, "--")
            state = await self._described(state, fetched)
            self._announce(state)
            await self._update_submodules()
            await self._clean(state)
        except _Problem as problem:
            problem.clone_suspect = problem.clone_suspect and not fresh
            raise

    async def _clear_if_asked(self) -> None:
        """Throw the clone away if somebody has asked for that since it was made."""
        made_for = self._workspace.state().caches_cleared_at_ms
        is_there = (self._directory / ".git").exists()
        if is_there and made_for != self._attempt.grant.caches_cleared_at_ms:
            self._tools.note("The caches were cleared; cloning again.")
            await self._workspace.forget_source()

    async def _prepare(self) -> bool:
        """A repository with our configuration, whatever a program wrote there; True if new."""
        await self._clear_if_asked()
        (self._workspace.run / "gitconfig").write_text(_GIT_CONFIG)
        if self._files:
            askpass = self._workspace.run / "askpass"
            askpass.write_text(ASKPASS)
            askpass.chmod(0o700)
        git = self._directory / ".git"
        fresh = not (git / "HEAD").is_file()
        if fresh:
            await self._workspace.forget_source()
            await self._git("init", "--quiet", "--template=", ".")
        for name in _STALE_LOCKS:
            (git / name).unlink(missing_ok=True)
        if self._attempt.grant.trust != "branch":
            # Submodules have configurations of their own, which another author may have changed.
            shutil.rmtree(git / "modules", ignore_errors=True)
        url = self._remote.url.replace("\\", "\\\\").replace('"', '\\"')
        (git / "config").write_text(_CLONE_CONFIG.format(url=f'"{url}"'))
        return fresh

    # Fetching.

    async def _fetch(self, state: SourceState) -> str:
        """The id of the wanted object, which is in the clone when this returns."""
        if self._commit and self._commit in (state.commit, state.fetched):
            return self._commit
        what = self._commit or self._branch or "the default branch"
        self._tools.note(f"Fetching {what} of {self._remote.url}")
        if not self._commit:
            return await self._fetch_ref()
        if _FULL_COMMIT.fullmatch(self._commit):
            ended = await self._try_git(*_fetch_arguments("1", self._commit))
            if ended.succeeded:
                return self._commit
            if not fetch_problems.NO_REF.search(ended.tail):
                raise self._fetch_problem(ended)
        return await self._fetch_everything()

    async def _fetch_ref(self) -> str:
        ended = await self._try_git(*_fetch_arguments("1", self._ref or "HEAD"))
        if self._branch and fetch_problems.NO_REF.search(ended.tail) and self._ref != self._branch:
            ended = await self._try_git(*_fetch_arguments("1", f"refs/tags/{self._branch}"))
        if not ended.succeeded:
            raise self._fetch_problem(ended)
        return (self._directory / ".git" / "FETCH_HEAD").read_text().split()[0]

    async def _fetch_everything(self) -> str:
        """For servers that give out branches only, and for shortened ids: look through it all."""
        # The head of a pull request, for one, is on no branch.
        others = (self._ref,) if self._ref.startswith("refs/pull/") else ()
        ended = await self._try_git(*_fetch_arguments("2147483647", *_EVERYTHING, *others))
        # Where no branch is left, git fails without a word; the commit is not there either.
        if not ended.succeeded and ended.tail.strip():
            raise self._fetch_problem(ended)
        wanted = f"{self._commit}^{{commit}}"
        ended = await self._try_git("rev-parse", "--quiet", "--verify", wanted, capture=True)
        if not ended.succeeded:
            missing = fetch_problems.no_such_commit(self._remote.url, self._commit)
            raise _Problem(_source_error(missing))
        return ended.captured.strip()

    def _fetch_problem(self, ended: Exit) -> _Problem:
        explained = fetch_problems.explain(
            ended.tail, self._remote.url, self._branch, self._commit, bool(self._files)
        )
        if explained is None:
            message = f"Git could not fetch from {self._remote.url}; the log says why."
            return _Problem(_source_error(message), clone_suspect=True)
        return _Problem(_source_error(explained))

    # What has been checked out.

    async def _described(self, state: SourceState, fetched: str) -> SourceState:
        if state.fetched == fetched and state.commit:
            return state
        format_ = "--format=%H%x00%an%x00%B"
        ended = await self._git("log", "--max-count=1", format_, "HEAD", "--", capture=True)
        commit, author, message = ended.captured.split("\0", 2)
        described = SourceState(
            fetched=fetched,
            commit=commit,
            author=author,
            message=message.strip(),
            dependencies=state.dependencies,
            caches_cleared_at_ms=self._attempt.grant.caches_cleared_at_ms,
        )
        self._workspace.save_state(described)
        return described

    def _announce(self, state: SourceState) -> None:
        source = Source(state.commit, self._branch, state.message, state.author)
        self._attempt.source = source
        self._tools.on_source(source)
        title = state.message.partition("\n")[0]
        self._tools.note(f"Checked out {state.commit} {title}".rstrip())

    async def _update_submodules(self) -> None:
        if not (self._directory / ".gitmodules").is_file():
            return
        arguments = ("--init", "--recursive", "--force", "--depth", "1")
        ended = await self._try_git("submodule", "--quiet", "update", *arguments)
        if not ended.succeeded:
            message = "A submodule could not be fetched; the log says which and why."
            raise _Problem(_source_error(message), clone_suspect=True)
        await self._git("submodule", "--quiet", "foreach", "--recursive", "git clean -ffdxq")

    async def _clean(self, state: SourceState) -> None:
        """Remove what is not of the commit, but for dependencies that still fit it."""
        keep = project.kept_dependencies(self._attempt, state.dependencies)
        if not keep and state.dependencies:
            self._workspace.save_state(msgspec.structs.replace(state, dependencies=""))
        await self._git("clean", "-ffdxq", *(f"--exclude={pattern}" for pattern in keep))
        if len(list((self._directory / ".git" / "objects" / "pack").glob("*.pack"))) > _PACKS_MAX:
            await self._git("gc", "--quiet", "--prune=now")

    # Running git.

    def _git_environment(self) -> dict[str, str]:
        environment = git_environment(
            self._attempt.machine, self._workspace, self._remote, bool(self._files)
        )
        with_key, with_passphrase = "GIT_KEY" in self._files, "ASKPASS_PASSPHRASE" in self._files
        command = ssh_command(self._workspace, with_key, with_passphrase)
        return {**environment, "GIT_SSH_COMMAND": command}

    async def _git(self, *arguments: str, capture: bool = False) -> Exit:
        """Run git on the clone; a failure is taken for a broken clone."""
        ended = await self._try_git(*arguments, capture=capture)
        if not ended.succeeded:
            message = f"git {arguments[0]} failed in the clone; the log says why."
            raise _Problem(_source_error(message), clone_suspect=True)
        return ended

    async def _try_git(self, *arguments: str, capture: bool = False) -> Exit:
        command = Command(
            argv=["git", *arguments],
            cwd=str(self._directory),
            env=self._environment,
            files=self._files if arguments[0] in ("fetch", "submodule") else {},
            capture_bytes_max=INFO_BYTES_MAX if capture else 0,
        )
        own_limit = self._tools.seconds_left() > SOURCE_SECONDS_MAX
        ended = await self._tools.run(command, SOURCE_SECONDS_MAX)
        if failure := stopped(ended):
            too_long = own_limit and failure.reason == "timed_out"
            raise _Problem(_too_long() if too_long else failure)
        if ended.problem:
            raise _Problem(Failure("internal", f"Git could not be started: {ended.problem}"))
        return ended


def _too_long() -> Failure:
    minutes = SOURCE_SECONDS_MAX // 60
    return Failure("timed_out", f"The source did not come within {minutes} minutes.")


def _fetch_arguments(depth: str, *refs: str) -> tuple[str, ...]:
    options = ("--quiet", "--no-tags", "--force", "--update-shallow", f"--depth={depth}")
    return ("fetch", *options, "--no-recurse-submodules", "origin", *refs)

"""Changed files by git: what GitHub's lists leave out beyond 300 files.

A repository has at most two bare mirrors under the data directory: one of single commits with
their trees but no contents, and, for pull requests, one of the history without even trees, in
which the merge base is found. Both are caches: a broken, an overgrown or an old one is deleted.

A hostile repository can do nothing: nothing is checked out, no hook and no configuration but ours
is read, one protocol is allowed, and time, size and output are bounded. Credentials are in the
environment of git alone (GIT_CONFIG_COUNT, git-config(1)).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import shutil
import signal
from pathlib import Path
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from control_plane.config import Config
from control_plane.outside import require_no_transaction
from control_plane.services.github.ports import CommitMissing, Files, GitUnavailable

OUTPUT_BYTES_MAX = 32 * 1024 * 1024
PACKS_MAX = 200
"""Each fetch leaves a pack; a mirror with more is made anew."""
STDERR_BYTES_MAX = 64 * 1024
NO_COMMIT = "0" * 40
"""How GitHub writes the commit before a branch's first."""

_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_EVERYTHING = 2147483647
"""The depth that is git's word for all: of a shallow server, all that it has. Without a depth git
2.39 looks for the parents that the server lacks, and starts itself again and again for them."""
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MISSING = re.compile(rb"not our ref|couldn't find remote ref|no such remote ref|bad object")
_UNADVERTISED = re.compile(rb"does not allow request for unadvertised object")
_REMOTE = re.compile(
    rb"unable to access|Authentication failed|could not read Username|not found|timed out|"
    rb"Could not resolve|requested URL returned error|unexpected disconnect|early EOF|RPC failed"
)
_CONFIG = """\
[core]
\trepositoryformatversion = 1
\tbare = true
[extensions]
\tpartialClone = origin
[remote "origin"]
\turl = "{url}"
\tpromisor = true
"""
_SETTINGS = {
    "safe.directory": "*",
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "credential.helper": "",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "transfer.bundleURI": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
}
_INHERITED = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "NO_PROXY", "no_proxy")
_PROXIES = ("HTTPS_PROXY", "https_proxy", "http_proxy", "ALL_PROXY", "all_proxy")


class _Failed(Exception):
    """git said no."""

    def __init__(self, stderr: bytes) -> None:
        self.stderr = stderr


class GitChangedFiles:
    """Compares commits in mirrors under a directory."""

    def __init__(self, root: Path, timeout_seconds: float, bytes_max: int) -> None:
        self._root = root
        self._timeout_seconds = timeout_seconds
        self._bytes_max = bytes_max
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def between(
        self, repository_id: int, clone_url: str, token: str, before: str, after: str
    ) -> Files:
        """Files that differ between two commits; a `before` of zeros is an empty repository."""
        return await self._answer(repository_id, clone_url, token, before, after, merged=False)

    async def of_pull_request(
        self, repository_id: int, clone_url: str, token: str, base: str, head: str
    ) -> Files:
        """Files that differ between the merge base of two commits and the second one."""
        return await self._answer(repository_id, clone_url, token, base, head, merged=True)

    async def _answer(
        self, repository_id: int, clone_url: str, token: str, old: str, new: str, *, merged: bool
    ) -> Files:
        require_no_transaction()
        for commit in (old, new):
            if not _COMMIT.fullmatch(commit):
                raise CommitMissing(commit)
        git = _Git(clone_url, token, self._bytes_max)
        lock = self._locks.setdefault(repository_id, asyncio.Lock())
        async with lock:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    if merged:
                        commits = self._root / f"{repository_id}.history.git"
                        old = await _Mirror(commits, git, "tree:0").merge_base(old, new)
                    trees = self._root / f"{repository_id}.git"
                    return await _Mirror(trees, git, "blob:none", shallow=True).changed(old, new)
            except TimeoutError:
                raise GitUnavailable("no answer in time") from None
            finally:
                locked = {each for each, lock in list(self._locks.items()) if lock.locked()}
                await asyncio.to_thread(self._evict, locked - {repository_id})

    def _evict(self, busy: set[int]) -> None:
        """Delete the mirrors not used for longest until the rest may stay."""
        with contextlib.suppress(OSError):
            mirrors = [(each.stat().st_mtime, _size(each), each) for each in self._root.iterdir()]
            total = sum(size for _, size, _ in mirrors)
            for _, size, mirror in sorted(mirrors):
                if total <= self._bytes_max:
                    return
                if int(mirror.name.partition(".")[0]) not in busy:
                    shutil.rmtree(mirror, ignore_errors=True)
                    total -= size


def open_changed_files(config: Config) -> GitChangedFiles:
    """Mirrors in the data directory, by the settings."""
    settings = config.github
    root = config.data_dir / "mirrors"
    return GitChangedFiles(root, settings.git_timeout_seconds, settings.mirrors_bytes_max)


class _Mirror:
    """One bare repository, without what the filter leaves out."""

    def __init__(self, path: Path, git: _Git, leave_out: str, *, shallow: bool = False) -> None:
        self._path = path
        self._git = git
        self._filter = leave_out
        self._shallow = shallow

    async def merge_base(self, base: str, head: str) -> str:
        """The best common ancestor; of unrelated histories the base itself."""
        await self._bring(base, head)
        try:
            return (await self._run("merge-base", base, head)).decode().strip()
        except _Failed as failed:
            if failed.stderr:
                raise _unavailable(failed) from None
            return base

    async def changed(self, old: str, new: str) -> Files:
        """Names that differ between the trees of two commits; a rename is two names."""
        await self._bring(*(commit for commit in (old, new) if commit != NO_COMMIT))
        trees = [_EMPTY_TREE if commit == NO_COMMIT else commit for commit in (old, new)]
        names = ("diff-tree", "-r", "-z", "--name-only", "--no-renames")
        try:
            listed = await self._run(*names, *trees, "--")
        except _Failed as failed:
            raise _unavailable(failed) from None
        cut = len(listed) >= OUTPUT_BYTES_MAX
        names_found = listed.decode("utf-8", "replace").split("\0")[:-1]
        return Files(tuple(names_found), cut)

    async def _bring(self, *commits: str) -> None:
        """Have the commits here; a mirror that may be broken is made anew, once."""
        fresh = await self._prepare()
        try:
            await self._fetch(commits)
        except _Failed as failed:
            if fresh or _REMOTE.search(failed.stderr):
                raise _unavailable(failed) from None
            await asyncio.to_thread(shutil.rmtree, self._path, ignore_errors=True)
            await self._prepare()
            try:
                await self._fetch(commits)
            except _Failed as again:
                raise _unavailable(again) from None

    async def _prepare(self) -> bool:
        """The repository with our configuration only; whether it is new."""
        packs = self._path / "objects" / "pack"
        if packs.is_dir() and len(list(packs.glob("*.pack"))) > PACKS_MAX:
            await asyncio.to_thread(shutil.rmtree, self._path, ignore_errors=True)
        fresh = not (self._path / "HEAD").is_file()
        if fresh:
            shutil.rmtree(self._path, ignore_errors=True)
            self._path.mkdir(parents=True, mode=0o700)
            await self._run("init", "--quiet", "--bare", "--template=", ".")
        # What a git that was stopped in the middle left.
        for left in (*self._path.glob("*.lock"), *packs.glob("tmp_*")):
            left.unlink(missing_ok=True)
        url = self._git.url.replace("\\", "\\\\").replace('"', '\\"')
        (self._path / "config").write_text(_CONFIG.format(url=url))
        os.utime(self._path)
        return fresh

    async def _fetch(self, commits: tuple[str, ...]) -> None:
        for number, commit in enumerate(commits):
            if await self._has(commit):
                continue
            try:
                await self._fetch_one(f"+{commit}:refs/kept/{number}")
            except _Failed as failed:
                if _UNADVERTISED.search(failed.stderr):
                    await self._fetch_one("+refs/heads/*:refs/all/*", deep=True)
                elif not _MISSING.search(failed.stderr):
                    raise
            if not await self._has(commit):
                raise CommitMissing(commit)

    async def _fetch_one(self, what: str, *, deep: bool = False) -> None:
        depth = 1 if self._shallow and not deep else _EVERYTHING
        await self._git.run(
            self._path,
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--no-auto-maintenance",
            f"--filter={self._filter}",
            f"--depth={depth}",
            "origin",
            what,
            remote=True,
        )

    async def _has(self, commit: str) -> bool:
        """Whether the commit is here."""
        try:
            await self._run("cat-file", "-e", f"{commit}^{{commit}}")
        except _Failed:
            return False
        return True

    async def _run(self, *arguments: str) -> bytes:
        """Run git without the network: it would fetch by itself what a filter left out."""
        return await self._git.run(self._path, *arguments, remote=False)


class _Git:
    """Runs git for one address with one token."""

    def __init__(self, url: str, token: str, file_bytes_max: int) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username:
            raise GitUnavailable("the repository's address is not one of https")
        if re.search(r"[\x00-\x20\x7f]", url):
            raise GitUnavailable("the repository's address has spaces in it")
        self.url = url
        self._environment = _environment(parts.scheme, url, token)
        self._blocks_max = str(max(file_bytes_max // 512, 1))

    async def run(self, directory: Path, *arguments: str, remote: bool) -> bytes:
        """The output, of bounded size. Raises _Failed."""
        protocol = {} if remote else {"GIT_ALLOW_PROTOCOL": ""}
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            'ulimit -f "$0"; exec git "$@"',
            self._blocks_max,
            *arguments,
            cwd=directory,
            env=self._environment | protocol,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout  # noqa: S101 - it was asked for
        assert process.stderr  # noqa: S101 - likewise
        try:
            output, complaint = await asyncio.gather(
                _bounded(process.stdout, OUTPUT_BYTES_MAX),
                _bounded(process.stderr, STDERR_BYTES_MAX),
            )
            code = await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if code != 0:
            raise _Failed(complaint)
        return output


async def _bounded(stream: asyncio.StreamReader, most: int) -> bytes:
    """The first bytes of a stream; the rest is read and dropped, so that its writer can end."""
    kept = bytearray()
    while piece := await stream.read(64 * 1024):
        kept += piece[: most - len(kept)]
    return bytes(kept)


def _environment(scheme: str, url: str, token: str) -> dict[str, str]:
    settings = dict(_SETTINGS)
    if token:
        basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        settings[f"http.{url}.extraHeader"] = f"Authorization: Basic {basic}"
    environment = {
        name: os.environ[name] for name in (*_INHERITED, *_PROXIES) if name in os.environ
    }
    environment |= {
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "GIT_ALLOW_PROTOCOL": scheme,
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for number, (name, value) in enumerate(settings.items()):
        environment[f"GIT_CONFIG_KEY_{number}"] = name
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    return environment


def _unavailable(failed: _Failed) -> GitUnavailable:
    """git's last line; it never repeats what was in its environment."""
    lines = failed.stderr.decode("utf-8", "replace").strip().splitlines()
    return GitUnavailable(lines[-1][:300] if lines else "git ended without a word")


def _size(directory: Path) -> int:
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(place) / name).stat().st_size
    return total

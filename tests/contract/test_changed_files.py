"""Changed files by git, from real git servers: pushes, pull requests, and hostile repositories."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.adapters.changed_files import NO_COMMIT, GitChangedFiles
from control_plane.outside import TransactionOpen, transaction_open
from control_plane.services.github.ports import CommitMissing, GitUnavailable
from tests.support.git_servers import http_server
from tests.support.github.repositories import BareRepository

TOKEN = "ghs_0123456789abcdef"
BYTES_MAX = 64 * 1024 * 1024
GONE = "1234567890" * 4


class Origin:
    """A repository behind a server that asks for the token."""

    def __init__(self, git: BareRepository, url: str) -> None:
        self.git = git
        self.url = url


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    with http_server(tmp_path / "served", "x-access-token", TOKEN) as url:
        git = BareRepository.create(tmp_path / "served" / "acme" / "site.git")
        yield Origin(git, f"{url}/acme/site.git")


@pytest.fixture
def files(tmp_path: Path) -> GitChangedFiles:
    return GitChangedFiles(tmp_path / "mirrors", 30.0, BYTES_MAX)


async def test_more_files_than_github_tells_of(origin: Origin, files: GitChangedFiles) -> None:
    first = origin.git.commit({"a": "1"})
    second = origin.git.commit({f"many/{number}": "1" for number in range(700)})
    found = await files.between(1, origin.url, TOKEN, first, second)
    assert len(found.names) == 700
    assert not found.cut


async def test_added_changed_removed_renamed_and_odd_names(
    origin: Origin, files: GitChangedFiles
) -> None:
    first = origin.git.commit({"change": "1", "remove": "2", "old/name": "3" * 500, "same": "4"})
    odd = "päth with\ttab"
    second = origin.git.commit(
        {"change": "x", "remove": None, "old/name": None, "new/name": "3" * 500, "add": "5"}
    )
    third = origin.git.commit({'"p\\303\\244th with\\ttab"': "6"})
    found = await files.between(1, origin.url, TOKEN, first, second)
    assert set(found.names) == {"change", "remove", "old/name", "new/name", "add"}
    assert (await files.between(1, origin.url, TOKEN, second, third)).names == (odd,)
    assert (await files.between(1, origin.url, TOKEN, third, third)).names == ()


async def test_a_new_branch_differs_in_all_its_files(
    origin: Origin, files: GitChangedFiles
) -> None:
    first = origin.git.commit({"a": "1", "b/c": "1"})
    found = await files.between(1, origin.url, TOKEN, NO_COMMIT, first)
    assert set(found.names) == {"a", "b/c"}


async def test_a_merge_brings_what_its_branch_changed(
    origin: Origin, files: GitChangedFiles
) -> None:
    first = origin.git.commit({"a": "1"})
    side = origin.git.commit({"side": "1"}, "side", parents=[first])
    second = origin.git.commit({"b": "1"})
    merge = origin.git.commit({"side": "1"}, parents=[second, side])
    found = await files.between(1, origin.url, TOKEN, second, merge)
    assert found.names == ("side",)


async def test_a_force_push_is_compared_while_the_old_commit_is_there(
    origin: Origin, files: GitChangedFiles
) -> None:
    first = origin.git.commit({"a": "1"})
    second = origin.git.commit({"b": "1"})
    other = origin.git.commit({"c": "1"}, parents=[first])
    found = await files.between(1, origin.url, TOKEN, second, other)
    assert set(found.names) == {"b", "c"}
    origin.git.git("reflog", "expire", "--expire=now", "--all")
    origin.git.git("prune", "--expire=now")
    origin.git.git("repack", "-adq")
    with pytest.raises(CommitMissing, match=second):
        await GitChangedFiles(files._root / "elsewhere", 30, BYTES_MAX).between(
            1, origin.url, TOKEN, second, other
        )


async def test_a_pull_request_differs_since_it_left(origin: Origin, files: GitChangedFiles) -> None:
    first = origin.git.commit({"a": "1"})
    head = origin.git.commit({f"f{number}": "1" for number in range(400)}, "side", parents=[first])
    for number in range(5):
        origin.git.commit({"on-main": str(number)})
    base = origin.git.head("main") or ""
    found = await files.of_pull_request(1, origin.url, TOKEN, base, head)
    assert len(found.names) == 400
    assert "on-main" not in found.names
    merged = origin.git.commit({"on-main": "4", "more": "1"}, "side", parents=[head, base])
    found = await files.of_pull_request(1, origin.url, TOKEN, base, merged)
    assert len(found.names) == 401


async def test_unrelated_histories_differ_in_everything(
    origin: Origin, files: GitChangedFiles
) -> None:
    base = origin.git.commit({"a": "1"})
    head = origin.git.commit({"b": "1"}, "other", parents=[])
    found = await files.of_pull_request(1, origin.url, TOKEN, base, head)
    assert set(found.names) == {"a", "b"}


async def test_only_what_is_missing_is_fetched(
    origin: Origin, files: GitChangedFiles, tmp_path: Path
) -> None:
    first = origin.git.commit({"a": "1" * 1000})
    second = origin.git.commit({"b": "2" * 1000})
    await files.between(1, origin.url, TOKEN, first, second)
    mirror = tmp_path / "mirrors" / "1.git"
    kinds = BareRepository(mirror).git(
        "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)"
    )
    assert set(kinds.split()) == {"commit", "tree"}
    # The server may be gone: both commits are here.
    nobody = "http://127.0.0.1:9/acme/site.git"
    assert (await files.between(1, nobody, TOKEN, first, second)).names == ("b",)


async def test_a_server_that_gives_out_branches_only(
    origin: Origin, files: GitChangedFiles
) -> None:
    for name in ("allowAnySHA1InWant", "allowFilter"):
        origin.git.git("config", f"uploadpack.{name}", "false")
    origin.git.git("config", "protocol.version", "0")
    commits = [origin.git.commit({f"f{number}": "1"}) for number in range(4)]
    found = await files.between(1, origin.url, TOKEN, commits[0], commits[2])
    assert set(found.names) == {"f1", "f2"}
    with pytest.raises(CommitMissing):
        await files.between(1, origin.url, TOKEN, GONE, commits[2])


async def test_a_shallow_server(origin: Origin, files: GitChangedFiles, tmp_path: Path) -> None:
    for number in range(5):
        origin.git.commit({f"f{number}": "1"})
    shallow = tmp_path / "served" / "acme" / "shallow.git"
    source = f"file://{origin.git.path}"
    origin.git.git("clone", "-q", "--bare", "--depth=3", source, str(shallow))
    served = BareRepository(shallow)
    served.git("config", "uploadpack.allowAnySHA1InWant", "true")
    commits = served.git("rev-list", "--reverse", "main").split()
    assert len(commits) == 3
    url = origin.url.replace("site.git", "shallow.git")
    found = await files.between(1, url, TOKEN, commits[0], commits[2])
    assert set(found.names) == {"f3", "f4"}
    found = await files.of_pull_request(1, url, TOKEN, commits[0], commits[2])
    assert set(found.names) == {"f3", "f4"}
    old = origin.git.git("rev-list", "--max-parents=0", "main")
    with pytest.raises(CommitMissing):
        await files.between(1, url, TOKEN, old, commits[2])


@pytest.mark.parametrize("commit", [GONE, "main", "--upload-pack=touch /tmp/x", "", "ab" * 10])
async def test_a_commit_that_is_not_there(
    origin: Origin, files: GitChangedFiles, commit: str
) -> None:
    first = origin.git.commit({"a": "1"})
    with pytest.raises(CommitMissing):
        await files.between(1, origin.url, TOKEN, commit, first)
    with pytest.raises(CommitMissing):
        await files.of_pull_request(1, origin.url, TOKEN, first, commit)


async def test_wrong_credentials_are_a_clear_refusal(
    origin: Origin, files: GitChangedFiles
) -> None:
    first = origin.git.commit({"a": "1"})
    for token in ("ghs_wrong", ""):
        with pytest.raises(GitUnavailable) as caught:
            await files.between(1, origin.url, token, NO_COMMIT, first)
        assert not token or token not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["ext::sh -c touch%20/tmp/x", "file:///etc", "/etc", "ssh://host/x", "http://u:p@host/x",
     "http://host/\nx", "https://"],
)  # fmt: skip
async def test_other_addresses_are_refused(files: GitChangedFiles, url: str) -> None:
    with pytest.raises(GitUnavailable, match="address"):
        await files.between(1, url, TOKEN, NO_COMMIT, GONE)


async def test_a_token_is_neither_on_disk_nor_in_an_argument(
    origin: Origin, files: GitChangedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    real = asyncio.create_subprocess_exec

    async def noting(*arguments: object, **more: object) -> object:
        seen.append(arguments)
        return await real(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noting)
    first = origin.git.commit({"a": "1"})
    await files.between(1, origin.url, TOKEN, NO_COMMIT, first)
    assert seen
    assert TOKEN not in repr(seen)
    for path in (tmp_path / "mirrors").rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes(), path


async def test_a_broken_mirror_is_made_anew(
    origin: Origin, files: GitChangedFiles, tmp_path: Path
) -> None:
    first = origin.git.commit({"a": "1"})
    await files.between(1, origin.url, TOKEN, NO_COMMIT, first)
    second = origin.git.commit({"b": "1"})
    mirror = tmp_path / "mirrors" / "1.git"
    for path in mirror.rglob("*.pack"):
        path.chmod(0o600)
        path.write_bytes(b"PACK broken")
    (mirror / "shallow").write_text("nonsense\n")
    stopped = mirror / "objects" / "pack" / "tmp_pack_1"
    for left in (mirror / "shallow.lock", stopped):
        left.touch()
    assert (await files.between(1, origin.url, TOKEN, first, second)).names == ("b",)
    assert not stopped.exists()


async def test_many_at_once_take_turns(origin: Origin, files: GitChangedFiles) -> None:
    commits = [origin.git.commit({f"f{number}": "1"}) for number in range(6)]
    pairs = list(itertools.pairwise(commits))
    found = await asyncio.gather(
        *(files.between(number % 2, origin.url, TOKEN, *pair) for number, pair in enumerate(pairs))
    )
    assert [each.names for each in found] == [(f"f{number}",) for number in range(1, 6)]


async def test_old_mirrors_make_room(origin: Origin, tmp_path: Path) -> None:
    first = origin.git.commit({"a": "1"})
    second = origin.git.commit({"b": "1"})
    root = tmp_path / "small"
    small = GitChangedFiles(root, 30, 200_000)
    stale = root / "7.git"
    stale.mkdir(parents=True)
    (stale / "pack").write_bytes(b"x" * 199_900)
    os.utime(stale, (1, 1))
    await small.between(8, origin.url, TOKEN, first, second)
    assert not stale.exists()
    assert (root / "8.git").exists()


async def test_a_huge_repository_is_cut_off(origin: Origin, tmp_path: Path) -> None:
    noise = os.urandom(30_000).hex()
    names = {f"{noise[at : at + 100]}{at}": "1" for at in range(0, len(noise), 100)}
    first = origin.git.commit(names)
    small = GitChangedFiles(tmp_path / "small", 30, 20_000)
    with pytest.raises(GitUnavailable):
        await small.between(1, origin.url, TOKEN, NO_COMMIT, first)
    left = sum(path.stat().st_size for path in (tmp_path / "small").rglob("*") if path.is_file())
    assert left <= 20_000


async def test_a_slow_server_is_given_up(files: GitChangedFiles, tmp_path: Path) -> None:
    accepted = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await asyncio.sleep(60)
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    hasty = GitChangedFiles(tmp_path / "hasty", 1.0, BYTES_MAX)
    with pytest.raises(GitUnavailable, match="in time"):
        await hasty.between(1, f"http://127.0.0.1:{port}/x.git", TOKEN, NO_COMMIT, GONE)
    assert accepted.is_set()
    server.close()


async def test_a_call_inside_a_transaction_is_a_bug(files: GitChangedFiles) -> None:
    marker = transaction_open.set(True)
    try:
        with pytest.raises(TransactionOpen):
            await files.between(1, "https://github.com/a/b", TOKEN, NO_COMMIT, GONE)
    finally:
        transaction_open.reset(marker)

"""Get source: real repositories, served in the ways that users have them."""

from __future__ import annotations

import os
import shutil
import socket

import pytest

from runner_actors.contract import Concluded, GitSource, SourceResolved
from tests.flow.runner.git_servers import SSHD, http_git, ssh_git
from tests.flow.runner.node import Node, sh
from tests.support.programs import commit, git, write


async def failure(node: Node, source: GitSource) -> str:
    """The message with which a deployment of this source fails."""
    report = await node.again(node.runner(), source=source)
    assert (report.ended, report.reason) == ("concluded", "source_error"), report
    concluded: Concluded = node.control_plane.of(Concluded)[-1]
    assert "Traceback" not in concluded.message
    assert concluded.message in node.log(), "the log's last line says it too"
    return concluded.message


async def deployed(node: Node, **source: object) -> str:
    """The commit that a deployment of this source resolves to."""
    report = await node.again(node.runners[-1], source=node.source(**source))
    assert (report.ended, report.reason) == ("concluded", "completed"), (report, node.log())
    return str(node.control_plane.of(SourceResolved)[-1].commit)


async def test_branches_tags_commits_and_directories(node: Node) -> None:
    first = node.program("echo one")
    git(node.repository, "tag", "--annotate", "v1", "--message", "one")
    second = node.program("echo two")
    git(node.repository, "checkout", "--quiet", "-b", "side/branch")
    nested = {
        "deep/er/Pulumi.yaml": "name: project\nruntime: python\n",
        "deep/er/program.sh": "echo nested",
    }
    write(node.repository, nested)
    third = commit(node.repository, "Nested")
    git(node.repository, "checkout", "--quiet", "main")
    node.runner()

    assert await deployed(node) == second
    assert await deployed(node, branch="main") == second
    assert await deployed(node, branch="refs/heads/main") == second
    assert await deployed(node, branch="refs/tags/v1") == first
    assert "one\n" in node.log()
    assert await deployed(node, branch="v1") == first
    assert await deployed(node, commit=first) == first
    assert await deployed(node, commit=first[:8]) == first
    assert await deployed(node, branch="side/branch", repo_dir="/deep/er/") == third
    assert "nested\n" in node.log()


async def test_a_new_commit_is_fetched_and_an_old_tree_never_shines_through(node: Node) -> None:
    node.program(
        "echo one > made; mkdir -p junk/.git; touch junk/x; chmod 500 junk; echo changed > tracked",
        tracked="as committed",
        gone="here",
    )
    node.runner()
    await deployed(node)
    git(node.repository, "rm", "--quiet", "gone")
    second = node.program("ls -A; cat tracked")
    assert await deployed(node) == second
    lines = node.log().splitlines()
    assert "made" not in lines
    assert "junk" not in lines
    assert "gone" not in lines
    assert "as committed" in lines


async def test_a_given_commit_that_is_there_is_not_fetched_again(node: Node) -> None:
    sha = node.program()
    node.runner()
    assert await deployed(node, commit=sha) == sha
    node.repository.rename(node.repository.with_name("away"))
    assert await deployed(node, commit=sha) == sha


async def test_when_the_caches_were_cleared_the_clone_is_made_anew_once(node: Node) -> None:
    node.program()
    runner = node.runner()
    await deployed(node)
    left = node.clone() / ".git" / "left-by-an-earlier-one"
    for cleared_at, stays in ((0, True), (1_700_000_000_000, False), (1_700_000_000_000, True)):
        left.touch()
        grant = {"source": node.source(), "caches_cleared_at_ms": cleared_at}
        report = await node.again(runner, **grant)
        assert (report.ended, report.reason) == ("concluded", "completed"), node.log()
        assert left.exists() == stays
        assert ("cloning again" in node.log()) != stays


async def test_a_broken_clone_is_made_anew(node: Node) -> None:
    sha = node.program()
    node.runner()
    await deployed(node)
    clone = node.clone()
    for damage in (
        lambda: (clone / ".git" / "HEAD").write_text("nonsense"),
        lambda: (clone / ".git" / "index").write_bytes(b"DIRC broken"),
        lambda: shutil.rmtree(clone / ".git" / "objects"),
        lambda: (clone / ".git" / "index.lock").touch(),
        lambda: shutil.rmtree(clone),
    ):
        damage()
        assert await deployed(node, commit=sha) == sha


async def test_what_a_program_wrote_into_the_clones_configuration_is_not_run(node: Node) -> None:
    trap = node.directory / "trap"
    node.program(
        f"git config core.fsmonitor 'touch {trap}; false'\n"
        f"git config core.sshCommand 'touch {trap}'\n"
        f"mkdir -p .git/hooks; printf '#!/bin/sh\\ntouch {trap}\\n' > .git/hooks/post-checkout\n"
        "chmod +x .git/hooks/*"
    )
    node.runner()
    await deployed(node)
    node.program("echo two")
    await deployed(node)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"branch": "nowhere"}, "no branch 'nowhere'"),
        ({"commit": "0" * 40}, f"no commit '{'0' * 40}'"),
        ({"commit": "abcdef12"}, "no commit 'abcdef12'"),
        ({"commit": "main"}, "'main' is not the id of a commit"),
        ({"branch": "--upload-pack=touch x"}, "not the name of a branch"),
        ({"branch": "a..b"}, "not the name of a branch"),
        ({"repo_url": "/does/not/exist.git"}, "/does/not/exist.git was not found"),
        ({"repo_url": "--upload-pack=x"}, "not the address of a repository"),
        ({"repo_url": "ext::sh -c 'touch x'"}, "address"),
        ({"repo_url": "ext::x"}, "'ext::x' is not an address"),
        ({"repo_url": "git://127.0.0.1/x"}, "is not an address"),
        ({"repo_url": "ssh://-oProxyCommand=x/y"}, "not the address of a repository"),
        ({"repo_url": "relative/path"}, "is not an address"),
        ({"repo_url": "http://127.0.0.1:1/x.git"}, "cannot be reached"),
        ({"repo_url": "https://host.invalid/x.git"}, "cannot be reached"),
        ({"repo_dir": "no/such/dir"}, "no directory 'no/such/dir'"),
        ({"repo_dir": "../.."}, "'../..' is not inside the repository"),
        ({"repo_dir": "link"}, "'link' is not inside the repository"),
        ({"repo_dir": "empty"}, "no Pulumi.yaml in 'empty'"),
        ({"repo_dir": "other"}, "names the project 'something', but"),
        ({"repo_dir": "broken"}, "not valid YAML"),
        ({"repo_dir": "nameless"}, "has no project name"),
    ],
)
async def test_what_is_wrong_is_named(node: Node, source: dict[str, str], words: str) -> None:
    node.program(
        **{
            "empty/x": "",
            "other/Pulumi.yaml": "name: something\nruntime: go\n",
            "broken/Pulumi.yaml": "name: [\n",
            "nameless/Pulumi.yaml": "runtime: go\n",
        }
    )
    (node.repository / "link").symlink_to("/tmp")
    commit(node.repository, "A link")
    assert words in await failure(node, node.source(**source))


async def test_no_source_at_all(node: Node) -> None:
    node.program()
    report = await node.again(node.runner(), source=None)
    assert report.reason == "source_error"
    assert "No source is configured" in report.message


async def test_local_repositories_only_where_they_are_allowed(node: Node) -> None:
    node.program()
    for url in (str(node.repository), f"file://{node.repository}"):
        report = await node.again(
            node.runner(allow_local_sources=False), source=node.source(repo_url=url)
        )
        assert report.reason == "source_error"
        assert "not allowed" in report.message


async def test_http_with_a_password_a_token_or_a_credential_in_the_address(node: Node) -> None:
    sha = node.program()
    node.runner()
    auth = {"user_name": "ana", "password": "pass word/ä"}
    with http_git(node.directory, "ana", "pass word/ä") as server:
        url = f"{server.url}/repository"
        assert await deployed(node, repo_url=url, auth=auth) == sha
        log = node.log()
        assert "pass word" not in log
        address = url.replace("http://", "http://ana:pass%20word%2F%C3%A4@")
        assert await deployed(node, repo_url=address) == sha
        assert "pass" not in node.log()
        refused = await failure(node, node.source(repo_url=url, auth={**auth, "password": "wrong"}))
        assert "Authentication failed" in refused
        refused = await failure(node, node.source(repo_url=url))
        assert "needs credentials" in refused
        refused = await failure(node, node.source(repo_url=f"{server.url}/nothing", auth=auth))
        assert "was not found" in refused
    with http_git(node.directory, "x-access-token", "ghp_token") as server:
        url = f"{server.url}/repository"
        assert await deployed(node, repo_url=url, auth={**auth, "access_token": "ghp_token"}) == sha
    secrets = "pass word|ghp_token|pass%20word"
    assert sh("grep", "-rlE", secrets, node.settings.work_dir, node.settings.log_store) == b""


async def test_credentials_are_for_the_repositorys_host_only(node: Node) -> None:
    """A submodule elsewhere asks for a password: it gets none."""
    library = node.directory / "library"
    library.mkdir()
    git(library, "init", "--quiet", "--initial-branch=main")
    write(library, {"shared.txt": "shared\n"})
    commit(library, "Shared")
    with (
        http_git(node.directory, "ana", "for the first") as first,
        http_git(node.directory, "ana", "for the second") as second,
    ):
        node.program()
        for name, address in (("stranger", f"{second.url}/library"),):
            modules = f'[submodule "{name}"]\n\tpath = {name}\n\turl = {address}\n'
            write(node.repository, {".gitmodules": modules})
        entry = f"160000,{git(library, 'rev-parse', 'HEAD')},stranger"
        git(node.repository, "add", ".gitmodules")
        git(node.repository, "update-index", "--add", "--cacheinfo", entry)
        git(node.repository, "commit", "--quiet", "--message", "With a stranger")
        auth = {"user_name": "ana", "password": "for the first"}
        said = await failure(node, node.source(repo_url=f"{first.url}/repository", auth=auth))
        assert "submodule" in said
        assert second.seen
        assert set(second.seen) == {None}


async def test_submodules_come_along_and_are_cleaned(node: Node) -> None:
    library = node.directory / "library"
    library.mkdir()
    git(library, "init", "--quiet", "--initial-branch=main")
    write(library, {"shared.txt": "shared\n"})
    commit(library, "Shared")
    with http_git(node.directory, "ana", "secret one") as server:
        node.program(
            "ls library; cat library/shared.txt; touch library/junk; echo x > library/shared.txt"
        )
        modules = '[submodule "library"]\n\tpath = library\n\turl = ../library\n'
        write(node.repository, {".gitmodules": modules})
        git(node.repository, "add", ".gitmodules")
        entry = f"160000,{git(library, 'rev-parse', 'HEAD')},library"
        git(node.repository, "update-index", "--add", "--cacheinfo", entry)
        git(node.repository, "commit", "--quiet", "--message", "With a library")
        node.runner()
        auth = {"user_name": "ana", "password": "secret one"}
        for _ in range(2):
            await deployed(node, repo_url=f"{server.url}/repository", auth=auth)
            assert "shared\n" in node.log()
            assert "junk" not in node.log()


@pytest.mark.skipif(not os.path.exists(SSHD), reason="needs sshd")
@pytest.mark.parametrize("passphrase", ["", "open sesame"])
async def test_ssh_with_a_key(node: Node, passphrase: str) -> None:
    key = node.directory / "id"
    sh("ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", key)
    sha = node.program()
    node.runner()
    with ssh_git(node.directory / "sshd", key.with_suffix(".pub").read_text()) as base:
        url = f"{base}{node.repository}"
        auth = {"ssh_private_key": key.read_text().rstrip("\n")}
        if passphrase:
            refused = await failure(node, node.source(repo_url=url, auth=auth))
            assert "Authentication failed" in refused
            auth["ssh_passphrase"] = passphrase
        assert await deployed(node, repo_url=url, auth=auth) == sha
        assert "cannot be read" in await failure(node, node.source(repo_url=url))
        key.unlink()
        places = (node.settings.work_dir, node.settings.log_store)
        assert sh("grep", "-rl", "PRIVATE KEY", *places) == b""


async def test_a_pull_requests_files_are_never_a_branchs(node: Node) -> None:
    node.program(
        "ls -A; touch from-$PULUMI_CI_BRANCH_NAME; env | grep -E 'PULUMI_HOME|CACHE|GOPATH'"
    )
    runner = node.runner()
    seen = {}
    for trust in ("branch", "pull_request"):
        report = await node.again(runner, trust=trust)
        assert report.reason == "completed"
        seen[trust] = {line for line in node.log().splitlines() if "=" in line}
    assert not seen["branch"] & seen["pull_request"]


async def test_a_source_that_does_not_come(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner_actors.steps.checkout.SOURCE_SECONDS_MAX", 1)
    node.program()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x.git"
        report = await node.again(node.runner(), source=node.source(repo_url=url))
    assert (report.ended, report.reason) == ("concluded", "timed_out")
    assert "The source did not come" in report.message

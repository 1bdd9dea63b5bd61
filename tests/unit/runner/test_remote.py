"""Addresses, branches and commits: what may reach git, and what git's complaints mean."""

from __future__ import annotations

import base64

import pytest

from runner_actors.steps import fetch_problems
from runner_actors.steps.remote import (
    Remote,
    SourceRefused,
    branch_ref,
    commit_id,
    credential_files,
    remote_of,
)


@pytest.mark.parametrize(
    ("address", "remote"),
    [
        ("https://github.com/o/r", Remote("https://github.com/o/r", "https", "github.com")),
        ("http://h:8080/r.git", Remote("http://h:8080/r.git", "http", "h:8080")),
        ("https://u:p%40w@h/r", Remote("https://h/r", "https", "h", "u", "p@w")),
        ("https://tok@h/r", Remote("https://h/r", "https", "h", "tok")),
        ("git@github.com:o/r.git", Remote("git@github.com:o/r.git", "ssh", "github.com", "git")),
        ("ssh://git@h:22/r", Remote("ssh://git@h:22/r", "ssh", "h:22", "git")),
        ("ssh://git:pw@h/r", Remote("ssh://git@h/r", "ssh", "h", "git", "pw")),
        ("h:o/r", Remote("h:o/r", "ssh", "h")),
        ("/srv/r", Remote("/srv/r", "file", "")),
        ("file:///srv/r", Remote("file:///srv/r", "file", "")),
    ],
)
def test_addresses(address: str, remote: Remote) -> None:
    assert remote_of(address, allow_local=True) == remote


@pytest.mark.parametrize(
    "address",
    [
        "",
        "-c",
        "--upload-pack=x",
        "https://h/a b",
        "https://h/a\nb",
        "https://",
        "https://-x/r",
        "https://h:99999999/r",
        "ssh://-oProxyCommand=x/r",
        "ext::sh",
        "h::x",
        "ftp://h/r",
        "git://h/r",
        "file://host/r",
        "./r",
        "-h:o/r",
    ],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(SourceRefused):
        remote_of(address, allow_local=True)


def test_branches_and_commits() -> None:
    assert branch_ref("") == ""
    assert branch_ref("main") == "refs/heads/main"
    assert branch_ref("feature/x+y") == "refs/heads/feature/x+y"
    assert branch_ref("refs/pull/7/head") == "refs/pull/7/head"
    for branch in ("-x", "a b", "a..b", "a:b", "a^", "x.lock", "a/", "a*", "a\n"):
        with pytest.raises(SourceRefused):
            branch_ref(branch)
    assert commit_id("ABCDEF12") == "abcdef12"
    for commit in ("main", "abc", "-1234", "a" * 65, "abcd\n"):
        with pytest.raises(SourceRefused):
            commit_id(commit)


def _opened(address: str, **given: str) -> dict[str, str]:
    files = credential_files(remote_of(address, allow_local=True), given)
    return {name: base64.b64decode(value).decode() for name, value in files.items()}


def test_which_credentials_an_address_takes() -> None:
    everything = {
        "ssh_private_key": "key",
        "ssh_passphrase": "words",
        "access_token": "token",
        "user_name": "ana",
        "password": "pw",
    }
    ssh = {"GIT_KEY": "key\n", "ASKPASS_PASSPHRASE": "words"}
    assert _opened("git@h:o/r", **everything) == ssh
    token = {"ASKPASS_USER": "x-access-token", "ASKPASS_PASSWORD": "token"}
    assert _opened("https://h/r", **everything) == token
    bitbucket = {"ASKPASS_USER": "x-token-auth", "ASKPASS_PASSWORD": "token"}
    assert _opened("https://bitbucket.org/r", access_token="token") == bitbucket
    basic = {"ASKPASS_USER": "ana", "ASKPASS_PASSWORD": "pw"}
    assert _opened("https://h/r", user_name="ana", password="pw") == basic
    assert _opened("https://ana:pw@h/r") == basic
    assert _opened("https://tok@h/r") == {
        "ASKPASS_USER": "tok",
        "ASKPASS_PASSWORD": "x-oauth-basic",
    }
    assert _opened("https://h/r") == {}


@pytest.mark.parametrize(
    ("said", "with_credentials", "words"),
    [
        ("fatal: couldn't find remote ref refs/heads/b", False, "no branch 'b'"),
        ("fatal: Authentication failed for 'https://h/r'", True, "Authentication failed"),
        ("fatal: could not read Username for 'https://h'", False, "needs credentials"),
        ("git@h: Permission denied (publickey).", False, "needs credentials"),
        ("fatal: unable to access: Could not resolve host: h", False, "cannot be reached"),
        ("ssh: connect to host h port 22: Connection refused", False, "cannot be reached"),
        ("remote: Repository not found.", True, "was not found"),
        ("fatal: '/x' does not appear to be a git repository", False, "was not found"),
    ],
)
def test_git_is_understood(said: str, with_credentials: bool, words: str) -> None:
    explained = fetch_problems.explain(said, "https://h/r", "b", "", with_credentials)
    assert explained
    assert words in explained
    assert "https://h/r" in explained


def test_unknown_words_are_left_to_the_log() -> None:
    said = "fatal: loose object 1234 is corrupt"
    assert fetch_problems.explain(said, "https://h/r", "b", "", False) is None

"""Bare git repositories of the stand-in, changed by `git fast-import`: no work tree is needed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NOBODY = "0" * 40
_AUTHOR = "Ada Lovelace <ada@example.com>"


@dataclass(frozen=True)
class Change:
    """A commit as a push event tells of it."""

    sha: str
    message: str
    added: list[str]
    removed: list[str]
    modified: list[str]


class BareRepository:
    """A real repository, served as GitHub serves them: any commit may be asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, default_branch: str = "main") -> BareRepository:
        path.mkdir(parents=True)
        made = cls(path)
        made.git("init", "--quiet", "--bare", f"--initial-branch={default_branch}", ".")
        settings = {
            "uploadpack.allowFilter": "true",
            "uploadpack.allowAnySHA1InWant": "true",
            "http.receivepack": "true",
            "gc.auto": "0",
        }
        for name, value in settings.items():
            made.git("config", name, value)
        return made

    def git(self, *arguments: str, input_: bytes | None = None) -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            env=environment,
            input=input_,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def commit(
        self,
        files: Mapping[str, str | None],
        branch: str = "main",
        message: str = "Change",
        *,
        parents: list[str] | None = None,
    ) -> str:
        """A commit on a branch (on other parents: a force-push, a merge); None deletes a file."""
        ref = f"refs/heads/{branch}"
        if parents is None:
            head = self.head(branch)
            parents = [head] if head else []
        text = message.encode()
        lines = [f"commit {ref}", f"committer {_AUTHOR} 1767323045 +0000", f"data {len(text)}"]
        stream = "\n".join(lines).encode() + b"\n" + text + b"\n"
        for number, parent in enumerate(parents):
            stream += f"{'merge' if number else 'from'} {parent}\n".encode()
        if not parents:
            stream = f"reset {ref}\n".encode() + stream
        for name, content in files.items():
            if content is None:
                stream += f"D {name}\n".encode()
            else:
                body = content.encode()
                stream += f"M 100644 inline {name}\ndata {len(body)}\n".encode() + body + b"\n"
        self.git("fast-import", "--quiet", "--force", "--date-format=raw", input_=stream)
        return self.head(branch) or ""

    def head(self, branch: str) -> str | None:
        return self.refs().get(f"refs/heads/{branch}")

    def refs(self) -> dict[str, str]:
        """Every branch, tag and pull request's head, by full name."""
        listed = self.git("for-each-ref", "--format=%(refname) %(objectname)")
        return dict(line.split(" ", 1) for line in listed.splitlines())

    def kind(self, sha: str) -> str:
        return self.git("cat-file", "-t", sha)

    def has(self, sha: str) -> bool:
        found = self.git("rev-list", "--no-walk", "--ignore-missing", sha, "--")
        return bool(found)

    def message(self, sha: str) -> str:
        return self.git("log", "-1", "--format=%B", sha)

    def merge_base(self, one: str, other: str) -> str:
        return self.git("merge-base", one, other)

    def merge_base_or_none(self, one: str, other: str) -> str | None:
        """The same, when there may be none."""
        try:
            return self.merge_base(one, other)
        except AssertionError:
            return None

    def changes(self, name: str, before: str, after: str) -> list[Change]:
        """The commits that a push of a ref brought, oldest first; of a new branch or tag those
        that no other branch has."""
        if after == NOBODY:
            return []
        old = [before]
        if before == NOBODY:
            others = self.refs().items()
            old = [sha for ref, sha in others if ref != name and ref.startswith("refs/heads/")]
        new = self.git("rev-list", "--reverse", after, "--not", *old).split()
        return [self.change(sha) for sha in new]

    def change(self, sha: str) -> Change:
        kinds: dict[str, list[str]] = {"A": [], "D": [], "M": []}
        listed = self.git(
            "diff-tree",
            "-r",
            "-z",
            "--root",
            "--no-commit-id",
            "--no-renames",
            "--name-status",
            sha,
        )
        words = listed.split("\0")
        for kind, name in zip(words[::2], words[1::2], strict=False):
            kinds.get(kind, kinds["M"]).append(name)
        return Change(sha, self.message(sha), kinds["A"], kinds["D"], kinds["M"])

    def differing(self, before: str, after: str) -> list[tuple[str, str, str]]:
        """(status, name, previous name) of each file, as GitHub lists it: renames are one entry."""
        words = self.git("diff", "-z", "--name-status", "-M", before, after).split("\0")
        found = []
        while len(words) > 1:
            kind = words.pop(0)
            if kind.startswith("R"):
                old, new = words.pop(0), words.pop(0)
                found.append(("renamed", new, old))
            else:
                status = {"A": "added", "D": "removed"}.get(kind, "modified")
                found.append((status, words.pop(0), ""))
        return found

    def take(self, other: BareRepository, sha: str, ref: str) -> None:
        """Have another repository's commit here under a name: the head of a fork's pull request."""
        self.git("fetch", "--quiet", str(other.path), f"+{sha}:{ref}")

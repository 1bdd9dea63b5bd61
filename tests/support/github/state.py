"""What the stand-in remembers: accounts, repositories, Apps, and what was written on them."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.github.repositories import BareRepository


@dataclass
class Account:
    id: int
    login: str
    kind: str = "User"
    name: str = ""
    email: str = ""
    token: str = ""
    """A user's own token: for git, and as the password of a push."""
    members: dict[str, str] = field(default_factory=dict)
    """Of an organization: logins and their roles, `admin` or `member`."""


@dataclass
class Repository:
    id: int
    owner: Account
    name: str
    private: bool
    default_branch: str
    git: BareRepository
    fork_of: Repository | None = None
    collaborators: dict[str, str] = field(default_factory=dict)
    """Logins and their permissions: admin, write, read."""
    pulls: list[Pull] = field(default_factory=list)
    deleted: bool = False

    @property
    def full_name(self) -> str:
        return f"{self.owner.login}/{self.name}"


@dataclass
class Pull:
    number: int
    base: Repository
    base_ref: str
    head: Repository
    head_ref: str
    head_sha: str
    author: Account
    title: str
    draft: bool = False
    state: str = "open"
    merged: bool = False
    labels: list[str] = field(default_factory=list)


@dataclass
class App:
    id: int
    slug: str
    name: str
    owner: Account
    url: str
    webhook_url: str
    callback_urls: list[str]
    setup_url: str
    redirect_url: str
    permissions: dict[str, str]
    events: list[str]
    oauth_on_install: bool
    client_id: str
    client_secret: str
    webhook_secret: str
    private_key: str
    public_key: str


@dataclass
class Installation:
    id: int
    app: App
    account: Account
    permissions: dict[str, str]
    events: list[str]
    repository_ids: set[int] | None = None
    """None is all repositories of the account, those to come too."""
    suspended: bool = False


@dataclass
class Minted:
    """An installation's token."""

    installation: Installation
    permissions: dict[str, str]
    repository_ids: set[int] | None
    expires: float
    revoked: bool = False


@dataclass
class Delivery:
    id: int
    guid: str
    app: App
    event: str
    payload: dict[str, Any]
    at: float
    status_code: int = 0
    redelivery: bool = False


@dataclass
class Comment:
    id: int
    repository: Repository
    number: int
    body: str
    author: Account
    app: App | None


@dataclass
class Written:
    """A check run, a commit status, a GitHub deployment or a deployment's status."""

    id: int
    repository: Repository
    fields: dict[str, Any]


class State:
    """All of it, under one lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = ""
        self.lock = threading.RLock()
        self.problems: list[str] = []
        """Requests and answers that were not as GitHub's models say; a test must find none."""
        self.requests: Counter[str] = Counter()
        """How many requests each route got."""
        self.accounts: dict[str, Account] = {}
        self.repositories: list[Repository] = []
        self.renamed: dict[str, Repository] = {}
        self.apps: dict[int, App] = {}
        self.installations: dict[int, Installation] = {}
        self.tokens: dict[str, Minted] = {}
        self.user_tokens: dict[str, tuple[App, Account]] = {}
        self.manifest_codes: dict[str, App] = {}
        self.codes: dict[str, tuple[App, Account]] = {}
        self.authorized: set[tuple[int, str]] = set()
        """(App, login) of people who said yes already."""
        self.comments: list[Comment] = []
        self.check_runs: list[Written] = []
        self.statuses: list[Written] = []
        self.deployments: list[Written] = []
        self.deployment_statuses: list[Written] = []
        self.deliveries: list[Delivery] = []
        self.signed_in: Account | None = None
        """Who sits at the browser."""
        self._ids = itertools.count(1000)

    def next_id(self) -> int:
        return next(self._ids)

    def repository(self, full_name: str) -> Repository | None:
        """By the name it has now; names are the same in any case."""
        for each in self.repositories:
            if each.full_name.lower() == full_name.lower() and not each.deleted:
                return each
        return None

    def reached(self, installation: Installation) -> list[Repository]:
        """The repositories of an installation."""
        chosen = installation.repository_ids
        return [
            each
            for each in self.repositories
            if each.owner is installation.account
            and not each.deleted
            and (chosen is None or each.id in chosen)
        ]

    def installations_at(self, repository: Repository) -> list[Installation]:
        """Those that see a repository."""
        return [each for each in self.installations.values() if repository in self.reached(each)]

    def permission(self, repository: Repository, login: str) -> str:
        """What a person may do with a repository."""
        owner = repository.owner
        if login == owner.login or owner.members.get(login) == "admin":
            return "admin"
        if given := repository.collaborators.get(login):
            return given
        if login in owner.members or not repository.private:
            return "read"
        return "none"

    def owner(self, account: Account) -> Account:
        """Somebody who may do anything with an account."""
        admins = [login for login, role in account.members.items() if role == "admin"]
        return self.accounts[admins[0]] if admins else account

    def member(self, token: str) -> Account | None:
        return next(
            (each for each in self.accounts.values() if token and each.token == token), None
        )


@cache
def key_pair(number: int) -> tuple[str, str]:
    """A private and a public key as GitHub makes them for an App; few, for they take time."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


def iso(moment: float | None = None) -> str:
    """A time as GitHub writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))

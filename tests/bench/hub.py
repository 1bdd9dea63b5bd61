"""A stand-in GitHub in a process of its own, with events that are prepared and not yet told.

Run as a module it reads what is wanted as one line of JSON, answers with one line, and serves until
its input ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from control_plane.services.github.ports import Account, CreatedApp
from tests.bench.servers import end
from tests.bench.wire import ROOT
from tests.support import github as stand_in
from tests.support.github.state import App

NEVER = 1 << 30


@dataclass(frozen=True)
class Wanted:
    """How many events of each kind; each changes a service of its own, or what all share."""

    pushes: int = 0
    shared_pushes: int = 0
    later_pushes: int = 0
    """After the shared ones, as a push that is older than what is known deploys nothing."""
    pulls: int = 0


class Event(msgspec.Struct, frozen=True):
    """One that GitHub would tell."""

    kind: str
    """`push`, `shared` or `pull`."""
    service: int
    payload: dict[str, Any]


class Facts(msgspec.Struct, frozen=True):
    """What whoever connects to it has to know."""

    url: str
    app: CreatedApp
    installation_id: int
    full_name: str
    clone_url: str
    events: tuple[Event, ...]

    def of(self, kind: str) -> list[Event]:
        """The events of one kind, in their order."""
        return [event for event in self.events if event.kind == kind]


@contextmanager
def hub(wanted: Wanted) -> Iterator[Facts]:
    """GitHub with one repository, in which the App is installed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.hub"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(asdict(wanted)) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the stand-in of GitHub does not answer")
        yield msgspec.json.decode(line, type=Facts)
    finally:
        process.stdin.close()
        end(process)


def main() -> None:
    wanted = Wanted(**json.loads(sys.stdin.readline()))
    with (
        tempfile.TemporaryDirectory(prefix="slipway-bench-hub-") as root,
        stand_in.github(Path(root), strict=False) as github,
    ):
        facts = _prepare(github, wanted)
        print(msgspec.json.encode(facts).decode(), flush=True)
        sys.stdin.read()
        for problem in sorted(set(github.problems))[:10]:
            print(f"bench: the stand-in of GitHub: {problem}", file=sys.stderr)


def _prepare(github: stand_in.GitHub, wanted: Wanted) -> Facts:
    owner = github.add_user("octo-ada")
    account = github.add_organization("acme", {"octo-ada": "admin"})
    repository = github.add_repository(account, "site")
    # Nothing is told by itself: the benchmark sends what it wants, when it wants.
    github.lose_deliveries(NEVER)
    made = github.add_app(owner, "http://127.0.0.1:9/webhooks/github")
    installation = github.install(made, account)
    github.push(repository, {"README.md": "one"}, message="The first")
    events: list[Event] = []

    def take(kind: str, service: int) -> None:
        events.append(Event(kind, service, github.state.deliveries[-1].payload))

    for number in range(wanted.pushes):
        github.push(repository, {f"services/{number}/main.py": f"{number}"})
        take("push", number)
    for number in range(wanted.shared_pushes):
        github.push(repository, {"shared/lib.py": f"{number}"})
        take("shared", 0)
    for number in range(wanted.later_pushes):
        github.push(repository, {f"services/{number}/main.py": f"later {number}"})
        take("later", number)
    for number in range(wanted.pulls):
        branch = f"change-{number}"
        github.push(repository, {f"services/{number}/main.py": "changed"}, branch)
        github.open_pull(repository, branch)
        take("pull", number)
    # Told or lost: else the control plane would find them by itself, as what it missed.
    github.state.deliveries.clear()
    return Facts(
        url=github.url,
        app=_created(made),
        installation_id=installation.id,
        full_name=repository.full_name,
        clone_url=github.clone_url(repository),
        events=tuple(events),
    )


def _created(made: App) -> CreatedApp:
    return CreatedApp(
        id=made.id,
        slug=made.slug,
        name=made.name,
        client_id=made.client_id,
        html_url=made.url,
        owner=Account(made.owner.id, made.owner.login, made.owner.kind),
        client_secret=made.client_secret,
        webhook_secret=made.webhook_secret,
        pem=made.private_key,
    )


if __name__ == "__main__":
    main()

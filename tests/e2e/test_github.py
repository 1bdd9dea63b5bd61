"""git push to deploy, end to end: a real push, a real webhook, a real deployment, a real report."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.config import load
from tests.support import github as stand_in
from tests.support.github.state import Repository
from tests.support.github_org import claim, keep_app, with_services
from tests.support.programs import virtualenv
from tests.support.slipway import Slipway, Stack
from tests.support.waiting import wait_for

PROGRAM = """
import os
import pulumi

config = pulumi.Config()
pulumi.export("greeting", config.get("greeting") or "none")
pulumi.export("password", config.get_secret("password"))
pulumi.export("branch", os.environ.get("PULUMI_CI_BRANCH_NAME", ""))
pulumi.export("pull_request", os.environ.get("PULUMI_PR_NUMBER", ""))
print("the secret is", os.environ.get("DATABASE_PASSWORD", "not there"), flush=True)
print("there is a token:", bool(os.environ.get("GITHUB_TOKEN")), flush=True)
print("printed:", os.environ.get("GITHUB_TOKEN"), flush=True)
"""
SECRET = "correct-horse-battery-staple"


class World:
    """A server, a GitHub, and a private repository whose App is installed and claimed."""

    def __init__(self, slipway: Slipway, hub: stand_in.GitHub) -> None:
        self.slipway, self.hub = slipway, hub
        self.owner = hub.add_user("octo-ada")
        self.account = hub.add_organization("acme", {"octo-ada": "admin"})
        self.app = hub.add_app(self.owner, f"{slipway.url}/webhooks/github")
        config = load(
            environment={},
            overrides={
                "store": {"data_dir": str(slipway.data_dir)},
                "github": stand_in.settings(hub),
            },
        )
        with_services(config, lambda world: keep_app(world, self.app))
        self.installation = hub.install(self.app, self.account)
        with_services(config, lambda world: claim(world, self.installation.id))

    def repository(self, name: str, files: dict[str, str | None] | None = None) -> Repository:
        """A private repository with the program, whose first push came before any stack's."""
        made = self.hub.add_repository(self.account, name)
        self.hub.push(made, program(name) | (files or {}), message="The program")
        return made

    def stack(self, repository: Repository, name: str = "dev", **github: Any) -> Stack:
        stack = self.slipway.stack(repository.name, name)
        settings = {
            "sourceContext": {"git": {"branch": "main"}},
            "gitHub": {"repository": repository.full_name, "deployCommits": True} | github,
            "operationContext": {
                "options": {"skipInstallDependencies": True},
                "environmentVariables": {"DATABASE_PASSWORD": {"secret": SECRET}},
            },
        }
        answer = stack.http.put(f"{stack.path}/deployments/settings", json=settings)
        assert answer.status_code == 200, answer.text
        return stack

    def checks(self, sha: str) -> list[dict[str, Any]]:
        return [each.fields for each in self.hub.state.check_runs if each.fields["head_sha"] == sha]

    def minted_tokens_in(self, text: str) -> list[str]:
        """The installations' tokens of so far that a text contains; there must be some."""
        minted = list(self.hub.state.tokens)
        assert minted
        return [token for token in minted if token in text]

    def ended_check(self, sha: str) -> dict[str, Any]:
        """A commit's check run, once it is completed."""

        def completed() -> dict[str, Any] | None:
            found = [each for each in self.checks(sha) if each.get("status") == "completed"]
            return found[-1] if found else None

        return dict(wait_for(completed, f"a completed check of {sha}", 120))


def program(project: str, text: str = PROGRAM) -> dict[str, str | None]:
    return {
        "Pulumi.yaml": f"name: {project}\nruntime:\n  name: python\n  options:\n"
        f"    virtualenv: {virtualenv()}\n",
        "__main__.py": text,
    }


def read(path: Path) -> str:
    """A file's bytes, one letter each; empty when it has gone meanwhile."""
    try:
        return path.read_bytes().decode("latin-1")
    except OSError:
        return ""


def newest(stack: Stack, count: int = 1) -> dict[str, Any]:
    """The stack's newest deployment, ended, once there are so many."""

    def listed() -> list[dict[str, Any]]:
        found = stack.http.get(f"{stack.path}/deployments").json()["deployments"]
        return found if len(found) >= count else []

    found = wait_for(listed, f"{stack.path} has {count} deployments", 60)
    return stack.wait(found[0]["id"])


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with stand_in.github(tmp_path_factory.mktemp("hub")) as hub:
        directory = tmp_path_factory.mktemp("slipway")
        slipway = Slipway(directory, SLIPWAY_GITHUB__BASE_URL=hub.url).start()
        try:
            yield World(slipway, hub)
        finally:
            slipway.stop()


def test_a_push_is_deployed_and_github_is_told(here: World) -> None:
    site = here.repository("site")
    stack = here.stack(site)
    sha = here.hub.push(site, {"notes.md": "more"}, message="More notes")
    ended = newest(stack)
    assert ended["status"] == "succeeded", stack.log(ended["id"])
    assert stack.outputs()["branch"] == "main"
    log = stack.log(ended["id"])
    assert "there is a token: True" in log
    assert "printed: [secret]" in log
    assert here.minted_tokens_in(log) == []
    check = here.ended_check(sha)
    assert check["conclusion"] == "success"
    assert SECRET not in str(check)
    assert here.minted_tokens_in(str(check)) == []
    kept = [each for each in here.slipway.data_dir.rglob("*") if each.is_file()]
    assert kept
    assert [each for each in kept if here.minted_tokens_in(read(each))] == []
    wait_for(
        lambda: [
            each
            for each in here.hub.state.statuses
            if each.fields.get("sha", sha) == sha and each.fields["state"] == "success"
        ],
        "the commit's status is success",
    )
    wait_for(
        lambda: (
            here.hub.state.deployment_statuses
            and here.hub.state.deployment_statuses[-1].fields["state"] == "success"
        ),
        "the GitHub deployment has succeeded",
    )


def test_a_pull_request_is_previewed_with_one_comment(here: World) -> None:
    shop = here.repository("shop")
    stack = here.stack(shop, previewPullRequests=True)
    here.hub.push(shop, {"__main__.py": PROGRAM + "\npulumi.export('new', 1)\n"}, branch="more")
    pull = here.hub.open_pull(shop, "more", title="More outputs")
    first = newest(stack)
    assert first["status"] == "succeeded", stack.log(first["id"])
    sha = here.hub.push(
        shop, {"__main__.py": PROGRAM + "\npulumi.export('n2', 2)\n"}, branch="more"
    )
    second = newest(stack, 2)
    assert second["status"] == "succeeded", stack.log(second["id"])
    assert here.ended_check(sha)["conclusion"] == "success"

    def comment() -> Any:
        found = [each for each in here.hub.state.comments if each.repository is shop]
        is_done = found and sha[:12] in found[-1].body and "succeeded" in found[-1].body.lower()
        return found if is_done else None

    comments = wait_for(comment, "the comment is of the newest commit")
    assert [each.number for each in comments] == [pull.number]
    assert "+ " in comments[0].body or "1 " in comments[0].body


def test_a_fork_is_previewed_when_its_commit_is_approved_and_learns_nothing(here: World) -> None:
    tools = here.repository("tools")
    stack = here.stack(tools, previewPullRequests=True)
    stranger = here.hub.add_user("stranger")
    fork = here.hub.fork(tools, stranger)
    here.hub.push(fork, {"a.md": "hello"}, branch="mine", sender=stranger)
    pull = here.hub.open_pull(tools, "mine", head=fork, author=stranger)
    wait_for(
        lambda: [
            each for each in here.checks(pull.head_sha) if each["conclusion"] == "action_required"
        ],
        "a check asks for approval",
    )
    assert stack.http.get(f"{stack.path}/deployments").json()["deployments"] == []
    answer = here.slipway.http.post(
        f"/api/orgs/ada/integrations/github/pull-requests/acme/tools/{pull.number}/approve",
        json={"sha": pull.head_sha},
    )
    assert answer.status_code == 200, answer.text
    ended = newest(stack)
    log = stack.log(ended["id"])
    assert ended["status"] == "succeeded", log
    assert "the secret is not there" in log
    assert "there is a token: False" in log


def test_a_source_that_is_gone_is_named(here: World) -> None:
    """The directory is deleted by the push, and then the commit before anybody fetches it."""
    gone = here.repository("gone", {"infra/Pulumi.yaml": "name: gone\nruntime: python\n"})
    stack = here.stack(gone)
    source = {"sourceContext": {"git": {"repoDir": "infra"}}}
    answer = stack.http.post(f"{stack.path}/deployments/settings", json=source)
    assert answer.status_code == 200, answer.text
    sha = here.hub.push(gone, {"infra/Pulumi.yaml": None}, message="Without infra")
    ended = newest(stack)
    assert (ended["status"], ended.get("reason", "")) == ("failed", "source_error")
    check = here.ended_check(sha)
    assert check["conclusion"] == "failure"
    assert "no directory 'infra'" in str(check["output"])

    here.hub.lose_deliveries()
    sha = here.hub.push(gone, {"a.md": "a"}, message="Soon gone")
    lost = here.hub.state.deliveries[-1]
    gone.git.git("update-ref", "-d", "refs/heads/main")
    gone.git.git("gc", "--quiet", "--prune=now")
    here.hub.webhooks.redeliver(lost)
    ended = newest(stack, 2)
    assert (ended["status"], ended.get("reason", "")) == ("failed", "source_error")
    assert f"no commit '{sha}'" in ended["message"], stack.log(ended["id"])


def test_a_review_stack_lives_and_dies_with_its_pull_request(here: World, tmp_path: Path) -> None:
    api = here.repository("api")
    template = here.stack(api, "template", pullRequestTemplate=True, deployCommits=False)
    here.hub.push(api, {"Pulumi.template.yaml": configuration(here, template, tmp_path)})
    here.hub.push(api, {"b.md": "b"}, branch="idea")
    pull = here.hub.open_pull(api, "idea")
    name = f"pr-acme-api-{pull.number}"
    review = Stack(here.slipway, "ada", "api", name)
    wait_for(
        lambda: review.http.get(review.path).status_code == 200, "the review stack is there", 60
    )
    ended = newest(review)
    log = review.log(ended["id"])
    assert ended["status"] == "succeeded", log
    assert review.outputs()["greeting"] == "hello"
    assert review.outputs()["pull_request"] == str(pull.number)
    assert "the secret is [secret]" in log
    here.hub.close_pull(pull)
    wait_for(
        lambda: review.http.get(review.path).status_code == 404, "the review stack is gone", 90
    )


def configuration(here: World, stack: Stack, tmp_path: Path) -> str:
    """The template's configuration, as the real CLI writes it."""
    directory = tmp_path / "template"
    directory.mkdir()
    for path, text in program(stack.project).items():
        (directory / path).write_text(text or "")
    environment = here.slipway.cli_environment(tmp_path / "home")
    for arguments in (["greeting", "hello"], ["--secret", "password", SECRET]):
        subprocess.run(
            ["pulumi", "config", "set", "--stack", f"ada/{stack.project}/{stack.name}", *arguments],
            cwd=directory,
            env=environment,
            check=True,
            capture_output=True,
        )
    return (directory / f"Pulumi.{stack.name}.yaml").read_text()

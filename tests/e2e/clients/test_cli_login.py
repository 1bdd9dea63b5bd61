"""The CLI: who is logged in, where, in which organizations, and what it is told it cannot have."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.app import open_world
from control_plane.services import identity
from tests.e2e.clients.conftest import RecordedServer
from tests.support.app import TOKEN
from tests.support.cli import Cli
from tests.support.things import new_cli
from tests.support.waiting import wait_for

BOB = "pul-" + "b" * 48
NOBODY = {"PULUMI_ACCESS_TOKEN": ""}
NOWHERE = {"PULUMI_BACKEND_URL": ""}


@pytest.fixture
def cli(recorded_server: RecordedServer, tmp_path: Path) -> Cli:
    made = new_cli(recorded_server.url, tmp_path, "who")
    made.run("login")
    return made


def http(server: RecordedServer, token: str = TOKEN) -> httpx.Client:
    return httpx.Client(base_url=server.url, headers={"Authorization": f"token {token}"})


def administer(server: RecordedServer, verb: Any, *arguments: Any) -> Any:
    """Do what an administrator does on the server's machine."""

    async def run() -> Any:
        world = open_world(server.world.config)
        try:
            return await verb(world, *arguments)
        finally:
            await world.database.close()

    return asyncio.run(run())


def log_in_again(server: RecordedServer, cli: Cli, organization: str, token: str = TOKEN) -> None:
    """Make an organization known: the server remembers who was where for two seconds, the CLI
    for an hour."""
    wait_for(
        lambda: http(server, token).get(f"/api/orgs/{organization}").status_code == 200,
        f"{organization} is known",
    )
    cli.run("logout")
    cli.run("login", PULUMI_ACCESS_TOKEN=token)


def test_login_is_remembered_until_logout(recorded_server: RecordedServer, cli: Cli) -> None:
    url = recorded_server.url
    assert f"Logged in to {url} as ada" in cli.run("login", "--cloud-url", url, **NOWHERE)
    kept = json.loads((cli.home / "credentials.json").read_text())
    assert (kept["current"], kept["accessTokens"][url]) == (url, TOKEN)
    later = NOBODY | NOWHERE
    assert cli.run("whoami", **later).strip() == "ada"
    told = cli.run("whoami", "-v", **later)
    assert "User: ada" in told
    assert "Organizations: ada" in told
    assert "Token type: personal" in told
    assert cli.json("whoami", "--json", **later) == {
        "user": "ada",
        "organizations": ["ada"],
        "url": "",
    }
    shown = cli.json("whoami", "--json", PULUMI_CONSOLE_DOMAIN="console.test", **later)
    assert shown["url"] == "http://console.test/ada"
    assert f"Logged out of {url}" in cli.run("logout", **later)
    assert "PULUMI_ACCESS_TOKEN must be set" in cli.run("whoami", status=3, **later)
    assert f"Logged in to {url}" in cli.run("login", url, **NOWHERE)
    assert "Logged out of everything" in cli.run("logout", "--all", **later)
    assert not (cli.home / "credentials.json").exists()


def test_a_bad_token_is_named_as_such(recorded_server: RecordedServer, cli: Cli) -> None:
    url = recorded_server.url
    for token in ("bad", "pul-" + "c" * 48, "pul-ünïcode"):
        refused = cli.run("login", url, status=1, PULUMI_ACCESS_TOKEN=token)
        assert f'could not log in to the state backend "{url}": Unauthorized' in refused
        assert "invalid" in refused
    refused = cli.run("stack", "ls", status=1, PULUMI_ACCESS_TOKEN="bad")
    assert "Unauthorized" in refused


def test_a_revoked_token_opens_nothing(recorded_server: RecordedServer, cli: Cli) -> None:
    made = administer(recorded_server, identity.create_token, "ada", "for a while", None)
    token = {"PULUMI_ACCESS_TOKEN": made.value}
    cli.run("login", recorded_server.url, **token)
    cli.run("stack", "init", "revoked", **token)
    assert http(recorded_server).delete(f"/api/user/tokens/{made.id}").status_code == 204
    refused = cli.run("stack", "ls", status=3, **token)
    assert "this command requires logging in" in refused
    assert "revoked" in cli.run("stack", "ls")


def test_about_tells_the_backend_and_the_stack(recorded_server: RecordedServer, cli: Cli) -> None:
    cli.run("stack", "init", "about")
    about = cli.json("about", "--json")
    assert about["backend"]["name"] == recorded_server.url
    assert about["backend"]["user"] == "ada"
    assert about["currentStack"]["fullyQualifiedName"] == "ada/who/about"
    assert about["errors"] == []
    plain = cli.run("about")
    assert "Current Stack: ada/who/about" in plain
    assert "warning" not in plain


def test_the_default_organization(recorded_server: RecordedServer, cli: Cli) -> None:
    """`org set-default` is the CLI's own; what it is without, is the server's word."""
    administer(recorded_server, identity.create_organization, "guild", "ada")
    log_in_again(recorded_server, cli, "guild")
    assert cli.run("org", "get-default").strip() == "ada"
    cli.run("org", "set-default", "guild")
    assert cli.run("org", "get-default").strip() == "guild"
    cli.run("stack", "init", "member")
    assert cli.json("stack", "--output", "json")["organization"] == "guild"
    cli.run("org", "set-default", "ada")
    names = [each["name"] for each in cli.json("stack", "ls", "--json", "-o", "guild")]
    assert names == ["guild/member"]
    assert cli.json("whoami", "--json")["organizations"][:1] == ["ada"]
    cli.run("org", "set-default", "nowhere")
    refused = cli.run("stack", "init", "lost", status=1)
    assert "[404] Not Found: Organization 'nowhere' not found" in refused


def test_administrators_members_and_strangers(
    recorded_server: RecordedServer, cli: Cli, tmp_path: Path
) -> None:
    administer(recorded_server, identity.bootstrap, "bob", BOB)
    administer(recorded_server, identity.create_organization, "crew", "ada")
    bob = {"PULUMI_ACCESS_TOKEN": BOB}
    theirs = Cli(cli.url, cli.project, tmp_path / "home-of-bob")
    log_in_again(recorded_server, cli, "crew")
    cli.run("stack", "init", "crew/who/shared")
    assert "no stack named" in theirs.run("stack", "--stack", "crew/who/shared", status=6, **bob)
    refused = theirs.run("stack", "init", "crew/who/mine", status=1, **bob)
    assert "[404] Not Found: Organization 'crew' not found" in refused
    administer(recorded_server, identity.add_member, "crew", "bob", "member")
    log_in_again(recorded_server, theirs, "crew", BOB)
    members = cli.json("org", "member", "list", "--org", "crew", "--output", "json")
    roles = {each["user"]["githubLogin"]: each["role"] for each in members["members"]}
    assert roles == {"ada": "admin", "bob": "member"}
    assert "2 member(s)" in cli.run("org", "member", "list", "--org", "crew")
    theirs.run("stack", "init", "crew/who/theirs", **bob)
    theirs.run("config", "set", "--secret", "word", "open sesame", **bob)
    theirs.run("stack", "tag", "set", "team", "blue", "--stack", "crew/who/shared", **bob)
    names = [each["name"] for each in theirs.json("stack", "ls", "--json", "-o", "crew", **bob)]
    assert sorted(names) == ["crew/shared", "crew/theirs"]


def test_the_console_is_where_the_environment_says(cli: Cli) -> None:
    cli.run("stack", "init", "shown")
    no_browser = cli.environment["PATH"].partition(":")[0]
    domain = {"PULUMI_CONSOLE_DOMAIN": "console.test", "PATH": no_browser}
    told = cli.run("console", **domain)
    assert "Please visit: http://console.test/ada/who/shown" in told
    assert "'nope' does not exist" in cli.run("console", "--stack", "nope", **domain)
    assert "http://console.test/ada/who/shown" in cli.run("stack", "ls", **domain)


NOT_BUILT = (
    ("stack", "schedule", "ls"),
    ("stack", "schedule", "new", "--kind", "drift", "--cron", "0 4 * * *", "--yes"),
    ("stack", "webhook", "ls"),
    ("stack", "webhook", "new", "--name", "hook", "--url", "http://hook.test", "--yes"),
    ("stack", "drift", "status"),
    ("stack", "drift", "list"),
    ("org", "audit-log", "list"),
    ("org", "role", "list"),
    ("org", "webhook", "list"),
    ("org", "search", "--query", "type:x"),
    ("org", "usage", "get"),
    ("policy", "ls"),
    ("env", "ls"),
)


def test_what_is_not_built_is_said_to_be_so(cli: Cli) -> None:
    cli.run("stack", "init", "unbuilt")
    for command in NOT_BUILT:
        answer = cli.run(*command, status=1)
        assert "Not Implemented" in answer, (command, answer)
        assert "not part of Slipway yet" in answer, (command, answer)
        assert "panic" not in answer


def test_commands_that_need_no_server_work(cli: Cli) -> None:
    cli.run("stack", "init", "local")
    assert "TOTAL plugin cache size" in cli.run("plugin", "ls")
    assert cli.json("plugin", "ls", "--json") == []
    assert "Collecting logs for stack local" in cli.run("logs")
    assert "(cli: stack new)" in cli.run("logs", "list")
    assert "v3." in cli.run("version")
    projects = cli.json("project", "ls", "--output", "json")
    assert {"name": "who", "organization": "ada"}.items() <= projects[0].items()

"""`slipway github …`: the GitHub App and what it told, from a terminal on the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
import typer

from control_plane.cli_world import ConfigFile, DataDir, configured, fail, first_user, with_world

app = typer.Typer(help="The GitHub App: set it up, and see what it told.", no_args_is_help=True)

Organization = Annotated[str, typer.Argument(help="An organization of this server.")]
AsUser = Annotated[str, typer.Option("--user", help="As whom. Default: the server's first user.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command()
def setup(
    github_organization: Annotated[
        str, typer.Option("--github-organization", help="Who is to own the App on GitHub.")
    ] = "",
    name: Annotated[str, typer.Option("--name", help="The App's name; unique on GitHub.")] = "",
    show: Annotated[
        bool, typer.Option("--manifest", help="Print the manifest instead of the address.")
    ] = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Make this server's GitHub App: prints the address at which a browser does it.

    GitHub must reach the server: set server.public_url first. Examples:

        slipway github setup --github-organization acme

        slipway github setup --manifest
    """
    from control_plane.domain.github import manifest

    settings = configured(config, data_dir)
    if show:
        made = manifest.manifest(settings.public_url, name or "Slipway")
        typer.echo(msgspec.json.format(msgspec.json.encode(made)).decode())
        return
    wanted = {"github_organization": github_organization, "name": name}
    query = urlencode({key: value for key, value in wanted.items() if value})
    address = f"{settings.public_url}/settings/integrations/github/new"
    typer.echo("Open this as an administrator of the server; GitHub asks once more:")
    typer.echo(f"{address}?{query}" if query else address)


@app.command()
def status(
    organization: Organization,
    user: AsUser = "",
    as_json: AsJson = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Show the App and where an organization has installed it.

    Example:

        slipway github status platform
    """
    from control_plane.services.github import installing

    found = _ask(
        config, data_dir, user, lambda world, who: installing.show(world, who, organization)
    )
    if as_json:
        _print_json(found)
        return
    if found.app is None:
        fail("This server has no GitHub App. Set one up with: slipway github setup")
    typer.echo(f"App {found.app.name} ({found.app.html_url})")
    for each in found.installations:
        state = "suspended" if each.suspended else "installed"
        typer.echo(f"{state} on {each.account} ({each.selection} repositories)")
        for name, access in each.missing_permissions.items():
            typer.echo(f"  needs {access} permission for {name}: accept it at {each.manage_url}")
    if not found.installations:
        typer.echo(f"'{organization}' has not installed it. Run: slipway github install ORG")
    if found.unclaimed:
        typer.echo(f"{found.unclaimed} installations on GitHub are claimed by no organization.")


@app.command()
def install(
    organization: Organization, config: ConfigFile = None, data_dir: DataDir = None
) -> None:
    """Print where an administrator of an organization installs the App.

    Example:

        slipway github install platform
    """
    settings = configured(config, data_dir)
    typer.echo(f"{settings.public_url}/{organization}/-/settings/integrations")


@app.command()
def deliveries(
    organization: Organization,
    page: Annotated[int, typer.Option("--page", min=1)] = 1,
    user: AsUser = "",
    as_json: AsJson = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """List what GitHub told, newest first, and what came of it.

    Example:

        slipway github deliveries platform
    """
    from control_plane.services.github import browsing

    found = _ask(
        config, data_dir, user, lambda world, who: browsing.recent(world, who, organization, page)
    )
    if as_json:
        _print_json(found)
        return
    for each in found.deliveries:
        at = datetime.fromtimestamp(each.received_at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        what = f"{each.deployments} deployments" if each.deployments else each.message
        typer.echo(f"{at}  {each.id}  {each.repository}  {each.summary}  [{each.status}] {what}")


@app.command()
def why(
    organization: Organization,
    delivery: Annotated[str, typer.Argument(help="The id of a delivery.")],
    user: AsUser = "",
    as_json: AsJson = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Say for each stack what a delivery deployed, or which rule said no.

    Example:

        slipway github why platform 72d3162e-cc78-11e3-81ab-4c9367dc0958
    """
    from control_plane.services.github import browsing

    found = _ask(
        config,
        data_dir,
        user,
        lambda world, who: browsing.delivery(world, who, organization, delivery),
    )
    if as_json:
        _print_json(found)
        return
    typer.echo(f"{found.repository}: {found.summary} [{found.status}] {found.message}")
    for each in found.verdicts:
        sign = "+" if each.deployment_id else "-"
        typer.echo(f"  {sign} {each.stack}: {each.message} ({each.code})")


@app.command()
def approve(
    organization: Organization,
    pull_request: Annotated[str, typer.Argument(help="As owner/name#12.")],
    commit: Annotated[str, typer.Argument(help="Its head commit, which you have looked at.")],
    user: AsUser = "",
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Let one commit of a fork be previewed: without secrets, and without writing anything.

    Example:

        slipway github approve platform acme/site#12 0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c
    """
    from control_plane.services.github import pulls

    name, separator, number = pull_request.rpartition("#")
    if not separator or not number.isdigit():
        fail("Name the pull request as owner/name#12.", 2)
    found = _ask(
        config,
        data_dir,
        user,
        lambda world, who: pulls.approve(world, who, organization, name, int(number), commit),
    )
    typer.echo(found.summary)
    for each in found.verdicts:
        typer.echo(f"  {each.stack}: {each.message}")


def _ask(config: Any, data_dir: Any, user: str, work: Callable[[Any, Any], Awaitable[Any]]) -> Any:
    """Do something as a user of this server."""
    from control_plane.services import identity

    settings = configured(config, data_dir)
    login = user or first_user(settings)

    async def run(world: Any) -> Any:
        return await work(world, await identity.principal_by_login(world, login))

    return with_world(settings, run)


def _print_json(found: Any) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())

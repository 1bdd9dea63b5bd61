"""The `slipway` command."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from control_plane import cli_github
from control_plane.cli_world import (
    ConfigFile,
    DataDir,
    configured,
    fail,
    first_user,
    saved_user,
    with_world,
)

app = typer.Typer(
    help="Slipway: a self-hosted, open Pulumi Deployments.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
toolchain_app = typer.Typer(help="The Pulumi CLI and its language hosts.", no_args_is_help=True)
token_app = typer.Typer(help="Personal access tokens.", no_args_is_help=True)
user_app = typer.Typer(help="Users.", no_args_is_help=True)
organization_app = typer.Typer(help="Shared organizations.", no_args_is_help=True)
app.add_typer(toolchain_app, name="toolchain")
app.add_typer(token_app, name="token")
app.add_typer(user_app, name="user")
app.add_typer(organization_app, name="org")
app.add_typer(cli_github.app, name="github")

Port = Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Default: 8080")]


def main() -> None:
    """Entry point."""
    app()


@app.command()
def up(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    port: Port = None,
    demo: Annotated[bool, typer.Option("--demo", help="Deploy the Python example.")] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Stop when ready, or when the example is deployed.")
    ] = False,
) -> None:
    """Run everything on this machine: control plane, gateway and a local Ray.

    Examples:

        slipway up --demo                       deploy the example, then keep serving

        slipway up --port 9000 --data-dir /srv/slipway

        slipway up --demo --once                the exit status is the deployment's
    """
    from control_plane.up import up as bring_up  # the imports take longer than --help should

    raise typer.Exit(bring_up(configured(config, data_dir, port), demo=demo, once=once))


@app.command()
def serve(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    port: Port = None,
    listener: Annotated[
        int | None, typer.Option("--socket", help="Descriptor of a bound socket.", hidden=True)
    ] = None,
) -> None:
    """Run the control plane alone; gateways of its pools come to it by HTTP.

    Example:

        SLIPWAY_SERVER__PUBLIC_URL=https://slipway.example.com slipway serve --port 8080
    """
    from control_plane.serve import serve as run

    run(configured(config, data_dir, port), listener)


@app.command()
def gateway() -> None:
    """Run a pool's gateway on the head node of its Ray cluster.

    Its settings are the variables SLIPWAY_RUNNER__CONTROL_PLANE_URL, …__POOL_TOKEN_PATH,
    …__POOL_KEY_PATH, …__WORK_DIR, …__TOOLCHAIN_DIR, …__LOG_STORE and …__RAY_ADDRESS.
    """
    os.execv(sys.executable, [sys.executable, "-m", "runner_actors.gateway"])  # noqa: S606


@app.command()
def migrate(config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Bring the database to the current tables (`up` and `serve` do it by themselves)."""
    from control_plane.store.migrate import migrate as run

    settings = configured(config, data_dir)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    run(settings.database_url)
    typer.echo("The database is up to date.")


@toolchain_app.command("path")
def toolchain_path(config: ConfigFile = None) -> None:
    """Print the directory that holds `pulumi`.

    Example:

        export PATH="$(slipway toolchain path):$PATH"
    """
    from control_plane import toolchain

    cache_dir = configured(config, None).toolchain.cache_dir
    found = _of_toolchain(lambda: toolchain.find(cache_dir))
    if found is None:
        fail("There is no Pulumi toolchain yet. Get it with: slipway toolchain install")
    typer.echo(str(found.bin_dir))


@toolchain_app.command("install")
def toolchain_install(config: ConfigFile = None) -> None:
    """Get the Pulumi CLI: from PATH, else the official installer, else built with Go."""
    from control_plane import toolchain

    cache_dir = configured(config, None).toolchain.cache_dir
    found = _of_toolchain(lambda: toolchain.ensure(_say, cache_dir))
    typer.echo(str(found.bin_dir))


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _of_toolchain(work: Callable[[], Any]) -> Any:
    from control_plane.toolchain import ToolchainError

    try:
        return work()
    except ToolchainError as problem:
        fail(str(problem))


@token_app.command("create")
def token_create(
    user: Annotated[str, typer.Option("--user", help="Whose token.")] = "",
    name: Annotated[str, typer.Option("--name", help="What it is for.")] = "cli",
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Make a personal access token; it is printed now and never again.

    Example:

        slipway token create --user ana --name laptop
    """
    from control_plane.services import identity

    settings = configured(config, data_dir)
    login = user or first_user(settings)
    made = with_world(settings, lambda world: identity.create_token(world, login, name))
    typer.echo(made.value)


@app.command("login-link")
def login_link(
    user: Annotated[str, typer.Option("--user", help="Whom it signs in.")] = "",
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Print a link that signs somebody in to the console once. A new server: to its setup.

    Example:

        slipway login-link --user ana
    """
    from control_plane.services import sessions

    settings = configured(config, data_dir)
    login = user or saved_user(settings)
    value = with_world(settings, lambda world: sessions.make_link(world, login))
    typer.echo(f"{settings.public_url}/sign-in/{value}")


@user_app.command("create")
def user_create(login: str, config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Add a user with a personal organization.

    Example:

        slipway user create ana && slipway token create --user ana
    """
    from control_plane.services import identity

    with_world(configured(config, data_dir), lambda world: identity.create_user(world, login))
    typer.echo(f"User '{login}' was created.")


@organization_app.command("create")
def organization_create(
    login: str,
    admin: Annotated[str, typer.Option("--admin", help="Its first administrator.")],
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Add a shared organization.

    Example:

        slipway org create platform --admin ana
    """
    from control_plane.services import identity

    with_world(
        configured(config, data_dir),
        lambda world: identity.create_organization(world, login, admin),
    )
    typer.echo(f"Organization '{login}' was created.")


@organization_app.command("add-member")
def organization_add_member(
    organization: str,
    user: str,
    role: Annotated[str, typer.Option("--role", help="member or admin")] = "member",
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Make a user a member of an organization, or change their role."""
    from control_plane.services import identity

    with_world(
        configured(config, data_dir),
        lambda world: identity.add_member(world, organization, user, role),
    )
    typer.echo(f"'{user}' is {role} of '{organization}'.")

"""A person's own page: their access tokens."""

from __future__ import annotations

from typing import Any

from litestar import Controller, Response, get, post
from litestar.datastructures import FormMultiDict

from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest
from control_plane.services import identity
from control_plane.services.sessions import Viewer
from control_plane.services.world import World
from ui.pages import page
from ui.sign_in import seen

DAY_MS = 86_400_000
DAYS_MAX = 3650


class AccountPages(Controller):
    """`/-/tokens`."""

    path = "/-/tokens"
    include_in_schema = False

    @get()
    async def tokens(self, world: World, viewer: Viewer, principal: Principal) -> Response[str]:
        """The person's access tokens; never their values."""
        return await _page(world, viewer, principal)

    @post()
    async def create(
        self, world: World, viewer: Viewer, principal: Principal, form: FormMultiDict
    ) -> Response[str]:
        """Make a token. Its value is on this answer, and nowhere else ever again."""
        days = _days(str(form.get("days", "")).strip())
        expires_at = None if days is None else world.now() + days * DAY_MS
        name = str(form.get("name", "")).strip()[:200] or "console"
        made = await identity.create_token(world, principal.user.login, name, expires_at)
        return await _page(world, viewer, principal, made.value)

    @post("/{token_id:str}/delete")
    async def delete(
        self, world: World, principal: Principal, form: FormMultiDict, token_id: str
    ) -> Response[Any]:
        """Revoke a token, and with it whatever was signed in by it."""
        await identity.delete_token(world, principal, token_id)
        return seen("/-/tokens")


def _days(given: str) -> int | None:
    """After how many days the token ends; None: never. Raises BadRequest."""
    if not given:
        return None
    if given.isascii() and given.isdigit() and len(given) < 5 and 0 < int(given) <= DAYS_MAX:
        return int(given)
    raise BadRequest(detail=f"A token ends after 1 to {DAYS_MAX} days; leave it empty for never.")


async def _page(
    world: World, viewer: Viewer, principal: Principal, made: str = ""
) -> Response[str]:
    return page(
        "tokens.html",
        viewer,
        organization=principal.user.login,
        tokens=await identity.list_tokens(world, principal),
        made=made,
        url=world.config.public_url,
    )


ROUTES: list[Any] = [AccountPages]

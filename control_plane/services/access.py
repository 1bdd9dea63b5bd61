"""Who may reach what. What a caller may not see does not exist for them: 404, never 403.

A deployment's token is its stack's: by it the program's own CLI works on that one stack. Beyond it,
the token reads exactly what a StackReference reads (`readable_stack`): another stack of the same
organization, its state with outputs, its updates' records, and plaintexts of its secrets; as long
as the user on whose behalf the deployment runs belongs to the organization.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import Forbidden, NotFound
from control_plane.store import organizations, stacks
from control_plane.store.transaction import Transaction


async def stack(
    tx: Transaction, principal: Principal, name: StackName, *, lock: bool = False
) -> Row[Any]:
    """The stack, if the caller may reach it; a deployment's token reaches only its own."""
    found = await stacks.find(tx, name, lock=lock) if principal.may_see(name.organization) else None
    if found is None or principal.stack_id not in (None, found.id):
        raise NotFound(what=f"Stack '{name}'")
    return found


async def readable_stack(tx: Transaction, principal: Principal, name: StackName) -> Row[Any]:
    """The stack, if the caller may read what a StackReference needs of it."""
    if principal.stack_id is None or name.organization not in principal.reads:
        return await stack(tx, principal, name)
    found = await stacks.find(tx, name)
    if found is None:
        raise NotFound(what=f"Stack '{name}'")
    return found


async def organization(tx: Transaction, principal: Principal, login: str) -> Row[Any]:
    """The organization, if the caller belongs to it; never with a deployment's token."""
    seen = principal.may_see(login) and principal.stack_id is None
    found = await organizations.find(tx, login) if seen else None
    if found is None:
        raise NotFound(what=f"Organization '{login}'")
    return found


def require_admin(principal: Principal, login: str) -> None:
    """Raise Forbidden unless the caller administers the organization."""
    if login not in principal.admin_of:
        raise Forbidden(detail=f"Only an administrator of '{login}' may do this.")

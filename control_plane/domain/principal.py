"""Who is asking: a person with an access token, or one deployment's own CLI token."""

from __future__ import annotations

import msgspec


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A person."""

    id: str
    login: str
    name: str = ""
    email: str = ""
    avatar_url: str = ""
    site_admin: bool = False


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """The authenticated caller of one request.

    `deployment_id` and `stack_id` are set when the token is a deployment's: such a caller acts
    for `user` (who asked for the deployment), works on that stack only, and dies with the lease.
    """

    user: User
    organizations: frozenset[str] = frozenset()
    """Logins of the organizations that the caller belongs to."""
    admin_of: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()
    """Organizations whose other stacks a deployment may read, for its stack references."""
    deployment_id: str | None = None
    stack_id: str | None = None
    is_fork: bool = False
    """Whether the deployment runs code of a fork: it previews, and reads nothing secret."""
    generation: int = 0
    """Of the deployment's lease: a token of an older one is dead."""
    token_name: str = ""
    token_id: str = ""

    def may_see(self, organization: str) -> bool:
        """Whether the organization exists for this caller at all."""
        return organization in self.organizations


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """A runner pool, as authenticated by its token."""

    id: str
    name: str
    organization_id: str | None = None
    public_key: bytes | None = None

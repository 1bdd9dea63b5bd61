"""The catalog of everything that can be answered with an error.

A problem's docstring is its message: what happened, and what to do. Fields in braces are filled
from the keyword arguments. The wire form is `{"code": <HTTP status>, "message": "<text>"}`; the
Pulumi CLI reads the status from `code` in the body and not from the response's status line.
"""

from __future__ import annotations

import inspect

FIELD_CHARACTERS_MAX = 600
"""How much of what somebody sent an error repeats."""


class Problem(Exception):
    """Something went wrong."""

    status = 500
    slug = "internal"

    def __init__(self, **fields: object) -> None:
        self.fields = fields
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The user's text: the class's docstring with its fields filled in."""
        text = inspect.cleandoc(type(self).__doc__ or "").replace("\n", " ")
        return text.format(**{name: _shortened(each) for name, each in self.fields.items()})


def _shortened(field: object) -> object:
    if isinstance(field, str) and len(field) > FIELD_CHARACTERS_MAX:
        return f"{field[:FIELD_CHARACTERS_MAX]}…"
    return field


class BadRequest(Problem):
    """Bad Request: {detail}"""

    status = 400
    slug = "bad_request"


class NotLoggedIn(Problem):
    """Unauthorized: No valid credentials were provided."""

    status = 401
    slug = "not_logged_in"


class LinkUsed(Problem):
    """Gone: This one-time link was used already, or its time is over. Make another with:
    slipway login-link"""

    status = 410
    slug = "link_used"


class Forbidden(Problem):
    """Forbidden: {detail}"""

    status = 403
    slug = "forbidden"


class NotFound(Problem):
    """Not Found: {what} not found"""

    status = 404
    slug = "not_found"


class RouteNotFound(Problem):
    """Not Found: Nothing is served at this address."""

    status = 404
    slug = "route_not_found"


class MethodNotAllowed(Problem):
    """Method Not Allowed: This address does not answer {method}."""

    status = 405
    slug = "method_not_allowed"


class Conflict(Problem):
    """Conflict: {detail}"""

    status = 409
    slug = "conflict"


class StackExists(Problem):
    """Conflict: Stack '{stack}' already exists."""

    status = 409
    slug = "stack_exists"


class UpdateInProgress(Problem):
    """Conflict: Another update is currently in progress."""

    status = 409
    slug = "update_in_progress"


class StackNotEmpty(Problem):
    """Bad Request: Stack still contains resources."""

    status = 400
    slug = "stack_not_empty"


class LeaseEnded(Problem):
    """Conflict: The lease of this deployment has ended; nothing more is recorded under it."""

    status = 409
    slug = "lease_ended"


class UpdateLeaseEnded(Problem):
    """Forbidden: The lease of this update has ended."""

    status = 403
    slug = "update_lease_ended"


class NotBuilt(Problem):
    """Not Implemented: {what} are not part of Slipway yet."""

    status = 501
    slug = "not_built"


class TooLarge(Problem):
    """Request Entity Too Large: The body has more than {limit_bytes} bytes."""

    status = 413
    slug = "too_large"


class UnknownEncoding(Problem):
    """Unsupported Media Type: Content-Encoding '{encoding}' is unknown; use gzip, or none."""

    status = 415
    slug = "unknown_encoding"


class QueueFull(Problem):
    """Too Many Requests: {organization} has {limit} queued deployments already; cancel some, or
    try again when they are done."""

    status = 429
    slug = "queue_full"


class PoolOffline(Problem):
    """Service Unavailable: {detail}"""

    status = 503
    slug = "pool_offline"


class LogDeleted(Problem):
    """Gone: The log of this deployment was deleted: logs are kept for {days} days."""

    status = 410
    slug = "log_deleted"


class LogUnreadable(Problem):
    """Service Unavailable: The log store does not give part {segment} of this log. Try again; if it
    stays so, the log store has lost it."""

    status = 503
    slug = "log_unreadable"


class Internal(Problem):
    """Internal Server Error: Something went wrong here; the server's log has it under request id
    {request_id}."""

    status = 500
    slug = "internal"

"""The line between the database and the outside world (invariant I7), checked while running.

A transaction marks its task; ports to slow or remote things refuse to be called under that mark.
"""

from __future__ import annotations

from contextvars import ContextVar

transaction_open: ContextVar[bool] = ContextVar("transaction_open", default=False)


class TransactionOpen(RuntimeError):
    """The outside was called inside a database transaction."""


def require_no_transaction() -> None:
    """Raise TransactionOpen inside a transaction: what may be slow may not hold one open."""
    if transaction_open.get():
        raise TransactionOpen("an outside port was called inside a database transaction")

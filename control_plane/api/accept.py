"""In which words a caller wants to be answered, where the CLI and the published schema disagree.

The CLI, and all that is built on its types, asks for `application/vnd.pulumi+N`. The Cloud REST SDK
is generated from the published schema and asks for `application/json`.
"""

from __future__ import annotations

from typing import Any

from litestar import Request


def by_schema(request: Request[Any, Any, Any]) -> bool:
    """Whether the caller goes by the published schema."""
    accept = request.headers.get("accept", "")
    return "application/json" in accept and "application/vnd.pulumi" not in accept

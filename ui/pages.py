"""Pages: templates filled in, with what every page has; assets under names of their contents."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Request, Response, get
from litestar.exceptions import NotFoundException

from control_plane.services.sessions import Viewer
from ui import words
from ui.compression import accepts_gzip

STATIC = Path(__file__).parent / "static"
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

SECURITY = {
    # Nothing from elsewhere, nothing inline; and nobody may frame a page with buttons that deploy.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; font-src 'self'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def page(
    template: str,
    viewer: Viewer | None = None,
    *,
    status: int = 200,
    leads_to: str = "",
    **values: Any,
) -> Response[str]:
    """A whole page; `viewer` is who looks at it, None on the pages before signing in.

    `leads_to` is a place elsewhere to which its form's answer may send the browser.
    """
    text = _templates().get_template(template).render(viewer=viewer, **values)
    policy = SECURITY["Content-Security-Policy"]
    allowed = policy.replace("form-action 'self'", f"form-action 'self' {leads_to}".rstrip())
    headers = SECURITY | {"Content-Security-Policy": allowed}
    return Response(text, status_code=status, media_type="text/html", headers=headers)


def fragment(template: str, **values: Any) -> str:
    """A part of a page, for one that is open already."""
    return _templates().get_template(template).render(**values)


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("ui"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["asset"] = asset
    made.filters |= words.FILTERS
    return made


@cache
def asset(name: str) -> str:
    """The address of a file in static/: it changes with the contents, so it is cached for ever."""
    digest = hashlib.sha256(_contents(name)).hexdigest()[:12]
    return f"/static/{digest}/{name}"


@get("/static/{version:str}/{name:str}", include_in_schema=False, sync_to_thread=False)
def static(request: Request[Any, Any, Any], version: str, name: str) -> Response[bytes]:
    """One of the console's own files."""
    known = {path.name for path in STATIC.iterdir()}
    if name not in known or asset(name) != f"/static/{version}/{name}":
        raise NotFoundException
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    body = _contents(name)
    if accepts_gzip(request.headers):
        body = _packed(name)
        headers["Content-Encoding"] = "gzip"
    return Response(body, media_type=MEDIA_TYPES[Path(name).suffix], headers=headers)


@cache
def _contents(name: str) -> bytes:
    """Read once, so that a file and its address stay of one mind when it is replaced."""
    return (STATIC / name).read_bytes()


@cache
def _packed(name: str) -> bytes:
    """A file in static/, compressed as well as can be; once."""
    return gzip.compress(_contents(name), 9, mtime=0)

"""Which other files a browser fetches because of one."""

from __future__ import annotations

import re

_OF_PAGES = re.compile(r"""<(?:link|script|img)\b[^>]*\s(?:href|src)="([^"]+)\"""")
_OF_SCRIPTS = re.compile(r"""\bimport\b\s*(?:\(\s*|[^"';(]*?from\s*|)["']([^"']+)["']""")
_OF_STYLES = re.compile(r"""(?:@import\s+|url\(\s*)["']?([^)"']+)""")
_PATTERNS = {"text/html": _OF_PAGES, "text/javascript": _OF_SCRIPTS, "text/css": _OF_STYLES}


def fetched_by(content_type: str, text: str) -> list[str]:
    """The addresses in a page, a script or a style sheet that lead to its other files."""
    pattern = _PATTERNS.get(content_type.partition(";")[0])
    found = pattern.findall(text) if pattern is not None else []
    return [each for each in found if not each.startswith("data:")]

"""Markers in a commit's message that ask for nothing to run.

GitHub's own words, which many CI systems share, and one of ours. `[skip actions]` is not among
them: it speaks of GitHub Actions alone. Source: "Skipping workflow runs" in GitHub's documentation;
"Skipping and requesting checks for individual commits" for the trailer.
"""

from __future__ import annotations

import re

MARKERS = ("[skip ci]", "[ci skip]", "[no ci]", "[skip deploy]")

_MARKER = re.compile("|".join(map(re.escape, MARKERS)), re.IGNORECASE)
_TRAILER = re.compile(r"skip-checks:[ \t]*true", re.IGNORECASE)


def marker(message: str) -> str:
    """The marker in a head commit's message, as it is written there; empty for none.

    The trailer `skip-checks: true` counts as one if it is the message's last line.
    """
    found = _MARKER.search(message)
    if found:
        return found.group()
    lines = message.rstrip().splitlines()
    last = lines[-1].strip() if len(lines) > 1 else ""
    return last if _TRAILER.fullmatch(last) else ""

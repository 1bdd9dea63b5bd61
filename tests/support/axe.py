"""axe-core in a page: what of it somebody could not read, reach or use."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import subprocess
import tarfile
from pathlib import Path

from playwright.sync_api import Page

VERSION = "4.14.1"
SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
GRAVE = ("serious", "critical")
STANDARD = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def grave_problems(page: Page) -> list[str]:
    """Each serious problem by WCAG 2.2 AA: its rule, and the first element that it is found at."""
    page.evaluate(_script().read_text())
    found = page.evaluate(
        "tags => axe.run({runOnly: {type: 'tag', values: tags}}).then(found => found.violations)",
        STANDARD,
    )
    return [
        f"{page.url}: {each['id']}: {each['help']}: {each['nodes'][0]['html']}"
        for each in found
        if each["impact"] in GRAVE
    ]


def _script() -> Path:
    """axe-core from npm, fetched once into the user's cache and checked by its digest."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cache / "slipway" / f"axe-core-{VERSION}"
    place.mkdir(parents=True, exist_ok=True)
    script = place / "axe.min.js"
    with (place / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not script.exists():
            command = ["npm", "pack", "--silent", f"axe-core@{VERSION}"]
            subprocess.run(command, cwd=place, check=True, capture_output=True)
            archive = place / f"axe-core-{VERSION}.tgz"
            digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            assert digest == SHA512, f"axe-core {VERSION} is not what it was: {digest}"
            with tarfile.open(archive) as tar:
                member = tar.extractfile("package/axe.min.js")
                assert member is not None
                (place / "partial").write_bytes(member.read())
            (place / "partial").rename(script)
    return script

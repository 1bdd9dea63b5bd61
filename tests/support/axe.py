"""axe-core in a page: what of it somebody could not read, reach or use."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from tests.support import npm_package

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
    """axe-core from npm."""
    return npm_package.file("axe-core", VERSION, SHA512, "axe.min.js")

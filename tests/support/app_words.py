"""README's table of what the GitHub App may do and is told: `python -m tests.support.app_words`."""

from __future__ import annotations

from pathlib import Path

from control_plane.domain.github.manifest import EVENTS, PERMISSIONS

README = Path(__file__).parents[2] / "README.md"
BEGIN = "<!-- the App: written by `python -m tests.support.app_words` -->"
END = "<!-- the App: end -->"


def table() -> str:
    """Each permission and event of the manifest, with its reason."""
    rows = [(f"`{each.name}`: {each.access}", each.why) for each in PERMISSIONS]
    rows += [(f"event `{each.name}`", each.why) for each in EVENTS]
    lines = [f"| {name} | {why} |" for name, why in rows]
    return "\n".join(["| the App's | is for |", "|---|---|", *lines])


def shown() -> str:
    """What README shows."""
    return README.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def write() -> None:
    """Write the table anew; raises SystemExit where README has no place for it."""
    before, begin, rest = README.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"README.md has no place for the table: {BEGIN} and {END}")
    README.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}")


if __name__ == "__main__":
    write()

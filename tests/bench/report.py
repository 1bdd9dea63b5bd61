"""Rows of the report, how they are judged, and the table that is printed."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

SAMPLES_FILE = Path("artifacts") / "bench.json"
HEADINGS = ("figure", "ours", "yardstick", "ratio", "target", "")


@dataclass(frozen=True)
class Row:
    """One figure. `ok` is None where there is nothing to reach: a number to know."""

    figure: str
    ours: float
    unit: str
    yardstick: float | None = None
    target: str = ""
    ok: bool | None = None

    @property
    def ratio(self) -> float | None:
        return self.ours / self.yardstick if self.yardstick else None


@dataclass
class Section:
    """All rows of one letter, with the samples they were made from."""

    letter: str
    title: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    samples: dict[str, Sequence[float]] = field(default_factory=dict)
    load: tuple[float, float] = (0.0, 0.0)

    def at_most(
        self, figure: str, ours: float, unit: str, limit: float, *, yardstick: float | None = None
    ) -> None:
        """A figure with a limit of its own."""
        target = f"<= {_number(limit)} {unit}"
        self.rows.append(Row(figure, ours, unit, yardstick, target, ours <= limit))

    def at_least(
        self, figure: str, ours: float, unit: str, limit: float, *, yardstick: float | None = None
    ) -> None:
        """A rate with a floor."""
        target = f">= {_number(limit)} {unit}"
        self.rows.append(Row(figure, ours, unit, yardstick, target, ours >= limit))

    def within(self, figure: str, ours: float, unit: str, yardstick: float, factor: float) -> None:
        """A figure whose limit is a multiple of its yardstick."""
        target = f"<= {factor:g}x"
        self.rows.append(Row(figure, ours, unit, yardstick, target, ours <= yardstick * factor))

    def above(self, figure: str, ours: float, unit: str, yardstick: float, more: float) -> None:
        """A figure that may exceed its yardstick by so much."""
        target = f"<= +{_number(more)} {unit}"
        self.rows.append(Row(figure, ours, unit, yardstick, target, ours <= yardstick + more))

    def know(self, figure: str, ours: float, unit: str, yardstick: float | None = None) -> None:
        """A figure without a target."""
        self.rows.append(Row(figure, ours, unit, yardstick))


def quantile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that is not exceeded by this share of them (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def p50(samples: Sequence[float]) -> float:
    return quantile(samples, 0.5)


def p99(samples: Sequence[float]) -> float:
    return quantile(samples, 0.99)


def load() -> float:
    """How many processes wanted a core, on average over the last minute."""
    return os.getloadavg()[0]


def say(text: str) -> None:
    """Progress, apart from the answer."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def table(sections: Sequence[Section]) -> str:
    """The report as aligned text."""
    lines = {section.letter: [_cells(row) for row in section.rows] for section in sections}
    every = [HEADINGS, *(cells for rows in lines.values() for cells in rows)]
    widths = [max(len(cells[column]) for cells in every) for column in range(len(HEADINGS))]
    text = [_line(HEADINGS, widths)]
    for section in sections:
        before, after = section.load
        text.append(f"\n({section.letter}) {section.title}   [load {before:.1f} -> {after:.1f}]")
        text += [_line(cells, widths) for cells in lines[section.letter]]
        text += [f"    {note}" for note in section.notes]
    return "\n".join(text)


def save(sections: Sequence[Section]) -> None:
    """Keep all samples, for whoever wants to look closer."""
    SAMPLES_FILE.parent.mkdir(exist_ok=True)
    SAMPLES_FILE.write_text(json.dumps([asdict(section) for section in sections], indent=1) + "\n")


def _cells(row: Row) -> tuple[str, ...]:
    yardstick = "" if row.yardstick is None else f"{_number(row.yardstick)} {row.unit}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
    verdict = "" if row.ok is None else ("ok" if row.ok else "OVER")
    return (
        row.figure,
        f"{_number(row.ours)} {row.unit}",
        yardstick,
        ratio,
        row.target,
        verdict,
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"  {first}  {'  '.join(others)}".rstrip()


def _number(value: float) -> str:
    """Three digits that mean something."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:.0f}"

"""Measure figures and print them beside their yardsticks: `python -m tests.bench [a b c …]`."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from tests.bench import (
    big_state,
    deployment,
    encryption,
    first_line,
    journal,
    large,
    latency,
    line_on_screen,
    listing,
    log_readers,
    memory,
    pages,
    queue,
    report,
    state,
    webhooks,
)
from tests.bench.report import Section

FIGURES: dict[str, Callable[[Path], Section]] = {
    "a": latency.measure,
    "b": deployment.measure,
    "c": queue.measure,
    "d": state.measure,
    "e": memory.measure,
    "f": first_line.measure,
    "g": large.measure,
    "h": journal.measure,
    "i": big_state.measure,
    "j": listing.measure,
    "k": encryption.measure,
    "l": line_on_screen.measure,
    "m": log_readers.measure,
    "n": pages.measure,
    "p": webhooks.measure_latency,
    "q": webhooks.measure_burst,
}


def main() -> int:
    """The exit status is 1 when a figure could not be measured, 130 after Ctrl-C."""
    signal.signal(signal.SIGTERM, _interrupt)
    sections: list[Section] = []
    failed: list[str] = []
    status = 0
    try:
        for letter in _wanted():
            try:
                sections.append(_measure(letter))
            except Exception:
                traceback.print_exc()
                failed.append(letter)
    except KeyboardInterrupt:
        report.say("interrupted")
        status = 130
    if sections:
        print(report.table(sections))
        report.save(sections)
    for letter in failed:
        print(f"({letter}) could not be measured; the reason is above", file=sys.stderr)
    return status or int(bool(failed))


def _wanted() -> list[str]:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="figure", help=f"of {', '.join(FIGURES)}")
    wanted = parser.parse_args().figures
    if unknown := [letter for letter in wanted if letter not in FIGURES]:
        parser.error(f"there is no figure {unknown[0]!r}")
    return wanted or list(FIGURES)


def _measure(letter: str) -> Section:
    """In a directory of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as root:
        before = report.load()
        section = FIGURES[letter](Path(root))
        section.load = (before, report.load())
    return section


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

"""The table "What works" of README.md, from the results of the client tests (`make clients`).

Each file in `tests/e2e/clients` says in its first line whom it drives and what through:
`Client: what is driven.`

    python -m tests.support.what_works RESULTS.xml…
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from control_plane import toolchain

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = "tests/e2e/clients"
BEGIN = "<!-- what works: written by `make clients` -->"
END = "<!-- what works: end -->"
HEADER = ["| client | version | driven | tests passed |", "|---|---|---|---|"]


def cli_version() -> str:
    tools = toolchain.find()
    assert tools is not None, "make setup has not been run"
    return f"pulumi {tools.version}"


def go_version() -> str:
    module = (ROOT / FOLDER / "automation/go/go.mod").read_text()
    found = re.search(r"pulumi/sdk/v3 v(\S+)", module)
    assert found is not None
    return f"sdk/v3 {found[1]}"


def nodejs_version() -> str:
    locked = json.loads((ROOT / "examples/nodejs/package-lock.json").read_text())["packages"]
    return f"@pulumi/pulumi {locked['node_modules/@pulumi/pulumi']['version']}"


VERSIONS: dict[str, Callable[[], str]] = {
    "test_automation_dotnet": lambda: "its source of 2026-08",
    "test_automation_go": go_version,
    "test_automation_nodejs": nodejs_version,
    "test_automation_python": lambda: f"pulumi {version('pulumi')}",
    "test_service_provider": lambda: "its client's source",
    "test_cloud_sdk": lambda: f"pulumi-cloud-sdk {version('pulumi-cloud-sdk')}",
}
"""Versions of the clients that are not the CLI, by what their files' names begin with."""


class Suite(NamedTuple):
    """One file of client tests."""

    path: str
    client: str
    driven: str

    def cells(self) -> tuple[str, str]:
        """What the table says of it that does not change from run to run."""
        return self.client, self.driven

    def row(self, passed: int) -> str:
        name = Path(self.path).stem
        versions = [each for start, each in VERSIONS.items() if name.startswith(start)]
        told = (versions or [cli_version])[0]()
        return f"| {self.client} | {told} | {self.driven} | [{passed}]({self.path}) |"


def suites() -> list[Suite]:
    """All files of client tests, by name: so one client's stand together."""
    return [read(path) for path in sorted((ROOT / FOLDER).rglob("test_*.py"))]


def read(path: Path) -> Suite:
    line = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
    client, colon, driven = line.partition(": ")
    assert colon, f"{path} does not begin with 'Client: what is driven.'"
    return Suite(str(path.relative_to(ROOT)), client, driven.rstrip("."))


def shown() -> dict[str, tuple[str, str]]:
    """What README's table says, by the file that each row is about."""
    table = (ROOT / "README.md").read_text().partition(BEGIN)[2].partition(END)[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if f"({FOLDER}/" in line]
    return {row[3].partition("](")[2].rstrip(")"): (row[0], row[2]) for row in rows}


def passed(results: list[Path]) -> Counter[str]:
    """How many tests of each file passed; exits when one did not, or was left out."""
    counts: Counter[str] = Counter()
    for case in (case for path in results for case in ElementTree.parse(path).iter("testcase")):
        if {"failure", "error", "skipped"} & {each.tag for each in case}:
            raise SystemExit(f"{case.get('classname')}.{case.get('name')} has not passed")
        counts[case.get("classname", "").replace(".", "/") + ".py"] += 1
    return counts


def main(results: list[Path]) -> None:
    counts = passed(results)
    untold = [suite.path for suite in suites() if not counts[suite.path]]
    if untold:
        raise SystemExit(f"no results of {', '.join(untold)}")
    readme = ROOT / "README.md"
    before, begin, rest = readme.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"README.md has no place for the table: {BEGIN} and {END}")
    rows = [suite.row(counts[suite.path]) for suite in suites()]
    readme.write_text(before + "\n".join([BEGIN, "", *HEADER, *rows, "", END]) + after)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])

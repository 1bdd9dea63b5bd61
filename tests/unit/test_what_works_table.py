"""README's table of what works is written only from results in which all has passed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import what_works

CASE = '<testcase classname="tests.e2e.clients.test_a" name="test_b">{}</testcase>'


def results(tmp_path: Path, *inside: str) -> list[Path]:
    path = tmp_path / "results.xml"
    cases = "".join(CASE.format(each) for each in inside)
    path.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    return [path]


def test_tests_that_passed_are_counted_by_file(tmp_path: Path) -> None:
    counts = what_works.passed(results(tmp_path, "", "<system-out>told</system-out>"))
    assert counts == {"tests/e2e/clients/test_a.py": 2}


@pytest.mark.parametrize("how", ["failure", "error", "skipped"])
def test_one_that_did_not_pass_writes_nothing(tmp_path: Path, how: str) -> None:
    with pytest.raises(SystemExit, match="test_b has not passed"):
        what_works.passed(results(tmp_path, "", f"<{how}/>"))


def test_results_that_leave_a_file_out_write_nothing(tmp_path: Path) -> None:
    readme = (what_works.ROOT / "README.md").read_text()
    with pytest.raises(SystemExit, match="no results of tests/e2e/clients"):
        what_works.main(results(tmp_path, ""))
    assert (what_works.ROOT / "README.md").read_text() == readme


def test_a_row_has_its_client_and_what_is_driven(tmp_path: Path) -> None:
    (folder := tmp_path / what_works.FOLDER).mkdir(parents=True)
    path = folder / "test_a.py"
    path.write_text('"""The client: this, and that.\n\nMore of it.\n"""\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(what_works, "ROOT", tmp_path)
        assert what_works.read(path).cells() == ("The client", "this, and that")
        path.write_text('"""No client."""\n')
        with pytest.raises(AssertionError, match="does not begin"):
            what_works.read(path)

"""Reports appear in the run folder whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from embertune import report
from embertune.errors import RunFolderError
from embertune.report import to_html, to_markdown
from tests.report import made


def test_both_reports_are_written_and_nothing_else(tmp_path: Path) -> None:
    report.write(made.hostile(True), tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.html", "report.md"]
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == to_html(made.hostile(True))
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == to_markdown(made.hostile(True))


def test_a_folder_that_is_a_file_is_told_in_one_message(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(RunFolderError):
        report.write(made.facts(), file)

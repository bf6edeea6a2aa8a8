"""What was seen on test is kept beside the other facts, its texts only where they may be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from embertune.report.kept import keep_facts, read_facts
from tests.report import made


@pytest.mark.parametrize("examples", [True, False])
def test_what_was_seen_comes_back_from_the_folder_and_its_texts_only_where_they_may(
    examples: bool, tmp_path: Path
) -> None:
    (tmp_path / "history.jsonl").write_text("")
    keep_facts(made.facts(examples=examples), tmp_path)
    found, told = read_facts(tmp_path).seen, made.seen()
    assert found is not None
    assert (found.before, found.after) == (told.before, told.after)
    assert (found.sizes, found.similarities) == (told.sizes, told.similarities)
    assert (found.won, found.lost, found.neighbours) == (
        (told.won, told.lost, told.neighbours) if examples else ((), (), ())
    )

from __future__ import annotations

from pathlib import Path

import pytest

from embertune.data.spec import format_of, name_of, parse, stem
from embertune.errors import DataError


@pytest.mark.parametrize(
    ("text", "place", "config", "split", "rows"),
    [
        ("team/set", "team/set", None, None, None),
        ("team/set:triplet@train[:100000]", "team/set", "triplet", "train", 100_000),
        ("team/set@validation", "team/set", None, "dev", None),
        ("team/set@test-hard[:5]", "team/set", None, "test-hard", 5),
        ("set[:1_000]", "set", None, None, 1000),
    ],
)
def test_a_hub_id_is_read_with_config_split_and_slice(
    text: str, place: str, config: str | None, split: str | None, rows: int | None
) -> None:
    spec = parse(text)
    assert (spec.place, spec.config, spec.split, spec.rows) == (place, config, split, rows)


@pytest.mark.parametrize("name", ["a@b.jsonl", "a:b.jsonl", "a[:3]"])
def test_a_path_that_exists_wins_over_the_grammar(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    spec = parse(str(tmp_path / name))
    assert spec.is_local
    assert (spec.config, spec.split, spec.rows) == (None, None, None)


def test_a_slice_after_an_odd_path_is_still_a_slice(tmp_path: Path) -> None:
    (tmp_path / "a@b.jsonl").touch()
    assert parse(f"{tmp_path}/a@b.jsonl[:7]").rows == 7


@pytest.mark.parametrize("slice_", ["[10:20]", "[:10%]", "[:0]", "[:-1]", "[]"])
def test_any_other_slice_is_refused(slice_: str) -> None:
    with pytest.raises(DataError, match=r"write \[:n\]"):
        parse(f"team/set{slice_}")


@pytest.mark.parametrize(
    "text", ["nowhere.jsonl", "./nowhere", "/nowhere/at/all", "a/b/c", "~nobody/x", "x.csv.gz@train[:2]"]
)
def test_what_looks_like_a_path_and_is_not_there_never_reaches_the_hub(text: str) -> None:
    with pytest.raises(DataError, match="no such file"):
        parse(text)


def test_a_missing_file_is_told_with_the_names_near_it(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").touch()
    with pytest.raises(DataError, match=r"close names in that folder: train\.jsonl"):
        parse(str(tmp_path / "tran.jsonl"))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("nli.jsonl.gz", "nli"),
        ("stsb/train.jsonl.gz", "stsb"),
        ("stsb/validation-00000-of-00002.parquet", "stsb"),
        ("stsb/Test.CSV", "stsb"),
        ("stsb/odd.name.csv", "odd.name"),
        ("stsb", "stsb"),
    ],
)
def test_metrics_are_named_after_the_file_or_its_folder(path: str, name: str) -> None:
    assert name_of(Path(path)) == name


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.JSONL", "json"), ("a.tsv.gz", "tsv"), ("a.parquet.gz", None), ("a.gz", None), ("a", None), ("a.md", None)],
)
def test_a_format_is_known_by_the_ending(name: str, form: str | None) -> None:
    assert format_of(Path(name)) == form


def test_a_shard_number_is_no_part_of_the_stem() -> None:
    assert stem(Path("train-00003-of-00010.parquet")) == "train"

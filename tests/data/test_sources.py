from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from embertune.data import files, hub, store
from embertune.data.shapes import shape
from embertune.data.sources import read
from embertune.errors import DataError
from tests.data.made import ENDINGS, PAIRS, rows_of, write, write_beir


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_gives_the_same_rows_and_the_same_fingerprint(tmp_path: Path, ending: str) -> None:
    source = read(str(write(tmp_path / f"cards{ending}", PAIRS)))
    plain = read(PAIRS)
    assert rows_of(source.splits["train"]) == PAIRS
    assert source.name == "cards"
    assert source.fingerprint("train") == plain.fingerprint("train")


def test_a_fingerprint_changes_with_a_word_and_counts_rows() -> None:
    changed = [*PAIRS[:2], {**PAIRS[2], "anchor": "is parking dear?"}]
    mark = read(PAIRS).fingerprint("train")
    assert mark.rows == 3
    assert mark.sha256 == "5981e0a46e2a357296c0e6540a7a113522ed503c9dc8044d3290db2a8d50be51"  # on every machine
    assert mark.sha256 != read(changed).fingerprint("train").sha256


def test_a_fingerprint_does_not_hang_on_the_order_of_columns() -> None:
    turned = [dict(reversed(row.items())) for row in PAIRS]
    assert read(turned).fingerprint("train") == read(PAIRS).fingerprint("train")


def test_files_are_memory_mapped(tmp_path: Path) -> None:
    for ending in (".jsonl", ".json", ".csv", ".parquet"):
        rows = read(str(write(tmp_path / f"a{ending}", PAIRS))).splits["train"]
        assert rows.cache_files, ending


@pytest.mark.parametrize("form", ["lines", "data object", "data object on one line"])
def test_a_json_file_may_hold_lines_or_a_data_object(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.json"
    texts = {
        "lines": "\n".join(json.dumps(row) for row in PAIRS),
        "data object": json.dumps({"data": PAIRS}, indent=2),
        "data object on one line": json.dumps({"data": PAIRS}),
    }
    path.write_text(texts[form])
    assert rows_of(read(str(path)).splits["train"]) == PAIRS


def test_a_byte_order_mark_and_blank_lines_are_no_part_of_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\ufeff" + "\n\n".join(json.dumps(row) for row in PAIRS) + "\n\n")
    assert rows_of(read(str(path)).splits["train"]) == PAIRS


def test_words_like_none_and_na_stay_words_in_csv(tmp_path: Path) -> None:
    rows = [{"text": "None", "label": "a"}, {"text": "NA", "label": "null"}]
    assert rows_of(read(str(write(tmp_path / "a.csv", rows))).splits["train"]) == rows


def test_texts_that_look_like_dates_stay_texts(tmp_path: Path) -> None:
    rows = [{"anchor": "2020-01-01", "positive": "a"}, {"anchor": "2021-06-30", "positive": "b"}]
    assert rows_of(read(str(write(tmp_path / "a.jsonl", rows))).splits["train"]) == rows


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_a_column_of_whole_numbers_may_turn_to_fractions_late_in_the_file(tmp_path: Path, ending: str) -> None:
    rows: list[dict[str, Any]] = [{"s": "x", "score": 1}] * 12_000 + [{"s": "01", "score": 1.5}]
    found = read(str(write(tmp_path / f"a{ending}", rows))).splits["train"]
    assert found.features["score"].dtype == "float64"
    assert found[12_000] == {"s": "01", "score": 1.5}


def test_a_column_that_is_null_at_first_gets_the_type_it_has_later(tmp_path: Path) -> None:
    rows = [{"a": None, "b": "x" * 30_000}] * 400 + [{"a": "late", "b": "y"}]
    found = read(str(write(tmp_path / "a.jsonl", rows))).splits["train"]
    assert found[400]["a"] == "late"


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", PAIRS)
    read(str(path))
    write(path, PAIRS[:2])
    assert len(read(str(path)).splits["train"]) == 2


def test_a_folder_is_split_by_the_names_of_its_files(tmp_path: Path) -> None:
    write(tmp_path / "set" / "train.jsonl.gz", PAIRS)
    write(tmp_path / "set" / "validation.csv", PAIRS[:2])
    write(tmp_path / "set" / "test.parquet", PAIRS[:1])
    source = read(str(tmp_path / "set"))
    assert {name: len(rows) for name, rows in source.splits.items()} == {"train": 3, "dev": 2, "test": 1}
    assert source.name == "set"


def test_shards_of_a_split_are_joined_in_order(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"train-0000{number}-of-00003.parquet", PAIRS[number : number + 1])
    assert rows_of(read(str(tmp_path)).splits["train"]) == PAIRS


def test_a_folder_without_split_words_is_one_split(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", PAIRS[:1])
    write(tmp_path / "b.csv", PAIRS[1:])
    assert rows_of(read(str(tmp_path)).splits["train"]) == PAIRS


def test_files_beside_those_named_by_splits_are_told_as_not_read(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", PAIRS)
    write(tmp_path / "extra.jsonl", PAIRS)
    source = read(str(tmp_path))
    assert list(source.splits) == ["train"]
    assert (source.notes[0].count, source.notes[0].examples) == (1, ("extra.jsonl",))
    assert source.notes[0] in shape(source, "train").notes


def test_two_files_for_one_split_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "dev.jsonl", PAIRS)
    write(tmp_path / "validation.jsonl", PAIRS)
    with pytest.raises(DataError, match="all named as dev"):
        read(str(tmp_path))


def test_a_folder_without_data_files_names_its_folders(tmp_path: Path) -> None:
    write(tmp_path / "inner" / "train.jsonl", PAIRS)
    with pytest.raises(DataError, match=r"no data files; name one of its folders \(inner\)"):
        read(str(tmp_path))


def test_a_config_names_an_inner_folder(tmp_path: Path) -> None:
    write(tmp_path / "all" / "triplet" / "train.parquet", PAIRS)
    source = read(f"{tmp_path}/all:triplet@train[:2]")
    assert (source.name, len(source.splits["train"])) == ("all", 2)
    with pytest.raises(DataError, match=r"no folder 'pair'.*it has triplet"):
        read(f"{tmp_path}/all:pair@train")


def test_a_split_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", PAIRS)
    with pytest.raises(DataError, match=r"no split 'tran'; did you mean @train\? it has train"):
        read(f"{tmp_path}@tran")


def test_a_list_of_files_is_one_split(tmp_path: Path) -> None:
    paths = [str(write(tmp_path / "set" / f"{n}.jsonl", PAIRS[n : n + 1])) for n in range(3)]
    source = read(paths)
    assert rows_of(source.splits["train"]) == PAIRS
    assert source.name == "set"


def test_files_read_together_need_the_same_columns(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", PAIRS)
    second = write(tmp_path / "b.jsonl", [{"anchor": "x", "answer": "y"}])
    with pytest.raises(DataError, match=r"b\.jsonl: columns anchor, answer where a\.jsonl has anchor, positive"):
        read([str(first), str(second)])


def test_a_lone_file_named_by_a_split_word_is_that_split(tmp_path: Path) -> None:
    assert list(read(str(write(tmp_path / "test.jsonl", PAIRS))).splits) == ["test"]


def test_the_first_raw_rows_are_kept_by_a_slice(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", PAIRS)
    assert rows_of(read(f"{path}[:2]").splits["train"]) == PAIRS[:2]
    assert len(read(f"{path}[:99]").splits["train"]) == 3


def test_saved_datasets_folders_are_read(tmp_path: Path) -> None:
    rows = Dataset.from_list(PAIRS)
    rows.save_to_disk(tmp_path / "one")
    DatasetDict({"train": rows, "validation": rows}).save_to_disk(tmp_path / "more")
    assert rows_of(read(str(tmp_path / "one")).splits["train"]) == PAIRS
    assert set(read(str(tmp_path / "more")).splits) == {"train", "dev"}


def test_python_objects_are_read() -> None:
    rows = Dataset.from_list(PAIRS)
    for value in (rows, PAIRS, pd.DataFrame(PAIRS)):
        assert rows_of(read(value).splits["train"]) == PAIRS
    assert set(read(DatasetDict({"train": rows, "val": rows}), name="mine").splits) == {"train", "dev"}
    assert read(rows, name="mine").name == "mine"


def test_a_shuffled_formatted_dataset_is_read_as_plain_rows_without_a_bar(
    capfd: pytest.CaptureFixture[str],
) -> None:
    rows = Dataset.from_list(PAIRS).with_format("numpy").shuffle(seed=3)
    prepared = shape(read(rows), "train")
    assert sorted(prepared.rows["anchor"][:]) == sorted(row["anchor"] for row in PAIRS)
    assert isinstance(prepared.rows[0]["anchor"], str)
    assert capfd.readouterr() == ("", "")


def test_a_full_disk_is_one_error_and_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("EMBERTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "_write", full)
    with pytest.raises(DataError, match=r"cache of data cannot be written: .*No space left.*; make room there"):
        read(str(write(tmp_path / "a.json", PAIRS)))
    assert {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()} == {"lock", "about.json"}


def test_a_cache_that_cannot_be_made_is_one_error_with_the_variable_that_names_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EMBERTUNE_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cache of data cannot be written: .*EMBERTUNE_CACHE"):
        read(str(write(tmp_path / "a.json", PAIRS)))


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_a_full_disk_under_the_hosts_loader_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("generating failed") from OSError(errno.ENOSPC, "No space left on device")

    path = write(tmp_path / f"a{ending}", PAIRS)
    monkeypatch.setattr(files, "load_dataset", full)
    with pytest.raises(DataError, match="No space left on device; make room there"):
        read(str(path))


@pytest.mark.parametrize("value", [[], 7, np.zeros(3), pd.DataFrame({"a": []}), "  "])
def test_nothing_to_read_is_an_error(value: Any) -> None:
    with pytest.raises(DataError):
        read(value)


def test_the_names_of_class_labels_are_kept() -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["yes", "no"])})
    rows = Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=features)
    assert read(rows).label_names == {"label": ("yes", "no")}


def test_a_beir_folder_keeps_ids_as_they_are_written(tmp_path: Path) -> None:
    write_beir(tmp_path / "help", {"train": [("01", "d1", 1)], "test-wordings": [("02", "d2", 1), ("03", "d3", 1)]})
    source = read(f"{tmp_path}/help@test-wordings")
    assert source.corpus is not None
    assert (source.name, list(source.splits), len(source.corpus)) == ("help", ["test-wordings"], 4)
    assert source.splits["test-wordings"]["query-id"][:] == ["02", "03"]
    assert set(read(f"{tmp_path}/help").splits) == {"train", "test-wordings"}


def test_the_split_to_read_is_the_only_one_or_the_wanted_one(tmp_path: Path) -> None:
    write(tmp_path / "dev.jsonl", PAIRS)
    assert read(str(tmp_path)).pick("train") == "dev"
    write(tmp_path / "test.jsonl", PAIRS)
    assert read(str(tmp_path)).pick("test") == "test"
    with pytest.raises(DataError, match=r"choose one: .*@dev, .*@test"):
        read(str(tmp_path)).pick("train")


def test_a_hub_id_is_asked_for_with_its_config_and_the_hubs_word_for_the_split(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: str, config: str | None, split: str | None) -> Dataset:
        asked.append((name, config, split))
        if split == "dev":
            raise ValueError("Unknown split \"dev\". Should be one of ['validation']")
        return Dataset.from_list(PAIRS)

    monkeypatch.setattr(hub, "load_dataset", load)
    source = read("team/cards:plain@dev[:2]")
    assert asked == [("team/cards", "plain", "dev"), ("team/cards", "plain", "validation")]
    assert (source.name, list(source.splits), len(source.splits["dev"])) == ("cards", ["dev"], 2)


def test_an_unknown_hub_id_says_what_to_do_without_network() -> None:
    assert datasets.config.HF_HUB_OFFLINE
    with pytest.raises(
        DataError, match=r"no file or folder of that name.*without network.*copy the folder here"
    ) as caught:
        read("nobody/nothing-of-this-name")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_loading_leaves_the_hosts_bars_as_they_were(tmp_path: Path) -> None:
    datasets.enable_progress_bars()
    read(str(write(tmp_path / "a.jsonl", PAIRS)))
    assert not datasets.are_progress_bars_disabled()

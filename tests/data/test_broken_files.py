"""Every way in which a file can be unreadable is one error that says where, what was found and what would do."""

from __future__ import annotations

import gzip
import traceback
from pathlib import Path

import pandas as pd
import pytest

from embertune.data.sources import read
from embertune.errors import DataError
from tests.data.made import PAIRS, write

_GOOD = b'{"text": "one", "label": 1}\n'

#: File name, its bytes, and what the message must say.
BROKEN = {
    "an empty file": ("a.jsonl", b"", "a.jsonl: the file is empty"),
    "white space only": ("a.csv", b"\n \n\n", "a.csv: the file is empty"),
    "an empty gzip": ("a.jsonl.gz", gzip.compress(b""), "a.jsonl.gz: the file is empty"),
    "an empty list": ("a.json", b"[]", "a.json: the file holds no rows"),
    "a header alone": ("a.csv", b"text,label\n", "a.csv: the file holds no rows"),
    "a line that breaks off": ("a.jsonl", _GOOD * 2 + b'{"text": "two"\n', "a.jsonl, line 3: this is no JSON"),
    "a comma too many": ("a.json", b'[\n{"text": "two",}\n]', "line 2"),
    "a string for a row": ("a.jsonl", _GOOD + b'"two"\n', "a.jsonl, line 2: text and not an object"),
    "a list of strings": ("a.json", b'["one", "two"]', "not a list of objects"),
    "a key twice": ("a.jsonl", _GOOD + b'{"text": "x", "text": "y"}\n', "line 2: the key 'text' stands twice"),
    "a key twice in a list": ("a.json", b'[{"text": "x", "text": "y"}]', "the key 'text' stands twice"),
    "half a character": ("a.jsonl", _GOOD + b'{"text": "\\ud800", "label": 1}\n', "line 2: a \\u escape"),
    "numbers in a text": ("a.jsonl", _GOOD * 3 + b'{"text": 5, "label": 1}\n', "line 4: column 'text' holds a whole"),
    "a list in a text": (
        "a.jsonl",
        _GOOD + b'{"text": ["x"], "label": 1}\n',
        "line 2: column 'text' holds a list",
    ),
    "latin-1 in json": ("a.jsonl", _GOOD + b'{"text": "caf\xe9"}\n', "line 2: byte 0xe9 at column 14 is not UTF-8"),
    "latin-1 in csv": ("a.csv", b"text,label\ncaf\xe9,1\n", "a.csv, line 2: byte 0xe9 at column 4 is not UTF-8"),
    "latin-1 in tsv": ("a.tsv", b"text\tlabel\ncaf\xe9\t1\n", "a.tsv, line 2: byte 0xe9"),
    "latin-1 in a json list": ("a.json", b'[\n{"text": "caf\xe9"}]', "a.json, line 2: byte 0xe9"),
    "a column twice": ("a.csv", b"text,text\nx,y\n", "a.csv, line 1: the column 'text' stands twice"),
    "semicolons": ("a.csv", b"text;label\nx;1\n", "a.csv, line 1: there is one column, 'text;label'"),
    "a nameless column": ("a.csv", b"text,\nx,y\n", "a.csv, line 1: a column has no name"),
    "a field too many": ("a.csv", b"text,label\nx,1\ny,2,3\n", "line 3: 3 fields where the first line names 2"),
    "a field too many throughout": ("a.csv", b"text,label\nx,1,3\ny,2,3\n", "line 2: 3 fields where"),
    "an open quote": ("a.csv", b'text,label\n"x,1\ny,2\n', "this is no sound CSV"),
    "a gzip cut short": ("a.jsonl.gz", gzip.compress(_GOOD * 9000)[:-20], "a.jsonl.gz: this is no sound gzip file"),
    "a gzip with a wrong sum": ("a.csv.gz", gzip.compress(b"a,b\n1,2\n")[:-8] + b"12345678", "no sound gzip"),
    "text named as gzip": ("a.jsonl.gz", _GOOD, "a.jsonl.gz: this is no sound gzip file"),
    "text named as parquet": ("a.parquet", _GOOD, "a.parquet: this cannot be read as parquet"),
    "text named as arrow": ("a.arrow", _GOOD, "a.arrow: this cannot be read as arrow"),
    "an unknown ending": ("a.xlsx", _GOOD, "a.xlsx: no known kind of data file"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_one_clear_error(tmp_path: Path, case: str) -> None:
    name, raw, message = BROKEN[case]
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(DataError) as caught:
        read(str(tmp_path / name))
    assert message in str(caught.value)
    assert caught.value.remedy
    shown = "".join(traceback.format_exception(caught.value))
    assert "During handling" not in shown
    assert "direct cause" not in shown


def test_a_row_with_a_field_too_few_is_an_empty_value_and_found_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nx,1\ny\n")
    assert read(str(tmp_path / "a.csv")).splits["train"][1] == {"text": "y", "label": ""}


def test_a_table_with_a_column_twice_is_refused() -> None:
    frame = pd.DataFrame([["a", "b"]], columns=["text", "text"])
    with pytest.raises(DataError, match="the column 'text' stands twice"):
        read(frame)


@pytest.mark.parametrize("rows", [[{"text": "a"}, {"text": 5}], [{"text": "a"}, {"text": ["b"]}]])
def test_rows_from_python_that_mix_types_are_refused(rows: list[dict[str, object]]) -> None:
    with pytest.raises(DataError, match="column 'text' mixes str and"):
        read(rows)


def test_files_whose_columns_differ_in_type_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", [{"text": "x", "label": "y"}] * 2)
    second = write(tmp_path / "b.jsonl", [{"text": "x", "label": [1]}] * 2)
    with pytest.raises(DataError, match="columns of its files differ in type"):
        read([str(first), str(second)])


def test_whole_numbers_in_one_file_and_fractions_in_another_join(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", [{"score": 1}])
    second = write(tmp_path / "b.jsonl", [{"score": 0.5}])
    assert read([str(first), str(second)]).splits["train"]["score"][:] == [1.0, 0.5]


@pytest.mark.parametrize("item", ["x.jsonl[:1]", "folder"])
def test_a_list_of_files_takes_plain_files_only(tmp_path: Path, item: str) -> None:
    write(tmp_path / "x.jsonl", PAIRS)
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="no plain file"):
        read([str(tmp_path / "x.jsonl"), str(tmp_path / item)])


@pytest.mark.parametrize(
    ("part", "raw", "message"),
    [
        ("qrels/test.tsv", b"query\tdoc\tscore\n1\t2\t1\n", "the first line is 'query doc score'"),
        ("qrels/test.tsv", b"query-id\tcorpus-id\tscore\n01\td1\n", "line 2: 2 fields where"),
        ("corpus.jsonl", b'{"id": "d1", "text": "x"}\n', "no column '_id'; the file has id, text"),
    ],
)
def test_a_broken_beir_folder_is_one_clear_error(tmp_path: Path, part: str, raw: bytes, message: str) -> None:
    write(tmp_path / "corpus.jsonl", [{"_id": "d1", "text": "x"}])
    write(tmp_path / "queries.jsonl", [{"_id": "01", "text": "x"}])
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n01\td1\t1\n")
    (tmp_path / part).write_bytes(raw)
    with pytest.raises(DataError) as caught:
        read(str(tmp_path))
    assert message in str(caught.value)


def test_a_beir_folder_without_judgements_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "corpus.jsonl", [{"_id": "d1", "text": "x"}])
    write(tmp_path / "queries.jsonl", [{"_id": "01", "text": "x"}])
    (tmp_path / "qrels").mkdir()
    with pytest.raises(DataError, match=r"no \.tsv file with judgements"):
        read(str(tmp_path))

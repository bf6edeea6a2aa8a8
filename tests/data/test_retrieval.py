from __future__ import annotations

from pathlib import Path

import pytest

from embertune.data.prepared import Prepared
from embertune.data.shapes import ShapeSettings, describe, shape
from embertune.data.sources import read
from embertune.data.split import dev_corpus, split
from embertune.errors import DataError
from tests.data.made import rows_of, write, write_beir

_QRELS = [("01", "d1", 1), ("02", "d2", 2), ("03", "d3", 0), ("04", "d4", 1)]


def retrieval(folder: Path, qrels: list[tuple[str, str, int]] = _QRELS, **settings: object) -> Prepared:
    write_beir(folder, {"test": qrels})
    return shape(read(str(folder)), "test", ShapeSettings(**settings))


def test_relevant_judgements_are_pairs_and_the_corpus_is_whole(tmp_path: Path) -> None:
    prepared = retrieval(tmp_path / "help")
    assert (prepared.shape, prepared.name, len(prepared)) == ("retrieval", "help", 3)
    row = {"anchor": "what is topic 1", "positive": "Dredging All about topic 1.", "query_id": "01", "doc_id": "d1"}
    assert rows_of(prepared.rows.remove_columns("group"))[0] == row
    assert prepared.corpus is not None
    assert prepared.corpus.ids == ("d1", "d2", "d3", "d4")
    assert prepared.corpus.texts[1] == "All about topic 2."
    assert prepared.notes[0].count == 1
    assert describe(prepared, 1) == [{"anchor": row["anchor"], "positive": row["positive"]}]


def test_judgements_of_missing_texts_are_left_out_and_counted(tmp_path: Path) -> None:
    prepared = retrieval(tmp_path / "help", [*_QRELS, ("09", "d1", 1), ("01", "d9", 1)])
    assert len(prepared) == 3
    assert (prepared.notes[1].count, prepared.notes[1].examples) == (2, ("row 5", "row 6"))


def test_judgements_that_name_nothing_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no judgement names a query and a document that are there"):
        retrieval(tmp_path / "help", [("1", "d1", 1), ("2", "d2", 1)])


def test_a_judged_document_without_text_is_refused(tmp_path: Path) -> None:
    write_beir(tmp_path, {"test": _QRELS})
    write(
        tmp_path / "corpus.jsonl", [{"_id": f"d{n}", "title": "", "text": "" if n == 1 else "x"} for n in range(1, 5)]
    )
    with pytest.raises(DataError, match=r"corpus: 1 judged texts are empty \(d1\)"):
        shape(read(str(tmp_path)), "test")


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    write_beir(tmp_path, {"test": _QRELS})
    write(tmp_path / "queries.jsonl", [{"_id": "01", "text": "a"}, {"_id": "01", "text": "b"}])
    with pytest.raises(DataError, match="queries: the _id '01' stands twice"):
        shape(read(str(tmp_path)), "test")


def test_columns_and_other_shapes_do_not_apply(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.columns: .* whose columns are fixed"):
        retrieval(tmp_path / "a", columns={"anchor": "query-id"})
    with pytest.raises(DataError, match=r"data\.shape"):
        retrieval(tmp_path / "b", shape="pairs")


def test_all_sides_share_the_corpus_and_no_document_is_judged_on_two(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    write(folder / "corpus.jsonl", [{"_id": f"d{n}", "text": f"document {n}"} for n in range(60)])
    write(folder / "queries.jsonl", [{"_id": f"q{n}", "text": f"query {n}"} for n in range(180)])
    (folder / "qrels").mkdir()
    lines = ["query-id\tcorpus-id\tscore", *(f"q{n}\td{n // 3}\t1" for n in range(180))]
    (folder / "qrels" / "train.tsv").write_text("\n".join(lines))
    found = split(shape(read(str(folder)), "train"), 0.2, 0.2, 0)
    sides = [found.train, found.dev, found.tests["many"]]
    assert all(side is not None and side.corpus is found.train.corpus for side in sides)
    documents = [set(side.rows["doc_id"][:]) for side in sides if side is not None]
    assert sum(len(side) for side in documents) == len(set.union(*documents)) == 60


def test_a_dev_corpus_holds_what_is_needed_and_as_many_others_as_asked_for(tmp_path: Path) -> None:
    prepared = retrieval(tmp_path / "help", [("01", "d1", 1), ("02", "d1", 1)])
    small = dev_corpus(prepared, distractors=2, seed=5)
    assert small.corpus is not None
    assert len(small.corpus) == 3
    assert "d1" in small.corpus.ids
    assert small.corpus.ids == dev_corpus(prepared, distractors=2, seed=5).corpus.ids
    assert len(dev_corpus(prepared, distractors=99).corpus or ()) == 4
    assert small.notes[-1].count == 1


def test_judgements_are_grouped_by_the_id_that_is_named(tmp_path: Path) -> None:
    prepared = retrieval(tmp_path / "help", [*_QRELS, ("01", "d2", 1)], group="doc_id")
    by_document: dict[str, set[int]] = {}
    for row in rows_of(prepared.rows):
        by_document.setdefault(row["doc_id"], set()).add(row["group"])
    assert all(len(groups) == 1 for groups in by_document.values())
    assert len(set.union(*by_document.values())) == len(by_document) == 3


def test_a_group_that_judgements_do_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'topic' in .*write auto, query_id or doc_id"):
        retrieval(tmp_path / "help", group="topic")

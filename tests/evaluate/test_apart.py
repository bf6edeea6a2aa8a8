"""Seen and unseen items of a test set, scored from the scores of the whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from embertune.data.prepared import Prepared
from embertune.evaluate.apart import Part, parts_of, scored_apart
from embertune.evaluate.evalset import build_evalset
from embertune.evaluate.score import score
from tests.data.made import shaped
from tests.tiny import toy_classes, toy_pairs, toy_scored, toy_triplets


def encode(texts: Sequence[str], role: str) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """A vector for each text, a function of the text alone."""
    return np.stack(
        [np.random.default_rng(list(text.encode())).standard_normal(8).astype(np.float32) for text in texts]
    )


def parts(train: Prepared, held: Prepared) -> list[Part]:
    return list(parts_of(train, {"held": held}, {"held": build_evalset(held, "held-test")}))


def some_seen(make: object, column: str, known: str) -> Prepared:
    rows = make(40, start=100)
    for row in rows[:10]:
        row[column] = known
    return shaped(rows)


@pytest.mark.parametrize("make", [toy_triplets, toy_scored])
def test_a_part_scores_what_its_rows_score_alone(make: object) -> None:
    train = shaped(make(30))
    column = train.text_columns[-1]
    held = some_seen(make, column, train.rows[0][column])
    seen, unseen = parts(train, held)
    assert (seen.name, len(seen), unseen.name, len(unseen)) == ("held-seen-test", 10, "held-unseen-test", 30)
    whole = score(encode, build_evalset(held, "held-test"), ("cosine", "dot"))
    for part, chosen in ((seen, range(10)), (unseen, range(10, 40))):
        alone = score(encode, build_evalset(held.take(held.rows.select(chosen)), part.name), ("cosine", "dot"))
        found = scored_apart(whole, part)
        assert found.headline == alone.headline
        for metric in alone.comparable:
            assert found.values[metric] == pytest.approx(alone.values[metric], nan_ok=True), metric


def test_a_query_is_seen_if_one_of_its_documents_is_and_is_searched_in_all_documents() -> None:
    train = shaped(toy_pairs(30))
    rows = [
        *toy_pairs(20, start=100),
        {"anchor": toy_pairs(1, 100)[0]["anchor"], "positive": toy_pairs(1)[0]["positive"]},
    ]
    rows[5]["positive"] = toy_pairs(1, 3)[0]["positive"]
    held = shaped(rows)
    seen, unseen = parts(train, held)
    assert np.flatnonzero(seen.items).tolist() == [0, 5]
    whole = score(encode, build_evalset(held, "held-test"), ("cosine",))
    ranks = whole.items["held-test_cosine_mrr@10"]
    found = scored_apart(whole, unseen).values["held-unseen-test_cosine_mrr@10"]
    assert found == pytest.approx(float(ranks[~seen.items].mean()))


def test_sets_without_a_second_text_and_sets_of_one_kind_have_no_parts() -> None:
    assert parts(shaped(toy_classes(60)), shaped(toy_classes(30, start=60))) == []
    assert parts(shaped(toy_pairs(30)), shaped(toy_pairs(30, start=100))) == []

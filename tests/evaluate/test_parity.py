"""Every metric equals that of the host's own evaluator, run on the same float32 embeddings."""

from __future__ import annotations

import numpy as np
import pytest
from sentence_transformers.sentence_transformer.evaluation import (
    BinaryClassificationEvaluator,
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
    TripletEvaluator,
)
from sentence_transformers.util import cos_sim, dot_score, euclidean_sim, manhattan_sim

from embertune.data.prepared import Prepared
from embertune.evaluate.evalset import build_evalset
from embertune.evaluate.score import score
from embertune.evaluate.similarity import SIMILARITIES
from tests.evaluate.sets import HostModel, Table, corpus, prepared

ALL = list(SIMILARITIES)
SEEDS = (0, 1, 2)


def near(text: str, table: Table, seed: int, noise: float) -> str:
    """A new text whose embedding lies near that of `text`."""
    name = f"{text} near {seed}"
    drift = np.random.default_rng([seed, *text.encode()]).normal(size=table.width) * noise
    table.known[name] = (table.of(text) + drift).astype(np.float32)
    return name


def assert_equal(ours: dict[str, float], host: dict[str, float]) -> None:
    """Ours are the host's, by name and to 1e-6 (thresholds, which are similarities, to 1e-6 of their size).

    The host's `max_` of thresholds means nothing and has no counterpart.
    """
    expected = {key for key in host if not ("_max_" in key and key.endswith("threshold"))}
    assert set(ours) == expected
    for key in expected:
        assert ours[key] == pytest.approx(host[key], abs=1e-6, rel=1e-6 if key.endswith("threshold") else 0), key


@pytest.mark.parametrize("seed", SEEDS)
def test_triplet_metrics_are_those_of_the_host(seed: int) -> None:
    table = Table(seed)
    anchors = [f"a{i % 90}" for i in range(120)]
    positives = [near(a, table, i, 1.5) for i, a in enumerate(anchors)]
    negatives = [f"n{i}" for i in range(120)]
    rows = prepared("triplets", {"anchor": anchors, "positive": positives, "negative": negatives})
    ours = score(table, build_evalset(rows, "x-test"), ALL)
    host = TripletEvaluator(anchors, positives, negatives, name="x-test", similarity_fn_names=ALL)
    assert_equal(ours.values, host(HostModel(table)))
    assert 0.5 < ours.values["x-test_cosine_accuracy"] < 1


def retrieval_rows(table: Table, seed: int) -> tuple[Prepared, dict[str, set[str]]]:
    generator = np.random.default_rng(seed)
    documents = [f"document {i}" for i in range(150)]
    judged = {
        f"q{i}": {f"d{j:05d}" for j in generator.choice(150, generator.integers(1, 14), False)} for i in range(40)
    }
    for query, relevant in judged.items():
        vectors = [table.of(documents[int(d[1:])]) for d in relevant]
        table.known[query] = (np.mean(vectors, axis=0) + generator.normal(size=table.width)).astype(np.float32)
    pairs = [(query, document) for query, relevant in judged.items() for document in sorted(relevant)]
    columns = {
        "anchor": [query for query, _ in pairs],
        "positive": [documents[int(document[1:])] for _, document in pairs],
        "query_id": [query for query, _ in pairs],
        "doc_id": [document for _, document in pairs],
    }
    return prepared("retrieval", columns, corpus=corpus(documents)), judged


@pytest.mark.parametrize("seed", SEEDS)
def test_retrieval_metrics_are_those_of_the_host(seed: int) -> None:
    table = Table(seed)
    rows, judged = retrieval_rows(table, seed)
    ours = score(table, build_evalset(rows, "ir"), ALL)
    assert rows.corpus is not None
    host = InformationRetrievalEvaluator(
        {query: query for query in judged},
        dict(zip(rows.corpus.ids, rows.corpus.texts, strict=True)),
        judged,
        name="ir",
        score_functions=dict(zip(ALL, (cos_sim, dot_score, manhattan_sim, euclidean_sim), strict=True)),
    )
    assert_equal(ours.values, host(HostModel(table)))
    assert 0.1 < ours.values["ir_cosine_ndcg@10"] < 0.99


@pytest.mark.parametrize("seed", SEEDS)
def test_correlations_are_those_of_the_host(seed: int) -> None:
    table, generator = Table(seed), np.random.default_rng(seed)
    gold = [float(x) for x in np.round(generator.random(150) * 5) / 5]
    first = [f"s{i}" for i in range(150)]
    second = [near(text, table, i, 3 - 2.5 * gold[i]) for i, text in enumerate(first)]
    rows = prepared("scored", {"sentence1": first, "sentence2": second, "score": gold})
    ours = score(table, build_evalset(rows, "sts"), ALL)
    host = EmbeddingSimilarityEvaluator(first, second, gold, name="sts", similarity_fn_names=ALL)
    assert_equal(ours.values, host(HostModel(table)))
    assert ours.headline == "sts_spearman_cosine"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("positive", [0.5, 0.05])
def test_binary_metrics_and_thresholds_are_those_of_the_host(seed: int, positive: float) -> None:
    table, generator = Table(seed), np.random.default_rng(seed)
    labels = [int(x) for x in generator.random(120) < positive]
    labels[0] = 1
    first = [f"s{i}" for i in range(120)]
    second = [near(text, table, i, 2.5 - 1.2 * labels[i]) for i, text in enumerate(first)]
    rows = prepared("labelled", {"sentence1": first, "sentence2": second, "label": labels})
    ours = score(table, build_evalset(rows, "dup"), ALL)
    host = BinaryClassificationEvaluator(first, second, labels, name="dup", similarity_fn_names=ALL)
    assert_equal(ours.values, host(HostModel(table)))


def test_binary_metrics_are_those_of_the_host_where_similarities_are_equal() -> None:
    known = {f"s{i}": np.array([1.0, i % 3], dtype=np.float32) for i in range(30)}
    table = Table(known=known | {"t": np.array([1.0, 0.0], dtype=np.float32)})
    labels = [int(i % 3 == 0 or i % 7 == 0) for i in range(30)]
    rows = prepared("labelled", {"sentence1": list(known), "sentence2": ["t"] * 30, "label": labels})
    ours = score(table, build_evalset(rows, ""), ["cosine", "euclidean"])
    host = BinaryClassificationEvaluator(
        list(known), ["t"] * 30, labels, name="", similarity_fn_names=["cosine", "euclidean"]
    )
    theirs = {f"_{key}": value for key, value in host(HostModel(table)).items()}
    assert_equal(ours.values, theirs)


@pytest.mark.parametrize("similarities", [["dot"], ["manhattan", "cosine"]])
def test_names_follow_the_similarities_asked_for(similarities: list[str]) -> None:
    table = Table()
    rows = prepared("triplets", {"anchor": ["a", "b"], "positive": ["c", "d"], "negative": ["e", "f"]})
    ours = score(table, build_evalset(rows, "x"), similarities)
    host = TripletEvaluator(["a", "b"], ["c", "d"], ["e", "f"], name="x", similarity_fn_names=list(similarities))
    assert_equal(ours.values, host(HostModel(table)))
    assert ours.headline == f"x_{similarities[0]}_accuracy"

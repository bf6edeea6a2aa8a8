"""A look at vectors while they are in memory: how alike texts are that belong together, and what is near a query.

What is kept of it is small whatever the size of the set: similarities and nearest texts of at most `MOST` items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embertune.data.hashing import keys_of, mix
from embertune.data.prepared import ShapeName
from embertune.evaluate.evalset import EvalSet, IntArray
from embertune.evaluate.retrieval import nearest
from embertune.evaluate.similarity import BY_NAME, SimilarityName, Vectors, blocks, pairwise

#: Items that are looked at, chosen by what they say; texts shown around a query; texts that a query is compared with.
MOST, NEAR, OTHERS = 2_000, 5, 10
_QUERIES, _DOCUMENTS = 256, 16_384

Mask = npt.NDArray[np.bool_]
#: Places of queries and numbers of texts of the pool, which broadcast -> whether they belong together.
Belong = Callable[[IntArray, IntArray], Mask]
#: A text near a query: the text, how alike it is, and whether it belongs to the query.
Near = tuple[str, float, bool]
Embeddings = Mapping[str, Vectors]


@dataclass(frozen=True, eq=False)
class Shown:
    """What of the test sets people are to see: some items (items,) of `evalset`, under one similarity.

    `metric` is the full name of the metric that the proof rests on, `name` that of the set, or of the part, that has
    it.
    """

    metric: str
    name: str
    evalset: EvalSet
    items: Mask
    similarity: SimilarityName


@dataclass(frozen=True, eq=False)
class Sight:
    """What one model makes of some items: `items` (n,) are their numbers in the set, ascending.

    `near[i]` holds what is nearest to the i-th of them, nearest first. `positive` and `negative`, (any number,), are
    similarities of texts that belong together and of texts that do not.
    """

    items: IntArray
    near: tuple[tuple[Near, ...], ...]
    positive: Vectors
    negative: Vectors


@dataclass(frozen=True, eq=False)
class _Field:
    """Queries (q, d) among a pool (n, d) with its texts. `own` (q,) is a query's own number in it, -1 for none."""

    queries: Vectors
    pool: Vectors
    texts: Sequence[str]
    belong: Belong
    own: IntArray


def look_at(embeddings: Embeddings, shown: Shown) -> Sight:
    """Look at some of the items; `embeddings` by role, as they are scored."""
    evalset = shown.evalset
    items = _some(evalset, shown.items)
    field, positive, negative = _LOOKS[evalset.shape](embeddings, evalset, items, shown.similarity)
    return Sight(items, tuple(_near(field, shown.similarity)), positive, negative)


def query_of(evalset: EvalSet, item: int) -> str:
    """The text that an item asks with: its anchor, its first sentence, the text that has a class."""
    role = next(iter(evalset.index))
    return evalset.texts[role][int(evalset.index[role][item])]


def belonging(evalset: EvalSet) -> tuple[Mask, Mask]:
    """Which items of two sentences belong together, and which do not: (items,) each.

    By their label; by their score, above and below the middle between the highest and the lowest.
    """
    assert evalset.target is not None
    target = evalset.target
    middle = 0.5 if evalset.shape == "labelled" else (target.min() + target.max()) / 2
    return target > middle, target < middle


def _some(evalset: EvalSet, wanted: Mask) -> IntArray:
    """At most `MOST` of the items, by the hash of their text."""
    items = np.flatnonzero(wanted)
    if len(items) <= MOST:
        return items
    role = next(iter(evalset.index))
    chance = mix(keys_of(evalset.texts[role]), 0, "shown")[evalset.index[role][items]]
    return np.sort(items[np.argsort(chance, kind="stable")[:MOST]])


def _near(field: _Field, similarity: SimilarityName) -> Iterator[tuple[Near, ...]]:
    found = nearest(similarity, field.queries, field.pool, NEAR + 1)
    places = np.broadcast_to(np.arange(len(found))[:, None], found.shape)
    alike = pairwise(similarity, field.queries, field.pool, (places.ravel(), found.ravel())).reshape(found.shape)
    belong = field.belong(places, found)
    for place, numbers in enumerate(found):
        kept = [column for column, number in enumerate(numbers) if number != field.own[place]][:NEAR]
        yield tuple((field.texts[numbers[at]], float(alike[place, at]), bool(belong[place, at])) for at in kept)


def _among(pairs: tuple[IntArray, IntArray], asked: IntArray, held: IntArray) -> Belong:
    """Whether the text `asked[place]` and the text `held[number]` are one of `pairs`; -1 is in none."""
    size = 1 + int(max(pairs[1].max(initial=0), held.max(initial=0)))
    known = np.unique(pairs[0] * size + pairs[1])
    return lambda places, numbers: (held[numbers] >= 0) & np.isin(asked[places] * size + held[numbers], known)


def _triplets(
    embeddings: Embeddings, evalset: EvalSet, items: IntArray, similarity: SimilarityName
) -> tuple[_Field, Vectors, Vectors]:
    """Neighbours are looked for among the positives and negatives of the items."""
    anchor, positive, negative = (evalset.index[column] for column in ("anchor", "positive", "negative"))
    good, bad = np.unique(positive[items]), np.unique(negative[items])
    there = {evalset.texts["positive"][number] for number in good}
    bad = np.array([n for n in bad if n >= 0 and evalset.texts["negative"][n] not in there], dtype=np.int64)
    asked = anchor[items]
    field = _Field(
        embeddings["anchor"][asked],
        np.concatenate([embeddings["positive"][good], *([embeddings["negative"][bad]] if len(bad) else [])]),
        [*(evalset.texts["positive"][n] for n in good), *(evalset.texts["negative"][n] for n in bad)],
        _among((anchor, positive), asked, np.concatenate([good, np.full(len(bad), -1)])),
        np.full(len(items), -1),
    )
    row, place = np.nonzero(negative[items] >= 0)
    near = pairwise(similarity, embeddings["anchor"], embeddings["positive"], (asked, positive[items]))
    far = (asked[row], negative[items][row, place])
    return field, near, pairwise(similarity, embeddings["anchor"], embeddings["negative"], far)


def _retrieval(
    embeddings: Embeddings, evalset: EvalSet, items: IntArray, similarity: SimilarityName
) -> tuple[_Field, Vectors, Vectors]:
    """Queries are compared with at most ten of their documents, and with ten others that chance chose once for all."""
    assert evalset.relevant is not None
    pool, counts = embeddings["positive"], evalset.relevant.counts
    judged = (np.repeat(np.arange(len(counts)), counts), evalset.relevant.documents)
    field = _Field(
        embeddings["anchor"][evalset.index["anchor"][items]],
        pool,
        evalset.texts["positive"],
        _among(judged, items, np.arange(len(pool))),
        np.full(len(items), -1),
    )
    answers = [evalset.relevant.of(item)[:OTHERS] for item in items]
    near = (np.repeat(np.arange(len(items)), [len(some) for some in answers]), np.concatenate(answers))
    places = np.repeat(np.arange(len(items)), OTHERS)
    drawn = mix(np.repeat(items, OTHERS) * OTHERS + np.tile(np.arange(OTHERS), len(items)), 0, "others")
    others = (drawn % np.uint64(len(pool))).astype(np.int64)
    apart = ~field.belong(places, others)
    return (
        field,
        pairwise(similarity, field.queries, pool, near),
        pairwise(similarity, field.queries, pool, (places[apart], others[apart])),
    )


def _two_sentences(
    embeddings: Embeddings, evalset: EvalSet, items: IntArray, similarity: SimilarityName
) -> tuple[_Field, Vectors, Vectors]:
    """Neighbours of first sentences are looked for among the second ones of the items."""
    first, second = evalset.index["sentence1"], evalset.index["sentence2"]
    together, apart = belonging(evalset)
    held, asked = np.unique(second[items]), first[items]
    field = _Field(
        embeddings["sentence1"][asked],
        embeddings["sentence2"][held],
        [evalset.texts["sentence2"][number] for number in held],
        _among((first[together], second[together]), asked, held),
        np.full(len(items), -1),
    )
    values = pairwise(similarity, embeddings["sentence1"], embeddings["sentence2"], (asked, second[items]))
    return field, values[together[items]], values[apart[items]]


def _classes(
    embeddings: Embeddings, evalset: EvalSet, items: IntArray, similarity: SimilarityName
) -> tuple[_Field, Vectors, Vectors]:
    """The nearest of the own class and the nearest of another one; another row of the very same text is no neighbour
    where items are neighbours of each other.
    """
    assert evalset.target is not None
    assert evalset.reference_target is not None
    texts, first = np.unique(evalset.index["reference"], return_index=True)
    known, wanted, asked = evalset.reference_target[first], evalset.target[items], evalset.index["text"][items]
    own = np.searchsorted(texts, asked) if evalset.leave_one_out else np.full(len(items), -1)
    field = _Field(
        embeddings["text"][asked],
        embeddings["text"][texts],
        [evalset.texts["text"][number] for number in texts],
        lambda places, numbers: known[numbers] == wanted[places],
        own,
    )
    near, far = _best(field, similarity)
    return field, near[np.isfinite(near)], far[np.isfinite(far)]


def _best(field: _Field, name: SimilarityName) -> tuple[Vectors, Vectors]:
    """How near the nearest is that belongs to each query, and the nearest that does not: (q,); -inf for none."""
    similarity = BY_NAME[name]
    queries, pool = similarity.ready(field.queries), similarity.ready(field.pool)
    near, far = (np.full(len(queries), -np.inf, dtype=np.float32) for _ in range(2))
    for some in blocks(len(queries), _QUERIES):
        for part in blocks(len(pool), _DOCUMENTS):
            values = similarity.block(queries[some], pool[part])
            places, numbers = np.arange(some.start, some.stop)[:, None], np.arange(part.start, part.stop)[None, :]
            belong = field.belong(places, numbers)
            values = np.where(numbers == field.own[places], np.float32(-np.inf), values)
            near[some] = np.maximum(near[some], np.where(belong, values, np.float32(-np.inf)).max(axis=1))
            far[some] = np.maximum(far[some], np.where(belong, np.float32(-np.inf), values).max(axis=1))
    return near, far


_Look = Callable[[Embeddings, EvalSet, IntArray, SimilarityName], tuple[_Field, Vectors, Vectors]]
_LOOKS: Mapping[ShapeName, _Look] = {
    "triplets": _triplets,
    "pairs": _retrieval,
    "retrieval": _retrieval,
    "scored": _two_sentences,
    "labelled": _two_sentences,
    "classes": _classes,
}

"""Everything a run measures: the dev set that steers, the test sets that prove."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from embertune.data.prepared import Prepared, Sides
from embertune.evaluate.apart import Part, parts_of, renamed, scored_apart
from embertune.evaluate.evalset import EvalSet, build_evalset
from embertune.evaluate.score import Encode, Scores, headline, score
from embertune.evaluate.shortened import at_length, named_at, once, scored_at
from embertune.evaluate.sight import Shown
from embertune.evaluate.similarity import SIMILARITIES, SimilarityName


@dataclass(frozen=True)
class Scene:
    """The evaluation sets of a run and the similarities they are measured under, the headline's first.

    `parts` are items of test sets that are scored apart as well. `lengths`, longest first, are those to which vectors
    are cut off to score the test sets once more. `retention` holds what the model could do before.
    `shown` says which items of test people are to see; None for none.
    """

    dev: EvalSet | None
    tests: tuple[EvalSet, ...]
    similarities: tuple[SimilarityName, ...]
    parts: tuple[Part, ...] = ()
    lengths: tuple[int, ...] = ()
    retention: tuple[EvalSet, ...] = ()
    shown: Shown | None = None

    @property
    def dev_headline(self) -> str:
        """The metric that dev is judged by, without the set's name; '' without dev."""
        return _headline(self.dev, self.similarities[0]).removeprefix(f"{self.dev.name}_") if self.dev else ""

    @property
    def test_headline(self) -> str:
        """The full name of the first test set's headline metric; '' without tests."""
        return _headline(self.tests[0], self.similarities[0]) if self.tests else ""


def _headline(evalset: EvalSet, similarity: SimilarityName) -> str:
    return headline(evalset.name, evalset.shape, similarity)


def arrange(sides: Sides, similarities: Sequence[SimilarityName], lengths: Sequence[int] = ()) -> Scene:
    """Name and arrange the sets: `{name}-dev`, `{name}-test`. For classes, neighbours are looked for in train.

    Test items with a text that stands in train are scored apart, if any. `sides` are those before anything is added to
    train, so that what is added changes no measure. `lengths` are those at which test is scored besides.
    """

    def built(prepared: Prepared, name: str) -> EvalSet:
        return build_evalset(prepared, name, sides.train if _same_classes(prepared, sides.train) else None)

    dev = built(sides.dev, f"{sides.dev.name}-dev") if sides.dev else None
    tests = {name: built(prepared, f"{name}-test") for name, prepared in sides.tests.items()}
    parts = tuple(parts_of(sides.train, sides.tests, tests))
    kept = tuple(build_evalset(prepared, f"{name}-retention", None) for name, prepared in sides.retention.items())
    return Scene(dev, tuple(tests.values()), tuple(similarities), parts, tuple(sorted(lengths, reverse=True)), kept)


def with_dev(scene: Scene, dev: Prepared, reference: Prepared | None) -> Scene:
    """The same scene with other dev rows; `reference` are the rows among which neighbours are looked for."""
    assert scene.dev is not None
    return replace(scene, dev=build_evalset(dev, scene.dev.name, reference))


def showing(scene: Scene, primary: str | None) -> Scene:
    """The same scene, in which people are to see items of the set that `primary` is measured on (full name).

    None is the headline of the first test set. Without test sets, nothing is shown.
    """
    if not scene.tests:
        return scene
    metric = primary or scene.test_headline
    whole = {evalset.name: evalset for evalset in scene.tests}
    cut = [at_length(evalset, length) for evalset in scene.tests for length in scene.lengths]
    held = {evalset.name: (evalset, np.ones(len(evalset), dtype=bool)) for evalset in (*scene.tests, *cut)}
    held |= {part.name: (whole[part.whole], part.items) for part in scene.parts}
    name = max((name for name in held if metric.startswith(f"{name}_")), key=len)
    words = metric.removeprefix(f"{name}_").split("_")
    similarity = next((one for one in SIMILARITIES if one in words), scene.similarities[0])
    return replace(scene, shown=Shown(metric, name, *held[name], similarity))


def _same_classes(prepared: Prepared, train: Prepared) -> bool:
    return prepared.shape == "classes" and train.shape == "classes"


def metric_names(evalset: EvalSet, similarities: Sequence[SimilarityName]) -> tuple[str, ...]:
    """The full names of what will be measured, found by measuring stand-in vectors: no second list to keep right."""

    def stand_in(texts: Sequence[str], _role: str) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        return np.random.default_rng(0).standard_normal((len(texts), 2)).astype(np.float32)

    return score(stand_in, evalset, similarities).comparable


def test_metrics(scene: Scene) -> tuple[str, ...]:
    """The full names of all that will be measured on test: of every set, of its parts, and at each length."""
    names = {evalset.name: metric_names(evalset, scene.similarities) for evalset in scene.tests}
    short = [
        metric_names(at_length(one, length), scene.similarities) for one in scene.tests for length in scene.lengths
    ]
    apart = {part.name: [renamed(part, name) for name in names[part.whole]] for part in scene.parts}
    return tuple(name for several in (*names.values(), *apart.values(), *short) for name in several)


def measure(encode: Encode, scene: Scene, thresholds: Mapping[str, float] | None = None) -> tuple[Scores, ...]:
    """The test sets under all similarities, then their parts, then the sets at each length, each text encoded once.

    `thresholds` were fitted on dev, where dev could.
    """
    whole: dict[str, Scores] = {}
    short: list[Scores] = []
    for evalset in scene.tests:
        vectors = once(encode) if scene.lengths else encode
        whole[evalset.name] = score(vectors, evalset, scene.similarities, thresholds, scene.shown)
        told = (thresholds, scene.shown)
        short += [scored_at(vectors, evalset, scene.similarities, length, *told) for length in scene.lengths]
    return (*whole.values(), *(scored_apart(whole[part.whole], part) for part in scene.parts), *short)


def measure_retention(encode: Encode, scene: Scene) -> tuple[Scores, ...]:
    """The sets of what the model could do before, under the headline's similarity alone."""
    return tuple(score(encode, evalset, scene.similarities[:1]) for evalset in scene.retention)


def thresholds_at_lengths(encode: Encode, scene: Scene) -> dict[str, float]:
    """What dev fits for labelled pairs with vectors of each length of the scene; empty where it fits nothing."""
    if scene.dev is None or scene.dev.shape != "labelled":
        return {}
    vectors = once(encode)
    found = [(length, scored_at(vectors, scene.dev, scene.similarities, length)) for length in scene.lengths]
    return {name: cut for length, scores in found for name, cut in named_at(scores.thresholds, length).items()}


def measure_dev(encode: Encode, scene: Scene, metric: str) -> Scores:
    """The dev set, under the similarity that `metric` is about.

    All similarities for a maximum, and for labelled pairs, whose thresholds the test sets need.
    """
    assert scene.dev is not None
    named = () if scene.dev.shape == "labelled" else tuple(s for s in scene.similarities if s in metric)
    return score(encode, scene.dev, named or scene.similarities)


def short(name: str, scores: Scores) -> dict[str, float]:
    """The values of a set without its name: `cosine_accuracy` for `nli-dev_cosine_accuracy`."""
    return {metric.removeprefix(f"{name}_"): value for metric, value in scores.values.items()}

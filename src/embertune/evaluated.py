"""`embertune evaluate`: any number of models on the same test sets, which of them is best, and what each costs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from embertune.data.prepare import Given
from embertune.engine.tokens import TokenStore
from embertune.errors import Problem, RecipeError
from embertune.evaluate.ranking import Ranking, rank
from embertune.evaluate.scene import Scene, arrange, measure, measure_dev, measure_retention, test_metrics
from embertune.evaluate.score import Scores
from embertune.model.build import Built
from embertune.model.encode import Encode, make_encode
from embertune.model.find import locate
from embertune.model.load import load, on_fastest_path
from embertune.model.tokens import open_tokens
from embertune.model.vectors import Vectors
from embertune.plan import read
from embertune.recipe import Recipe, replace
from embertune.recipe.sections import ModelSection
from embertune.rundir import MODEL, finite, told_plainly, write_json
from embertune.tokenise import evaluated_texts, tokenise
from embertune.watch import Silent, Watcher

#: Texts that are encoded to see how long it takes, at most; the longest set's, without the cache.
TIMED = 512
FILE = "evaluation.json"


@dataclass(frozen=True)
class Measured:
    """A model: where its weights are from, numbers of an embedding, parameters, seconds for a thousand texts."""

    name: str
    source: str
    dimensions: int
    parameters: int
    seconds: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Evaluation:
    """Models in the order in which they were named, and their ranking by the primary metric; `items` by test set."""

    models: tuple[Measured, ...]
    ranking: Ranking
    items: Mapping[str, int]

    def as_record(self) -> dict[str, Any]:
        """What evaluation.json and `--json` hold."""
        ranking = self.ranking
        pairs = [{"better": a, "worse": b, **asdict(change)} for (a, b), change in ranking.pairs.items()]
        record = {
            "metric": ranking.metric,
            "items": dict(self.items),
            "ranking": [asdict(place) for place in ranking.places],
            "leaders": ranking.leaders,
            "pairs": pairs,
            "models": [asdict(model) for model in self.models],
        }
        told: dict[str, Any] = finite(record)
        return told


def evaluate_models(
    names: Sequence[str], recipe: Recipe, given: Given | None = None, watch: Watcher | None = None
) -> Evaluation:
    """Measure models on the test sets of a recipe, as a run of it would split them off, and on its retention sets.

    Test is measured whatever `evaluate.test` says of runs.
    A name is a folder, a run's folder (whose saved model is meant) or a Hub id. The recipe's own model is loaded as the
    recipe says, others as they come. Thresholds of labelled pairs are those that each model has on dev.
    Raises RecipeError where there is no test set, where the primary metric is none of theirs, or where a model is named
    twice, and ModelError for one that is nowhere, all before anything is measured.
    """
    watch = watch or Silent()
    if again := next((name for place, name in enumerate(names) if name in names[:place]), None):
        raise RecipeError(Problem("evaluate", f"{again} is named twice", "name each model once"))
    recipe = replace(recipe, {"evaluate.test": True})  # what a run left unread is measured here
    data = read(recipe, given, watch)
    scene = arrange(data.sides, recipe.evaluate.similarity)
    metric = _metric(recipe, scene)
    for name in names:
        locate(_section(name, recipe).name or "")  # one that is nowhere is told before anything is measured
    scores: dict[str, tuple[Scores, ...]] = {}
    models = []
    for name in names:
        watch.stage("measure", name)
        model, scores[name] = _measured(name, recipe, scene, watch)
        models.append(model)
    ranking = rank(scores, metric, recipe.seed)
    return Evaluation(tuple(models), ranking, {evalset.name: len(evalset) for evalset in scene.tests})


def keep_evaluation(found: Evaluation, out: Path) -> Path:
    """Write evaluation.json into a folder, which is made; what else is there stays."""
    with told_plainly(out):
        out.mkdir(parents=True, exist_ok=True)
    write_json(out / FILE, found.as_record())
    return out / FILE


def _metric(recipe: Recipe, scene: Scene) -> str:
    if not scene.tests:
        raise RecipeError(Problem("data.test", "there is no test set to measure on", "name one, or write auto"))
    if (asked := recipe.evaluate.primary) in ("auto", None):
        return scene.test_headline
    if asked not in (known := test_metrics(scene)):
        found, remedy = f"{asked} is not measured here", f"write one of {', '.join(known)}"
        raise RecipeError(Problem("evaluate.primary", found, remedy))
    return asked


def scored(name: str, recipe: Recipe, scene: Scene, watch: Watcher) -> tuple[Scores | None, tuple[Scores, ...]]:
    """What a model, by name as for `evaluate_models`, reaches on the whole of dev, None without, and on test.

    Nothing is read from the cache of embeddings, whose last bits hang on what was encoded before.
    """
    encode = _encoder(_loaded(name, recipe), scene, watch)[0]
    dev = measure_dev(encode, scene, scene.dev_headline) if scene.dev else None
    return dev, measure(encode, scene, dev.thresholds if dev else {}) if scene.tests else ()


def _encoder(built: Built, scene: Scene, watch: Watcher) -> tuple[Encode, TokenStore | None]:
    tokens = open_tokens(built.model)
    tokenise(tokens, evaluated_texts(scene, built.role_prompts), watch)
    return make_encode(built.model, built.role_prompts, tokens=tokens), tokens


def _measured(name: str, recipe: Recipe, scene: Scene, watch: Watcher) -> tuple[Measured, tuple[Scores, ...]]:
    built = _loaded(name, recipe)
    for note in built.notes:
        watch.note(note)
    encode, tokens = _encoder(built, scene, watch)
    seconds = _seconds(encode, scene)
    vectors = Vectors(built.model, encode, built.role_prompts, tokens)
    scores = (*measure(vectors, scene, _thresholds(vectors, scene)), *measure_retention(vectors, scene))
    if vectors.read:
        watch.note(f"{vectors.read:,} embeddings were in the cache")
    values = {metric: value for one in scores for metric, value in one.values.items()}
    parameters = sum(parameter.numel() for parameter in built.model.parameters())
    dimensions = int(built.model.truncate_dim or built.model.get_embedding_dimension() or 0)
    return Measured(name, built.source, dimensions, parameters, seconds, values), scores


def _loaded(name: str, recipe: Recipe) -> Built:
    return on_fastest_path(load(_section(name, recipe), None), recipe)


def _section(name: str, recipe: Recipe) -> ModelSection:
    """The recipe's own model as the recipe says, any other as it comes; of a run's folder the saved model."""
    saved = Path(name) / MODEL
    found = str(saved) if (saved / "modules.json").is_file() else name
    return recipe.model if found == recipe.model.name else ModelSection(name=found)


def _seconds(encode: Encode, scene: Scene) -> float:
    """Seconds for a thousand texts of the test sets, spread over the largest of them; the first few are not counted."""
    role, texts = max(
        ((role, texts) for one in scene.tests for role, texts in one.texts.items()), key=lambda held: len(held[1])
    )
    some = texts[:: max(1, len(texts) // TIMED)][:TIMED]
    encode(some[:8], role)
    began = time.perf_counter()
    encode(some, role)
    return 1000 * (time.perf_counter() - began) / len(some)


def _thresholds(encode: Encode, scene: Scene) -> Mapping[str, float]:
    """What dev fits for labelled pairs; empty where it fits nothing."""
    if scene.dev is None or scene.dev.shape != "labelled":
        return {}
    return measure_dev(encode, scene, scene.dev_headline).thresholds

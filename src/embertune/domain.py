"""How far training texts are from what a model knows, measured where a setting rests on it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from functools import cache

from sentence_transformers import SentenceTransformer
from transformers import PreTrainedTokenizerBase

from embertune.data.prepared import Prepared
from embertune.data.words import is_unspaced
from embertune.evaluate.scene import Scene, measure_dev
from embertune.model.build import Built
from embertune.model.encode import make_encode
from embertune.model.layers import find_layers
from embertune.recipe import Recipe
from embertune.recipe.distance import BY_DISTANCE, Distance
from embertune.recipe.guidance import decided
from embertune.recipe.measured import Measured
from embertune.recipe.rules import Facts
from embertune.recipe.settle import Ask
from embertune.smaller import Smaller, some_texts

#: Texts that are looked at, and characters of each.
TEXTS, CHARACTERS = 1_000, 1_000
#: Texts of dev, with what they are compared to, beyond which no score is taken before the run.
DEV_TEXTS = 10_000
_WORD = re.compile(r"\w+")
_LETTER = re.compile(r"\w")


def distance_of(model: SentenceTransformer, texts: Iterable[str], score: float | None) -> Distance | None:
    """What the tokenizer makes of the words of `texts`, without punctuation, beside the model's `score` on dev.

    In scripts without spaces a letter counts as a word. None where the model has no tokenizer of texts, or the texts no
    word.
    """
    tokenizer = getattr(model, "tokenizer", None)
    words = [_words(text[:CHARACTERS]) for text in texts]
    count = sum(map(len, words))
    if not isinstance(tokenizer, PreTrainedTokenizerBase) or not count:
        return None
    joined = [" ".join(one) for one in words if one]
    ids = tokenizer(joined, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    pieces, unknown = sum(map(len, ids)), sum(one.count(tokenizer.unk_token_id) for one in ids)
    return Distance(pieces / count, unknown / max(1, pieces), score)


def _words(text: str) -> Sequence[str]:
    return (_LETTER if is_unspaced(text) else _WORD).findall(text)


def asks_on_distance(built: Built, train: Prepared, scene: Scene, smaller: Smaller, facts: Facts) -> dict[str, Ask]:
    """The settings that rest on the distance; it is measured when the first of them is asked for, and once.

    `train` are the rows as they came. The score is that of the whole model, and none where dev is large; layers are
    those that will be trained.
    """

    @cache
    def measured(seed: int) -> Distance | None:
        texts = [text for _, some in some_texts(train, TEXTS, seed) for text in some]
        score = None
        if scene.dev is not None and scene.dev.texts_to_encode <= DEV_TEXTS:
            encode = smaller.as_whole(make_encode(built.model, built.role_prompts))
            dev = measure_dev(encode, scene, scene.dev_headline)
            score = dev.values[f"{dev.name}_{scene.dev_headline}"]
        return distance_of(built.model, texts, score)

    def ask(path: str) -> Ask:
        def answer(recipe: Recipe) -> Measured:
            distance = measured(recipe.seed)
            if distance is None:
                return Measured(None, "the model has no tokenizer of texts to tell how far they are from what it knows")
            known = dataclasses.replace(facts, distance=distance, blocks=len(find_layers(built.model).blocks))
            value, reason = decided(path, recipe, known)
            return Measured(value, reason, distance.figures)

        return answer

    return {path: ask(path) for path in BY_DISTANCE}

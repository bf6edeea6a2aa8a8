"""What a recipe must know of each loss before torch is there: shapes, options, sampler, paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from embertune.recipe.options import Option

LossName = Literal[
    "multiple_negatives_ranking",
    "triplet",
    "contrastive",
    "online_contrastive",
    "cosine_similarity",
    "cosent",
    "angle",
    "batch_hard_triplet",
    "batch_semi_hard_triplet",
    "batch_all_triplet",
    "softmax",
]
#: How rows come together in a batch. `distinct`: no text twice in a batch; `class_pairs`: two rows of each class, all
#: classes of a batch distinct; `class_groups`: several rows of each of a few classes; `shuffled`: any order.
Sampler = Literal["distinct", "class_pairs", "class_groups", "shuffled"]


@dataclass(frozen=True)
class LossRow:
    """A loss as the recipe sees it. `samplers` maps each accepted shape to the way its batches are put together.

    `most_texts` is how many texts a row may have, None for any number. `passing` is how many times what the loss keeps
    for the way back it takes for a moment besides; `weighted` says that rows can be weighed by their class,
    `fixed_length` that the loss has weights of its own, for vectors of one length, `by_row` that it is the mean of what
    each row gives by itself, so that batches added up are a larger batch.
    """

    means: str
    samplers: Mapping[str, Sampler]
    options: Mapping[str, Option]
    source: str
    in_batch_negatives: bool = False
    most_texts: int | None = None
    passing: float = 1.0
    weighted: bool = False
    fixed_length: bool = False
    by_row: bool = False

    @property
    def shapes(self) -> tuple[str, ...]:
        """The shapes this loss accepts."""
        return tuple(self.samplers)


_DISTANCE = ("cosine", "euclidean", "manhattan")
_SCALE = Option(20.0, "multiplies the similarity; the inverse temperature", usual=(10.0, 100.0))
_GROUPED: dict[str, Sampler] = {"classes": "class_groups"}
_CLASS_DISTANCE = Option("cosine", "the distance between two texts", choices=("cosine", "euclidean"))
_CLASS_MARGIN = Option(0.2, "how much nearer the same class must be", usual=(0.05, 5.0))

LOSSES: dict[LossName, LossRow] = {
    "multiple_negatives_ranking": LossRow(
        means="the positive must beat every other text of the batch",
        samplers={"pairs": "distinct", "triplets": "distinct", "retrieval": "distinct", "classes": "class_pairs"},
        options={
            "scale": _SCALE,
            "symmetric": Option(False, "also let every positive find its anchor"),
            "margin": Option(0.0, "subtracted from the positive's similarity before the softmax", usual=(0.0, 0.5)),
        },
        source="Henderson et al. 2017, arXiv:1705.00652, section 4; margin: Yang et al. 2019, arXiv:1902.08564, 3",
        in_batch_negatives=True,
        weighted=True,
    ),
    "triplet": LossRow(
        means="the positive must be nearer than the negative by a margin",
        samplers={"triplets": "shuffled"},
        options={
            "distance": Option("cosine", "the distance between two texts", choices=_DISTANCE),
            "margin": Option(0.2, "how much nearer the positive must be", usual=(0.05, 5.0)),
        },
        source="Schroff et al. 2015, arXiv:1503.03832, section 3.1",
        most_texts=3,
        by_row=True,
    ),
    "contrastive": LossRow(
        means="similar pairs are drawn together, others pushed beyond a margin",
        samplers={"labelled": "shuffled"},
        options={
            "distance": Option("cosine", "the distance between two texts", choices=_DISTANCE),
            "margin": Option(0.5, "how far apart dissimilar pairs must be", usual=(0.1, 2.0)),
        },
        source="Hadsell et al. 2006, Dimensionality Reduction by Learning an Invariant Mapping, section 2.1",
        weighted=True,
        by_row=True,
    ),
    "online_contrastive": LossRow(
        means="contrastive, on the hard pairs of each batch only",
        samplers={"labelled": "shuffled"},
        options={
            "distance": Option("cosine", "the distance between two texts", choices=_DISTANCE),
            "margin": Option(0.5, "how far apart dissimilar pairs must be", usual=(0.1, 2.0)),
        },
        source="Hadsell et al. 2006, section 2.1, with hard-pair selection as documented by sentence-transformers",
    ),
    "cosine_similarity": LossRow(
        means="the cosine of a pair must equal its score",
        samplers={"scored": "shuffled", "labelled": "shuffled"},
        options={},
        source="Reimers & Gurevych 2019, arXiv:1908.10084, section 3 (regression objective)",
        by_row=True,
    ),
    "cosent": LossRow(
        means="pairs must be ordered by similarity as they are by score",
        samplers={"scored": "shuffled", "labelled": "shuffled"},
        options={"scale": _SCALE},
        source="Huang et al. 2024, CoSENT: Consistent Sentence Embedding via Similarity Ranking, section III",
    ),
    "angle": LossRow(
        means="CoSENT on the angle in complex space, which does not saturate where the cosine does",
        samplers={"scored": "shuffled", "labelled": "shuffled"},
        options={"scale": _SCALE},
        source="Li & Li 2024, arXiv:2309.12871, section 3",
    ),
    "batch_hard_triplet": LossRow(
        means="for each text the farthest of its class against the nearest of another",
        samplers=_GROUPED,
        options={"distance": _CLASS_DISTANCE, "margin": _CLASS_MARGIN},
        source="Hermans et al. 2017, arXiv:1703.07737, section 2",
    ),
    "batch_semi_hard_triplet": LossRow(
        means="triplets of a batch whose negative is farther than the positive but within the margin",
        samplers=_GROUPED,
        options={"distance": _CLASS_DISTANCE, "margin": _CLASS_MARGIN},
        source="Schroff et al. 2015, arXiv:1503.03832, section 3.2",
    ),
    "batch_all_triplet": LossRow(
        means="every valid triplet of a batch",
        samplers=_GROUPED,
        options={"distance": _CLASS_DISTANCE, "margin": _CLASS_MARGIN},
        source="Hermans et al. 2017, arXiv:1703.07737, section 2",
        passing=5.0,  # of a triplet 5 bytes are kept, and where it counts two indices and a value pass: about 26
    ),
    "softmax": LossRow(
        means="classify the pair by its NLI label through a head that is thrown away afterwards; for comparison",
        samplers={"nli": "shuffled"},
        options={},
        source="Reimers & Gurevych 2019, arXiv:1908.10084, section 3 (classification objective)",
        weighted=True,
        fixed_length=True,
        by_row=True,
    ),
}
assert set(LOSSES) == set(get_args(LossName))


def losses_for(shape: str) -> tuple[LossName, ...]:
    """The losses that accept rows of `shape`, in the table's order; NLI rows also become triplets."""
    shapes = {shape, "triplets"} if shape == "nli" else {shape}
    return tuple(name for name, row in LOSSES.items() if shapes & set(row.shapes))

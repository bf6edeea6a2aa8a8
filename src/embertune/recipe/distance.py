"""How far texts are from those that a model was trained on, in figures, and what counts as near and as far.

A tokenizer is made for the texts of its pre-training: there a word is one or two pieces. How many it needs elsewhere,
its fertility, goes with how well a model does there (Rust et al. 2021, arXiv:2012.15613).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Leaves whose `auto` rests on the distance.
BY_DISTANCE = ("train.freeze", "train.layer_decay")
#: English sets need 1.03 to 1.43 pieces a word of all-MiniLM's tokenizer, German or turned letters 2.4 and more, and
#: Chinese is unknown to three quarters (docs/lab.md).
NEAR_PIECES, FAR_PIECES = 1.5, 2.0
NEAR_UNKNOWN, FAR_UNKNOWN = 0.01, 0.05
#: A dev score from which a model knows the task as it came.
NEAR_SCORE = 0.5


@dataclass(frozen=True)
class Distance:
    """Pieces that the tokenizer makes of a word, the share of them that are unknown to it, in [0, 1], and dev's score.

    `score` is the headline of dev for the model as it came; None where it was not taken.
    """

    pieces: float
    unknown: float
    score: float | None = None

    @property
    def near(self) -> bool:
        """Whether the texts are such as the model knows, and it does well on dev as it is."""
        knows = self.score is None or self.score >= NEAR_SCORE
        return self.pieces < NEAR_PIECES and self.unknown < NEAR_UNKNOWN and knows

    @property
    def far(self) -> bool:
        """Whether the tokenizer takes the texts to pieces, or does not know their characters."""
        return self.pieces >= FAR_PIECES or self.unknown >= FAR_UNKNOWN

    @property
    def figures(self) -> Mapping[str, float]:
        """For the manifest."""
        score = {} if self.score is None else {"dev_score": self.score}
        return {"pieces_per_word": self.pieces, "unknown_share": self.unknown, **score}

    def __str__(self) -> str:
        score = "" if self.score is None else f", dev {self.score:.2f} as it came"
        return f"{self.pieces:.2f} pieces a word, {self.unknown:.1%} of them unknown{score}"

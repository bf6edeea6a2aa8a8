"""Hard negatives: texts that a model takes for an answer to an anchor and that are none."""

from embertune.mining.kept import kept
from embertune.mining.mine import Mined, check_shape, mine
from embertune.mining.pool import make_pool
from embertune.mining.rows import joined, notes, record

__all__ = ["Mined", "check_shape", "joined", "kept", "make_pool", "mine", "notes", "record"]

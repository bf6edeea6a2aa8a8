"""The table: every row by name, in the order in which all are measured."""

from __future__ import annotations

from table import caching, encoding, epoch, frozen, memory, share, steps
from table.row import Row

_PLAIN = "the plain trainer"
_FROZEN = "the plain trainer with the same layers frozen"
_ENCODE = "never slower; in bfloat16 2.5 times"
_CACHED = "4 times faster; at most 1.5 times the time"

ROWS: tuple[Row, ...] = (
    Row("nli", "NLI triplets, batch 128, float32", _PLAIN, "3.2 times", 4, steps.nli),
    Row("nli-bfloat16", "the same in bfloat16", f"{_PLAIN} in bfloat16", "3.2 times", 20, steps.nli_bfloat16),
    Row("defaults", "the same, embertune's defaults", f"{_PLAIN}'s defaults", "7.5 times", 4, steps.nli_defaults),
    Row("epoch", "an epoch of NLI triplets, batch 64", "a plain script in float32", "7 times", 90, epoch.epoch),
    Row("pairs", "questions and paragraphs, batch 64, float32", _PLAIN, "1.6 times", 5, steps.pairs),
    Row("drop-in", "pack(model) in the plain trainer, as the first row", "without", "2.8 times", 4, steps.drop_in),
    Row("drop-in-bfloat16", "the same in bfloat16", "without", "2.5 times", 20, steps.drop_in_bfloat16),
    Row("mpnet", "MPNet of MiniLM's size, as the first row", _PLAIN, "2.8 times", 5, steps.mpnet),
    Row("frozen", "4 of 6 layers frozen, NLI triplets, batch 128, float32", _FROZEN, "4.8 times", 4, frozen.frozen),
    Row("frozen-bfloat16", "the same in bfloat16", _FROZEN, "6.4 times", 20, frozen.frozen_bfloat16),
    Row("deep", "11 of 12 layers frozen, as the row above but one", _FROZEN, "10 times", 6, frozen.deep),
    Row("thaw", "a layer thawed every epoch, 6 epochs", "without the prefix cache", "never slower", 6, frozen.thaw),
    Row("encode-short", "encoding 20,000 sentences", "model.encode", _ENCODE, 10, encoding.short),
    Row("encode-long", "encoding 2,000 paragraphs", "model.encode", _ENCODE, 10, encoding.long),
    Row("caching", "gradient caching, batch 2,048", "the host's; our plain loss", _CACHED, 15, caching.caching),
    Row("memory", "memory of the first row, above model and optimizer", _PLAIN, "at most 0.6", 3, memory.memory),
    Row("share", "share of the products' speed", "the machine's own", "0.80, bfloat16 0.55", 3, share.share),
)

"""One row for each family of encoders: how a small random one is built, and the path that `pack` must take for it.

Windows are a few tokens wide, so that ordinary texts are longer than them; weights are larger than a fresh model's, so
that attention is far from uniform and a wrong neighbour shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from embertune.engine.paths import PathName
from tests.tiny import vocabulary

#: Tokens of a text, at most; texts of the tests are longer.
LIMIT = 40
_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
_NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
_ENCODER = _SIZES | _NO_DROPOUT | {"max_position_embeddings": 64, "initializer_range": 0.15}
_DECODER = _SIZES | {"max_position_embeddings": 64, "initializer_range": 0.15, "num_key_value_heads": 2, "head_dim": 8}
#: Ids of the special tokens, as the families have them.
_OF_BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_OF_ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


@dataclass(frozen=True)
class Family:
    """A family named as its `kind` (transformers' model type) and what sets this member apart.

    `frame` are the special tokens around a text; without any, an empty text has no token.
    """

    name: str
    kind: str
    settings: Mapping[str, Any]
    path: PathName = "packed"
    specials: tuple[str, ...] = _OF_BERT
    frame: tuple[str, ...] = ("[CLS]", "[SEP]")
    side: Literal["left", "right"] = "right"
    inputs: tuple[str, ...] = ("input_ids", "token_type_ids", "attention_mask")
    window: int | None = field(default=None)

    @property
    def causal(self) -> bool:
        """Whether a token sees only those before it."""
        return self.side == "left" and not self.settings.get("use_bidirectional_attention")


_IDS = ("input_ids", "attention_mask")
_WITH_TYPES = _ENCODER | {"type_vocab_size": 2}
_ROBERTA: dict[str, Any] = {"specials": _OF_ROBERTA, "frame": ("<s>", "</s>"), "inputs": _IDS}
_LAST: dict[str, Any] = {"specials": _OF_BERT, "frame": ("[SEP]",), "inputs": _IDS, "side": "left"}
_MIXED = {"layer_types": ["full_attention", "sliding_attention"]}
_GEMMA = _DECODER | {"query_pre_attn_scalar": 8, "sliding_window": 5, **_MIXED}

FAMILIES: tuple[Family, ...] = (
    Family("BERT", "bert", _WITH_TYPES),
    Family("RoBERTa", "roberta", _ENCODER | {"type_vocab_size": 1, "pad_token_id": 1}, **_ROBERTA),
    Family("XLM-R", "xlm-roberta", _ENCODER | {"type_vocab_size": 1, "pad_token_id": 1}, **_ROBERTA),
    Family(
        "DistilBERT",
        "distilbert",
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "dropout": 0.0, "attention_dropout": 0.0}
        | {"max_position_embeddings": 64, "initializer_range": 0.15},
        inputs=_IDS,
    ),
    Family(
        "ModernBERT",
        "modernbert",
        _SIZES | {"num_hidden_layers": 3, "global_attn_every_n_layers": 3, "local_attention": 8}
        | {"max_position_embeddings": 64, "initializer_range": 0.15, "pad_token_id": 0, "cls_token_id": 2}
        | {"sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
        inputs=_IDS,
        window=4,
    ),
    Family("ELECTRA", "electra", _WITH_TYPES | {"embedding_size": 16}),
    Family("ALBERT", "albert", _WITH_TYPES | {"embedding_size": 16, "pad_token_id": 0}),
    Family("NomicBERT", "nomic_bert", _WITH_TYPES),
    Family("EuroBERT", "eurobert", _DECODER | {"pad_token_id": 0}, inputs=_IDS),
    Family("Qwen3", "qwen3", _DECODER | {"pad_token_id": 0}, **_LAST),
    Family("Qwen3, padded on the right", "qwen3", _DECODER | {"pad_token_id": 0}, **(_LAST | {"side": "right"})),
    Family("Qwen3 without special tokens", "qwen3", _DECODER | {"pad_token_id": 0}, **(_LAST | {"frame": ()})),
    Family(
        "Qwen3 with a window",
        "qwen3",
        _DECODER | _MIXED | {"pad_token_id": 0, "use_sliding_window": True, "sliding_window": 5},
        **_LAST,
        window=5,
    ),
    Family("Gemma3", "gemma3_text", _GEMMA, **_LAST, window=5),
    Family("Gemma3, bidirectional", "gemma3_text", _GEMMA | {"use_bidirectional_attention": True}, **_LAST, window=5),
    Family("MPNet", "mpnet", _ENCODER | {"pad_token_id": 1}, **_ROBERTA),
    Family(
        "DeBERTa-v2",
        "deberta-v2",
        _ENCODER | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
        | {"position_biased_input": False, "norm_rel_ebd": "layer_norm", "share_att_key": True, "type_vocab_size": 0},
        path="buckets",
        inputs=_IDS,
    ),
    Family("DeBERTa-v2 with positions", "deberta-v2", _ENCODER | {"type_vocab_size": 0}, path="buckets", inputs=_IDS),
)  # fmt: skip
NAMES = tuple(family.name for family in FAMILIES)


def family(name: str) -> Family:
    """The row of that name."""
    return next(row for row in FAMILIES if row.name == name)


def tokenizer(row: Family) -> PreTrainedTokenizerFast:
    """Whole words and characters, with the family's special tokens, padding and limit."""
    words = {word: place for place, word in enumerate(vocabulary(row.specials))}
    unknown, padding = (next(w for w in row.specials if part in w.lower()) for part in ("unk", "pad"))
    made = Tokenizer(models.WordPiece(words, unk_token=unknown))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if row.frame:
        single = " ".join((*row.frame[:-1], "$A", row.frame[-1]))
        made.post_processor = processors.TemplateProcessing(
            single=single, pair=None, special_tokens=[(name, words[name]) for name in row.frame]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=padding,
        unk_token=unknown,
        padding_side=row.side,
        model_max_length=LIMIT,
        model_input_names=list(row.inputs),
    )


def write(row: Family, folder: Path, seed: int = 0, **settings: Any) -> Path:
    """Write a random backbone of the family and its tokenizer as a bare transformers checkpoint."""
    names = tokenizer(row)
    config = AutoConfig.for_model(row.kind, vocab_size=len(names), **{**row.settings, **settings})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = AutoModel.from_config(config).eval()
        for parameter in backbone.parameters():  # biases and norms of a fresh model say nothing
            parameter.data.add_(0.05 * torch.randn_like(parameter))
    backbone.save_pretrained(folder)
    names.save_pretrained(folder)
    return folder


@cache
def _written(name: str, root: Path) -> Path:
    return write(family(name), root / name.replace(" ", "-"))


def build(name: str, root: Path, *after: torch.nn.Module) -> SentenceTransformer:
    """A fresh Sentence Transformer of the family with the modules `after`, mean pooling without any."""
    backbone = Transformer(str(_written(name, root)))
    backbone.tokenizer.padding_side = family(name).side
    modules = after or (Pooling(backbone.get_embedding_dimension(), pooling_mode="mean"),)
    return SentenceTransformer(modules=[backbone, *modules], device="cpu")

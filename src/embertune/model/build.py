"""From a recipe's model section to a plain Sentence Transformer, and what was decided on the way."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Router

from embertune.errors import ModelError
from embertune.model.find import WHERE, Located, bins_only, locate
from embertune.model.prompts import Prompts, install, role_prompts
from embertune.model.quiet import Said, quiet

POOLINGS: tuple[str, ...] = Pooling.POOLING_MODES

#: What a broken or foreign folder makes the host raise.
_LOADING = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ImportError, RuntimeError),
    SafetensorError,
)


@dataclass(frozen=True)
class Built:
    """A loaded model, in float32. `notes` are for the user's eye, in the order in which things were decided.

    `source` finds the same weights again: a folder, `org/name@commit` or `package name`. `role_prompts` has an entry
    for every role with a prompt; the model carries the same in `model.prompts`.
    """

    model: SentenceTransformer
    notes: tuple[str, ...]
    source: str
    role_prompts: Mapping[str, str]


def build(
    name: str,
    *,
    pooling: str = "auto",
    prompts: Prompts = "auto",
    max_length: int | Literal["auto"] = "auto",
) -> Built:
    """Find and load the model called `name`, then set pooling, prompts and the maximum length (in tokens).

    Weights are read from safetensors, or else as tensors only (`weights_only`): no file of a model can run code.
    Parts that the checkpoint lacks are initialised the same way every time; the random state is left as it was.
    Raises ModelError for everything that a user can put right.
    """
    with quiet():
        located = locate(name)
    bare = _is_bare(located, name)
    bins = _bins(located, name, bare)
    model, said = _load(located.folder, name, bins)
    notes = [*located.notes, *_loading_notes(located.folder, said)]
    if bins:
        they = f"{name} has its weights as {bins}; they are read as tensors only (weights_only)"
        notes.append(f"{they}, and saved as safetensors")
    if pooling != "auto":
        notes += _set_pooling(model, pooling)
    elif bare:
        notes.append(f"{name} is a bare encoder: {pooling_of(model)} pooling is added")
    notes += _set_max_length(model, max_length, located.folder)
    by_role = role_prompts(model, prompts)
    install(model, prompts, by_role)
    return Built(model, tuple(notes), located.source, by_role)


def adopt(model: SentenceTransformer, prompts: Prompts = "auto") -> Built:
    """A model that the caller has loaded, with prompts set, brought to float32; it is trained in place."""
    by_role = role_prompts(model, prompts)
    install(model, prompts, by_role)
    return Built(model, tuple(_to_float32(model)), "handed over from Python", by_role)


def _to_float32(model: SentenceTransformer) -> list[str]:
    """Weights in float32, and off with the mixed precision that the host's trainer leaves on a model; in place."""
    notes = []
    kinds = sorted({str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.is_floating_point()})
    if kinds not in ([], ["float32"]):
        model.float()
        notes.append(f"the weights are {' and '.join(kinds)} and are trained in float32")
    if (before := vars(model).pop("_original_forward", None)) is not None:
        vars(model).pop("forward")
        if before.__func__ is not type(model).forward:
            vars(model)["forward"] = before
        notes.append(
            "an earlier training left the model in mixed precision, which is taken off: train.precision decides"
        )
    vars(model).pop("_is_accelerate_prepared", None)  # with it, the host would prepare the model no more
    return notes


def _is_bare(located: Located, name: str) -> bool:
    """Whether the folder is a transformers checkpoint only. Raises ModelError if it is no model, or not of our kind."""
    here = set(located.files)
    if "modules.json" not in here and "config.json" not in here:
        holds = ", ".join(sorted({file.split("/")[0] for file in here})[:5]) or "no file"
        raise ModelError(
            WHERE,
            f"the folder {name!r} is not a model; it holds {holds}",
            "a Sentence Transformer has modules.json, config.json, a tokenizer and model.safetensors; "
            "a bare encoder the same without modules.json",
        )
    if "modules.json" in here:
        _check_modules(located.folder, name)
    return "modules.json" not in here


def _check_modules(folder: Path, name: str) -> None:
    modules = _read_json(folder / "modules.json", name)
    types = [str(module.get("type", "")) for module in modules] if isinstance(modules, list) else [""]
    foreign = [type_ for type_ in types if not type_.startswith("sentence_transformers.")]
    if foreign:
        raise ModelError(
            WHERE,
            f"{name!r} needs code of its own ({foreign[0]}), and embertune runs no code that comes with a model",
            "choose a model made of sentence-transformers' own modules",
        )
    config = folder / "config_sentence_transformers.json"
    kind = _read_json(config, name).get("model_type", "SentenceTransformer") if config.is_file() else ""
    if kind not in ("", "SentenceTransformer"):
        raise ModelError(WHERE, f"{name!r} is a {kind}", "choose a SentenceTransformer or a bare encoder")


def _bins(located: Located, name: str, bare: bool) -> str:
    """The .bin files among those that hold the model's weights, joined by commas; empty where there is none."""
    modules = [] if bare else _read_json(located.folder / "modules.json", name)
    parts = {PurePosixPath(str(module.get("path") or "")) for module in modules} or {PurePosixPath()}
    bins = [file for file in bins_only(located.files) if PurePosixPath(file).parent in parts]
    return ", ".join(bins[:3]) + (", …" if len(bins) > 3 else "")


def _read_json(path: Path, name: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ModelError(WHERE, f"{path.name} of {name!r} cannot be read: {error}", "fetch the model anew") from error


def _load(folder: Path, name: str, bins: str) -> tuple[SentenceTransformer, Said]:
    """The model in float32 on the host's choice of device; equal folders give equal weights.

    The host prefers safetensors in every part, and reads the .bin files of heads as tensors only without being asked.
    """
    with quiet() as said, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            model = SentenceTransformer(
                str(folder),
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"weights_only": True, "dtype": torch.float32},
            )
        except pickle.UnpicklingError as error:
            raise ModelError(
                WHERE,
                f"{name!r} has weights that are not tensors only ({bins or 'a pickle'}); they are not read, "
                "because such a file could run code",
                "fetch the model anew, or choose one with its weights as safetensors",
            ) from error
        except _LOADING as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            remedy = "check that the folder is complete and was made for this version of sentence-transformers"
            raise ModelError(WHERE, f"{name!r} cannot be loaded: {first}", remedy) from error
    if any(isinstance(module, Router) for module in model.modules()):
        raise ModelError(
            WHERE, f"{name!r} has separate paths for queries and documents", "choose a model with one path"
        )
    return model, said


def _loading_notes(folder: Path, said: Said) -> list[str]:
    notes = []
    missing = [name for name in said.missing if "pooler" not in name]  # a head that sentence embeddings do not use
    if missing:
        shown = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        notes.append(f"the checkpoint lacks {len(missing)} of the encoder's tensors, which start at random: {shown}")
    stored = _stored_dtype(folder)
    if stored not in ("float32", ""):
        notes.append(f"the weights are stored in {stored} and are loaded in float32")
    return notes


def _stored_dtype(folder: Path) -> str:
    config = folder / "config.json"
    content = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    return str(content.get("dtype") or content.get("torch_dtype") or "")


def _poolings(model: SentenceTransformer) -> list[tuple[int, Pooling]]:
    return [(index, module) for index, module in enumerate(model) if isinstance(module, Pooling)]


def pooling_of(model: SentenceTransformer) -> str:
    """The pooling mode of a model; several are joined by `+`, and a model without pooling has `no`."""
    modes = [_mode(module) for _, module in _poolings(model)]
    return modes[0] if modes else "no"


def _mode(pooling: Pooling) -> str:
    return pooling.pooling_mode if isinstance(pooling.pooling_mode, str) else "+".join(pooling.pooling_mode)


def _set_pooling(model: SentenceTransformer, mode: str) -> Sequence[str]:
    """Replace the pooling of `model` by one of another mode; whether it counts the prompt stays as it was."""
    where = "model.pooling"
    if mode not in POOLINGS:
        raise ModelError(where, f"there is no pooling {mode!r}", "choose one of auto, " + ", ".join(POOLINGS))
    found = _poolings(model)
    if len(found) != 1:
        raise ModelError(where, f"the model has {len(found)} pooling modules, so none can be replaced", "write auto")
    index, old = found[0]
    if _mode(old) == mode:
        return ()
    new = Pooling(old.embedding_dimension, mode, include_prompt=old.include_prompt)
    if new.pooling_output_dimension != old.pooling_output_dimension and any(isinstance(m, Dense) for m in model):
        raise ModelError(where, f"the layers above {_mode(old)} pooling do not fit {mode} pooling", "write auto")
    model[index] = new
    return (f"pooling is {mode} instead of the model's own {_mode(old)}",)


def _set_max_length(model: SentenceTransformer, wanted: int | Literal["auto"], folder: Path) -> Sequence[str]:
    """Set how many tokens of a text the model reads, and say so where it is fewer than the model's files name."""
    positions = positions_of(model)
    if wanted == "auto":
        named = max(model.max_seq_length or 0, _named_length(folder))
        if positions is None or named <= positions:
            return ()
        model.max_seq_length = positions
        said = "names no maximum" if named > 10**9 else f"names {named} tokens"
        return (f"texts are cut after {positions} tokens: the model {said}, its backbone has {positions} positions",)
    where = "model.max_length"
    if wanted < 3:
        raise ModelError(where, f"{wanted} tokens leave no room for text", "give 3 or more, or auto")
    if model.transformers_model is None:
        raise ModelError(where, "this model reads texts of any length", "write auto")
    if positions is not None and wanted > positions:
        raise ModelError(where, f"{wanted} tokens; the backbone has {positions} positions", f"give at most {positions}")
    model.max_seq_length = wanted
    return ()


def _named_length(folder: Path) -> int:
    """What the tokenizer's file names, before the host lowers it; 0 for nothing."""
    path = folder / "tokenizer_config.json"
    named = json.loads(path.read_text(encoding="utf-8")).get("model_max_length") if path.is_file() else None
    return int(named or 0)


def positions_of(model: SentenceTransformer) -> int | None:
    """How many tokens the backbone has positions for, or None where it knows no limit.

    Families that number positions from behind the padding index (RoBERTa, XLM-R, MPNet) have that many fewer.
    """
    config = getattr(model.transformers_model, "config", None)
    if config is None:
        return None
    total = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    if not isinstance(total, int) or total <= 0:
        return None
    for module in model.transformers_model.modules():
        padding = getattr(module, "padding_idx", None)
        if isinstance(padding, int) and isinstance(getattr(module, "position_embeddings", None), torch.nn.Embedding):
            return total - padding - 1
    return total

"""A folder becomes a model: checked and set up as the recipe says, or refused with what would do."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Router

from embertune.errors import ModelError
from embertune.model.build import POOLINGS, build
from embertune.model.save import fingerprint


@pytest.fixture
def copy(tiny_model_path: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may spoil."""
    return shutil.copytree(tiny_model_path, tmp_path / "copy")


@pytest.fixture
def bare(tiny_encoder_path: Path, tmp_path: Path) -> Path:
    """A copy of the bare tiny encoder that a test may spoil."""
    return shutil.copytree(tiny_encoder_path, tmp_path / "bare")


@pytest.fixture
def with_head(tiny_model: Callable[[], SentenceTransformer], tmp_path: Path) -> Path:
    """The tiny model with a dense layer on top, which a test may spoil."""
    head = Dense(32, 16)
    SentenceTransformer(modules=[*tiny_model(), head], device="cpu").save(str(tmp_path / "head"))
    return tmp_path / "head"


def as_bin(part: Path, zipped: bool = True) -> Path:
    """Turn the weights of a part of a model from safetensors into a .bin."""
    weights, safe = part / "pytorch_model.bin", part / "model.safetensors"
    torch.save(load_file(safe), weights, _use_new_zipfile_serialization=zipped)
    safe.unlink()
    return weights


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_is_loaded_as_it_is(tiny_model_path: Path, tiny_model: Callable[[], SentenceTransformer]) -> None:
    built = build(str(tiny_model_path))
    assert built.source == str(tiny_model_path)
    assert built.notes == ()
    assert fingerprint(built.model) == fingerprint(tiny_model())


def test_a_bare_encoder_gets_mean_pooling_and_says_so(tiny_encoder_path: Path) -> None:
    built = build(str(tiny_encoder_path))
    assert built.model[1].pooling_mode == "mean"
    assert any("mean pooling is added" in note for note in built.notes)


@pytest.mark.parametrize("mode", POOLINGS)
def test_another_pooling_replaces_the_models_own(tiny_model_path: Path, mode: str) -> None:
    built = build(str(tiny_model_path), pooling=mode)
    assert built.model[1].pooling_mode == mode
    assert len(built.notes) == (mode != "mean")
    assert built.model.encode(["a word"]).shape == (1, 32)


def test_whether_the_prompt_is_pooled_stays_as_the_model_has_it(copy: Path) -> None:
    edit(copy / "1_Pooling" / "config.json", include_prompt=False)
    assert build(str(copy), pooling="cls").model[1].include_prompt is False


def test_an_unknown_pooling_is_refused_with_those_there_are(tiny_model_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.pooling.*'average'.*lasttoken"):
        build(str(tiny_model_path), pooling="average")


def test_a_folder_that_is_not_a_model_is_told_what_a_model_has(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ModelError, match=r"holds notes\.txt; .*modules\.json.*model\.safetensors"):
        build(str(tmp_path))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_weights_as_a_bin_only_are_read_as_tensors_and_told(bare: Path, zipped: bool) -> None:
    expected = fingerprint(build(str(bare)).model)
    as_bin(bare, zipped)
    built = build(str(bare))
    said = "has its weights as pytorch_model.bin; they are read as tensors only (weights_only), and saved as safeten"
    assert fingerprint(built.model) == expected
    assert len([note for note in built.notes if said in note]) == 1


def test_a_head_as_a_bin_only_is_read_as_tensors_and_told(with_head: Path) -> None:
    expected = fingerprint(build(str(with_head)).model)
    as_bin(with_head / "2_Dense")
    (with_head / "backup").mkdir()
    (with_head / "backup" / "pytorch_model.bin").write_bytes(b"no part of the model")
    built = build(str(with_head))
    assert fingerprint(built.model) == expected
    assert len(built.notes) == 1
    assert "weights as 2_Dense/pytorch_model.bin; they" in built.notes[0]


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "plain"])
@pytest.mark.parametrize("part", ["", "2_Dense"])
def test_a_pickle_that_would_run_code_is_refused_and_does_not(
    with_head: Path, tmp_path: Path, part: str, zipped: bool
) -> None:
    weights = as_bin(with_head / part)
    content = {"weight": Evil(tmp_path / "ran")}
    if zipped:
        torch.save(content, weights)
    else:
        weights.write_bytes(pickle.dumps(content))
    with pytest.raises(ModelError, match=r"not tensors only \(.*pytorch_model\.bin\).*could run code"):
        build(str(with_head))
    assert not (tmp_path / "ran").exists()
    with suppress(RuntimeError):  # from the plain pickle, which is no checkpoint; its code has run by then
        torch.load(weights, weights_only=False)
    assert (tmp_path / "ran").exists()  # the file is as evil as it is meant to be


@pytest.mark.parametrize(("content", "said"), [(b"no pickle", "not tensors only"), (b"", "cannot be loaded")])
def test_a_bin_that_is_broken_is_one_message(bare: Path, content: bytes, said: str) -> None:
    as_bin(bare).write_bytes(content)
    with pytest.raises(ModelError, match=said):
        build(str(bare))


def test_a_pickle_beside_safetensors_does_no_harm(bare: Path) -> None:
    (bare / "pytorch_model.bin").write_bytes(b"not even a pickle")
    built = build(str(bare))
    assert built.model.encode("word").shape == (32,)
    assert "weights_only" not in "".join(built.notes)


@pytest.mark.parametrize("spoil", ["cut", "gone", "config"])
def test_a_broken_folder_is_one_message(bare: Path, spoil: str) -> None:
    weights = bare / "model.safetensors"
    if spoil == "cut":
        weights.write_bytes(weights.read_bytes()[:500])
    elif spoil == "gone":
        weights.unlink()
    else:
        (bare / "config.json").write_text("{ not json")
    with pytest.raises(ModelError, match="cannot be loaded"):
        build(str(bare))


def test_code_that_comes_with_a_model_is_not_run(copy: Path, tmp_path: Path) -> None:
    (copy / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: ...\n")
    modules = json.loads((copy / "modules.json").read_text())
    modules[1]["type"] = "evil.Evil"
    (copy / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match=r"code of its own \(evil\.Evil\)"):
        build(str(copy))
    assert not (tmp_path / "ran").exists()


def test_another_kind_of_model_is_refused(copy: Path) -> None:
    edit(copy / "config_sentence_transformers.json", model_type="SparseEncoder")
    with pytest.raises(ModelError, match="is a SparseEncoder"):
        build(str(copy))


def test_a_model_with_two_paths_is_refused(tiny_model: Callable[[], SentenceTransformer], tmp_path: Path) -> None:
    one, other = tiny_model(), tiny_model()
    router = Router.for_query_document(query_modules=list(one), document_modules=list(other))
    SentenceTransformer(modules=[router], device="cpu").save(str(tmp_path / "two"), create_model_card=False)
    with pytest.raises(ModelError, match="separate paths for queries and documents"):
        build(str(tmp_path / "two"))


def test_tensors_that_start_at_random_are_told_and_the_same_every_time(bare: Path) -> None:
    weights = load_file(bare / "model.safetensors")
    gone = [name for name in weights if "layer.1.output.dense" in name]
    save_file({k: v for k, v in weights.items() if k not in gone}, bare / "model.safetensors", {"format": "pt"})
    torch.manual_seed(1)
    first = build(str(bare))
    torch.manual_seed(2)
    assert any("lacks 2 of the encoder's tensors" in note and "output.dense" in note for note in first.notes)
    assert fingerprint(build(str(bare)).model) == fingerprint(first.model)


def test_loading_leaves_the_random_state_alone(bare: Path) -> None:
    weights = load_file(bare / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "pooler" not in k}, bare / "model.safetensors", {"format": "pt"})
    before = torch.get_rng_state()
    assert len(build(str(bare)).notes) == 1  # mean pooling; a pooler that nothing reads is not worth a word
    assert torch.equal(before, torch.get_rng_state())


def test_half_precision_weights_are_trained_in_float32(bare: Path) -> None:
    weights = load_file(bare / "model.safetensors")
    save_file({k: v.half() for k, v in weights.items()}, bare / "model.safetensors", {"format": "pt"})
    edit(bare / "config.json", dtype="float16")
    built = build(str(bare))
    assert {parameter.dtype for parameter in built.model.parameters()} == {torch.float32}
    assert any("stored in float16" in note for note in built.notes)


def test_the_screen_stays_clean_and_the_hosts_loggers_are_as_before(
    bare: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    loggers = [logging.getLogger(name) for name in ("transformers", "sentence_transformers", "huggingface_hub")]
    before = [(logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
    weights = load_file(bare / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "layer.1" not in k}, bare / "model.safetensors", {"format": "pt"})
    build(str(bare))
    with pytest.raises(ModelError):
        build("nobody/nothing")
    assert capfd.readouterr() == ("", "")
    assert [(logger.level, list(logger.handlers), logger.propagate) for logger in loggers] == before


@pytest.mark.parametrize(("own", "said"), [(10**30, "names no maximum"), (100, "names 100 tokens")])
def test_a_length_beyond_the_positions_is_lowered_and_told(copy: Path, own: int, said: str) -> None:
    edit(copy / "tokenizer_config.json", model_max_length=own)
    built = build(str(copy))
    assert built.model.max_seq_length == 64
    assert len(built.notes) == 1
    assert said in built.notes[0]
    assert built.model.encode("word " * 200).shape == (32,)


def test_positions_that_are_never_a_tokens_do_not_count(tiny_mpnet_path: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_mpnet_path, tmp_path / "mpnet")
    edit(folder / "tokenizer_config.json", model_max_length=64)
    built = build(str(folder))
    assert built.model.max_seq_length == 62
    assert built.model.encode("word " * 200).shape == (32,)


def test_the_models_own_shorter_length_is_kept(copy: Path) -> None:
    edit(copy / "tokenizer_config.json", model_max_length=40)
    built = build(str(copy))
    assert (built.model.max_seq_length, built.notes) == (40, ())


def test_an_explicit_length_is_set(tiny_model_path: Path) -> None:
    assert build(str(tiny_model_path), max_length=16).model.max_seq_length == 16


def test_more_tokens_than_positions_are_refused(tiny_model_path: Path, tiny_mpnet_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.max_length: 65 tokens.*64 positions"):
        build(str(tiny_model_path), max_length=65)
    # MPNet counts from behind its padding index, so that two of its 64 positions are never a token's.
    with pytest.raises(ModelError, match="at most 62"):
        build(str(tiny_mpnet_path), max_length=63)
    assert build(str(tiny_mpnet_path), max_length=62).model.encode("word " * 200).shape == (32,)

"""There and back with tiny random translation models, whose words mean nothing: the mechanics."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from embertune import caches
from embertune.errors import ModelError
from embertune.rewrite import back_translation, translated
from tests import tiny

TEXTS = [tiny.question(index) for index in range(12)] + ["stone"]


def make_translator(folder: Path, seed: int) -> Path:
    """Write a random Marian model of one layer whose vocabulary is that of the toy rows."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import MarianConfig, MarianMTModel, PreTrainedTokenizerFast

    words = tiny.vocabulary(("<pad>", "</s>", "<unk>"))
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=48
    )
    config = MarianConfig(
        vocab_size=len(words), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=128,
        pad_token_id=0, eos_token_id=1, forced_eos_token_id=1, decoder_start_token_id=0, init_std=0.5,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        MarianMTModel(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("translators")
    return make_translator(folder / "there", 0), make_translator(folder / "back", 1)


@pytest.fixture
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(caches.FOLDER, str(tmp_path / "cache"))


@pytest.mark.usefixtures("_empty_cache")
def test_every_text_comes_back_in_other_words_and_in_the_same_ones_every_time(models: tuple[Path, Path]) -> None:
    rewrite = back_translation(*map(str, models))
    found = rewrite([*TEXTS, TEXTS[0], " "])
    assert len(found) == len(TEXTS) + 2
    assert found[-2:] == [found[0], " "]
    assert all(found)
    assert found[: len(TEXTS)] != TEXTS
    caches.clear()
    assert back_translation(*map(str, models))(TEXTS) == found[: len(TEXTS)]


@pytest.mark.usefixtures("_empty_cache")
def test_a_translation_does_not_hang_on_the_texts_beside_it(models: tuple[Path, Path]) -> None:
    translator = back_translation(*map(str, models)).there
    whole = translated(translator, TEXTS)
    shutil.rmtree(caches.root() / "translations")
    alone = [translated(translator, [text])[0] for text in TEXTS[::-1]]
    assert alone[::-1] == whole


@pytest.mark.usefixtures("_empty_cache")
def test_what_was_translated_once_is_not_translated_again(models: tuple[Path, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(models[0], copy)
    translator = back_translation(str(copy), str(models[1])).there
    whole = translated(translator, TEXTS)
    shutil.rmtree(copy)  # whoever asks the model now gets an error
    assert translated(translator, TEXTS[3:5]) == whole[3:5]
    with pytest.raises(ModelError, match=r"data\.augment\.translate\.there: .*copy cannot be loaded"):
        translated(translator, ["street"])


def test_a_model_with_other_weights_is_another_one(models: tuple[Path, Path]) -> None:
    assert (
        back_translation(str(models[0]), str(models[1])).mark != back_translation(str(models[1]), str(models[1])).mark
    )


def test_a_cache_that_cannot_be_written_only_costs_time(
    models: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv(caches.FOLDER, str(blocked))
    assert all(back_translation(*map(str, models))(TEXTS[:2]))


def test_a_model_that_is_not_there_is_refused(tmp_path: Path, models: tuple[Path, Path]) -> None:
    with pytest.raises(ModelError, match=r"data\.augment\.translate\.back: there is no folder"):
        back_translation(str(models[0]), str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"translate\.there: .* cannot be read: .*; name a translation model"):
        back_translation(str(tmp_path / "empty"), str(models[1]))


def test_an_encoder_is_no_translation_model(tiny_encoder_path: Path, models: tuple[Path, Path]) -> None:
    with pytest.raises(ModelError, match=r"is a model of type bert, which does not translate; name a model of encoder"):
        back_translation(str(tiny_encoder_path), str(models[1]))

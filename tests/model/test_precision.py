"""What a recipe may ask for on a model and a machine, and what `auto` becomes there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from transformers import AutoTokenizer

from embertune.errors import RecipeError
from embertune.model import precision as module
from embertune.model.build import adopt
from embertune.model.precision import ask_precision, notes_on, refuse_idle, width_of
from embertune.recipe import Recipe, load_recipe
from embertune.recipe.guidance import Resolved
from embertune.recipe.measured import Measured
from tests import tiny

Loader = Callable[[], SentenceTransformer]
TEXTS = [row[side] for row in tiny.toy_pairs(8) for side in ("anchor", "positive")]
FAST: Mapping[str, float] = {"float32": 200.0, "bfloat16": 900.0}
SLOW: Mapping[str, float] = {"float32": 170.0, "bfloat16": 3.0}

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="about what a machine without a GPU refuses")


def recipe(precision: str = "auto", **extra: Any) -> Recipe:
    return load_recipe(set={"train.precision": precision, "train.extra": extra})


def measured(monkeypatch: pytest.MonkeyPatch, products: Mapping[str, float]) -> None:
    """A machine with these products, on which the tiny model is wide enough to gain."""
    monkeypatch.setattr(module, "measure_products", lambda device, width: products)
    monkeypatch.setattr(module, "NARROWEST", 1)


@pytest.fixture
def static(tiny_model_path: Any) -> SentenceTransformer:
    """A table of static vectors: it has no products."""
    tokenizer = AutoTokenizer.from_pretrained(str(tiny_model_path), local_files_only=True)
    table = StaticEmbedding(tokenizer.backend_tokenizer, embedding_weights=torch.randn(len(tokenizer), 8).numpy())
    return SentenceTransformer(modules=[table], device="cpu")


def test_bfloat16_is_taken_where_it_is_faster_and_the_model_bears_it(
    tiny_model: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, FAST)
    found = ask_precision(tiny_model(), TEXTS)(recipe())
    assert found.value == "bfloat16"
    assert found.figures["bfloat16_gflops"] == 900.0
    assert found.figures["bfloat16_embeddings_cosine"] > 0.999
    assert found.machine.endswith(f"{torch.get_num_threads()} threads, cpu")


def test_float32_is_taken_where_bfloat16_is_slower(tiny_model: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, SLOW)
    found = ask_precision(tiny_model(), TEXTS)(recipe())
    assert (found.value, found.reason) == (
        "float32", "bfloat16 products are 0.018 times as fast (3 against 170 GFLOP/s)",
    )  # fmt: skip


def test_a_narrow_model_and_one_without_a_backbone_stay_in_float32(
    tiny_model: Loader, static: SentenceTransformer
) -> None:
    assert ask_precision(tiny_model(), TEXTS)(recipe()).reason == (
        "products of width 32 are too small to gain from another precision"
    )
    assert width_of(static) is None
    assert ask_precision(static, TEXTS)(recipe()).reason == "the model has no products to speed up"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("float16", "train.precision: float16 takes a CUDA GPU, and this trains on cpu; write auto or float32"),
        ("tf32", "train.precision: tf32 takes a CUDA GPU, and this trains on cpu; write auto or float32"),
    ],
)
def test_what_cannot_take_effect_on_this_machine_is_refused(tiny_model: Loader, asked: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        refuse_idle(Resolved(recipe(asked), {}), tiny_model())
    assert message in str(caught.value)


@pytest.mark.parametrize("asked", ["float16", "bfloat16", "tf32"])
def test_what_cannot_take_effect_on_this_model_is_refused(static: SentenceTransformer, asked: str) -> None:
    with pytest.raises(RecipeError, match=rf"{asked} has no effect on a model without a backbone; write auto or"):
        refuse_idle(Resolved(recipe(asked), {}), static)


def test_a_decision_from_another_machine_that_has_no_effect_here_says_where_to_go_on(tiny_model: Loader) -> None:
    bound = {"train.precision": Measured("tf32", "fast", {}, "a GPU")}
    with pytest.raises(RecipeError, match="go on where the run was begun, or choose another --out"):
        refuse_idle(Resolved(recipe("tf32"), {}, measured=bound), tiny_model())


@pytest.mark.parametrize("asked", ["auto", "float32", "bfloat16"])
def test_what_works_everywhere_is_not_refused(tiny_model: Loader, asked: str) -> None:
    refuse_idle(Resolved(recipe(asked), {}), tiny_model())


def test_bfloat16_that_is_slow_here_gets_one_note_that_says_how_slow(
    tiny_model: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, SLOW)
    assert list(notes_on(recipe("bfloat16"), tiny_model(), TEXTS)) == [
        "train.precision: bfloat16 products are 0.018 times as fast (3 against 170 GFLOP/s) on this machine; "
        "float32 would train faster"
    ]
    assert list(notes_on(recipe("float32"), tiny_model(), TEXTS)) == []


def test_bfloat16_that_a_model_does_not_bear_gets_a_note(tiny_model: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, FAST)
    model = tiny_model()
    assert list(notes_on(recipe("bfloat16"), model, TEXTS)) == []
    with torch.no_grad():
        for layer in model[0].model.encoder.layer:
            layer.intermediate.dense.weight += 100.0
    (note,) = notes_on(recipe("bfloat16"), model, TEXTS)
    assert note.startswith("train.precision: bfloat16 changes ")
    assert ask_precision(model, TEXTS)(recipe()).value == "float32"


def test_a_precision_that_accelerate_was_launched_with_gets_a_note(
    tiny_model: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    assert list(notes_on(recipe("float32"), tiny_model(), TEXTS)) == [
        "train.precision: decides, and not the fp16 of accelerate's configuration"
    ]
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    assert list(notes_on(recipe("float32"), tiny_model(), TEXTS)) == []


def test_a_model_handed_over_in_half_precision_is_brought_to_float32(tiny_model: Loader) -> None:
    model = tiny_model().to(torch.bfloat16)
    built = adopt(model)
    assert built.notes == ("the weights are bfloat16 and are trained in float32",)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert adopt(model).notes == ()


def test_mixed_precision_that_another_training_left_is_taken_off(tiny_model: Loader, tmp_path: Any) -> None:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    model = tiny_model()
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path), max_steps=1, bf16=True, use_cpu=True, save_strategy="no", report_to="none",
        disable_tqdm=True,
    )  # fmt: skip
    rows = Dataset.from_list(tiny.toy_pairs(8))
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=rows, loss=MultipleNegativesRankingLoss(model)
    )
    trainer.train()
    seen: list[torch.dtype] = []
    model[0].model.encoder.layer[0].intermediate.dense.register_forward_hook(lambda _m, _a, out: seen.append(out.dtype))
    model.encode(TEXTS)
    assert set(seen) == {torch.bfloat16}
    assert len(adopt(model).notes) == 1
    seen.clear()
    model.encode(TEXTS)
    assert set(seen) == {torch.float32}
    assert set(vars(model)) == set(vars(tiny_model()))

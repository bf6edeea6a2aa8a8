"""Precision: what is chosen from which figures, what runs in it, and that nothing stays behind."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import nn

from embertune.engine.precision import (
    Parity,
    Precision,
    applied,
    check_parity,
    context,
    decide,
    kept_casts,
    measure_products,
)
from tests import tiny

Loader = Callable[[], SentenceTransformer]
TEXTS = [row[side] for row in tiny.toy_pairs(8) for side in ("anchor", "positive")]
GOOD = Parity(0.99999, 0.9998)
HALVES: tuple[Precision, ...] = ("bfloat16", "float16")


def fragile(model: SentenceTransformer) -> SentenceTransformer:
    """The same function in float32, but half precision loses it: large weights that cancel, since a norm has mean 0."""
    with torch.no_grad():
        for layer in model[0].model.encoder.layer:
            layer.intermediate.dense.weight += 100.0
    return model


# The decision


@pytest.mark.parametrize(
    ("products", "parity", "precision"),
    [
        ({"float32": 200.0, "bfloat16": 900.0}, GOOD, "bfloat16"),
        ({"float32": 200.0, "bfloat16": 299.0}, GOOD, "float32"),
        ({"float32": 170.0, "bfloat16": 3.0}, GOOD, "float32"),
        ({"float32": 200.0, "bfloat16": 900.0}, Parity(0.998, 1.0), "float32"),
        ({"float32": 200.0, "bfloat16": 900.0}, Parity(1.0, 0.98), "float32"),
        ({"float32": 200.0, "bfloat16": 900.0}, Parity(float("nan"), 1.0), "float32"),
        ({"float32": 200.0, "bfloat16": 900.0}, Parity(1.0, float("nan")), "float32"),
        ({"float32": 50.0, "bfloat16": 700.0, "tf32": 400.0}, GOOD, "bfloat16"),
        ({"float32": 50.0, "bfloat16": 60.0, "tf32": 400.0}, GOOD, "tf32"),
        ({"float32": 50.0, "bfloat16": 60.0, "tf32": 70.0}, GOOD, "float32"),
        ({"float32": 50.0, "float16": 900.0, "bfloat16": 10.0}, GOOD, "float32"),
    ],
)
def test_a_precision_is_taken_only_where_it_is_clearly_faster_and_agrees(
    products: Mapping[str, float], parity: Parity, precision: str
) -> None:
    assert decide(products, lambda _: parity).precision == precision


def test_parity_is_not_asked_about_what_is_slower() -> None:
    def never(precision: Precision) -> Parity:
        raise AssertionError(precision)

    found = decide({"float32": 170.0, "bfloat16": 3.0}, never)
    assert found.reason == "bfloat16 products are 0.018 times as fast (3 against 170 GFLOP/s)"
    assert found.figures == {"float32_gflops": 170.0, "bfloat16_gflops": 3.0}


def test_a_decision_says_why_and_has_the_figures() -> None:
    found = decide({"float32": 200.0, "bfloat16": 900.0}, lambda _: GOOD)
    assert found.reason == (
        "bfloat16 products are 4.5 times as fast (900 against 200 GFLOP/s); "
        "embeddings and gradient agree (cosine 0.99999 and 0.9998)"
    )
    assert found.figures["bfloat16_embeddings_cosine"] == 0.99999
    assert found.figures["bfloat16_gradient_cosine"] == 0.9998


def test_tf32_is_taken_where_the_model_does_not_bear_bfloat16() -> None:
    parities: Mapping[str, Parity] = {"bfloat16": Parity(0.9, 1.0), "tf32": GOOD}
    products = {"float32": 50.0, "bfloat16": 700.0, "tf32": 400.0}
    assert decide(products, lambda precision: parities[precision]).precision == "tf32"
    found = decide(products | {"tf32": 51.0}, lambda precision: parities[precision])
    assert found.precision == "float32"
    assert "but it changes embeddings (cosine 0.9000, at least 0.999 is asked for)" in found.reason
    assert "tf32 products are 1 times as fast" in found.reason


@pytest.mark.parametrize("hidden", [128, 1024])
def test_products_are_measured_in_well_under_a_second(hidden: int) -> None:
    started = time.process_time()
    found = measure_products("cpu", hidden)
    assert time.process_time() - started < 1.5 * torch.get_num_threads()  # a busy machine is not a slow one
    assert set(found) == {"float32", "bfloat16"}
    assert all(speed > 0 for speed in found.values())


# What a model bears


@pytest.mark.parametrize("precision", HALVES)
def test_a_sound_model_passes_its_check(tiny_model: Loader, precision: Precision) -> None:
    found = check_parity(tiny_model(), TEXTS, precision)
    assert found.fault == ""
    assert 0.999 < found.embeddings < 1.0
    assert 0.99 < found.gradient < 1.0


@pytest.mark.parametrize("precision", HALVES)
def test_a_model_that_half_precision_breaks_fails_its_check(tiny_model: Loader, precision: Precision) -> None:
    model = fragile(tiny_model())
    assert check_parity(model, TEXTS, "float32").fault == ""
    assert check_parity(model, TEXTS, precision).fault != ""
    assert decide({"float32": 1.0, "bfloat16": 9.0}, lambda p: check_parity(model, TEXTS, p)).precision == "float32"


def test_a_model_whose_weights_overflow_float16_fails_its_check(tiny_model: Loader) -> None:
    model = tiny_model()
    with torch.no_grad():
        model[0].model.encoder.layer[1].output.dense.weight *= 1e6
    assert check_parity(model, TEXTS, "float16").fault.startswith("changes embeddings (cosine nan")
    assert check_parity(model, TEXTS, "bfloat16").embeddings > 0.999


def test_a_check_leaves_the_model_its_gradients_and_chance_as_they_were(tiny_model: Loader) -> None:
    model = tiny_model()
    model.train()
    model[1].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes, chance = [module.training for module in model.modules()], torch.get_rng_state()
    check_parity(model, TEXTS, "bfloat16")
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_in_which_nothing_is_trained_is_judged_by_its_embeddings(tiny_model: Loader) -> None:
    model = tiny_model().requires_grad_(False)
    found = check_parity(model, TEXTS, "bfloat16")
    assert found.gradient == 1.0
    assert found.embeddings < 1.0


# Running in it


def vectors(model: SentenceTransformer) -> torch.Tensor:
    found: torch.Tensor = model(model.preprocess(TEXTS))["sentence_embedding"]
    return found


@pytest.mark.parametrize("precision", HALVES)
def test_products_are_done_in_half_precision_and_everything_after_the_backbone_in_float32(
    tiny_model: Loader, precision: Precision
) -> None:
    model = tiny_model().eval()
    seen: dict[str, torch.dtype] = {}
    model[0].model.encoder.layer[0].intermediate.dense.register_forward_hook(
        lambda _m, _a, out: seen.__setitem__("product", out.dtype)
    )
    model[1].register_forward_pre_hook(
        lambda _m, features: seen.update(tokens=features[0]["token_embeddings"].dtype, on=torch.is_autocast_enabled())
    )
    plain = vectors(model)
    with applied(model, precision):
        half = vectors(model)
    assert seen == {"product": getattr(torch, precision), "tokens": torch.float32, "on": False}
    assert half.dtype == torch.float32
    assert not torch.equal(half, plain)
    assert nn.functional.cosine_similarity(half, plain).min() > 0.999
    assert torch.equal(vectors(model), plain)


class HalfTokens(nn.Module):
    """Gives token vectors in bfloat16, as a backbone that ends in a product does, and a tuple of layers."""

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, object]:
        tokens = features["token_embeddings"].to(torch.bfloat16)
        return features | {"token_embeddings": tokens, "all_layer_embeddings": (tokens, tokens)}


def test_the_mean_over_tokens_is_not_added_up_in_half_precision() -> None:
    model = SentenceTransformer(modules=[HalfTokens(), Pooling(4, "mean")], device="cpu")
    model[0].register_parameter("weight", nn.Parameter(torch.zeros(1)))
    values = torch.randn(2, 500, 4, generator=torch.Generator().manual_seed(0)) + 1
    features = {"token_embeddings": values, "attention_mask": torch.ones(2, 500, dtype=torch.int64)}
    with applied(model, "bfloat16"):
        found = model(features)
    exact = values.to(torch.bfloat16).double().mean(dim=1)
    assert found["sentence_embedding"].dtype == torch.float32
    assert float((found["sentence_embedding"].double() - exact).abs().max()) < 1e-6
    assert [layer.dtype for layer in found["all_layer_embeddings"]] == [torch.float32] * 2


def test_gradients_reach_float32_weights(tiny_model: Loader) -> None:
    model = tiny_model()
    with applied(model, "bfloat16"):
        vectors(model).square().sum().backward()
    gradients = [p.grad for name, p in model.named_parameters() if "pooler" not in name]
    assert all(g is not None and g.dtype == torch.float32 and g.abs().sum() > 0 for g in gradients)


def test_float32_is_bit_for_bit_what_it_was_and_hangs_on_nothing(tiny_model: Loader) -> None:
    model = tiny_model().eval()
    plain = vectors(model)
    with applied(model, "float32"):
        assert not model[0]._forward_hooks
        assert torch.equal(vectors(model), plain)


@pytest.mark.parametrize("precision", [*HALVES, "tf32"])
def test_nothing_is_left_on_the_model_or_in_torch(tiny_model: Loader, precision: Precision) -> None:
    model = tiny_model()
    before = set(vars(model)), set(vars(model[0])), settings()
    with applied(model, precision), applied(model, precision):  # dev is looked at while training goes on
        vectors(model)
        copy.deepcopy(model)
    assert (set(vars(model)), set(vars(model[0])), settings()) == before
    assert not model[0]._forward_hooks
    assert not model[0]._forward_pre_hooks
    assert "forward" not in vars(model)
    assert torch.equal(vectors(copy.deepcopy(model).eval()), vectors(model.eval()))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_after_a_failure_inside_the_backbone(tiny_model: Loader, error: type[BaseException]) -> None:
    model = tiny_model()

    def fail(*_: object) -> None:
        raise error

    handle = model[0].model.encoder.layer[1].register_forward_pre_hook(fail)
    before = settings()
    with pytest.raises(error), applied(model, "bfloat16"):
        vectors(model)
    handle.remove()
    assert settings() == before
    assert not model[0]._forward_hooks


def settings() -> tuple[object, ...]:
    """What torch would do with a product now."""
    return (
        torch.is_autocast_enabled("cpu"),
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cuda.matmul.fp32_precision,
        torch.get_float32_matmul_precision(),
        torch.backends.mkldnn.matmul.fp32_precision,
        torch.backends.fp32_precision,
    )


def test_tf32_is_on_inside_under_all_its_names(tiny_model: Loader) -> None:
    before = settings()
    with context("tf32", "cuda"):
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        assert torch.backends.cuda.matmul.allow_tf32
        with context("tf32", "cuda"):
            assert torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cuda.matmul.allow_tf32
    assert settings() == before


def test_a_model_saved_after_running_in_half_precision_is_a_plain_float32_one(
    tiny_model: Loader, tmp_path: Path
) -> None:
    model = tiny_model()
    with applied(model, "bfloat16"):
        vectors(model)
        model.save(str(tmp_path), create_model_card=False)
    again = SentenceTransformer(str(tmp_path), device="cpu", local_files_only=True)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert (again.encode(TEXTS) == tiny_model().encode(TEXTS)).all()


def test_casts_that_are_kept_change_nothing_and_do_not_outlive_their_block(tiny_model: Loader) -> None:
    model = tiny_model().eval()
    with applied(model, "bfloat16"):
        fresh = model.encode(TEXTS, batch_size=2)
        with kept_casts("bfloat16", "cpu"):
            kept = model.encode(TEXTS, batch_size=2)
        with torch.no_grad():
            model[0].model.encoder.layer[0].output.dense.weight *= 2
        with kept_casts("bfloat16", "cpu"):
            changed = model.encode(TEXTS, batch_size=2)
        vectors(model).sum().backward()
    np.testing.assert_array_equal(fresh, kept)
    assert not np.array_equal(changed, kept)
    assert model[0].model.encoder.layer[0].output.dense.weight.grad is not None

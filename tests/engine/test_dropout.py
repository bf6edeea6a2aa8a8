"""The quick dropout drops at its rate, keeps the expectation, and obeys torch's generator."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from embertune.engine.dropout import QuickDropout, quicken, slow_down, survivors

MANY = (400, 1000)


def _dropout(rate: float) -> nn.Dropout:
    module = nn.Dropout(rate).train()
    quicken(module)
    return module


def _drawn(module: nn.Module, x: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    made: Tensor = module(x)
    return made


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
def test_the_share_that_falls_out_is_the_rate_and_the_mean_stays(rate: float) -> None:
    made = _drawn(_dropout(rate), torch.ones(MANY))
    share = float((made == 0).float().mean())
    spread = (rate * (1 - rate) / made.numel()) ** 0.5
    assert abs(share - rate) < 5 * spread + 1 / 65536
    assert float(made.mean()) == pytest.approx(1, abs=5 * spread / (1 - rate))
    assert made.unique().numel() == 2


@settings(max_examples=40, deadline=None)
@given(st.floats(1e-6, 1 - 1e-6))
def test_the_scale_makes_up_for_the_rate_that_is_met(rate: float) -> None:
    torch.manual_seed(0)
    _, scale = survivors((4,), rate)
    met = 1 - 1 / scale
    assert abs(met - rate) <= 1 / 65536
    assert 0 <= met < 1


@pytest.mark.parametrize("axis", [0, 1])
def test_rows_and_neighbours_fall_out_independently(axis: int) -> None:
    fallen = (_drawn(_dropout(0.5), torch.ones(MANY)) == 0).float()
    shares = fallen.mean(axis)
    assert float(shares.std()) == pytest.approx((0.25 / MANY[axis]) ** 0.5, rel=0.15)
    first, second = fallen.narrow(axis, 0, MANY[axis] - 1), fallen.narrow(axis, 1, MANY[axis] - 1)
    assert abs(float((first - 0.5).mul(second - 0.5).mean())) < 5 * 0.25 / first.numel() ** 0.5


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_the_gradient_is_the_mask_of_the_forward_pass(kind: torch.dtype) -> None:
    x = torch.rand(50, 7, dtype=kind).add_(1).requires_grad_()
    made = _drawn(_dropout(0.3), x)
    weights = torch.rand_like(made)
    made.backward(weights)
    assert made.dtype == kind
    scale = made.detach().float().div(x.detach().float()).max()
    expected = torch.where(made == 0, 0.0, weights.float() * scale)
    assert torch.allclose(x.grad.float(), expected, rtol=2e-2 if kind == torch.bfloat16 else 1e-5)


def test_equal_seeds_draw_equal_masks_and_further_calls_others() -> None:
    module, x = _dropout(0.5), torch.ones(MANY)
    first, again, other = _drawn(module, x, 3), _drawn(module, x, 3), _drawn(module, x, 4)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(module(x), module(x))


def test_a_state_of_the_generator_saved_and_set_again_draws_the_same() -> None:
    module, x = _dropout(0.2), torch.ones(MANY)
    torch.manual_seed(1)
    module(x)
    state = torch.get_rng_state()
    first = [module(x), module(x[:3])]
    torch.set_rng_state(state)
    assert all(torch.equal(mine, module(own)) for mine, own in zip(first, (x, x[:3]), strict=True))


def test_layers_computed_again_draw_the_same_mask() -> None:
    module, x = _dropout(0.5), torch.ones(20, 30, requires_grad=True)
    made = torch.utils.checkpoint.checkpoint(module, x, use_reentrant=False)
    made.sum().backward()
    assert torch.equal(x.grad, made)


@pytest.mark.parametrize(("rate", "training"), [(0.0, True), (0.5, False)])
def test_without_a_rate_or_outside_training_everything_stays_and_nothing_is_drawn(rate: float, training: bool) -> None:
    module, x = _dropout(rate).train(training), torch.rand(5, 5)
    state = torch.get_rng_state()
    assert module(x) is x
    assert torch.equal(torch.get_rng_state(), state)


def test_a_rate_of_one_leaves_zeros() -> None:
    assert not _dropout(1.0)(torch.ones(5, 5)).any()


def test_a_rate_that_is_changed_later_counts() -> None:
    module = _dropout(0.0)
    module.p = 0.5
    assert (_drawn(module, torch.ones(MANY)) == 0).any()


def test_an_input_without_elements_and_one_that_is_not_contiguous_pass() -> None:
    assert _dropout(0.5)(torch.ones(0, 3)).shape == (0, 3)
    assert _dropout(0.5)(torch.ones(6, 4).T).shape == (4, 6)


def test_only_dropout_itself_is_quickened_and_all_of_it_comes_back() -> None:
    class Own(nn.Dropout):
        """Somebody's own."""

    module = nn.Sequential(nn.Dropout(0.1), Own(0.1), nn.Dropout1d(0.1), nn.Linear(2, 2))
    quicken(module)
    assert [isinstance(vars(part).get("forward"), QuickDropout) for part in module] == [True, False, False, False]
    slow_down(module)
    assert not any("forward" in vars(part) for part in module)

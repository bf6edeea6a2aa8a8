"""Weights as values: copied, put back, mixed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from embertune.model.states import copied, put, put_mixed


def made(seed: int) -> nn.Module:
    """Two layers, one of which knows how many batches it has seen: a number that is no fraction."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    model[1].num_batches_tracked.fill_(seed)
    return model


def test_a_copy_stays_as_it_was_and_can_be_put_back() -> None:
    model = made(0)
    before = copied(model)
    with torch.no_grad():
        model[0].weight.add_(1)
    assert not torch.equal(before["0.weight"], model[0].weight)
    put(before, model)
    assert torch.equal(before["0.weight"], model[0].weight)


@given(st.floats(0.01, 0.99))
def test_a_mixture_has_its_share_of_the_base_and_the_whole_numbers_of_the_other(share: float) -> None:
    base, other, model = copied(made(1)), copied(made(2)), made(3)
    put_mixed(base, other, share, model)
    expected = share * base["0.weight"] + (1 - share) * other["0.weight"]
    torch.testing.assert_close(model[0].weight.detach(), expected)
    assert int(model[1].num_batches_tracked) == 2


@given(st.floats(0.01, 0.99))
def test_what_both_have_in_common_stays_bit_for_bit(share: float) -> None:
    base, other, model = copied(made(1)), copied(made(2)), made(3)
    same = {**other, "0.bias": base["0.bias"]}
    put_mixed(base, same, share, model)
    assert torch.equal(model[0].bias, base["0.bias"])


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        put(copied(nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))), made(0))

"""Attention among flat texts is that of torch, text by text."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import causal_mask_function, sliding_window_causal_mask_function

from embertune.engine.attention import NAME, FlatMask, attend, flat_attention, flat_mask, within
from embertune.engine.layout import Layout, lay_out
from embertune.errors import ModelError

SCALING = 0.3


@dataclass(frozen=True)
class Case:
    """Query, key, value (T, heads, d), bias (heads, longest, longest) or None, and who sees whom."""

    layout: Layout
    query: Tensor
    key: Tensor
    value: Tensor
    bias: Tensor | None
    allowed: Tensor | None

    @property
    def mask(self) -> FlatMask:
        """For `attend`."""
        return FlatMask(self.layout.runs, self.layout.longest, self.allowed)

    def made(self, dropout: float = 0.0) -> Tensor:
        """Ours."""
        return attend(self.query, self.key, self.value, self.mask, SCALING, dropout, self.bias)

    def expected(self) -> Tensor:
        """torch's, one text after another."""
        shared = self.query.shape[1] // self.key.shape[1]
        parts = []
        for run in self.layout.runs:
            for start in range(run.start, run.start + run.tokens, run.length):
                own = slice(start, start + run.length)
                q, k, v = (part[own].transpose(0, 1) for part in (self.query, self.key, self.value))
                k, v = (part.repeat_interleave(shared, 0) for part in (k, v))
                mask = torch.zeros(run.length, run.length, dtype=q.dtype)
                if self.bias is not None:
                    mask = mask + self.bias[:, : run.length, : run.length]
                if self.allowed is not None:
                    mask = mask.masked_fill(~self.allowed[: run.length, : run.length], -math.inf)
                made = scaled_dot_product_attention(q, k, v, mask.expand(len(q), -1, -1), scale=SCALING)
                parts.append(made.transpose(0, 1))
        return torch.cat(parts)


def _layout(lengths: list[int]) -> Layout:
    layout = lay_out([(torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()])
    assert layout is not None
    return layout


def case(
    lengths: list[int],
    heads: int = 2,
    shared: int = 1,
    bias: bool = False,
    rule: str = "all",
    kind: torch.dtype = torch.float64,
) -> Case:
    """A random case; `heads` of key and value, each for `shared` heads of the query."""
    torch.manual_seed(sum(lengths) + heads)
    layout = _layout(lengths)
    query, key, value = (
        torch.randn(layout.tokens, count, 4, dtype=kind, requires_grad=True) for count in (heads * shared, heads, heads)
    )
    place = torch.arange(layout.longest)
    gap = place[None, :] - place[:, None]
    rules = {"all": None, "causal": gap <= 0, "window": gap.abs() <= 1, "causal window": (gap <= 0) & (gap > -3)}
    added = torch.randn(heads * shared, layout.longest, layout.longest, dtype=kind, requires_grad=True)
    return Case(layout, query, key, value, added if bias else None, rules[rule])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from(["all", "causal", "window", "causal window"]),
)
def test_vectors_and_gradients_are_those_of_torch(
    lengths: list[int], heads: int, shared: int, bias: bool, rule: str
) -> None:
    one = case(lengths, heads, shared, bias, rule)
    made, expected = one.made(), one.expected()
    assert torch.allclose(made, expected)
    weights = torch.randn_like(made)
    leaves = [part for part in (one.query, one.key, one.value, one.bias) if part is not None]
    for mine, own in zip(*(torch.autograd.grad(part, leaves, weights) for part in (made, expected)), strict=True):
        assert torch.allclose(mine, own)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_are_the_derivatives_also_under_one_mask_of_dropout(bias: bool, dropout: float) -> None:
    one = case([3, 1, 3], heads=1, shared=2, bias=bias, rule="causal")
    leaves = [part for part in (one.query, one.key, one.value, one.bias) if part is not None]

    def made(*parts: Tensor) -> Tensor:
        torch.manual_seed(11)
        return replace(one, query=parts[0], key=parts[1], value=parts[2], bias=[*parts, None][3]).made(dropout)

    assert torch.autograd.gradcheck(made, leaves)


def test_dropout_falls_on_weights_at_its_rate_and_keeps_the_mean() -> None:
    one = case([5] * 400, heads=2)
    plain = replace(one, value=torch.ones_like(one.value)).made().detach()
    torch.manual_seed(0)
    dropped = replace(one, value=torch.ones_like(one.value)).made(0.3).detach()
    assert torch.allclose(plain, torch.ones_like(plain))
    assert float(dropped.mean()) == pytest.approx(1, abs=0.02)
    assert float(dropped.std()) > 0.1
    only = case([1] * 20000, heads=1)
    share = float((replace(only, value=torch.ones_like(only.value)).made(0.3) == 0).float().mean())
    assert share == pytest.approx(0.3, abs=0.02)


def test_equal_seeds_drop_the_same_weights() -> None:
    one, made = case([4, 2, 4]), []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        made.append(one.made(0.5))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_other_precisions_are_kept_and_near(kind: torch.dtype) -> None:
    one = case([6, 3, 3, 1], heads=2, bias=True, rule="causal", kind=kind)
    made = one.made()
    assert made.dtype == kind
    exact = replace(
        one, query=one.query.double(), key=one.key.double(), value=one.value.double(), bias=one.bias.double()
    )
    assert float((made.double() - exact.made()).abs().max().detach()) < 10 * torch.finfo(kind).eps


def test_under_autocast_parts_in_float32_are_brought_to_its_precision() -> None:
    one = case([4, 2], kind=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = replace(one, value=one.value.bfloat16()).made()
    assert made.dtype == torch.bfloat16
    assert torch.allclose(made.float(), one.made(), atol=0.03)


def test_heads_that_were_only_viewed_give_the_same() -> None:
    one = case([4, 4, 2], heads=3)
    whole = torch.stack([one.query, one.key, one.value]).transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(replace(one, query=whole[0], key=whole[1], value=whole[2]).made(), one.made())


@pytest.mark.parametrize("rule", ["all", "causal", "window", "causal window"])
def test_the_mask_function_reads_off_the_familys_rule(rule: str) -> None:
    one = case([5, 4], rule=rule)
    rules = {
        "all": lambda _b, _h, q, k: q >= 0,
        "causal": causal_mask_function,
        "window": lambda _b, _h, q, k: (q - k).abs() <= 1,
        "causal window": sliding_window_causal_mask_function(3),
    }
    with within(one.layout):
        made = flat_mask(1, one.layout.tokens, one.layout.tokens, mask_function=rules[rule])
    assert isinstance(made, FlatMask)
    assert made.runs == one.layout.runs
    if one.allowed is None:
        assert made.allowed is None
    else:
        assert torch.equal(made.allowed, one.allowed)


def test_a_window_no_text_is_wider_than_is_no_window() -> None:
    layout = _layout([3, 2])
    with within(layout):
        made = flat_mask(1, 5, 5, mask_function=lambda _b, _h, q, k: (q - k).abs() <= 4)
    assert isinstance(made, FlatMask)
    assert made.allowed is None


def test_outside_a_packed_call_mask_and_attention_are_those_of_sdpa() -> None:
    mask = torch.tensor([[1, 1, 0]]).bool()
    given = {"attention_mask": mask, "allow_is_causal_skip": False}
    made, own = (function(1, 3, 3, mask_function=causal_mask_function, **given) for function in _pair("mask"))
    assert torch.equal(made, own)
    module = nn.Module()
    query, key, value = (torch.rand(1, 2, 3, 4) for _ in range(3))
    mine, theirs = (function(module, query, key, value, own)[0] for function in _pair("attention"))
    assert torch.equal(mine, theirs)


def _pair(kind: str) -> tuple[object, object]:
    """What transformers calls for our name, and for sdpa."""
    table = AttentionMaskInterface() if kind == "mask" else AttentionInterface()
    assert table[NAME] is (flat_mask if kind == "mask" else flat_attention)
    return table[NAME], table["sdpa"]


def test_a_packed_call_with_a_mask_of_the_familys_own_is_refused() -> None:
    layout = _layout([2, 1])
    parts = [torch.rand(1, 2, 3, 4)] * 3
    for mask in (None, torch.ones(1, 1, 3, 3, dtype=torch.bool)):
        with within(layout), pytest.raises(ModelError, match="makes masks of its own"):
            flat_attention(nn.Module(), *parts, mask)


@pytest.mark.parametrize("name", ["softcap", "s_aux", "position_bias"])
def test_an_attention_that_asks_for_more_is_refused_by_name(name: str) -> None:
    layout = _layout([2, 1])
    parts = [torch.rand(1, 2, 3, 4)] * 3
    with pytest.raises(ModelError, match=f"asks for {name}"):
        flat_attention(nn.Module(), *parts, FlatMask(layout.runs, layout.longest), **{name: 1.0})


def test_an_error_in_a_packed_call_leaves_padded_calls_as_they_were() -> None:
    with pytest.raises(ZeroDivisionError), within(_layout([2])):
        raise ZeroDivisionError
    made = flat_mask(1, 2, 2, mask_function=causal_mask_function, allow_is_causal_skip=False)
    assert isinstance(made, Tensor)

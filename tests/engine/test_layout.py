"""Laying rows flat loses nothing: every token comes back to its place, whatever the padding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from embertune.engine.layout import Layout, extents, lay_out

quick = settings(max_examples=40, deadline=None)


@st.composite
def masks(draw: st.DrawFn, least: int = 1) -> list[Tensor]:
    """One to three blocks of rows with tokens in one stretch each, anywhere in the row."""
    made = []
    for _ in range(draw(st.integers(1, 3))):
        width = draw(st.integers(1, 7))
        rows = []
        for _ in range(draw(st.integers(1, 5))):
            length = draw(st.integers(least, width))
            first = draw(st.integers(0, width - length))
            rows.append([int(first <= place < first + length) for place in range(width)])
        made.append(torch.tensor(rows))
    return made


def _laid(blocks: list[Tensor]) -> Layout:
    layout = lay_out(blocks)
    assert layout is not None
    return layout


@quick
@given(masks())
def test_what_is_laid_and_laid_back_is_where_it_was_and_zero_elsewhere(blocks: list[Tensor]) -> None:
    layout = _laid(blocks)
    values = [torch.rand(*mask.shape, 3) for mask in blocks]
    flat = torch.cat([layout.lay([value[..., i] for value in values]) for i in range(3)]).T.unsqueeze(0)
    for back, value, mask in zip(layout.unlay(flat), values, blocks, strict=True):
        assert torch.equal(back, value * mask[..., None])


@quick
@given(masks())
def test_what_lies_flat_and_goes_through_rows_stays_as_it_was(blocks: list[Tensor]) -> None:
    layout = _laid(blocks)
    flat = torch.rand(1, layout.tokens, 2)
    there = layout.unlay(flat)
    assert torch.equal(torch.stack([layout.lay([block[..., i] for block in there]) for i in range(2)], -1), flat)


@quick
@given(masks())
def test_runs_cover_all_tokens_once_in_order_with_texts_whole(blocks: list[Tensor]) -> None:
    layout = _laid(blocks)
    ends = [run.start + run.tokens for run in layout.runs]
    assert [run.start for run in layout.runs] == [0, *ends[:-1]]
    assert layout.tokens == ends[-1] == sum(int(mask.sum()) for mask in blocks)
    assert layout.longest == max(int(mask.sum(1).max()) for mask in blocks)
    assert layout.places == sum(mask.numel() for mask in blocks)
    assert sorted(run.length for run in layout.runs) == [run.length for run in layout.runs]
    assert len({run.length for run in layout.runs}) == len(layout.runs)
    for run in layout.runs:
        texts = layout.index[run.start : run.start + run.tokens].view(run.count, run.length)
        assert torch.equal(texts - texts[:, :1], torch.arange(run.length).expand(run.count, -1))


@quick
@given(masks())
def test_gradients_reach_the_flat_tokens_from_their_own_places_only(blocks: list[Tensor]) -> None:
    layout = _laid(blocks)
    flat = torch.rand(1, layout.tokens, 2, requires_grad=True)
    weights = [torch.rand(*mask.shape) for mask in blocks]
    sum((block.sum(-1) * weight).sum() for block, weight in zip(layout.unlay(flat), weights, strict=True)).backward()
    assert flat.grad is not None
    assert torch.equal(flat.grad[..., 0], layout.lay(weights))


@quick
@given(masks(least=0))
def test_extents_are_where_tokens_begin_and_end(blocks: list[Tensor]) -> None:
    for mask in blocks:
        for row, first, end in zip(mask.tolist(), *(part.tolist() for part in extents(mask)), strict=True):
            places = [place for place, seen in enumerate(row) if seen]
            assert (first, end) == ((places[0], places[-1] + 1) if places else (0, len(row)))


@pytest.mark.parametrize(
    "mask",
    [
        [[1, 0, 1]],  # a hole
        [[1, 1, 0], [0, 0, 0]],  # a row without any token
        [[], []],  # no width
    ],
)
def test_rows_that_flat_tokens_cannot_stand_for_are_not_laid_out(mask: list[list[int]]) -> None:
    assert lay_out([torch.tensor(mask)]) is None
    assert lay_out([torch.ones(2, 3, dtype=torch.long), torch.tensor(mask)]) is None


def test_a_mask_of_booleans_or_fractions_counts_as_one_of_numbers() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    expected = _laid([mask])
    for kind in (torch.bool, torch.float32):
        made = _laid([mask.to(kind)])
        assert torch.equal(made.index, expected.index)
        assert made.runs == expected.runs

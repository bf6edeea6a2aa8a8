"""New negatives between passes: the course stays as planned, and a phase goes on where the one before ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from torch import nn

from embertune.errors import RecipeError
from embertune.training.course import Course, Phase
from embertune.training.renewal import as_planned, boundaries
from tests import tiny
from tests.training import made

Loader = Callable[[], SentenceTransformer]


@given(st.integers(1, 4), st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 4))
def test_phases_end_with_the_first_step_after_every_so_many_passes(
    every: int, lengths: list[int], accumulate: int
) -> None:
    batches, steps = sum(lengths), -(-sum(lengths) // accumulate)
    ends = {-(-sum(lengths[:n]) // accumulate) for n in range(every, len(lengths) + 1, every)}
    expected = sorted(step for step in ends if step < steps)
    if not expected:
        with pytest.raises(RecipeError, match=r"data.negatives.every: found \d, and training ends after \d pass"):
            boundaries(every, lengths, batches, accumulate)
        return
    assert sorted(set(boundaries(every, lengths, batches, accumulate))) == expected


@given(st.lists(st.lists(st.integers(), min_size=2, max_size=8), min_size=1, max_size=8), st.integers(-2, 2))
def test_a_pass_has_as_many_batches_as_were_planned(batches: list[list[int]], more: int) -> None:
    wanted = max(1, len(batches) + more)
    possible = sum(len(batch) // 2 for batch in batches)
    if wanted > possible:
        return
    exact = as_planned(lambda seed, epoch: [list(batch) for batch in batches], (wanted,))(0, 0)
    assert len(exact) == wanted
    if more >= 0:
        assert [row for batch in exact for row in batch] == [row for batch in batches for row in batch]


def test_a_phase_goes_on_with_optimizer_and_rate_of_the_one_before(tiny_model: Loader) -> None:
    found = []
    for cuts in ((), (4, 7)):
        model = tiny_model()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        plan = made.planned(model, tiny.toy_triplets(40), train__epochs=2, train__batch_size=8)
        course: Course = plan.course
        ends = (0, *cuts, course.steps)
        phases = tuple(Phase(first, last) for first, last in pairwise(ends))
        _, history = made.trained(dataclasses.replace(plan, course=dataclasses.replace(course, phases=phases)))
        found.append(([line["loss"] for line in history], [line["rates"] for line in history], made.weights(model)))
    (losses, rates, weights), (losses_cut, rates_cut, weights_cut) = found
    assert losses == losses_cut
    assert rates == rates_cut
    assert all(torch.equal(weights[name], weights_cut[name]) for name in weights)

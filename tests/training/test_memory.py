"""What a step needs: the arithmetic, the setting an error names, and how much memory there is."""

from __future__ import annotations

from dataclasses import replace as vary
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embertune.errors import TrainingError
from embertune.training import free as room
from embertune.training.memory import FILLED, PASSING, Cost, Memory, decide, refuse, through
from embertune.training.texts import cut

MB = 2**20


def memory(rows: int = 64, longest: int = 100, **more: Any) -> Memory:
    """Three columns; texts of `longest` tokens and fewer, a megabyte for each token, no cost of the loss."""
    lengths = np.array([[longest - row, max(1, longest // 2 - row), 1] for row in range(rows)]).clip(1)
    return vary(Memory(lengths, Cost(float(MB)), Cost(0.0), fixed=0.0, dimensions=0), **more)


def told(made: Memory, chunk: int | None, free: float) -> str:
    with pytest.raises(TrainingError) as caught:
        refuse(made, chunk, int(free))
    return str(caught.value)


# Arithmetic


@given(st.integers(2, 500), st.integers(1, 499), st.floats(0, 1e6), st.floats(0, 1e4))
def test_two_measurements_give_back_the_cost_they_were_made_from(n: int, m: int, linear: float, square: float) -> None:
    cost = Cost(linear, square)
    made = through(*((size, cost.of(np.array([size]))) for size in (n, m)))
    for size in {n, m}:
        assert made.of(np.array([size])) == pytest.approx(cost.of(np.array([size])), rel=1e-6, abs=1e-3)


def test_a_cost_that_falls_with_length_is_taken_as_even() -> None:
    assert through((10, 50.0), (5, 40.0)) == Cost(5.0, 0.0)


def test_a_batch_without_padding_needs_its_tokens_and_with_padding_every_column_at_its_widest() -> None:
    made = memory(4, 10)
    assert made.tokens == (10 + 9 + 8 + 7) + (5 + 4 + 3 + 2) + 4
    assert made.need(None) == PASSING * MB * made.tokens
    assert vary(made, padded=True).need(None) == PASSING * MB * 4 * (10 + 5 + 1)


def test_the_need_has_all_its_parts() -> None:
    made = memory(4, 10, text=Cost(0.0), loss=Cost(1.0, 2.0), fixed=1000.0, dimensions=7, call=100.0)
    assert made.need(None) == 1000 + 12 * 7 * 12 + PASSING * (100 + 2 * (4 + 2 * 16))
    assert vary(made, padded=True).need(None) - made.need(None) == PASSING * 200
    assert made.need(50) == made.need(None)


@given(st.integers(1, 400), st.booleans())
def test_chunks_need_what_the_worst_of_them_does(chunk: int, padded: bool) -> None:
    made = memory(12, 30, padded=padded)
    lengths = np.sort(made.lengths.reshape(-1))[::-1].tolist()
    worst, first = 0, 0
    for size in cut(lengths, chunk):
        part = lengths[first : first + size]
        worst, first = max(worst, size * part[0] if padded else sum(part)), first + size
    assert made.need(chunk) == pytest.approx(PASSING * MB * worst)


@given(st.floats(1, 8000), st.booleans())
def test_the_largest_setting_fits_and_one_more_does_not(free: float, padded: bool) -> None:
    made, free = memory(padded=padded), free * MB
    chunk = made.largest_chunk(free)
    if chunk is None:
        assert made.need(1) > free
    else:
        assert made.need(chunk) <= free
        assert chunk.bit_length() <= 3 or chunk % (1 << (chunk.bit_length() - 3)) == 0
    batch = vary(made, chunks=False).largest_batch(free)
    if batch is None:
        assert made.need(None, 2) > free
    else:
        assert made.need(None, batch) <= free
        assert batch == 64 or made.need(None, batch + 1) > free


def test_a_little_more_or_less_memory_gives_the_same_chunk() -> None:
    made = memory(256)
    found = {made.largest_chunk(PASSING * MB * (5000 + change)) for change in range(-300, 100, 25)}
    assert len(found) <= 2


# Decisions and errors


def test_the_batch_is_left_whole_where_it_fits_and_cut_where_it_does_not() -> None:
    made = memory()
    enough = int(made.need(None) / FILLED) + 1
    found = decide(made, enough)
    assert found.value is None
    assert found.reason == (
        f"the longest batch (64 rows, {made.tokens:,} tokens) needs about {made.need(None) / 2**30:.1f} GiB, and "
        f"{enough / 2**30:.1f} GiB are free"
    )
    cut_up = decide(made, enough // 2)
    assert isinstance(cut_up.value, int)
    assert made.need(cut_up.value) <= FILLED * (enough // 2)
    assert "; in such chunks about " in cut_up.reason
    assert cut_up.figures["free_bytes"] == enough // 2


def test_where_nothing_tells_how_much_there_is_nothing_is_cut_and_nothing_refused() -> None:
    assert decide(memory(), None).value is None
    refuse(memory(), None, None)


def test_a_batch_that_runs_out_in_a_trial_is_cut_until_it_does_not() -> None:
    tried: list[int | None] = []

    def trial(chunk: int | None) -> bool:
        tried.append(chunk)
        return chunk is not None and chunk < 600

    found = decide(memory(), 2**40, trial)
    assert tried[0] is None
    assert tried[1:] == sorted(tried[1:], reverse=True)
    assert found.value == tried[-1]
    assert isinstance(found.value, int)
    assert 300 <= found.value < 600


def test_where_no_trial_succeeds_it_is_an_error() -> None:
    with pytest.raises(TrainingError, match="needs about"):
        decide(memory(), 2**40, lambda _: False)
    with pytest.raises(TrainingError, match=r"write train\.chunk: \d+"):
        refuse(memory(), None, 2**40, lambda _: False)


def test_too_large_a_batch_is_an_error_that_names_the_chunk_that_fits() -> None:
    made = memory()
    chunk = made.largest_chunk(FILLED * 500 * MB)
    assert told(made, None, 500 * MB) == (
        f"train.chunk: the longest batch (64 rows, {made.tokens:,} tokens) needs about "
        f"{made.need(None) / 2**30:.1f} GiB, and {500 / 1024:.1f} GiB are free; write train.chunk: {chunk}"
    )
    refuse(made, chunk, 500 * MB)
    assert "in chunks of 4,000 tokens" in told(made, 4000, 500 * MB)


def test_where_chunks_do_not_help_the_error_names_a_batch_and_where_that_does_not_a_length() -> None:
    whole = memory(chunks=False)
    assert told(whole, None, 500 * MB).endswith(f"write train.batch_size: {whole.largest_batch(FILLED * 500 * MB)}")
    square = memory(loss=Cost(0.0, float(MB)))
    assert told(square, None, 500 * MB).endswith(f"write train.batch_size: {square.largest_batch(FILLED * 500 * MB)}")
    assert told(memory(), None, 60 * MB).endswith(
        f"write model.max_length: {memory().largest_length(FILLED * 60 * MB)}"
    )
    assert told(memory(), None, MB).endswith("free some memory, or take a smaller model")


# How much there is


def test_of_all_limits_the_tightest_counts(tmp_path: Path) -> None:
    own, root = tmp_path / "own", tmp_path / "cgroup"
    inner = root / "job" / "step"
    inner.mkdir(parents=True)
    own.write_text("0::/job/step\n3:cpu:/elsewhere\n", encoding="utf-8")
    (inner / "memory.max").write_text("max\n", encoding="utf-8")
    (inner / "memory.current").write_text("5\n", encoding="utf-8")
    (root / "job" / "memory.max").write_text(f"{100 * MB}\n", encoding="utf-8")
    (root / "job" / "memory.current").write_text(f"{60 * MB}\n", encoding="utf-8")
    (root / "job" / "memory.stat").write_text(f"anon 1\ninactive_file {10 * MB}\n", encoding="utf-8")
    assert list(room._cgroups(root, own)) == [50 * MB]


def test_limits_of_the_first_version_of_cgroups_count_too(tmp_path: Path) -> None:
    own, root = tmp_path / "own", tmp_path / "cgroup"
    (root / "memory" / "job").mkdir(parents=True)
    own.write_text("4:memory:/job\n1:cpu:/\n", encoding="utf-8")
    for folder, most in ((root / "memory" / "job", 40 * MB), (root / "memory", 2**63 - 4096)):
        (folder / "memory.limit_in_bytes").write_text(f"{most}\n", encoding="utf-8")
        (folder / "memory.usage_in_bytes").write_text(f"{10 * MB}\n", encoding="utf-8")
    assert list(room._cgroups(root, own)) == [30 * MB]


def test_what_the_system_has_available_is_read_and_a_system_without_it_tells_less(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2048 kB\n", encoding="utf-8")
    assert list(room._system(tmp_path / "meminfo")) == [2048 * 1024]
    assert all(value > 0 for value in room._system(tmp_path / "nothing"))
    assert list(room._cgroups(tmp_path / "nothing", tmp_path / "nothing")) == []

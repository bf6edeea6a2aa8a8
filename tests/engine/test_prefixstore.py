"""States are found again as they were kept; stores survive crowds, kills, full disks and small budgets."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embertune.engine import prefixstore, published
from embertune.engine.prefixstore import ENDING, States, StateStore, Wanted, keys_of_tokens
from embertune.engine.segment import Ints

WIDTH = 4


def wanted(lengths: list[int]) -> Wanted:
    """Texts with these lengths; the tokens of text `i` are all `i`."""
    long = np.array(lengths, dtype=np.int64)
    high, low = keys_of_tokens(np.repeat(np.arange(len(long)), long), long)
    order = np.lexsort((low, high))
    return Wanted(high[order], low[order], long[order])


def states(texts: Wanted, places: Ints) -> States:
    """Each text's own: what its key ends in."""
    ends = (texts.low[places] % np.uint64(997)).astype(np.float16)
    return np.repeat(ends, texts.lengths[places])[:, None] + np.zeros((1, WIDTH), np.float16)


def filled(store: StateStore, texts: Wanted) -> int:
    """Fill the store; how many texts had to be computed."""
    computed = 0

    def compute(places: Ints) -> States:
        nonlocal computed
        computed += len(places)
        return states(texts, places)

    store.fill(texts, compute)
    return computed


def has_all(store: StateStore, texts: Wanted) -> bool:
    rows, lengths = store.find(texts.high, texts.low).ids()
    return np.array_equal(rows, states(texts, np.arange(len(texts)))) and np.array_equal(lengths, texts.lengths)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> int:
    """Bytes of a piece."""
    monkeypatch.setattr(prefixstore, "PIECE", 1000)
    return 1000


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60))
def test_what_is_kept_in_memory_is_found_again(lengths: list[int]) -> None:
    store, texts = StateStore(None, WIDTH, "float16", 2**20), wanted(lengths)
    assert filled(store, texts) == len(texts)
    assert has_all(store, texts)
    assert store.bytes == texts.tokens * WIDTH * 2


def test_each_text_is_computed_once_also_over_two_stores(tmp_path: Path, small_pieces: int) -> None:
    texts = wanted([1 + i % 7 for i in range(400)])
    store = StateStore(tmp_path, WIDTH, "float16", 2**20)
    assert filled(store, texts) == 400
    assert len(list(tmp_path.glob(f"*{ENDING}"))) > 1
    assert filled(store, texts) == 0
    other = StateStore(tmp_path, WIDTH, "float16", 2**20)
    assert has_all(other, texts)
    more = wanted([1 + i % 7 for i in range(450)])
    assert filled(other, more) == 50
    assert has_all(other, more)


def test_beyond_the_budget_nothing_is_kept(tmp_path: Path, small_pieces: int) -> None:
    texts = wanted([5] * 400)
    store = StateStore(tmp_path, WIDTH, "float16", 200 * 5 * WIDTH * 2 + 7)
    assert filled(store, texts) == 200
    assert store.holds(texts).tolist() == [True] * 200 + [False] * 200
    assert not store.trouble
    assert filled(StateStore(tmp_path, WIDTH, "float16", store.budget), texts) == 0


def test_a_file_of_other_numbers_is_not_read(tmp_path: Path) -> None:
    texts = wanted([3] * 10)
    filled(StateStore(tmp_path, WIDTH, "float16", 2**20), texts)
    assert StateStore(tmp_path, WIDTH, "float32", 2**20).texts == 0


def test_a_folder_that_cannot_be_written_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = StateStore(tmp_path / "file", WIDTH, "float16", 2**20)
    assert filled(store, wanted([3] * 10)) == 0
    assert "file" in store.trouble


def test_a_disk_that_fills_up_keeps_what_is_there(
    tmp_path: Path, small_pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = wanted([5] * 400)
    store, sync, synced = StateStore(tmp_path, WIDTH, "float16", 2**20), published.os.fsync, []

    def full(handle: int) -> None:
        synced.append(handle)
        if len(synced) > 3:
            raise OSError(28, "No space left on device")
        sync(handle)

    monkeypatch.setattr(published.os, "fsync", full)
    filled(store, texts)
    assert "No space left" in store.trouble
    assert 0 < StateStore(tmp_path, WIDTH, "float16", 2**20).holds(texts).sum() < 400
    assert not list(tmp_path.glob("*.half"))


_FILLING = """
import sys, time
from pathlib import Path
from embertune.engine import prefixstore
from tests.engine.test_prefixstore import WIDTH, filled, states, wanted
prefixstore.PIECE = 1000
texts, store = wanted([5] * 400), prefixstore.StateStore(Path(sys.argv[1]), WIDTH, "float16", 2**20)
print("ready", flush=True)
sys.stdin.readline()
counted = 0
def slowly(places):
    global counted
    counted += len(places)
    time.sleep(float(sys.argv[2]))
    return states(texts, places)
store.fill(texts, slowly)
print(counted)
"""


def _filler(folder: Path, pause: float) -> subprocess.Popen[str]:
    """A process that fills the store when it is told to, with a pause in every piece."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    root = Path(__file__).parents[2]
    return subprocess.Popen([sys.executable, "-c", _FILLING, str(folder), str(pause)], text=True, cwd=root, **pipes)


def _go(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds() and time.monotonic() < end:
        time.sleep(0.001)


def test_two_processes_compute_each_text_once_between_them(tmp_path: Path) -> None:
    with _filler(tmp_path, 0.02) as one, _filler(tmp_path, 0.02) as other:
        _go(one, other)
        counts = [int(process.communicate(timeout=60)[0]) for process in (one, other)]
    assert sum(counts) == 400
    assert has_all(StateStore(tmp_path, WIDTH, "float16", 2**20), wanted([5] * 400))


def test_a_fill_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    with _filler(tmp_path, 0.1) as process:
        _go(process)
        _until(lambda: len(list(tmp_path.glob(f"*{ENDING}"))) > 2)
        process.send_signal(signal.SIGKILL)
    (tmp_path / "left.half").write_bytes(b"as a writer leaves it that was killed")
    store, texts = StateStore(tmp_path, WIDTH, "float16", 2**20), wanted([5] * 400)
    there = int(store.holds(texts).sum())
    assert 0 < there < 400
    assert filled(store, texts) == 400 - there
    assert has_all(store, texts)
    assert not list(tmp_path.glob("*.half"))

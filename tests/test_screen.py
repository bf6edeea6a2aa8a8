"""While training goes on a terminal shows curves that fit its width, a log a plain line for each look."""

from __future__ import annotations

import io
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from embertune.report.sparks import BARS, PLAIN
from embertune.screen import LENGTH, Seen, lines, look_line
from embertune.terminal import Terminal
from embertune.watch import LayerLine, LookLine, Progress

_FELL = "dev fell by 2.4 standard errors while the loss on train fell from 0.61 to 0.12"


def _progress(step: int, steps: int = 40, loss: float | None = None) -> Progress:
    value = 2.0 / step if loss is None else loss
    return Progress(step, steps, step / steps, value, 1_000.0, 60.0, "cosine_accuracy", 0.71, 0.7)


def _look(step: int, value: float, diagnosis: str = "improving", reason: str = "dev rose") -> LookLine:
    return LookLine(step, step / 40, value, value > 0.7, 0.2, 0.3, diagnosis, reason)


def _train(terminal: Terminal) -> None:
    """Forty steps with five looks, the last of which is worse."""
    with terminal:
        terminal.layers([LayerLine("top", 10, 1e-4)])
        terminal.look(_look(0, 0.5))
        for step in range(1, 41):
            terminal.step(_progress(step))
            if step % 10 == 0:
                last = step == 40
                terminal.look(_look(step, 0.6 if last else 0.7 + step / 1000, *(("overfitting", _FELL) * last)))
            if step == 20:
                terminal.note("the rate is halved")


def _screen(width: int, encoding: str = "utf-8", **settings: object) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="")
    _train(Terminal(console=Console(file=file, width=width, highlight=False, **settings)))
    file.flush()
    return raw.getvalue().decode(encoding)


def _last(screen: str) -> list[str]:
    """The lines that stay on a terminal."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen).replace("\r", "\n")
    shown = [line.rstrip() for line in plain.split("\n") if line.strip()]
    begin = max(i for i, line in enumerate(shown) if "40/40" in line)
    return shown[begin:]


def test_a_wide_terminal_has_both_curves_on_one_line_and_the_diagnosis_below() -> None:
    _, curves, told = _last(_screen(120, force_terminal=True))
    assert curves.startswith("   loss █")
    assert re.search(r"dev [▁-█]{5} 0\.6000$", curves)
    assert told == f"   overfitting: {_FELL}"


def test_a_narrow_terminal_has_them_one_below_the_other_and_no_line_wraps() -> None:
    shown = _last(_screen(40, force_terminal=True))
    assert [line.split()[0] for line in shown[1:]] == ["loss", "dev", "overfitting:"]
    assert max(map(len, shown)) <= 40
    assert shown[-1].endswith("…")


def test_a_console_that_is_not_utf8_gets_bars_that_it_can_write() -> None:
    shown = _last(_screen(100, "ascii", force_terminal=True))
    assert set(shown[1].split()[1]) <= set(PLAIN)
    assert shown[2].startswith("   overfitting: dev fell")


def test_texts_that_a_console_cannot_write_do_not_end_a_run() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    Terminal(console=Console(file=file)).note("größer → ∞")
    file.flush()
    assert "gr" in raw.getvalue().decode("ascii")


def test_without_colours_no_escape_colours_anything() -> None:
    assert "\x1b[3" not in _screen(100, force_terminal=True, no_color=True)
    assert "\x1b[3" in _screen(100, force_terminal=True, color_system="standard")


def test_a_log_has_one_plain_line_for_each_look() -> None:
    looks = [line for line in _screen(60).splitlines() if "epoch" in line]
    assert len(looks) == 5
    told = "          step 40  epoch 1.00  dev 0.6000  loss train 0.2000, dev 0.3000  "
    assert looks[-1] == f"{told}overfitting: {_FELL}"
    assert looks[1].endswith("  improving")
    assert "\x1b" not in _screen(60)


@pytest.mark.parametrize("settings", [{"quiet": True}, {"quiet": True, "json": True}])
def test_quiet_says_nothing_of_looks(settings: dict[str, bool]) -> None:
    for terminal in (True, False):
        file = io.StringIO()
        _train(Terminal(**settings, console=Console(file=file, force_terminal=terminal)))
        assert file.getvalue() == ""


def test_what_is_seen_takes_bounded_room_and_the_loss_of_every_stretch_is_its_mean() -> None:
    seen = Seen()
    for step in range(1, 24_001):
        seen.step(_progress(step, 24_000, loss=float((step - 1) // 1_000)))
    assert seen.losses == [float(i) for i in range(LENGTH)]


def test_a_look_taken_again_after_a_rollback_counts_once() -> None:
    seen = Seen()
    for step, value in ((0, 0.1), (10, 0.2), (20, 0.3), (10, 0.25)):
        seen.look(_look(step, value))
    assert [(look.step, look.value) for look in seen.looks] == [(0, 0.1), (10, 0.25)]


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60),
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60),
    st.integers(1, 200),
    st.sampled_from([BARS, PLAIN]),
)
def test_no_values_and_no_width_break_the_curves(
    losses: list[float], values: list[float], width: int, bars: str
) -> None:
    seen = Seen()
    for step, loss in enumerate(losses, 1):
        seen.step(_progress(step, len(losses), loss))
    for step, value in enumerate(values):
        seen.look(_look(step, value))
    file = io.StringIO()
    console = Console(file=file, width=width)
    for line in lines(seen, width, bars):
        console.print(line)
    assert all(len(line) <= width for line in file.getvalue().splitlines())


def test_a_look_without_losses_and_diagnosis_is_one_short_line() -> None:
    assert look_line(LookLine(3, 0.5, math.nan, False)) == "step 3  epoch 0.50  dev nan"

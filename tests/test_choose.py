"""Which model is saved is decided on dev alone."""

from __future__ import annotations

from embertune.choose import Choice, choose


def test_without_dev_the_last_state_is_taken() -> None:
    assert choose(0, 30, None) == Choice("tuned", "no dev rows: the state after the last of 30 steps")


def test_where_nothing_beat_the_untouched_model_it_is_kept() -> None:
    reason = "no evaluation during training beat the untouched model's cosine_accuracy on dev"
    assert choose(0, 30, "cosine_accuracy") == Choice("base", reason)


def test_the_best_state_on_dev_is_taken_with_its_step() -> None:
    assert choose(20, 30, "cosine_accuracy") == Choice("tuned", "best cosine_accuracy on dev, at step 20 of 30")

"""Keeps the host libraries' bars and warnings off the screen, and hands over what of them a user should know."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers.utils import logging as transformers_logging

#: A line of the loading report of transformers: the name of a tensor, a bar, its status (with terminal colours or not).
_MISSING = re.compile(r"^\s*(\S+)\s*\|.*MISSING", re.MULTILINE)


@dataclass
class Said:
    """What the host logged at warning level or above inside `quiet`."""

    messages: list[str] = field(default_factory=list)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of tensors that the checkpoint lacks and that were therefore initialised at random."""
        return tuple(name for message in self.messages for name in _MISSING.findall(message))


class _Collect(logging.Handler):
    def __init__(self, said: Said) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.messages.append(record.getMessage())


@contextmanager
def quiet() -> Iterator[Said]:
    """Inside, nothing of transformers, sentence-transformers or the Hub's client reaches the screen."""
    said = Said()
    loggers = [logging.getLogger(name) for name in ("transformers", "sentence_transformers", "huggingface_hub")]
    before = [(logger, logger.handlers, logger.propagate, logger.level) for logger in loggers]
    bars = transformers_logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    transformers_logging.disable_progress_bar()
    if bars[1]:
        disable_progress_bars()
    for logger in loggers:
        logger.handlers, logger.propagate = [_Collect(said)], False
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield said
    finally:
        for logger, handlers, propagate, level in before:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
        if bars[0]:
            transformers_logging.enable_progress_bar()
        if bars[1]:
            enable_progress_bars()

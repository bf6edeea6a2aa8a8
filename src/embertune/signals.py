"""Being asked to end: by Ctrl-C (SIGINT), or by whoever runs this machine (SIGTERM)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_BOTH = (signal.SIGINT, signal.SIGTERM)


class Ending:
    """Inside, the first signal only sets `asked`, and whoever looks at it may finish first; a second leaves at once.

    Leaving at once is a KeyboardInterrupt. A signal that is ignored stays so, as under nohup. Nothing is changed
    outside of the main thread, to which python gives all signals.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Ending:
        if threading.current_thread() is threading.main_thread():
            for number in _BOTH:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def terminable() -> Iterator[None]:
    """Inside, SIGTERM ends as Ctrl-C does: with a KeyboardInterrupt, so that what is half done is tidied up."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    alone = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    if not alone or before in (signal.SIG_IGN, None):
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

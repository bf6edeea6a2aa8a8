"""Runs in processes of their own: their memory is freed, one can be ended, and a crash takes nothing else along.

A `Worker` is a process that has everything imported and begins one run after the other, each in a process again: a copy
of itself where that is safe (Linux, no GPU that would have to be opened anew), a fresh one elsewhere. All of them end
when the process that began them does, however it ends. `python -m embertune.apart` is the worker's side.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from pathlib import Path

from embertune.engine.published import locked
from embertune.errors import EmbertuneError
from embertune.recipe import Recipe, load_recipe
from embertune.recipe.explain import to_yaml
from embertune.rundir import told_plainly, write_text
from embertune.signals import terminable

#: Seconds between two looks at how a run stands, and until one that was asked to end is ended by force.
POLL, PATIENCE = 0.2, 60.0
#: The exit code of a process that the system ended.
_KILLED = -9
#: Characters of what a crashed run last said.
_LAST = 600


@dataclass(frozen=True)
class Ended:
    """How a run ended: `done`, or with an error in words; neither where it was stopped."""

    done: bool
    error: str = ""


class Worker:
    """A process that makes one run after the other. `threads` are those each may use; None leaves it to torch."""

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads
        self._process: subprocess.Popen[str] | None = None
        self._reader = ThreadPoolExecutor(1)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.communicate()  # the end of its stdin is the end of its work
        self._reader.shutdown()

    def run(self, recipe: Recipe, out: Path, stop: Callable[[], bool]) -> Ended:
        """Make the run of `recipe` in `out`, or go on with it; ended early as soon as `stop` says so.

        `stop` is asked several times a second, and may look at what the run has written so far. Beside `out`, a file
        with the recipe and one with what the run said stand while it goes on; the latter stays where it failed.
        """
        paths = {name: out.parent / f"{out.name}.{name}" for name in ("yaml", "log", "lock")}
        with told_plainly(out):
            out.parent.mkdir(parents=True, exist_ok=True)
        write_text(paths["yaml"], to_yaml(recipe, {}))
        code = self._code({name: str(path) for name, path in paths.items()} | {"out": str(out)}, stop)
        error = "" if code in (0, None) else _said(paths["log"], code)
        for name in ("yaml", "lock") if error else paths:
            paths[name].unlink(missing_ok=True)
        return Ended(code == 0, error)

    def _code(self, job: dict[str, str], stop: Callable[[], bool]) -> int | None:
        """The exit code of a job; None where it was stopped."""
        process = self._started()
        assert process.stdin is not None
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        pid, stopped = self._answer(process).result(), False
        if pid is None:
            return _KILLED
        answer = self._answer(process)
        try:
            while True:
                try:
                    code = answer.result(timeout=POLL)
                    break
                except NotYet:
                    if not stopped and stop():
                        stopped = True
                        _end(pid, answer)
        except BaseException:
            _end(pid, answer)
            raise
        return None if stopped else _KILLED if code is None else code

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            limits = {"OMP_NUM_THREADS": str(self._threads)} if self._threads else {}
            command = [sys.executable, "-m", "embertune.apart"]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, **limits},
            )
        return self._process

    def _answer(self, process: subprocess.Popen[str]) -> Future[int | None]:
        """The next number that the worker says, None where it is no more."""
        assert process.stdout is not None
        stream = process.stdout
        return self._reader.submit(lambda: int(line) if (line := stream.readline()) else None)


def _end(pid: int, answer: Future[int | None]) -> None:
    """Ask a run to end, and make it if it does not."""
    for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        try:
            os.kill(pid, number)
            answer.result(timeout=PATIENCE)
        except (NotYet, ProcessLookupError):
            continue
        return


def _said(log: Path, code: int) -> str:
    """What a run that failed said of it."""
    told = log.read_text(encoding="utf-8", errors="replace").strip() if log.is_file() else ""
    if code < 0:
        killed = "out of memory, perhaps" if code == _KILLED else "a crash"
        return f"ended by {signal.Signals(-code).name} ({killed})"
    return told[-_LAST:].rsplit("\n", 1)[-1] if "Traceback" in told else told[-_LAST:] or f"ended with code {code}"


def main() -> None:
    """The worker's side: a job a line on stdin; for each its process and, in the end, its exit code on stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever began this one decides
    if len(sys.argv) > 1:
        _work(json.loads(sys.argv[1]))
    from embertune.run import run  # noqa: F401 imported once, before there are copies

    for line in iter(sys.stdin.readline, ""):
        if _copies():
            pid = os.fork()
            if not pid:
                _work(json.loads(line))
            _say(pid)
            _say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        else:
            job = subprocess.Popen([sys.executable, "-m", "embertune.apart", line])
            _say(job.pid)
            _say(job.wait())


def _copies() -> bool:
    import torch

    return sys.platform == "linux" and torch.cuda.device_count() == 0


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _work(job: dict[str, str]) -> None:
    """Make a run, and end this process with its exit code."""
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    code = 1
    try:
        locked(Path(job["lock"]), alone=True)  # a run that a killed search began may still be leaving
        with terminable():
            from embertune.run import run

            run(load_recipe(job["yaml"]), Path(job["out"]))
        code = 0
    except EmbertuneError as error:
        sys.stderr.write(f"{error}\n")
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _leave_with_parent() -> None:
    """Nothing is said on stdin while a run goes on; its end is that of whoever asked for the run."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()

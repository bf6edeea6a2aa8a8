"""What a run ran on: versions, hardware, threads, the state of the data, the command."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("embertune", "torch", "sentence-transformers", "transformers", "datasets", "tokenizers", "numpy")


def versions() -> dict[str, str]:
    """The versions of what results depend on."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def hardware(device: str, threads: int) -> dict[str, Any]:
    """The machine, as far as it decides over numbers and speed."""
    return {
        "system": platform.platform(terse=True),
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "threads": threads,
        "device": device,
    }


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            names = (line.partition(":")[2].strip() for line in file if line.startswith("model name"))
            return next(names, platform.processor())
    except OSError:
        return platform.processor()


def command_line() -> str:
    """The command that started this process, as one would type it."""
    return shlex.join(
        ["embertune" if sys.argv[0].endswith(("__main__.py", "embertune")) else sys.argv[0], *sys.argv[1:]]
    )


def machine_of(machine: Mapping[str, Any]) -> str:
    """What `hardware` found, on one line."""
    return f"{machine['processor']}, {machine['threads']} threads, {machine['device']}"


def manifest(
    *,
    fingerprint: str,
    data: Mapping[str, Any],
    model: str,
    seed: int,
    machine: Mapping[str, Any],
    measured: Mapping[str, Any],
) -> dict[str, Any]:
    """The record that stands in manifest.json; `fingerprint` ties the folder to the data, `measured` binds reruns."""
    return {
        "fingerprint": fingerprint,
        "model": model,
        "seed": seed,
        "data": dict(data),
        "versions": versions(),
        "hardware": dict(machine),
        "measured": dict(measured),
        "command": command_line(),
    }

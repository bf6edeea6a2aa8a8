"""How much memory there is to take: on a GPU what the driver says, on a processor the tightest of several limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch

#: A cgroup without a limit says "max", or in the first version a number near 2^63.
_NO_LIMIT = 2**60


def free_bytes(device: torch.device) -> int | None:
    """Bytes that training on `device` may still take; None where nothing tells.

    On a processor the smallest of what the system has available, what the limits of the cgroups this process is in
    leave, and what is left of its address space (`ulimit -v`). Swap does not count: a step that swaps never ends.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free) + held
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    if device.type != "cpu":
        return None
    left = [*_system(Path("/proc/meminfo")), *_cgroups(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")), *_space()]
    return max(0, min(left)) if left else None


def _system(meminfo: Path) -> Iterator[int]:
    """What Linux can give without swapping; elsewhere all physical memory, if the system says."""
    for line in _lines(meminfo):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024
            return
    try:
        yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return


def _cgroups(root: Path, own: Path) -> Iterator[int]:
    """What each limit on the way from our cgroup to the root leaves; pages of files can be dropped and do not count."""
    names = {"memory.max": ("memory.current", "inactive_file")}
    names["memory.limit_in_bytes"] = ("memory.usage_in_bytes", "total_inactive_file")
    for folder in _folders(root, own):
        for limit, (used, droppable) in names.items():
            most, now = _number(folder / limit), _number(folder / used)
            if most is None or now is None or most >= _NO_LIMIT:
                continue
            lines = (line.split() for line in _lines(folder / "memory.stat"))
            files = next((int(words[1]) for words in lines if words[:1] == [droppable]), 0)
            yield most - (now - files)


def _folders(root: Path, own: Path) -> Iterator[Path]:
    """The folders that may hold limits on this process, of both versions of cgroups."""
    for line in _lines(own):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / "memory" if controllers else root
        here = base / path.strip().lstrip("/")
        yield from dict.fromkeys((here, *(parent for parent in here.parents if parent.is_relative_to(base))))


def _space() -> Iterator[int]:
    """What is left of the address space, where it is limited."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = next((int(line.split()[1]) * 1024 for line in _lines(Path("/proc/self/status")) if line[:7] == "VmSize:"), 0)
    if limit != resource.RLIM_INFINITY:
        yield limit - used


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _number(path: Path) -> int | None:
    words = _lines(path)
    return int(words[0]) if words and words[0].isdigit() else None

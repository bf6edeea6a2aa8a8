"""What a machine can do: the speed of its products, and how much memory some work took at its peak."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from embertune.engine.precision import Precision, context

#: Precisions whose products can be measured, by kind of device; the others have float32 only.
PRECISIONS: Mapping[str, tuple[Precision, ...]] = {
    "cpu": ("float32", "bfloat16"),
    "cuda": ("float32", "tf32", "bfloat16", "float16"),
}
#: Rows and columns of the matrices: small ones first, then the largest that take no longer than `_PATIENCE` seconds.
_SMALL, _LARGE = 512, {"cuda": (8192, 4096)}
_ON_CPU, _PATIENCE = (2048, 1024), 0.5


def product_speed(precision: Precision, device: str) -> float:
    """Floating-point operations a second of a product of square matrices: the best of a few, in about a second.

    Large matrices come near the peak; where there are no units for `precision`, small ones must do.
    """
    with context(precision if precision == "tf32" else "float32", device):
        rough = _speed(_SMALL, precision, device, 2)
        sizes = (size for size in _LARGE.get(device, _ON_CPU) if 2.0 * size**3 / rough < _PATIENCE)
        return max(rough, _speed(next(sizes, _SMALL), precision, device, 5))


def _speed(size: int, precision: Precision, device: str, times: int) -> float:
    """Operations a second, of the best of `times` products after one that is not counted."""
    dtype = torch.float32 if precision == "tf32" else getattr(torch, precision)
    chance = torch.Generator(device).manual_seed(0)
    left, right = (torch.rand(size, size, generator=chance, dtype=dtype, device=device) for _ in range(2))
    best = float("inf")
    for turn in range(times + 1):
        synchronize(left.device)
        started = time.perf_counter()
        torch.mm(left, right)
        synchronize(left.device)
        if turn:
            best = min(best, time.perf_counter() - started)
    return 2.0 * size**3 / best


def synchronize(device: torch.device) -> None:
    """Wait until `device` has done all it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def begin_peak(device: torch.device) -> int | None:
    """Bytes in use now, from where `peak_memory` counts anew; None where that cannot be known.

    Of this process, or on a GPU of its tensors. What is free goes back to the system first. Without a GPU this needs
    Linux (`man 5 proc`, clear_refs).
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return int(torch.cuda.memory_allocated(device))
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
        return _resident("VmRSS")
    except (OSError, AttributeError):
        return None


def peak_memory(device: torch.device) -> int | None:
    """The most bytes in use since `begin_peak`; None where that cannot be known."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        return _resident("VmHWM")
    except OSError:
        return None


def _resident(kind: str) -> int:
    """Bytes of this process in memory: VmRSS now, VmHWM at the peak."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{kind}:"))

"""What a result was measured on: processor, its units, how fast its products are, versions, other load."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from embertune.engine.machine import product_speed
from embertune.engine.precision import Precision
from embertune.manifest import hardware, versions

_UNITS = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_tile")


def device() -> str:
    """Where torch works by default here."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def precisions() -> tuple[Precision, ...]:
    """float32, and bfloat16 where it is the faster one."""
    faster = product_speed("bfloat16", device()) > product_speed("float32", device())
    return ("float32", "bfloat16") if faster else ("float32",)


def fingerprint() -> dict[str, Any]:
    """The machine and the versions, with the speed of products in each precision."""
    here = device()
    machine = hardware(here, torch.get_num_threads())
    if here == "cuda":
        machine["accelerator"] = torch.cuda.get_device_name()
    products = {name: round(product_speed(name, here) / 1e9, 1) for name in ("float32", "bfloat16")}
    return {
        "machine": machine | {"units": units(), "products, GFLOP/s": products},
        "load of the machine afterwards": round(os.getloadavg()[0], 2),
        "versions": versions(),
    }


def units() -> list[str]:
    """The vector and matrix units of the processor that decide over products."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return [unit for unit in _UNITS if unit in flags]

"""How much memory there is to work with, on the host and on its accelerators."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import torch

_MEMINFO = Path("/proc/meminfo")
#: Limits of the control group (version 2), in which containers live.
_LIMIT, _USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def _find_trim() -> Callable[[int], object]:
    """glibc's malloc_trim; elsewhere nothing."""
    try:
        trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return lambda pad: None
    return trim


_trim = _find_trim()


def give_back() -> None:
    """Give the system what is free between what is not: tensors come and go by megabytes, and their holes add up.

    Measured on a block of SmolLM2 with 16384 tokens: 60 MB less at the peak, for a tenth of the time; having each large
    tensor mapped and unmapped by itself saves 20 MB more, for half of the time.
    """
    _trim(0)


def available_bytes(device: torch.device) -> int | None:
    """Bytes that can be had on ``device`` now; None where the system does not tell."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    known = [found for found in (_of_machine(), _of_group()) if found is not None]
    return min(known, default=None)


def _of_machine() -> int | None:
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _of_group() -> int | None:
    try:
        limit, used = _LIMIT.read_text(encoding="ascii").strip(), _USED.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return None if limit == "max" else max(0, int(limit) - int(used))

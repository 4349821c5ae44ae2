"""Calibration's inner loops by the C kernel, on as many threads as torch has: the same bytes, many times sooner."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from modelpress.tensors import kernel
from modelpress.tensors.grid import Grid
from modelpress.tensors.kernel.sweep import Block, Search, Sweeps

GRIDS = {torch.bfloat16: Grid.BF16, torch.float16: Grid.F16, torch.float32: Grid.F32}

#: Rows that a thread takes come in multiples of this, the most that sweep.c does together.
_TOGETHER = 64


def sweeps_for(columns: Tensor) -> Sweeps | None:
    """The kernel, if it is there and can reach these numbers."""
    return kernel.sweeps if columns.device.type == "cpu" else None


def array(tensor: Tensor) -> NDArray[Any]:
    """The tensor's own memory."""
    found: NDArray[Any] = tensor.numpy()
    return found


def decide(sweeps: Sweeps, block: Block) -> None:
    """All rows of a block."""
    _over_rows(block.columns.shape[1], lambda first, last: sweeps.decide(block, first=first, last=last))


def search(sweeps: Sweeps, wanted: Search) -> None:
    """The scales of all rows."""
    _over_rows(wanted.columns.shape[1], lambda first, last: sweeps.search(wanted, first=first, last=last))


def _over_rows(rows: int, work: Callable[[int, int], None]) -> None:
    """``work`` on runs of rows, one for each thread; no row depends on another."""
    threads = max(1, min(torch.get_num_threads(), rows // _TOGETHER))
    each = -(-rows // (threads * _TOGETHER)) * _TOGETHER
    starts = range(0, rows, each)
    if len(starts) == 1:
        work(0, rows)
    else:
        # The caller is one of the threads; each result is asked for, so that what goes wrong is heard of.
        others = [_crew().submit(work, start, min(start + each, rows)) for start in starts[1:]]
        work(0, each)
        for other in others:
            other.result()


@cache
def _crew() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=max(1, torch.get_num_threads()), thread_name_prefix="sweep")

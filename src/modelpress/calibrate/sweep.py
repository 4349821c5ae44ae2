"""One pass over a weight from its first column to its last: what GPTQ and SparseGPT share.

Source: Frantar, Ashkboos, Hoefler, Alistarh: GPTQ, 2022 (arXiv 2210.17323), of which this is the order of work:
within a block columns make up for what is lost at once, beyond it by one matrix product a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from modelpress.calibrate.decision import Decision, decide

#: Columns of a block at most, as in the papers.
BLOCK = 128


def sweep(columns: Tensor, factor: Tensor, *, blocks: Iterator[slice], choose: Callable[[slice], Decision]) -> Tensor:
    """The integers, int8 [columns, rows], or zeros where nothing is rounded; ``columns`` becomes what was decided.

    ``choose`` is asked for each block when its columns have made up for all before it.

    Shapes: columns float32 [columns, rows], in the order in which they are decided, as are those of ``factor``.
    """
    integers = torch.zeros(columns.shape, dtype=torch.int8, device=columns.device)
    for block in blocks:
        found, errors = decide(columns[block], factor[block, block], choose(block))
        if found.numel():
            integers[block] = found
        columns[block.stop :].addmm_(factor[block, block.stop :].T, errors, alpha=-1)
    return integers


def blocks(columns: int, *, group: int | None = None) -> Iterator[slice]:
    """Runs of at most BLOCK columns; one begins wherever a group does."""
    group = group or columns
    for first in range(0, columns, group):
        end = min(first + group, columns)
        for start in range(first, end, BLOCK):
            yield slice(start, min(start + BLOCK, end))

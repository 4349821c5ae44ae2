"""One pass over a weight from its first column to its last: what GPTQ and SparseGPT share.

Source: Frantar, Ashkboos, Hoefler, Alistarh: GPTQ, 2022 (arXiv 2210.17323), whose order of work this is: within a block
columns make up for what is lost at once, beyond it by one matrix product a block. Within a block we do the same again:
only the columns of a panel are updated one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from modelpress.calibrate.decision import Decision, decide

#: Columns of a block at most, as in the papers, and of a panel unless told.
BLOCK, PANEL = 128, 32


def sweep(
    columns: Tensor,
    factor: Tensor,
    *,
    choose: Callable[[slice], Decision],
    group: int | None = None,
    panel: int = PANEL,
) -> Tensor:
    """The integers, int8 [columns, rows], or zeros where nothing is rounded; ``columns`` becomes what was decided.

    ``choose`` is asked for each panel when its columns have made up for all before it, and so have those of its group:
    a panel begins wherever a group does, if ``group`` tells their columns.

    Shapes: columns float32 [columns, rows], in the order in which they are decided, as are those of ``factor``.
    """
    integers = torch.zeros(columns.shape, dtype=torch.int8, device=columns.device)
    for block in blocks(len(columns), group=group):
        errors = torch.empty_like(columns[block])
        for part in panels(block, group=group, panel=panel):
            found, lost = decide(columns[part], factor[part, part], choose(part))
            if found.numel():
                integers[part] = found
            errors[part.start - block.start : part.stop - block.start] = lost
            columns[part.stop : block.stop].addmm_(factor[part, part.stop : block.stop].T, lost, alpha=-1)
        columns[block.stop :].addmm_(factor[block, block.stop :].T, errors, alpha=-1)
    return integers


def blocks(columns: int, *, group: int | None = None) -> Iterator[slice]:
    """Runs of at most BLOCK columns. A group that begins within one ends in it too, or else a block begins with it."""
    run = columns if group is None or BLOCK % group == 0 else group
    for first in range(0, columns, run):
        yield from _runs(first, min(first + run, columns), BLOCK)


def panels(block: slice, *, group: int | None, panel: int = PANEL) -> Iterator[slice]:
    """Runs of at most ``panel`` of its columns; one begins wherever a group does."""
    run = min(group or BLOCK, BLOCK)
    for first in range(block.start, block.stop, run):
        yield from _runs(first, min(first + run, block.stop), panel)


def _runs(start: int, stop: int, most: int) -> Iterator[slice]:
    return (slice(first, min(first + most, stop)) for first in range(start, stop, most))

"""Which entries of a weight become zero: exactly as many as asked for, those that cost least."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modelpress.calibrate.decision import Zeroing, costs, least
from modelpress.domain.sparsity import Sparsity
from modelpress.errors import Unsupported


class Choice:
    """Of a weight's entries, block by block of columns: of each layer in it so many that the ratio is met exactly.

    ``layers``: rows of each layer that the weight is made of; one layer unless told.
    """

    def __init__(self, sparsity: Sparsity, *, layers: Sequence[int] = ()) -> None:
        self._sparsity, self._layers = sparsity, list(layers)

    def of(self, columns: Tensor, diagonal: Tensor, block: slice) -> Zeroing:
        """Of the columns of ``block``, which have made up for all before them.

        Shapes: columns [columns, rows], diagonal [columns].
        """
        if self._sparsity.pattern != "unstructured":
            return Zeroing(pattern=pattern_of(self._sparsity, len(columns)))
        cost = costs(columns[block], diagonal[block, None])
        mask = torch.empty(cost.shape, dtype=torch.bool, device=cost.device)
        first = 0
        for rows in self._layers or [columns.shape[1]]:
            layer = slice(first, first + rows)
            # Counted from the first column, so that the counts of all blocks add up to the layer's.
            upto = [round(self._sparsity.ratio * rows * end) for end in (block.start, block.stop)]
            mask[:, layer] = least_of_all(cost[:, layer], upto[1] - upto[0])
            first += rows
        return Zeroing(mask=mask)


def pattern_of(sparsity: Sparsity, columns: int) -> tuple[int, int]:
    """How many of how many neighbours are zero.

    Raises: Unsupported if they do not come out even.
    """
    zeros, of = (int(number) for number in sparsity.pattern.split(":"))
    if columns % of:
        raise Unsupported(f"rows of {columns} weights cannot be pruned {sparsity.pattern}: {of} does not divide them")
    return zeros, of


def least_of_all(numbers: Tensor, count: int) -> Tensor:
    """A mask of exactly ``count`` entries, the least; of equals those that come first."""
    flat = numbers.reshape(1, -1)
    return least_of_rows(flat, count).reshape(numbers.shape)


def least_of_rows(numbers: Tensor, count: int) -> Tensor:
    """A mask of exactly ``count`` entries in each row, the least; of equals those that come first."""
    if count == 0:
        return torch.zeros(numbers.shape, dtype=torch.bool, device=numbers.device)
    limit = numbers.kthvalue(count, dim=1, keepdim=True).values
    mask = numbers < limit
    missing = count - mask.sum(dim=1, keepdim=True)
    equal = numbers == limit
    return mask | (equal & (equal.cumsum(dim=1) <= missing))


def least_of_few(numbers: Tensor, pattern: tuple[int, int]) -> Tensor:
    """A mask of so many in each run of so many in a row, the least; of equals those that come first."""
    zeros, of = pattern
    runs = numbers.reshape(len(numbers), -1, of)
    return least(runs.permute(2, 0, 1), zeros).permute(1, 2, 0).reshape(numbers.shape)

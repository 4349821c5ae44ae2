"""Which entries of a weight become zero: exactly as many as asked for, those that cost least."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from modelpress.calibrate.decision import Zeroing, costs, least
from modelpress.domain.sparsity import Sparsity
from modelpress.errors import Unsupported

#: Columns whose zeros are chosen together: the fewer, the more of what was lost before is known. From 128, the papers'
#: number, to 16 the layers' errors fall by a tenth (measured on SmolLM2-135M at a half); below that hardly at all.
TOGETHER = 16

#: Entries looked at to learn how the zeros are shared out among a layer's columns.
_LOOKED_AT = 1 << 21


class Choice:
    """Of a weight's entries, a few columns after the other: of each layer in it so many that the ratio is met exactly.

    How many are due in which columns is learnt beforehand, from what each entry would cost then; which ones they are is
    chosen when their turn comes. With as many in each block of columns, as the SparseGPT paper has it, a tenth more is
    lost: some columns matter far less than others.

    ``layers``: rows of each layer that the weight is made of; one layer unless told.
    Shapes: columns [columns, rows], diagonal [columns], of the factor.
    """

    def __init__(self, sparsity: Sparsity, columns: Tensor, diagonal: Tensor, *, layers: Sequence[int] = ()) -> None:
        self._columns, self._diagonal = columns, diagonal
        self._pattern = None if sparsity.pattern == "unstructured" else pattern_of(sparsity, len(columns))
        self._layers: list[_Layer] = []
        if self._pattern is None:
            rows = list(layers) or [columns.shape[1]]
            assert sum(rows) == columns.shape[1], (layers, columns.shape)
            ends = list(accumulate(rows))
            parts = [slice(end - count, end) for count, end in zip(rows, ends, strict=True)]
            self._layers = [_Layer(sparsity.ratio, columns[:, part], diagonal, rows=part) for part in parts]

    def of(self, few: slice) -> Zeroing:
        """Of the columns of ``few``, which come after those asked for before and have made up for all before them."""
        if self._pattern is not None:
            return Zeroing(pattern=self._pattern)
        cost = costs(self._columns[few], self._diagonal[few, None])
        mask = torch.empty(cost.shape, dtype=torch.bool, device=cost.device)
        for layer in self._layers:
            mask[:, layer.rows] = least_of_all(cost[:, layer.rows], layer.take(few))
        return Zeroing(mask=mask)


class _Layer:
    """How many zeros are due in the columns of a layer, which lies at ``rows`` of the weight."""

    def __init__(self, ratio: float, columns: Tensor, diagonal: Tensor, *, rows: slice) -> None:
        self.rows, self._taken = rows, 0
        self._count = columns.shape[1]
        total = round(ratio * columns.numel())
        step = -(-columns.numel() // _LOOKED_AT)
        looked = costs(columns[:, ::step], diagonal[:, None])
        chosen = least_of_all(looked, round(ratio * looked.numel())).sum(dim=1).double().cumsum(dim=0)
        share = chosen / chosen[-1].clamp(min=1)
        #: By column, the zeros that are due up to it.
        self._due: list[int] = [*(share * total).round().long().tolist()[:-1], total]

    def take(self, few: slice) -> int:
        """The zeros to be chosen in these columns now."""
        room = self._count * (few.stop - few.start)
        number = min(self._due[few.stop - 1] - self._taken, room)
        self._taken += number
        return number


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

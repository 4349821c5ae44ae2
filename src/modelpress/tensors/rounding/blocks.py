"""Rounding to the blocks of llama.cpp's files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelpress.tensors import kernel
from modelpress.tensors.gguf.blocks import BlockType
from modelpress.tensors.grid import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRounding:
    """Rows of ``columns`` weights on ``grid`` become blocks of ``block_type``, one after another: one output.

    F32, F16 and BF16 are plain numbers, rounded to nearest even; to F32 something may be ``added`` too. Q8_0, Q5_0 and
    Q4_0 are ggml's reference, bit for bit. For Q4_K and Q6_K the scales, and minimums, of the groups are
    searched for: several for each group, the best fit to the integers of each, then the neighbours of what they become
    as small integers; what counts is the squared error, each weight's times its size plus its group's root mean square.

    Outputs: blocks.
    Bound:   a weight above 65504 in size, F16's largest number, is refused as if infinite, but for F32 and BF16.
    Source:  docs/formats.md; ggml-quants.c, quantize_row_*_ref, for what is ggml's.
    """

    grid: Grid
    columns: int
    block_type: BlockType
    added: float = 0.0

    def __post_init__(self) -> None:
        assert self.columns > 0, self
        assert self.columns % self.block_type.length == 0, self
        assert self.added == 0 or self.block_type.name == "F32", self

    @property
    def row_multiple(self) -> int:
        """See :class:`modelpress.tensors.rounding.Rounding`."""
        return 1

    @property
    def source_row_bytes(self) -> int:
        """Bytes of one row as it is read."""
        return self.columns * self.grid.size_bytes

    @property
    def row_bytes(self) -> int:
        """Bytes of one row's blocks."""
        return self.columns // self.block_type.length * self.block_type.size_bytes

    def output_bytes(self, rows: int) -> tuple[int, ...]:
        """See :class:`modelpress.tensors.rounding.Rounding`."""
        return (rows * self.row_bytes,)

    def round_rows(self, source: NDArray[np.uint8], outputs: Sequence[NDArray[np.uint8]]) -> int | None:
        """See :class:`modelpress.tensors.rounding.Rounding`."""
        rows, rest = divmod(len(source), self.source_row_bytes)
        assert rest == 0, (self, len(source))
        assert tuple(map(len, outputs)) == self.output_bytes(rows), (self, tuple(map(len, outputs)))
        row = kernel.encode_blocks(self, source, outputs[0])
        return None if row < 0 else row

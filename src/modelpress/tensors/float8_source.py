"""Checkpoints whose weights are FP8 with one scale a block, as DeepSeek and Qwen ship them: read as bf16.

Source: ``weight_block_size`` of config.json; ``X.weight`` (e4m3) times ``X.weight_scale_inv`` (one number a block of
rows and columns; the last ones may be cut), in float32, rounded to bf16. So does compressed-tensors 0.19.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelpress.errors import BadSource
from modelpress.tensors import kernel
from modelpress.tensors.folder import Folder
from modelpress.tensors.grid import Grid
from modelpress.tensors.header import StoredTensor
from modelpress.tensors.kernel.numbers import widen
from modelpress.tensors.rows import Rows, StoredRows, Workbench, stored_rows
from modelpress.tensors.spec import TensorSpec

_SCALE = "_scale_inv"
_DTYPE = "F8_E4M3"
#: A hostile config must not ask for a block of a billion rows.
_LARGEST_EDGE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Float8Rows:
    """Rows of bf16 that are kept as e4m3 bytes and a scale for each block of ``block`` rows and columns."""

    values: StoredRows
    scales: StoredRows
    scale_grid: Grid
    block: tuple[int, int]

    @property
    def count(self) -> int:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return self.values.count

    @property
    def row_bytes(self) -> int:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return self.values.row_bytes * Grid.BF16.size_bytes

    @property
    def stored_bytes(self) -> int:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return self.values.stored_bytes + self.scales.stored_bytes

    @property
    def finest(self) -> Rows:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return self

    def read(self, folder: Folder, *, start: int, buffer: NDArray[np.uint8], bench: Workbench) -> None:
        """See :class:`modelpress.tensors.rows.Rows`."""
        rows, columns = len(buffer) // self.row_bytes, self.values.row_bytes
        high, wide = self.block
        values = bench.buffer("float8", rows * columns)
        self.values.read(folder, start=start, buffer=values, bench=bench)
        first, last = start // high, (start + rows - 1) // high
        scales = bench.buffer("float8 scales", (last - first + 1) * self.scales.row_bytes)
        self.scales.read(folder, start=first, buffer=scales, bench=bench)
        for block_row in range(first, last + 1):
            begin, end = max(start, block_row * high) - start, min(start + rows, (block_row + 1) * high) - start
            stored_scales = scales[(block_row - first) * self.scales.row_bytes :][: self.scales.row_bytes]
            kernel.widen_float8(
                values.reshape(rows, columns)[begin:end],
                widen(stored_scales, self.scale_grid),
                wide,
                buffer[begin * self.row_bytes : end * self.row_bytes],
            )


def float8_block(config: Mapping[str, Any]) -> tuple[int, int] | None:
    """Rows and columns of a block, where config.json says that weights are FP8 in blocks; else None."""
    stated = config.get("quantization_config")
    if not isinstance(stated, dict) or stated.get("quant_method") != "fp8" or stated.get("fmt", "e4m3") != "e4m3":
        return None
    block = stated.get("weight_block_size")
    if not isinstance(block, list) or len(block) != 2:
        return None
    if not all(type(edge) is int and 0 < edge <= _LARGEST_EDGE for edge in block):
        raise BadSource(f"config.json states the impossible weight_block_size {block!r}"[:200])
    return block[0], block[1]


def decoded(stored: Iterable[StoredTensor], block: tuple[int, int]) -> Iterator[tuple[TensorSpec, str, Rows]]:
    """Every tensor as it is once read, the file that keeps it, and its rows; scales are part of their weights.

    Raises: BadSource for a weight whose scales are missing or do not fit, or scales without a weight.
    """
    by_name = {tensor.spec.name: tensor for tensor in stored}
    for name, tensor in by_name.items():
        if name.endswith(_SCALE):
            owner = by_name.get(name.removesuffix(_SCALE))
            if owner is None or owner.spec.dtype != _DTYPE:
                raise BadSource(f"it has scales {name!r}, but no FP8 weight they belong to")
        elif tensor.spec.dtype == _DTYPE and len(tensor.spec.shape) == 2:
            rows = _rows(tensor, by_name.get(name + _SCALE), block)
            yield TensorSpec(name=name, dtype=Grid.BF16, shape=tensor.spec.shape), tensor.file, rows
        else:
            yield tensor.spec, tensor.file, stored_rows(tensor)


def _rows(tensor: StoredTensor, scales: StoredTensor | None, block: tuple[int, int]) -> Float8Rows:
    name = tensor.spec.name
    if scales is None:
        raise BadSource(f"FP8 weight {name!r} has no scales {name + _SCALE!r}")
    rows, columns = tensor.spec.shape
    expected = (-(-rows // block[0]), -(-columns // block[1]))
    if scales.spec.shape != expected or scales.spec.dtype not in set(Grid):
        raise BadSource(
            f"the scales of FP8 weight {name!r} are {scales.spec.dtype} of shape {scales.spec.shape}; blocks of "
            f"{block[0]} x {block[1]} in {rows} x {columns} need floating-point numbers of shape {expected}"
        )
    values = stored_rows(tensor)
    return Float8Rows(values=values, scales=stored_rows(scales), scale_grid=Grid(scales.spec.dtype), block=block)

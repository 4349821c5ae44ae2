"""Rows in the order and the joined form that llama.cpp wants them in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelpress.tensors.folder import Folder
from modelpress.tensors.rows import Rows, Workbench


def interleaved(head_rows: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """For places in llama.cpp's order of the rows of q and k, the places in transformers' order.

    llama.cpp rotates neighbouring rows, transformers rotates row j together with row j + head_rows / 2: so a head has
    the rows 0, half, 1, half + 1, … of the original.

    Source: llama.cpp, convert_hf_to_gguf.py (LlamaModel.permute).
    """
    pair, second = np.divmod(places % head_rows, 2)
    original: NDArray[np.int64] = places - places % head_rows + pair + second * (head_rows // 2)
    return original


@dataclass(frozen=True, slots=True, kw_only=True)
class InterleavedRows:
    """The rows of q or k in llama.cpp's order; see :class:`modelpress.tensors.rows.Rows`.

    Bound: memory is the rows asked for, and those of the heads they belong to.
    """

    rows: Rows
    head_rows: int

    @property
    def count(self) -> int:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return self.rows.count

    @property
    def row_bytes(self) -> int:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return self.rows.row_bytes

    @property
    def stored_bytes(self) -> int:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return self.rows.stored_bytes

    @property
    def finest(self) -> Rows:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return self

    def read(self, folder: Folder, *, start: int, buffer: NDArray[np.uint8], bench: Workbench) -> None:
        """See :class:`modelpress.tensors.rows.Rows`."""
        rows = buffer.reshape(-1, self.row_bytes)
        first = start // self.head_rows * self.head_rows
        last = -(-(start + len(rows)) // self.head_rows) * self.head_rows
        heads = bench.buffer("interleaved", (last - first) * self.row_bytes)
        self.rows.read(folder, start=first, buffer=heads, bench=bench)
        places = np.arange(start, start + len(rows))
        # "clip" spares numpy a copy; no index is out of bounds.
        wanted = interleaved(self.head_rows, places) - first
        np.take(heads.reshape(-1, self.row_bytes), wanted, axis=0, out=rows, mode="clip")


@dataclass(frozen=True, slots=True, kw_only=True)
class InterleavedBias:
    """The one row of a bias of q or k, with its numbers in llama.cpp's order."""

    rows: Rows
    head_rows: int
    number_bytes: int

    @property
    def count(self) -> int:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return 1

    @property
    def row_bytes(self) -> int:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return self.rows.row_bytes * self.rows.count

    @property
    def stored_bytes(self) -> int:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return self.rows.stored_bytes

    @property
    def finest(self) -> Rows:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return self

    def read(self, folder: Folder, *, start: int, buffer: NDArray[np.uint8], bench: Workbench) -> None:
        """See :class:`modelpress.tensors.rows.Rows`."""
        plain = bench.buffer("interleaved", len(buffer))
        self.rows.read(folder, start=0, buffer=plain, bench=bench)
        numbers = plain.reshape(-1, self.number_bytes)
        buffer.reshape(-1, self.number_bytes)[:] = numbers[interleaved(self.head_rows, np.arange(len(numbers)))]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedRows:
    """The rows of several tensors of one shape, one after another: experts that become one tensor."""

    parts: Sequence[Rows]

    @property
    def count(self) -> int:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return len(self.parts) * self.parts[0].count

    @property
    def row_bytes(self) -> int:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return self.parts[0].row_bytes

    @property
    def stored_bytes(self) -> int:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return sum(part.stored_bytes for part in self.parts)

    @property
    def finest(self) -> Rows:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return self

    def read(self, folder: Folder, *, start: int, buffer: NDArray[np.uint8], bench: Workbench) -> None:
        """See :class:`modelpress.tensors.rows.Rows`."""
        rows, done = buffer.reshape(-1, self.row_bytes), 0
        while done < len(rows):
            number, first = divmod(start + done, self.parts[0].count)
            count = min(len(rows) - done, self.parts[0].count - first)
            piece = rows[done : done + count].reshape(-1)
            self.parts[number].read(folder, start=first, buffer=piece, bench=bench)
            done += count

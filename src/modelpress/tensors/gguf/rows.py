"""Rows of a GGUF file's tensors: decoded to bf16 as they are read, and put into the order of a Hugging Face model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from modelpress.errors import BadSource
from modelpress.tensors.folder import Folder
from modelpress.tensors.gguf.blocks import BlockType, decode_to_bfloat16, dequantize
from modelpress.tensors.gguf.header import Gguf, GgufTensor
from modelpress.tensors.rows import Rows, Workbench

_BFLOAT16_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufRows:
    """``count`` rows of ``columns`` values from ``offset`` on, read as bf16; see :class:`modelpress.tensors.rows.Rows`.

    With ``head_rows``, the rows of each attention head come back in the order they had before the file was made:
    llama.cpp rotates neighbouring rows, transformers rotates row j together with row j + head_rows / 2, so a head of
    the file has the rows 0, half, 1, half + 1, … of the original. ``raised``: one was added to each value.

    Bound:  memory is the stored bytes of the rows asked for, and those of the heads they belong to.
    Source: llama.cpp, convert_hf_to_gguf.py (LlamaModel.permute, GemmaModel.modify_tensors), whose inverse this is.
    """

    #: The tensor's name in the file, for a person.
    name: str
    file: str
    offset: int
    block_type: BlockType
    columns: int
    count: int
    head_rows: int | None = None
    raised: bool = False

    @property
    def row_bytes(self) -> int:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return self.columns * _BFLOAT16_BYTES

    @property
    def stored_bytes(self) -> int:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return self.count * self._stored_row_bytes

    @property
    def finest(self) -> Rows:
        """Runs of one block, unless whole rows change their places."""
        if self.head_rows is not None:
            return self
        length = self.block_type.length
        return replace(self, columns=length, count=self.count * (self.columns // length))

    def part(self, *, start: int, count: int) -> GgufRows:
        """Some of these rows."""
        return replace(self, offset=self.offset + start * self._stored_row_bytes, count=count)

    @property
    def _stored_row_bytes(self) -> int:
        return self.columns // self.block_type.length * self.block_type.size_bytes

    def read(self, folder: Folder, *, start: int, buffer: NDArray[np.uint8], bench: Workbench) -> None:
        """See :class:`modelpress.tensors.rows.Rows`.

        Raises: BadSource if the source ends early, or a value is not finite in bf16.
        """
        rows = buffer.view(np.uint16).reshape(-1, self.columns)
        if self.head_rows is None:
            self._read_stored(folder, start=start, rows=rows, bench=bench)
        else:
            self._read_heads(folder, start=start, rows=rows, bench=bench, head_rows=self.head_rows)

    def _read_heads(
        self, folder: Folder, *, start: int, rows: NDArray[np.uint16], bench: Workbench, head_rows: int
    ) -> None:
        first = start // head_rows * head_rows
        last = -(-(start + len(rows)) // head_rows) * head_rows
        heads = bench.buffer("heads", (last - first) * self.row_bytes).view(np.uint16).reshape(-1, self.columns)
        self._read_stored(folder, start=first, rows=heads, bench=bench)
        wanted = np.arange(start - first, start - first + len(rows))
        half, pair = np.divmod(wanted % head_rows, head_rows // 2)
        # "clip" spares numpy a copy; no index is out of bounds.
        np.take(heads, wanted - wanted % head_rows + 2 * pair + half, axis=0, out=rows, mode="clip")

    def _read_stored(self, folder: Folder, *, start: int, rows: NDArray[np.uint16], bench: Workbench) -> None:
        data = bench.buffer("blocks", len(rows) * self._stored_row_bytes)
        folder.read_into(self.file, self.offset + start * self._stored_row_bytes, data.data)
        place = decode_to_bfloat16(data, self.block_type, out=rows.reshape(-1), lowered_by=1 if self.raised else 0)
        if place is not None:
            row = start + place // self.columns
            raise BadSource(f"{self.file}: tensor {self.name!r} has a value that is not finite in bf16, in row {row}")


def rows_of(gguf: Gguf, tensor: GgufTensor, *, columns: int | None = None) -> GgufRows:
    """The rows of a whole tensor as it is stored: its innermost dimension, or runs of ``columns`` values."""
    columns = columns or tensor.shape[-1]
    return GgufRows(
        name=tensor.name,
        file=gguf.file,
        offset=tensor.offset,
        block_type=tensor.block_type,
        columns=columns,
        count=tensor.value_count // columns,
    )


def read_values(folder: Folder, gguf: Gguf, *, name: str) -> NDArray[np.float32]:
    """All values of a small tensor as float32, of its own shape."""
    tensor = gguf.tensors[name]
    data = np.empty(tensor.size_bytes, np.uint8)
    folder.read_into(gguf.file, tensor.offset, data.data)
    return dequantize(data, tensor.block_type).reshape(tensor.shape)

"""Rows of a GGUF file's tensors, decoded as they are read."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from modelpress.tensors.folder import Folder
from modelpress.tensors.gguf.blocks import dequantize
from modelpress.tensors.gguf.header import Gguf


def read_rows(folder: Folder, gguf: Gguf, *, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
    """Read the rows ``start`` to ``stop`` of the tensor ``name``, or all of them, as float32.

    Shapes: [..., cols] -> [stop - start, cols]; a row is the innermost dimension, and a vector is one row.
    Bound:  memory is the stored bytes of these rows and their float32 values.
    Raises: KeyError if there is no such tensor, IndexError if the rows are not all its own, BadSource if the file
            became shorter since it was opened.
    """
    tensor = gguf.tensors[name]
    cols = tensor.shape[-1]
    rows = math.prod(tensor.shape[:-1])
    stop = rows if stop is None else stop
    if not 0 <= start <= stop <= rows:
        raise IndexError(f"rows {start} to {stop} of {name!r}, which has {rows}")
    row_bytes = cols // tensor.block_type.length * tensor.block_type.size_bytes
    data = np.empty((stop - start) * row_bytes, np.uint8)
    folder.read_into(gguf.file, tensor.offset + start * row_bytes, data.data)
    return dequantize(data, tensor.block_type).reshape(stop - start, cols)

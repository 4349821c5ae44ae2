"""Rows in llama.cpp's order and form are the same whether they are read at once or a few at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from modelpress.tensors.gguf_output.rows import InterleavedBias, InterleavedRows, JoinedRows
from modelpress.tensors.rows import Rows, StoredRows, Workbench
from tests.fuzz.memory_folder import MemoryFolder

COLUMNS = 3


def stored(count: int, *, offset: int = 0, columns: int = COLUMNS) -> StoredRows:
    return StoredRows(file="f", offset=2 * columns * offset, count=count, row_bytes=2 * columns)


def read(rows: Rows, content: NDArray[np.uint16], *, start: int, count: int) -> NDArray[np.uint16]:
    buffer = np.empty(count * rows.row_bytes, np.uint8)
    rows.read(MemoryFolder({"f": content.tobytes()}), start=start, buffer=buffer, bench=Workbench())
    return buffer.view(np.uint16).reshape(count, -1)


@given(st.data(), st.integers(1, 4), st.integers(1, 4))
def test_interleaved_rows_are_the_halves_of_each_head_in_turns(data: st.DataObject, heads: int, half: int) -> None:
    count = heads * 2 * half
    content = np.arange(count * COLUMNS, dtype=np.uint16).reshape(count, COLUMNS)
    # As llama.cpp's converter has it.
    expected = content.reshape(heads, 2, half, COLUMNS).swapaxes(1, 2).reshape(count, COLUMNS)
    start = data.draw(st.integers(0, count - 1))
    length = data.draw(st.integers(1, count - start))
    rows = InterleavedRows(rows=stored(count), head_rows=2 * half)
    assert np.array_equal(read(rows, content, start=start, count=length), expected[start : start + length])
    bias = InterleavedBias(rows=stored(1, columns=count), head_rows=2 * half, number_bytes=2)
    column = np.ascontiguousarray(content[:, 0])
    assert np.array_equal(read(bias, column, start=0, count=1)[0], expected[:, 0])


@given(st.data(), st.integers(1, 4), st.integers(1, 4))
def test_joined_rows_are_those_of_each_part_in_turn(data: st.DataObject, parts: int, count: int) -> None:
    content = np.arange(parts * count * COLUMNS, dtype=np.uint16).reshape(parts * count, COLUMNS)
    # The parts lie in the file in the other order.
    rows = JoinedRows(parts=tuple(stored(count, offset=count * part) for part in reversed(range(parts))))
    expected = np.concatenate([content[count * part : count * (part + 1)] for part in reversed(range(parts))])
    assert rows.count == len(expected)
    assert rows.stored_bytes == content.nbytes
    start = data.draw(st.integers(0, len(expected) - 1))
    length = data.draw(st.integers(1, len(expected) - start))
    assert np.array_equal(read(rows, content, start=start, count=length), expected[start : start + length])

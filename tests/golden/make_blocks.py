"""Makes blocks.json: what ggml's own rounding makes of the weights of block_weights.py.

For the types that are ggml's bit for bit, the SHA-256 of the blocks; for those with a search of ours, the squared
error, plain and weighted. It is run where xllamacpp is, a package that exports ggml's functions:

    .cache/llamacpp/bin/python tests/golden/make_blocks.py
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.golden.block_weights import make_weights

#: ggml's number of the type, weights in a block, bytes of a block, weights in a group.
EXACT = {"Q4_0": (2, 32, 18), "Q5_0": (6, 32, 22), "Q8_0": (8, 32, 34)}
SEARCHED = {"Q4_K": (12, 256, 144, 32), "Q6_K": (14, 256, 210, 16)}


def load_ggml() -> ctypes.CDLL:
    """ggml, from the library of xllamacpp."""
    found = find_spec("xllamacpp")
    assert found is not None
    assert found.origin is not None
    library = ctypes.CDLL(str(next(Path(found.origin).parent.glob("xllamacpp.abi3.so"))))
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [
        *(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p),
        *(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p),
    ]
    return library


def ggml_blocks(library: ctypes.CDLL, weights: NDArray[np.float32], *, number: int, size: int) -> NDArray[np.uint8]:
    """The blocks of a matrix; ``size`` is bytes in all."""
    rows, columns = weights.shape
    blocks = np.empty(size, np.uint8)
    library.ggml_quantize_chunk(number, weights.ctypes.data, blocks.ctypes.data, 0, rows, columns, None)
    return blocks


def ggml_values(library: ctypes.CDLL, blocks: NDArray[np.uint8], *, name: str, count: int) -> NDArray[np.float32]:
    """The weights that blocks stand for."""
    decode = library[f"dequantize_row_{name.lower().replace('_k', '_K')}"]
    decode.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    decode.restype = None
    values = np.empty(count, np.float32)
    decode(blocks.ctypes.data, values.ctypes.data, count)
    return values


def squared_errors(weights: NDArray[np.float32], values: NDArray[np.float32], group: int) -> dict[str, float]:
    """Plain, and weighted by size plus the root mean square of the group."""
    plain = weights.reshape(-1, group).astype(np.float64)
    squares = (plain - values.reshape(-1, group)) ** 2
    importance = np.abs(plain) + np.sqrt((plain**2).mean(axis=1, keepdims=True))
    return {"plain": float(squares.sum()), "weighted": float((squares * importance).sum())}


def main() -> None:
    library = load_ggml()
    golden: dict[str, Any] = {"xllamacpp": version("xllamacpp"), "sha256": {}, "squared_error": {}}
    for kind, weights in make_weights().items():
        for name, (number, length, block_bytes) in EXACT.items():
            blocks = ggml_blocks(library, weights, number=number, size=weights.size // length * block_bytes)
            golden["sha256"][f"{kind} {name}"] = hashlib.sha256(blocks.tobytes()).hexdigest()
        for name, (number, length, block_bytes, group) in SEARCHED.items():
            blocks = ggml_blocks(library, weights, number=number, size=weights.size // length * block_bytes)
            values = ggml_values(library, blocks, name=name, count=weights.size)
            golden["squared_error"][f"{kind} {name}"] = squared_errors(weights, values, group)
    Path(__file__).with_name("blocks.json").write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""The kernel that rounds weights: C where it was built, numpy where not; both give the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from modelpress.tensors.kernel import (
    block_decoding,
    blocks,
    float8_blocks,
    library,
    native,
    native_floats,
    sweep,
    twin,
    twin_floats,
)
from modelpress.tensors.kernel.numbers import Bytes

if TYPE_CHECKING:
    from modelpress.tensors.rounding.integers import IntegerRounding


class Quantize(Protocol):
    """See :func:`modelpress.tensors.kernel.twin.quantize`."""

    def __call__(
        self, rounding: IntegerRounding, source: Bytes, *, values: Bytes, scales: Bytes, zeros: Bytes | None = None
    ) -> int: ...


#: The compiled kernel this process uses; None where numpy does the work.
LIBRARY = library.choose()

#: Which kernel this process uses: "c" or "numpy".
KERNEL = "c" if LIBRARY else "numpy"

#: The instructions it was compiled for: "baseline", "avx2", "avx512" or "neon"; "numpy" where it is not used.
INSTRUCTION_SET = LIBRARY.instruction_set if LIBRARY else "numpy"

quantize: Quantize = native.NativeKernel(LIBRARY).quantize if LIBRARY else twin.quantize
widen_float8: float8_blocks.WidenFloat8 = float8_blocks.by_library(LIBRARY) if LIBRARY else float8_blocks.by_numpy
encode_blocks: blocks.EncodeBlocks = blocks.by_library(LIBRARY) if LIBRARY else blocks.by_numpy
decode_blocks: block_decoding.DecodeBlocks = block_decoding.by_library(LIBRARY) if LIBRARY else block_decoding.by_numpy

#: What calibration does to every weight; None where torch does it.
sweeps: sweep.Sweeps | None = sweep.Sweeps(LIBRARY) if LIBRARY else None

_floats = native_floats.NativeFloats(LIBRARY) if LIBRARY else twin_floats
float8, nvfp4, mxfp4, magnitude = _floats.float8, _floats.nvfp4, _floats.mxfp4, _floats.magnitude

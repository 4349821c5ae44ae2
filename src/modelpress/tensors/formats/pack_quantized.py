"""compressed-tensors' ``pack-quantized``: integers of 4 or 8 bits in 32-bit words, for 16-bit activations.

Source: compressed-tensors 0.19, compressors/pack_quantized, and the golden files made with it.
"""

from __future__ import annotations

from modelpress.tensors.formats.layout import Layout
from modelpress.tensors.rounding import Rounding
from modelpress.tensors.spec import TensorSpec

NAME = "pack-quantized"
PACKED = True


def lay_out(module: str, *, rows: int, rounding: Rounding) -> Layout:
    """``weight_packed`` [rows, words], ``weight_scale`` [rows, groups], and ``weight_shape``: rows and columns."""
    shape = rows.to_bytes(8, "little") + rounding.columns.to_bytes(8, "little")
    return Layout(
        values=TensorSpec(name=f"{module}.weight_packed", dtype="I32", shape=(rows, rounding.words)),
        scales=TensorSpec(name=f"{module}.weight_scale", dtype=rounding.grid, shape=(rows, rounding.groups)),
        constants=((TensorSpec(name=f"{module}.weight_shape", dtype="I64", shape=(2,)), shape),),
    )

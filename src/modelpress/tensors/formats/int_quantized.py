"""compressed-tensors' ``int-quantized``: signed bytes in the weight's own place, for 8-bit activations.

Source: compressed-tensors 0.19, compressors/naive_quantized, and the golden files made with it.
"""

from __future__ import annotations

from modelpress.tensors.formats.layout import Layout
from modelpress.tensors.rounding import Rounding
from modelpress.tensors.spec import TensorSpec

NAME = "int-quantized"
PACKED = False


def lay_out(module: str, *, rows: int, rounding: Rounding) -> Layout:
    """``weight`` [rows, columns] of int8, and ``weight_scale`` [rows, groups]."""
    return Layout(
        values=TensorSpec(name=f"{module}.weight", dtype="I8", shape=(rows, rounding.columns)),
        scales=TensorSpec(name=f"{module}.weight_scale", dtype=rounding.grid, shape=(rows, rounding.groups)),
    )

"""compressed-tensors' ``float-quantized``: e4m3 bytes in the weight's own place, for 8-bit floating-point activations.

Source: compressed-tensors 0.19, compressors/naive_quantized, and the golden files made with it.
"""

from __future__ import annotations

from modelpress.tensors.formats.layout import Layout, Weight
from modelpress.tensors.rounding.float8 import Float8Rounding
from modelpress.tensors.spec import TensorSpec
from modelpress.tensors.treatment import Treatment

NAME = "float-quantized"


def lay_out(weight: Weight, treatment: Treatment) -> tuple[Float8Rounding, Layout]:
    """``weight`` [rows, columns] of e4m3, and ``weight_scale`` [rows, 1], or one for each square."""
    edge = treatment.group_size
    rounding = Float8Rounding(
        grid=weight.grid, columns=weight.columns, height=edge or 1, width=edge or max(1, weight.columns)
    )
    module, rows = weight.module, weight.rows
    values = TensorSpec(name=f"{module}.weight", dtype="F8_E4M3", shape=(rows, weight.columns))
    shape = (-(-rows // rounding.height), rounding.scales_across)
    scales = TensorSpec(name=f"{module}.weight_scale", dtype=weight.grid, shape=shape)
    return rounding, Layout(rounded=(values, scales), scales=scales)

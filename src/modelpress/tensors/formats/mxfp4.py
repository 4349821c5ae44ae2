"""compressed-tensors' ``mxfp4-pack-quantized``: pairs of e2m1 with a power of two for 32 columns.

Source: compressed-tensors 0.19, compressors/mxfp4, and the golden files made with it.
"""

from __future__ import annotations

from modelpress.tensors.formats.layout import Layout, Weight
from modelpress.tensors.rounding.float4 import Mxfp4Rounding
from modelpress.tensors.spec import TensorSpec
from modelpress.tensors.treatment import Treatment

NAME = "mxfp4-pack-quantized"


def lay_out(weight: Weight, treatment: Treatment) -> tuple[Mxfp4Rounding, Layout]:
    """``weight_packed`` [rows, columns / 2], and ``weight_scale`` [rows, columns / 32]: exponents plus 127."""
    module, rows, columns = weight.module, weight.rows, weight.columns
    values = TensorSpec(name=f"{module}.weight_packed", dtype="U8", shape=(rows, columns // 2))
    scales = TensorSpec(name=f"{module}.weight_scale", dtype="U8", shape=(rows, columns // 32))
    return Mxfp4Rounding(grid=weight.grid, columns=columns), Layout(rounded=(values, scales), scales=scales)

"""compressed-tensors' ``nvfp4-pack-quantized``: pairs of e2m1 with an e4m3 scale for 16 columns and a scale for all.

Source: compressed-tensors 0.19, compressors/nvfp4, and the golden files made with it.
"""

from __future__ import annotations

from modelpress.tensors.formats.layout import Layout, Weight
from modelpress.tensors.rounding.float4 import Nvfp4Rounding
from modelpress.tensors.spec import TensorSpec
from modelpress.tensors.treatment import Treatment

NAME = "nvfp4-pack-quantized"


def lay_out(weight: Weight, treatment: Treatment) -> tuple[Nvfp4Rounding, Layout]:
    """``weight_packed`` [rows, columns / 2], ``weight_scale`` [rows, columns / 16], ``weight_global_scale`` [1]."""
    module, rows, columns = weight.module, weight.rows, weight.columns
    values = TensorSpec(name=f"{module}.weight_packed", dtype="U8", shape=(rows, columns // 2))
    scales = TensorSpec(name=f"{module}.weight_scale", dtype="F8_E4M3", shape=(rows, columns // 16))
    overall = TensorSpec(name=f"{module}.weight_global_scale", dtype="F32", shape=(1,))
    rounding = Nvfp4Rounding(grid=weight.grid, columns=columns)
    return rounding, Layout(rounded=(values, scales, overall), scales=scales, overall_scale=overall)

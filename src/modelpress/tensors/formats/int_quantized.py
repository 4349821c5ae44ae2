"""compressed-tensors' ``int-quantized``: signed bytes in the weight's own place, for 8-bit activations.

Source: compressed-tensors 0.19, compressors/naive_quantized, and the golden files made with it.
"""

from __future__ import annotations

from modelpress.tensors.formats.layout import Layout, Weight
from modelpress.tensors.rounding.integers import IntegerRounding
from modelpress.tensors.spec import TensorSpec
from modelpress.tensors.treatment import Treatment

NAME = "int-quantized"


def lay_out(weight: Weight, treatment: Treatment) -> tuple[IntegerRounding, Layout]:
    """``weight`` [rows, columns] of int8, and ``weight_scale`` [rows, groups]."""
    rounding = IntegerRounding(
        grid=weight.grid,
        bits=treatment.scheme.weight_bits,
        columns=weight.columns,
        group=treatment.group_size or weight.columns,
        packed=False,
        scale_search=treatment.scale_search,
    )
    module, rows = weight.module, weight.rows
    values = TensorSpec(name=f"{module}.weight", dtype="I8", shape=(rows, weight.columns))
    scales = TensorSpec(name=f"{module}.weight_scale", dtype=weight.grid, shape=(rows, rounding.groups))
    return rounding, Layout(rounded=(values, scales), scales=scales)

"""compressed-tensors' ``pack-quantized``: integers of a few bits in 32-bit words, for 16-bit activations.

Source: compressed-tensors 0.19, compressors/pack_quantized, and the golden files made with it.
"""

from __future__ import annotations

from modelpress.tensors.formats.layout import Layout, Weight
from modelpress.tensors.rounding.integers import IntegerRounding
from modelpress.tensors.spec import TensorSpec
from modelpress.tensors.treatment import Treatment

NAME = "pack-quantized"


def lay_out(weight: Weight, treatment: Treatment) -> tuple[IntegerRounding, Layout]:
    """``weight_packed`` [rows, words], ``weight_scale`` [rows, groups], and ``weight_shape``: rows and columns.

    Where zero is not in the middle also ``weight_zero_point`` [words of a column of rows, groups].
    """
    rounding = IntegerRounding(
        grid=weight.grid,
        bits=treatment.scheme.weight_bits,
        columns=weight.columns,
        group=treatment.group_size or weight.columns,
        packed=True,
        symmetric=treatment.symmetric,
        scale_search=treatment.scale_search,
    )
    module, rows = weight.module, weight.rows
    values = TensorSpec(name=f"{module}.weight_packed", dtype="I32", shape=(rows, rounding.words))
    scales = TensorSpec(name=f"{module}.weight_scale", dtype=weight.grid, shape=(rows, rounding.groups))
    rounded = [values, scales]
    if not rounding.symmetric:
        words = rounding.zero_bytes(rows) // (4 * rounding.groups)
        rounded.append(TensorSpec(name=f"{module}.weight_zero_point", dtype="I32", shape=(words, rounding.groups)))
    shape = rows.to_bytes(8, "little") + weight.columns.to_bytes(8, "little")
    constants = ((TensorSpec(name=f"{module}.weight_shape", dtype="I64", shape=(2,)), shape),)
    return rounding, Layout(rounded=tuple(rounded), scales=scales, constants=constants)

"""The formats of compressed weights: one file a format, all of compressed-tensors' family."""

from __future__ import annotations

from typing import Protocol

from modelpress.domain.scheme import Scheme
from modelpress.tensors.formats import float_quantized, int_quantized, mxfp4, nvfp4, pack_quantized
from modelpress.tensors.formats.layout import Layout, Weight
from modelpress.tensors.rounding import Rounding
from modelpress.tensors.treatment import Treatment


class Format(Protocol):
    """What a file of this folder offers."""

    @property
    def NAME(self) -> str:
        """The format's name in config.json."""

    def lay_out(self, weight: Weight, treatment: Treatment) -> tuple[Rounding, Layout]:
        """How a weight is rounded, and the tensors it becomes."""


def format_of(scheme: Scheme) -> Format:
    """The format that loaders expect for a scheme: packed where activations stay as they are."""
    if scheme.weight_type == "int":
        return pack_quantized if scheme.activation_bits == 16 else int_quantized
    if scheme.weight_bits == 8:
        return float_quantized
    return nvfp4 if scheme.group_sizes == (16,) else mxfp4

"""The formats of compressed weights: one file a format, all of compressed-tensors' family."""

from __future__ import annotations

from typing import Protocol

from modelpress.domain.scheme import Scheme
from modelpress.tensors.formats import int_quantized, pack_quantized
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
    return pack_quantized if scheme.activation_bits == 16 else int_quantized

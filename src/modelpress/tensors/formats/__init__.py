"""The formats of compressed weights: one file a format, all of compressed-tensors' family."""

from __future__ import annotations

from typing import Protocol

from modelpress.domain.scheme import Scheme
from modelpress.tensors.formats import int_quantized, pack_quantized
from modelpress.tensors.formats.layout import Layout
from modelpress.tensors.rounding import Rounding


class Format(Protocol):
    """What a file of this folder offers."""

    @property
    def NAME(self) -> str:
        """The format's name in config.json."""

    @property
    def PACKED(self) -> bool:
        """Whether integers are packed into words."""

    def lay_out(self, module: str, *, rows: int, rounding: Rounding) -> Layout:
        """The tensors that one weight becomes."""


def format_of(scheme: Scheme) -> Format:
    """The format that loaders expect for a scheme: packed where activations stay as they are."""
    return pack_quantized if scheme.activation_bits == 16 else int_quantized

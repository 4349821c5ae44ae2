"""The kernel that rounds weights: C where it was built, numpy where not; both give the same bytes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Protocol

from modelpress.tensors.kernel import native, twin
from modelpress.tensors.kernel.twin import Bytes

if TYPE_CHECKING:
    from modelpress.tensors.rounding.integers import IntegerRounding


class Quantize(Protocol):
    """See :func:`modelpress.tensors.kernel.twin.quantize`."""

    def __call__(self, rounding: IntegerRounding, source: Bytes, *, scales: Bytes, values: Bytes) -> int: ...


def choose() -> tuple[str, Quantize]:
    """The kernel's name and function. ``MODELPRESS_KERNEL=none`` in the environment asks for numpy.

    A big-endian machine gets numpy too: the C loads numbers as the machine does.
    """
    if os.environ.get("MODELPRESS_KERNEL") == "none" or sys.byteorder == "big":
        return "numpy", twin.quantize
    try:
        return "c", native.NativeKernel().quantize
    except OSError:
        return "numpy", twin.quantize


#: Which kernel this process uses: "c" or "numpy".
KERNEL, quantize = choose()

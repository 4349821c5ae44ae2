"""Numbers of the grids in numpy, as numbers.h has them in C: what the twins begin and end with."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from modelpress.tensors.grid import Grid

Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]


def widen(raw: Bytes, grid: Grid) -> Floats:
    """Numbers of the grid, exactly. Shapes: [rows, bytes] -> [rows, numbers]."""
    if grid is Grid.F32:
        return raw.view("<f4").astype(np.float32)
    if grid is Grid.F16:
        return raw.view("<f2").astype(np.float32)
    return (raw.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)


def narrow(numbers: Floats, grid: Grid) -> Bytes:
    """The nearest numbers of the grid, ties to even, as bytes; the inverse of :func:`widen`. Finite numbers only."""
    if grid is Grid.F32:
        return numbers.astype("<f4").view(np.uint8)
    if grid is Grid.F16:
        return numbers.astype("<f2").view(np.uint8)
    bits = numbers.view(np.uint32)
    odd = bits >> np.uint32(16) & np.uint32(1)
    return (bits + np.uint32(0x7FFF) + odd >> np.uint32(16)).astype("<u2").view(np.uint8)

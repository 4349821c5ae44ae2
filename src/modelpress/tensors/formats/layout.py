"""What one compressed weight becomes, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass

from modelpress.tensors.grid import Grid
from modelpress.tensors.spec import TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A linear layer's weight before: a matrix on a grid."""

    module: str
    rows: int
    columns: int
    grid: Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The tensors of one compressed weight."""

    #: In the order of the rounding's outputs.
    rounded: tuple[TensorSpec, ...]
    #: The one of them that holds scales.
    scales: TensorSpec
    #: The one that holds a scale of all of them, if there is one.
    overall_scale: TensorSpec | None = None
    #: Those whose bytes are known without the weight's data.
    constants: tuple[tuple[TensorSpec, bytes], ...] = ()

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """All of them."""
        return (*self.rounded, *(spec for spec, _ in self.constants))

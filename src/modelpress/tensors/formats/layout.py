"""What one compressed weight becomes, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass

from modelpress.tensors.spec import TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The tensors of one compressed weight; ``constants`` are those whose bytes are known without its data."""

    values: TensorSpec
    scales: TensorSpec
    constants: tuple[tuple[TensorSpec, bytes], ...] = ()

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """All of them."""
        return (self.values, self.scales, *(spec for spec, _ in self.constants))

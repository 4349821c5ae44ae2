"""The work on one block: its modules, what the plan wants of them, and what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from modelpress.calibrate.integers import IntegerFormat, RoundedWeight
from modelpress.calibrate.lockstep import Batches
from modelpress.calibrate.pruning import prune_by_magnitude
from modelpress.calibrate.tensor_bytes import DTYPES, bytes_of
from modelpress.domain.recipe import Recipe
from modelpress.tensors.shard import Step
from modelpress.tensors.spec import TensorSpec


class Untouched(Protocol):
    """The samples' way through the source's own blocks, for methods that compare with it.

    A method that asks for it in one block asks for it in all, and keeps the outputs of each.
    """

    @property
    def batches(self) -> Batches:
        """What goes into this block in the source."""

    def keep_outputs(self, outputs: Iterable[Tensor]) -> Sequence[Tensor]:
        """Keep what the source's block gives for each batch; it is there to be read from then on."""


@dataclass(slots=True, kw_only=True)
class BlockWork:
    """A loaded block, whose modules' weights are those that the output will have as soon as they are known.

    Names of modules and parameters are relative to the block.
    """

    number: int
    block: nn.Module
    #: The same on further devices.
    copies: Sequence[nn.Module] = ()
    recipe: Recipe
    #: What the plan makes of the block's tensors, by parameter.
    steps: Mapping[str, Step]
    #: The integers that the block's linear layers get, by module; layers that are not there stay as they are.
    formats: Mapping[str, IntegerFormat]
    #: Layers to be pruned, by module; those of ``formats`` too, where both is asked for.
    pruned: frozenset[str] = frozenset()
    #: What the source's blocks are given and give.
    untouched: Untouched | None = None
    #: What is told of the block as a whole.
    told: dict[str, Any] = field(default_factory=dict)
    #: What is told of the block's layers, by module.
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Of layers that are done.
    rounded: dict[str, RoundedWeight] = field(default_factory=dict)
    #: Parameters that the output gets other numbers for, in place of the source's.
    replaced: dict[str, Tensor] = field(default_factory=dict)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The block on each device, the first of which keeps what becomes of it."""
        return (self.block, *self.copies)

    @property
    def wanted(self) -> frozenset[str]:
        """The linear layers that something is to be done to."""
        return self.pruned | self.formats.keys() | self.narrowed

    @property
    def narrowed(self) -> frozenset[str]:
        """The linear layers that the output has with fewer columns: each ends a part that loses neurons."""
        return frozenset(
            parameter.removesuffix(".weight")
            for parameter, step in self.steps.items()
            if len(step.source.shape) == 2 and step.source.shape[1] < self.block.get_parameter(parameter).shape[1]
        )

    def by_format(self, modules: Iterable[str]) -> list[tuple[IntegerFormat, list[str]]]:
        """Those of the layers that get integers, by which: layers of one format can be treated as one weight."""
        found: dict[IntegerFormat, list[str]] = {}
        for module in modules:
            if module in self.formats:
                found.setdefault(self.formats[module], []).append(module)
        return list(found.items())

    def weight(self, module: str) -> Tensor:
        """A layer's weight as it is now: float32 [outputs, inputs], a copy."""
        return self.block.get_submodule(module).weight.detach().float().clone()

    def set_weight(self, module: str, weight: Tensor) -> None:
        """Have the block compute with another weight of the same shape, whatever the output gets."""
        for block in self.blocks:
            parameter = block.get_submodule(module).weight
            parameter.data = weight.to(parameter.device, parameter.dtype)

    def finish_rounded(self, module: str, rounded: RoundedWeight, *, divisors: Tensor | None = None) -> None:
        """The output gets these integers and scales; the block computes with them from now on.

        ``divisors`` [inputs]: the output's layer is given its input divided by them, the block's is given it as it was.
        """
        self.rounded[module] = rounded
        dense = rounded.dense()
        self.set_weight(module, dense if divisors is None else dense.float() / divisors)

    def finish_dense(self, module: str, weight: Tensor) -> None:
        """The output gets this weight, in the source's dtype; the block computes with it from now on."""
        self.set_weight(module, weight)
        self.replaced[f"{module}.weight"] = self.block.get_submodule(module).weight.detach()

    def finish_starved(self, modules: Sequence[str], tokens: int) -> None:
        """Prune by magnitude and round to the nearest, since too few tokens tell of their inputs; the report tells."""
        for module in modules:
            weight = self.weight(module)
            if module in self.pruned:
                assert self.recipe.sparsity is not None, self.recipe
                weight = prune_by_magnitude(weight, sparsity=self.recipe.sparsity)
            if module in self.formats:
                self.finish_rounded(module, self.formats[module].round_nearest(weight))
            else:
                self.finish_dense(module, weight)
            self.tell(module, tokens=tokens, starved=True)

    def tell(self, module: str, **facts: Any) -> None:
        """Note something about a layer for the report."""
        self.facts.setdefault(module, {}).update(facts)

    def outputs(self) -> dict[TensorSpec, NDArray[np.uint8]]:
        """What the output gets of the block that is not the source's: tensors and their bytes."""
        made: dict[TensorSpec, NDArray[np.uint8]] = {}
        for module, rounded in self.rounded.items():
            made |= _encoded(self.steps[f"{module}.weight"], rounded)
        for parameter, tensor in self.replaced.items():
            step = self.steps[parameter]
            made[step.source] = bytes_of(tensor.to(DTYPES[step.source.dtype]))
        return made


def _encoded(step: Step, rounded: RoundedWeight) -> dict[TensorSpec, NDArray[np.uint8]]:
    """The tensors of one compressed weight, as its rounding would have written them."""
    from modelpress.tensors.rounding.integers import IntegerRounding

    rounding, layout = step.rounding, step.layout
    assert isinstance(rounding, IntegerRounding), step
    assert layout is not None, step
    outputs = rounding.encode(
        rounded.integers.cpu().numpy(),
        scales=bytes_of(rounded.scales),
        zeros=None if rounded.zeros is None else rounded.zeros.cpu().numpy(),
    )
    made = dict(zip(layout.rounded, outputs, strict=True))
    constants = {spec: np.frombuffer(content, dtype=np.uint8) for spec, content in layout.constants}
    return {**made, **constants}

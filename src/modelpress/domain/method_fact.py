"""What is known of each method: what it does, what it needs, what it takes and which schemes it makes.

The answer of DescribeModelCompSchemes, ``modelpress methods`` and docs/api.md are made of these values.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelpress.domain.method import Method
from modelpress.domain.scheme import SCHEMES, Scheme
from modelpress.domain.tuning import WIRE_NAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFact:
    """The facts about one method."""

    method: Method
    summary: str

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """Those that it can be asked for with; methods of Sparsity also with none."""
        return tuple(scheme for scheme in SCHEMES if self.method.fits(scheme))

    @property
    def options(self) -> tuple[str, ...]:
        """Fields of ``config.tuning`` that are for it."""
        return tuple(wire for name, wire in WIRE_NAMES.items() if name in self.method.takes)


METHODS = (
    MethodFact(method=Method.RTN, summary="each weight becomes the nearest number"),
    MethodFact(
        method=Method.GPTQ, summary="column by column, what rounding one loses is made good by those that come after it"
    ),
    MethodFact(
        method=Method.AWQ,
        summary="columns with large inputs are scaled up, and their inputs down, then rounded to the nearest",
    ),
    MethodFact(
        method=Method.SMOOTHQUANT,
        summary="what is hard to round in activations is moved into the weights, which are then rounded as by gptq",
    ),
    MethodFact(
        method=Method.LEARNED,
        summary="up or down, and where to cut off, are learned of each block's own output, step by step",
    ),
    MethodFact(
        method=Method.SPARSEGPT, summary="the weights that matter least are pruned, and the others make good for them"
    ),
    MethodFact(method=Method.WANDA, summary="the weights that are smallest beside their inputs are pruned"),
    MethodFact(method=Method.MAGNITUDE, summary="the smallest weights are pruned"),
    MethodFact(
        method=Method.STRUCTURED,
        summary="neurons and blocks that matter least are taken away, what reads them is repaired: a smaller model",
    ),
)

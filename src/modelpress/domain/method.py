"""The two strategies, the methods of each, and what each method needs and takes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from modelpress.domain.scheme import DENSE, Scheme
from modelpress.errors import InvalidRequest

#: In the place of a method: the best one for what else is said.
AUTO = "auto"


class Strategy(StrEnum):
    """The wire's two strategies."""

    QUANTIZATION = "Quantization"
    SPARSITY = "Sparsity"


def find_strategy(name: str) -> Strategy | None:
    """The strategy of this name, in any letter case; None if there is none."""
    return {strategy.value.lower(): strategy for strategy in Strategy}.get(name.strip().lower())


class Method(StrEnum):
    """How the numbers are chosen; docs/options.md says of each what it is and when to use it."""

    RTN = "rtn"  #: each weight to the nearest number; no data
    GPTQ = "gptq"  #: column by column, what one loses the later ones make good (Frantar et al., arXiv 2210.17323)
    AWQ = "awq"  #: columns of large inputs are scaled up before rounding (Lin et al., arXiv 2306.00978)
    SMOOTHQUANT = "smoothquant"  #: what is hard to round in activations goes into weights (arXiv 2211.10438)
    LEARNED = "learned"  #: up or down, and the clipping, are learned by signed gradient steps (arXiv 2309.05516)
    SPARSEGPT = "sparsegpt"  #: prunes as gptq rounds (Frantar and Alistarh, arXiv 2301.00774)
    WANDA = "wanda"  #: prunes by weight times the size of its input (Sun et al., arXiv 2306.11695)
    MAGNITUDE = "magnitude"  #: prunes the smallest weights; no data
    STRUCTURED = "structured"  #: takes whole neurons and blocks away, and repairs what reads them: a smaller model

    @property
    def strategy(self) -> Strategy:
        """The strategy that it is a method of."""
        return Strategy.SPARSITY if self in _SPARSE else Strategy.QUANTIZATION

    @property
    def calibrated(self) -> bool:
        """Whether it looks at calibration samples."""
        return self not in (Method.RTN, Method.MAGNITUDE)

    @property
    def takes(self) -> frozenset[str]:
        """The names, in :class:`Tuning`, of what can be said of it."""
        return _TAKES.get(self, frozenset())

    def fits(self, scheme: Scheme) -> bool:
        """Whether it can make weights of this scheme."""
        if self.strategy is Strategy.SPARSITY:
            return scheme is DENSE or scheme.output_format == "compressed-tensors"
        if self is Method.SMOOTHQUANT:
            return scheme.whole_numbers and scheme.activation_bits < 16
        return self is Method.RTN or scheme.whole_numbers

    def fits_beside(self, scheme: Scheme) -> bool:
        """Whether some modules can have weights of this scheme, beside others of one that it fits."""
        return self.fits(scheme) or (self is Method.SMOOTHQUANT and scheme.whole_numbers)


_SPARSE = frozenset({Method.SPARSEGPT, Method.WANDA, Method.MAGNITUDE, Method.STRUCTURED})
_TAKES = {
    Method.GPTQ: frozenset({"act_order", "dampening"}),
    # Scaled and smoothed weights are rounded as by gptq.
    Method.SMOOTHQUANT: frozenset({"smoothing_strength", "act_order", "dampening"}),
    Method.LEARNED: frozenset({"iterations"}),
    Method.SPARSEGPT: frozenset({"dampening"}),
    Method.STRUCTURED: frozenset({"dampening"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What decides on a method besides its name."""

    strategy: Strategy
    scheme: Scheme
    #: Whether calibration samples are asked for.
    calibrated: bool


def choose_method(name: str | None, given: Circumstances, *, field: str) -> Method:
    """The method of this name, in any letter case; what "auto" or no name means is decided here, once.

    Raises: InvalidRequest naming ``field``.
    """
    plain = (name or AUTO).strip().lower()
    if plain == AUTO:
        return _best(given)
    methods = [method for method in Method if method.strategy is given.strategy]
    if plain not in [method.value for method in Method]:
        raise InvalidRequest(field, f"{name!r} is none of {', '.join((AUTO, *methods))}")
    method = Method(plain)
    if method not in methods:
        raise InvalidRequest(
            field,
            f"{method.value} is a method of {method.strategy.value}, not of {given.strategy.value}",
            hint=f"of {given.strategy.value} there are {', '.join((AUTO, *methods))}",
        )
    if not method.fits(given.scheme):
        raise InvalidRequest(
            field, f"{method.value} does not make {given.scheme.name}", hint=f"it makes {_fitting(method)}"
        )
    return method


def _best(given: Circumstances) -> Method:
    if given.strategy is Strategy.SPARSITY:
        return Method.SPARSEGPT if given.calibrated else Method.MAGNITUDE
    if not given.calibrated:
        return Method.RTN
    # Where activations are rounded too, that loses most of all, and smoothing wins most of it back.
    return next((method for method in (Method.SMOOTHQUANT, Method.GPTQ) if method.fits(given.scheme)), Method.RTN)


def _fitting(method: Method) -> str:
    return "INT8-PTQ alone" if method is Method.SMOOTHQUANT else "schemes of integers in safetensors files alone"

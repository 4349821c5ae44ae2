"""A recipe: strategy + scheme + method + options, normalised, so that equal wishes are equal values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from modelpress.domain.scheme import SCHEMES, Scheme, find_scheme
from modelpress.errors import InvalidRequest

#: A number of input columns that share a scale, "channel" for one scale an output row, None for the scheme's own rule.
GroupSize = int | Literal["channel"] | None


class Strategy(StrEnum):
    """The wire's two strategies."""

    QUANTIZATION = "Quantization"
    SPARSITY = "Sparsity"


def find_strategy(name: str) -> Strategy | None:
    """The strategy of this name, in any letter case; None if there is none."""
    return {strategy.value.lower(): strategy for strategy in Strategy}.get(name.strip().lower())


class Method(StrEnum):
    """How the numbers are chosen. ``rtn`` rounds each weight to the nearest and needs no data."""

    RTN = "rtn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is to be done to a model."""

    scheme: Scheme
    strategy: Strategy = Strategy.QUANTIZATION
    method: Method = Method.RTN
    group_size: GroupSize = None

    def as_json(self) -> dict[str, str | int | None]:
        """A plain object that :func:`recipe_from_json` turns back into an equal recipe."""
        return {
            "strategy": self.strategy.value,
            "scheme": self.scheme.name,
            "method": self.method.value,
            "group_size": self.group_size,
        }


def recipe_from_json(data: dict[str, object]) -> Recipe:
    """The recipe that ``as_json`` described."""
    scheme = find_scheme(str(data["scheme"]))
    group_size = data.get("group_size")
    assert scheme is not None, f"stored recipe names an unknown scheme: {data!r}"
    assert group_size is None or group_size == "channel" or isinstance(group_size, int), data
    return Recipe(
        scheme=scheme,
        strategy=Strategy(str(data["strategy"])),
        method=Method(str(data["method"])),
        group_size=group_size,
    )


def make_recipe(
    *,
    strategy: str,
    weight: str | None,
    quant_conf: str | None = None,
    group_size: GroupSize = None,
    field: str = "config",
) -> Recipe:
    """The recipe a request means; names are taken in any letter case, ``weight`` or ``quantConf`` names the scheme.

    Raises: InvalidRequest naming ``{field}.strategy``, ``{field}.weight`` or ``{field}.groupSize``.
    """
    known = find_strategy(strategy)
    if known is None:
        raise InvalidRequest(f"{field}.strategy", f"{strategy!r} is none of Quantization, Sparsity")
    if known is Strategy.SPARSITY:
        raise InvalidRequest(f"{field}.strategy", "Sparsity is not offered by this version; it offers Quantization")
    named = weight or quant_conf
    if not named:
        raise InvalidRequest(f"{field}.weight", "required when the strategy is Quantization")
    scheme = find_scheme(named)
    if scheme is None:
        offered = ", ".join(s.name for s in SCHEMES)
        raise InvalidRequest(f"{field}.weight", f"{named!r} is none of {offered}")
    if weight and quant_conf and find_scheme(quant_conf) is not scheme:
        raise InvalidRequest(f"{field}.quantConf", f"{quant_conf!r} contradicts weight {weight!r}")
    if isinstance(group_size, int) and group_size < 1:
        raise InvalidRequest(f"{field}.groupSize", f"{group_size} is not a positive number of columns")
    return Recipe(scheme=scheme, strategy=known, group_size=group_size)

"""Tuning: the numbers that a calibrated method works with, where other than its usual ones are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from modelpress.domain.method import Method
from modelpress.errors import InvalidRequest

#: SparseGPT's is larger: within its calibration's domain it loses as much with 0.01, outside more, the farther the more
#: (measured on SmolLM2-135M at a half: documentation 0 %, licences 3 %, Chinese 29 % more perplexity).
DEFAULT_DAMPENING, SPARSEGPT_DAMPENING = 0.01, 0.1
MOST_ITERATIONS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """None is a method's usual way."""

    #: Whether columns are rounded in the order of how much their inputs weigh, the heaviest first.
    act_order: bool | None = None
    #: Of the Gram matrix's mean diagonal, added to the diagonal; above 0, at most 1. None is ``usual_dampening``.
    dampening: float | None = None
    #: How much of what is hard to round goes from activations into weights; 0 to 1.
    smoothing_strength: float | None = None
    #: Gradient steps for each block.
    iterations: int | None = None

    def as_json(self) -> dict[str, Any]:
        """A plain object, of what is said, that :func:`tuning_from_json` turns back into an equal value."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def tuning_from_json(data: Mapping[str, Any]) -> Tuning:
    """The tuning that ``as_json`` described."""
    return Tuning(**data)


#: How requests call what a method takes.
WIRE_NAMES = {
    "act_order": "actOrder",
    "dampening": "dampening",
    "smoothing_strength": "smoothingStrength",
    "iterations": "iterations",
}


def make_tuning(wish: Tuning, method: Method, *, field: str) -> Tuning | None:
    """The tuning that a wish means; None where it says nothing but what is usual.

    Raises: InvalidRequest naming the field below ``field``.
    """
    for name in wish.as_json():
        if name not in method.takes:
            able = ", ".join(other for other in Method if name in other.takes)
            raise InvalidRequest(f"{field}.{WIRE_NAMES[name]}", f"{method.value} has none", hint=f"it is for {able}")
    made = Tuning(
        act_order=wish.act_order,
        dampening=_dampening(wish.dampening, f"{field}.dampening", usual=usual_dampening(method)),
        smoothing_strength=_strength(wish.smoothing_strength, f"{field}.smoothingStrength"),
        iterations=_iterations(wish.iterations, f"{field}.iterations"),
    )
    return made if made != Tuning() else None


def usual_dampening(method: Method) -> float:
    """What holds where nothing is said."""
    return SPARSEGPT_DAMPENING if method is Method.SPARSEGPT else DEFAULT_DAMPENING


def _dampening(wanted: float | None, field: str, *, usual: float) -> float | None:
    if wanted is not None and not 0 < wanted <= 1:
        raise InvalidRequest(field, f"{wanted:g} is not above 0 and at most 1")
    return None if wanted in (None, usual) else float(wanted)


def _strength(wanted: float | None, field: str) -> float | None:
    if wanted is not None and not 0 <= wanted <= 1:
        raise InvalidRequest(field, f"{wanted:g} is not between 0 and 1")
    return None if wanted is None else float(wanted)


def _iterations(wanted: int | None, field: str) -> int | None:
    if wanted is not None and not 1 <= wanted <= MOST_ITERATIONS:
        named = str(wanted) if abs(wanted) < 10**9 else "it"  # it may have thousands of digits
        raise InvalidRequest(field, f"{named} is not between 1 and {MOST_ITERATIONS}")
    return None if wanted is None else int(wanted)

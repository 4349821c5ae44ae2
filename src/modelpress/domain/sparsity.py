"""Sparsity: how much of each weight is pruned, and in which pattern the zeros lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from modelpress.domain.method import Method
from modelpress.errors import InvalidRequest

#: ``2:4``: of every four neighbours in a row, two are zero.
Pattern = Literal["unstructured", "2:4"]

DEFAULT_RATIO, LARGEST_RATIO = 0.5, 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparsity:
    """How much of a model is taken away; by structured pruning whole neurons and blocks, so that no pattern is left."""

    ratio: float = DEFAULT_RATIO
    pattern: Pattern = "unstructured"

    @property
    def title(self) -> str:
        """For people, such as ``50 % sparse`` or ``50 % sparse in 2:4``."""
        return f"{100 * self.ratio:g} % sparse" + (f" in {self.pattern}" if self.pattern != "unstructured" else "")

    def as_json(self) -> dict[str, Any]:
        """A plain object that :func:`sparsity_from_json` turns back into an equal value."""
        return {"ratio": self.ratio} | ({"pattern": self.pattern} if self.pattern != "unstructured" else {})


def sparsity_from_json(data: Mapping[str, Any]) -> Sparsity:
    """The sparsity that ``as_json`` described."""
    return Sparsity(**data)


def make_sparsity(ratio: float | None, pattern: str | None, *, method: Method, field: str) -> Sparsity:
    """The sparsity that a request's words mean.

    Raises: InvalidRequest naming ``sparsityRatio`` or ``sparsityPattern`` below ``field``.
    """
    made = Sparsity(
        ratio=_ratio(ratio, f"{field}.sparsityRatio"), pattern=_pattern(pattern, f"{field}.sparsityPattern")
    )
    if made.pattern == "2:4":
        if method is Method.STRUCTURED:
            raise InvalidRequest(
                f"{field}.sparsityPattern", "structured takes whole neurons away and leaves no pattern of zeros"
            )
        if made.ratio != 0.5:
            raise InvalidRequest(
                f"{field}.sparsityRatio", f"{made.ratio:g} is not the ratio of 2:4, which is 0.5", hint="leave it out"
            )
    return made


def _ratio(wanted: float | None, field: str) -> float:
    ratio = DEFAULT_RATIO if wanted is None else wanted
    if not 0 <= ratio <= LARGEST_RATIO:
        raise InvalidRequest(field, f"{ratio:g} is not between 0 and {LARGEST_RATIO}")
    return float(ratio)


def _pattern(wanted: str | None, field: str) -> Pattern:
    name = (wanted or "unstructured").strip().lower()
    if name == "unstructured":
        return "unstructured"
    if name != "2:4":
        raise InvalidRequest(field, f"{wanted!r} is none of unstructured, 2:4")
    return "2:4"

"""How each weight is rounded, decided for all at once: servers fuse layers, so what they share must be one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import Scheme
from modelpress.tensors.grouping import choose_grouping


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """What is done to a weight: nothing is left open."""

    scheme: Scheme
    #: Columns that share a scale; None for one scale an output row.
    group_size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The treatment of every weight to be compressed, by its tensor's name, and why it is so."""

    treatments: Mapping[str, Treatment]
    notes: tuple[str, ...]

    @property
    def group_size(self) -> int | None:
        """Of the weights that the recipe's own scheme treats."""
        return next(iter(self.treatments.values())).group_size


def assign(recipe: Recipe, widths: Mapping[str, int]) -> Assignment:
    """Treatments for linear weights of these input widths.

    Raises: Unsupported if not as the recipe asks.
    """
    grouping = choose_grouping(recipe, widths)
    treatment = Treatment(scheme=recipe.scheme, group_size=grouping.size)
    return Assignment(treatments=dict.fromkeys(widths, treatment), notes=grouping.notes)

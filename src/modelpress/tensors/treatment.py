"""How each weight is rounded, decided for all at once: servers fuse layers, so what they share must be one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from modelpress.domain.method import Method
from modelpress.domain.pattern import near, unmatched
from modelpress.domain.recipe import Choice, Recipe, ScaleSearch
from modelpress.domain.scheme import DENSE, Scheme
from modelpress.domain.sparsity import Sparsity
from modelpress.errors import Unsupported
from modelpress.tensors.grouping import choose_grouping
from modelpress.tensors.target import module_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """What is done to a weight: nothing is left open."""

    scheme: Scheme
    #: Columns that share a scale, or the edge of a block; None for one scale an output row.
    group_size: int | None
    symmetric: bool = True
    scale_search: ScaleSearch = "max"
    #: The zeros it gets first; None for none.
    sparsity: Sparsity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The treatment of every weight to be compressed, by its tensor's name, and why it is so."""

    treatments: Mapping[str, Treatment]
    #: The modules of each treatment; the recipe's own comes first, if any module has it.
    modules: Mapping[Treatment, tuple[str, ...]]
    #: Linear weights that stay as they are because the recipe says so.
    kept: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def group_size(self) -> int | None:
        """Of the weights that the recipe's own scheme treats."""
        return next(iter(self.modules)).group_size

    @property
    def is_dense(self) -> bool:
        """Whether all weights keep their dtype: nothing becomes smaller then."""
        return all(treatment.scheme is DENSE for treatment in self.modules)


def assign(recipe: Recipe, widths: Mapping[str, int]) -> Assignment:
    """Treatments for linear weights of these input widths, by the tensors' names.

    Raises: Unsupported if not as the recipe asks, or if a pattern of it means no linear layer.
    """
    modules = {name: module_of(name) for name in widths}
    check_patterns(recipe, modules.values())
    own = recipe.own_choice
    chosen: dict[Choice, dict[str, int]] = {own: {}}
    kept = []
    for name, width in widths.items():
        choice = recipe.choose(modules[name])
        if choice is None:
            kept.append(name)
        else:
            chosen.setdefault(choice, {})[name] = width
    treatments, notes = {}, []
    # Structured pruning was done before, to the whole model; it leaves no zeros.
    zeros = None if recipe.method is Method.STRUCTURED else recipe.sparsity
    for choice, names in chosen.items():
        if names:
            grouping = choose_grouping(choice, names)
            treatment = _treatment(choice, grouping.size, zeros)
            treatments.update(dict.fromkeys(names, treatment))
            notes += [note if choice is own else f"{choice.scheme.name}: {note}" for note in grouping.notes]
    if not treatments:
        raise Unsupported(f"the recipe leaves all {len(widths)} linear weights as they are")
    return Assignment(
        treatments=treatments, modules=_by_treatment(treatments), kept=tuple(kept), notes=(*notes, *_told(kept))
    )


def _treatment(choice: Choice, group_size: int | None, sparsity: Sparsity | None) -> Treatment:
    return Treatment(
        scheme=choice.scheme,
        group_size=group_size,
        symmetric=choice.symmetric,
        scale_search=choice.scale_search,
        sparsity=sparsity,
    )


def _by_treatment(treatments: Mapping[str, Treatment]) -> dict[Treatment, tuple[str, ...]]:
    modules: dict[Treatment, list[str]] = {}
    for name, treatment in treatments.items():
        modules.setdefault(treatment, []).append(module_of(name))
    return {treatment: tuple(names) for treatment, names in modules.items()}


def _told(kept: list[str]) -> Iterator[str]:
    if kept:
        yield f"{len(kept)} linear weights are left as they are, as asked, first {kept[0]}."


def check_patterns(recipe: Recipe, modules: Collection[str]) -> None:
    patterns = [*recipe.targets, *recipe.ignore, *(target for over in recipe.overrides for target in over.targets)]
    for pattern in unmatched(patterns, modules):
        words = near(pattern, modules)
        raise Unsupported(
            f"the pattern {pattern!r} means none of the model's {len(modules)} linear layers",
            hint=f"some have names like {', '.join(words)}" if words else "--plan lists the layers",
        )

"""How many input columns share a scale: one answer for the whole model, since servers fuse layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelpress.domain.recipe import Choice
from modelpress.domain.scheme import DENSE, FP8, GROUP_SIZES, Scheme
from modelpress.errors import Unsupported

_NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """``size`` columns share a scale, or all of a row where it is None; ``notes`` tell why."""

    size: int | None
    notes: tuple[str, ...]


def choose_grouping(choice: Choice, columns: Mapping[str, int]) -> Grouping:
    """The grouping for weights of these widths: the recipe's wish, else the scheme's rule (docs/formats.md).

    Raises: Unsupported if a group size was asked for that does not divide every width, or the scheme has no other.
    """
    asked, scheme = choice.group_size, choice.scheme
    if scheme is DENSE:
        return Grouping(size=None, notes=())
    if asked == "channel":
        return Grouping(size=None, notes=("Each output row has one scale, as asked.",))
    if asked is not None:
        return _asked(asked, choice, columns)
    if scheme.grouping == "channel":
        return Grouping(size=None, notes=("Each output row has one scale.",))
    if scheme.grouping == "block":
        edge = scheme.group_sizes[0]
        refuse_cut_blocks(edge, scheme, columns)
        return Grouping(size=edge, notes=(f"Blocks of {edge} rows and {edge} columns share a scale.",))
    for size in scheme.group_sizes:
        if not _undivided(size, columns):
            return Grouping(size=size, notes=(_reason(size, scheme, columns),))
    if not scheme.group_size_chosen:
        raise Unsupported(
            f"{scheme.name} has groups of {scheme.group_sizes[-1]} columns, which do not divide the input width of "
            + _counted(_undivided(scheme.group_sizes[-1], columns), columns),
            hint="leave these layers out (ignore), or choose another scheme",
        )
    return Grouping(size=None, notes=(_reason(None, scheme, columns),))


def refuse_cut_blocks(edge: int, scheme: Scheme, columns: Mapping[str, int]) -> None:
    """Blocks that are cut on the right can be written, but transformers and vLLM want activations in whole groups."""
    undivided = _undivided(edge, columns)
    if undivided:
        raise Unsupported(
            f"{scheme.name} has blocks of {edge} columns, which do not divide the input width of "
            + _counted(undivided, columns),
            hint=f"nothing loads such blocks; {FP8.name} has one scale an output row, and fits any width",
        )


def _asked(size: int, choice: Choice, columns: Mapping[str, int]) -> Grouping:
    undivided = _undivided(size, columns)
    if undivided:
        raise Unsupported(
            f"groups of {size} columns do not divide the input width of {_counted(undivided, columns)}",
            hint="leave the group size out to let modelpress choose, or ask for 'channel'",
        )
    notes = [f"Groups of {size} columns share a scale, as asked."]
    if choice.scheme.activation_bits < 16:
        notes.append(
            "Servers load weights with 8-bit activations only with one scale an output row; transformers loads these."
        )
    elif size not in GROUP_SIZES:
        notes.append(f"Servers have kernels for groups of {', '.join(map(str, GROUP_SIZES))}; transformers loads any.")
    return Grouping(size=size, notes=tuple(notes))


def _counted(names: list[str], columns: Mapping[str, int]) -> str:
    return f"{len(names)} of {len(columns)} layers: {_some(names, columns)}"


def _reason(size: int | None, scheme: Scheme, columns: Mapping[str, int]) -> str:
    larger = [wider for wider in scheme.group_sizes if size is None or wider > size]
    chosen = "Each output row has one scale" if size is None else f"Groups of {size} columns share a scale"
    if not larger:
        return f"{chosen}."
    undivided = _undivided(larger[-1], columns)
    return f"{chosen}: {larger[-1]} does not divide the input width of {_some(undivided, columns)}."


def _undivided(size: int, columns: Mapping[str, int]) -> list[str]:
    return [name for name, width in columns.items() if width % size]


def _some(names: list[str], columns: Mapping[str, int]) -> str:
    shown = ", ".join(f"{name} ({columns[name]})" for name in names[:_NAMES_SHOWN])
    rest = len(names) - _NAMES_SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown

"""What servers do not load although it is sound: told when it is planned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modelpress.tensors.fusion import fused_with
from modelpress.tensors.treatment import Treatment

_EXPERTS = "experts"


def split_notes(treatments: Mapping[str, Treatment | None]) -> Iterator[str]:
    """Notes for linear modules and what becomes of them, None for those that stay as they are.

    Source: vLLM 0.32 takes the first part's format for a layer it fuses, and one for all experts of a layer.
    """
    if len(set(treatments.values())) < 2:
        return
    split: dict[tuple[str, ...], list[str]] = {}
    for modules in dict.fromkeys(fused_with(treatments).values()):
        if len({treatments[module] for module in modules}) > 1:
            parent, names = modules[0].rpartition(".")[0], tuple(module.rpartition(".")[2] for module in modules)
            split.setdefault(names, []).append(parent)
    for names, parents in split.items():
        yield _note(f"{', '.join(names[:-1])} and {names[-1]}", parents)
    mixed = [parent for parent, formats in _of_experts(treatments).items() if len(formats) > 1]
    if mixed:
        yield _note("all experts of a layer", mixed)


def block_notes(treatments: Mapping[str, Treatment | None], shapes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """A note for weights that blocks do not divide; both mappings are by module.

    Source: vLLM 0.32 asks each of a layer's parts, and its input, to be whole blocks.
    """
    odd = [
        module
        for module, treatment in treatments.items()
        if treatment is not None
        and treatment.scheme.grouping == "block"
        and any(size % treatment.scheme.group_sizes[0] for size in shapes[module])
    ]
    if odd:
        rows, columns = shapes[odd[0]]
        where = f"{odd[0]} ({rows} × {columns})" + (f" and {len(odd) - 1} more" if len(odd) > 1 else "")
        yield f"vLLM loads blocks only where they divide rows too; not so in {where}. transformers loads them."


def _note(what: str, parents: list[str]) -> str:
    where = f"{parents[0]}" + (f" and {len(parents) - 1} more" if len(parents) > 1 else "")
    return f"vLLM makes one layer of {what}; here their formats differ, in {where}: it will not load them."


def _of_experts(treatments: Mapping[str, Treatment | None]) -> dict[str, set[Treatment | None]]:
    """What becomes of experts, by the module that holds those of a layer."""
    formats: dict[str, set[Treatment | None]] = {}
    for module, treatment in treatments.items():
        before, found, _ = f".{module}".rpartition(f".{_EXPERTS}.")
        if found:
            formats.setdefault(f"{before}.{_EXPERTS}".removeprefix("."), set()).add(treatment)
    return formats

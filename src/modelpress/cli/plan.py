"""``modelpress compress --plan``: what would be done, told without reading a weight or writing anything."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import typer

from modelpress.cli.output import print_json, size_text
from modelpress.cli.recipe import method_facts, recipe_form
from modelpress.domain.method import Method
from modelpress.domain.scheme import DENSE

if TYPE_CHECKING:
    from modelpress.domain.recipe import Recipe
    from modelpress.domain.sparsity import Sparsity
    from modelpress.tensors.outline import Line
    from modelpress.tensors.plan import Plan
    from modelpress.tensors.target import Part
    from modelpress.tensors.treatment import Treatment

_GAP = "  "
#: Characters of a name that are shown however narrow the terminal.
_LEAST_NAME = 24


def print_plan(source: Path, recipe: Recipe, *, as_json: bool) -> None:
    """The plan on stdout: a line for each kind of tensor, or as JSON each tensor.

    Raises: TaskError if the source cannot be compressed so.
    """
    from modelpress.tensors.checkpoint import open_checkpoint
    from modelpress.tensors.folder import folder_of
    from modelpress.tensors.plan import make_plan

    plan = make_plan(open_checkpoint(folder_of(source)), recipe)
    if as_json:
        print_json(_plan_form(plan))
    else:
        _print_table(plan)


def _plan_form(plan: Plan) -> dict[str, Any]:
    from modelpress.tensors.outline import written_as

    treatments = plan.decision.assignment.treatments
    tensors = [
        {
            "name": step.source.name,
            "part": plan.decision.parts[step.source.name].value,
            "dtype": step.source.dtype,
            "shape": list(step.source.shape),
            "sourceBytes": step.rows.stored_bytes,
            **_treatment_form(treatments.get(step.source.name)),
            "outputBytes": step.output_bytes,
            "writtenAs": written_as(step),
            "outputs": [{"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)} for spec in step.outputs],
            "file": shard.name,
        }
        for shard in plan.shards
        for step in shard.steps
    ]
    return {
        **recipe_form(plan.recipe),
        **({} if plan.group_size is None else {"groupSize": plan.group_size}),
        "sourceBytes": plan.source_bytes,
        "outputBytes": plan.output_bytes,
        "ratio": round(plan.output_bytes / plan.source_bytes, 4),
        "shards": [{"file": shard.name, "sizeBytes": shard.size_bytes} for shard in plan.shards],
        "notes": list(plan.notes),
        "tensors": tensors,
    }


def _treatment_form(treatment: Treatment | None) -> dict[str, Any]:
    if treatment is None:
        return {}
    return {
        "scheme": treatment.scheme.name,
        **({} if treatment.group_size is None else {"groupSize": treatment.group_size}),
        "symmetric": treatment.symmetric,
        "scaleSearch": treatment.scale_search,
        **_sparsity_form(treatment.sparsity),
    }


def _sparsity_form(sparsity: Sparsity | None) -> dict[str, Any]:
    return {} if sparsity is None else {"sparsityRatio": sparsity.ratio, "sparsityPattern": sparsity.pattern}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column of the table."""

    title: str
    cells: Sequence[str]
    right: bool = False
    #: Left out where the terminal is too narrow; the highest first.
    dispensable: int = 0

    @property
    def width(self) -> int:
        return max(map(len, (self.title, *self.cells)))

    def aligned(self, cell: str) -> str:
        return cell.rjust(self.width) if self.right else cell.ljust(self.width)


def _print_table(plan: Plan) -> None:
    from modelpress.tensors.outline import outline

    lines = outline(plan)
    columns = _fitted(_columns(lines, shards=len(plan.shards)), get_terminal_size().columns)
    styled = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for number, row in enumerate(zip(*([column.title, *column.cells] for column in columns), strict=True)):
        text = _GAP.join(column.aligned(cell) for column, cell in zip(columns, row, strict=True)).rstrip()
        outer = number in (0, len(lines) + 1)
        typer.echo(typer.style(text, bold=outer, dim=not outer and _stays(lines[number - 1])) if styled else text)
    ratio = plan.output_bytes / plan.source_bytes
    typer.echo()
    for name, fact in method_facts(plan.recipe).items():
        if fact and plan.recipe.method is not Method.RTN:
            typer.echo(f"{name}: {fact}")
    typer.echo(f"{size_text(plan.source_bytes)} become {size_text(plan.output_bytes)}, all files together: {ratio:.1%}")
    for note in plan.notes:
        typer.echo(note)


def _columns(lines: Sequence[Line], *, shards: int) -> list[_Column]:
    """The table's columns, of a cell for each line and one for the sum."""
    counts = [line.count for line in lines]
    before, after = ([getattr(line, name) for line in lines] for name in ("source_bytes", "output_bytes"))
    becomes = list(map(_becomes, lines))
    ratios = ["" if _stays(line) else f"{line.output_bytes / max(line.source_bytes, 1):.1%}" for line in lines]
    return [
        _Column(title="TENSORS", cells=[*(line.name for line in lines), ""]),
        _Column(
            title="COUNT",
            cells=[*map(str, counts), str(sum(counts))],
            right=True,
        ),
        _Column(
            title="SHAPE", cells=[*(" × ".join(map(str, line.shape)) for line in lines), ""], right=True, dispensable=2
        ),
        _Column(title="DTYPE", cells=[*(line.dtype for line in lines), ""], dispensable=3),
        _Column(title="BECOMES", cells=[*becomes, f"{shards} shard" + ("s" if shards > 1 else "")]),
        _Column(title="BEFORE", cells=[*map(size_text, before), size_text(sum(before))], right=True),
        _Column(title="AFTER", cells=[*map(size_text, after), size_text(sum(after))], right=True),
        _Column(title="RATIO", cells=[*ratios, ""], right=True, dispensable=1),
    ]


def _fitted(columns: Sequence[_Column], terminal: int) -> list[_Column]:
    """The columns that a terminal has room for; of names that are still too long, the ends are kept."""
    kept = list(columns)
    if not sys.stdout.isatty():
        return kept
    for column in sorted((column for column in columns if column.dispensable), key=lambda c: -c.dispensable):
        if _total(kept) > terminal:
            kept.remove(column)
    names, *rest = kept
    room = max(names.width - max(_total(kept) - terminal, 0), _LEAST_NAME)
    ends = [name if len(name) <= room else f"…{name[1 - room :]}" for name in names.cells]
    return [replace(names, cells=ends), *rest]


def _total(columns: Sequence[_Column]) -> int:
    return sum(column.width for column in columns) + len(_GAP) * (len(columns) - 1)


def _stays(line: Line) -> bool:
    """Whether its numbers are as they were, and as many."""
    dense = line.treatment is None or (line.treatment.scheme is DENSE and line.treatment.sparsity is None)
    return dense and line.output_bytes == line.source_bytes


def _becomes(line: Line) -> str:
    if line.treatment is None:
        return _part_text(line.part) if line.output_dtype == line.dtype else line.output_dtype
    if line.treatment.scheme.output_format == "gguf":
        return line.output_dtype
    return treatment_text(line.treatment) or ("stays" if _stays(line) else "smaller")


def _part_text(part: Part) -> str:
    from modelpress.tensors.target import Part

    if part is Part.OTHER:
        return "stays"
    return "stays, as asked" if part is Part.LINEAR else f"stays ({part.value})"


def treatment_text(treatment: Treatment) -> str:
    """What is done in few words: ``50 % sparse W4A16C16 g64 asymmetric mse``; ``g64`` for groups of 64 columns."""
    scheme, size = treatment.scheme, treatment.group_size
    words = [] if treatment.sparsity is None else [treatment.sparsity.title]
    if scheme is DENSE:
        return " ".join(words)
    words.append(scheme.name)
    if scheme.grouping == "block":
        words.append(f"{size}×{size}")
    elif size is not None:
        words.append(f"g{size}")
    if treatment.symmetric is not scheme.symmetric:
        words.append("asymmetric")
    if treatment.scale_search != "max":
        words.append(treatment.scale_search)
    return " ".join(words)

"""What is decided of a checkpoint before any data is read: which tensors there are, and what becomes of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from modelpress.domain.method import Method
from modelpress.domain.recipe import Recipe
from modelpress.errors import Unsupported
from modelpress.tensors.checkpoint import Checkpoint, SourceTensor
from modelpress.tensors.experts import apart, split_experts
from modelpress.tensors.grid import Grid
from modelpress.tensors.pruned_rows import pruned_rows
from modelpress.tensors.spec import TensorSpec
from modelpress.tensors.target import Part, check_architecture, parts_of
from modelpress.tensors.treatment import Assignment, Treatment, assign

#: A row is rounded whole, so memory is bounded by rows; real ones have under 1 MB.
LARGEST_ROW_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The tensors to be written, in the source's order; what each is; and how the linear weights are rounded."""

    tensors: tuple[SourceTensor, ...]
    parts: Mapping[str, Part]
    assignment: Assignment


def decide(checkpoint: Checkpoint, recipe: Recipe) -> Decision:
    """The decision that a recipe means for a checkpoint.

    Raises: Unsupported if nothing can be compressed, or not as the recipe asks.
    """
    check_architecture(checkpoint.architecture)
    # Experts apart are what quantized ones are loaded from; loaders of plain ones know them as they are stored.
    experts = split_experts(checkpoint.tensors, checkpoint.config) if recipe.quantizes else {}
    tensors = apart(checkpoint.tensors, experts)
    assignment = assign(recipe, _input_widths(tensors, _parts(tensors)))
    tensors = apart(checkpoint.tensors, experts, wanted=assignment.treatments)
    if recipe.method is Method.MAGNITUDE:
        tensors = tuple(_pruned(tensor, assignment.treatments.get(tensor.spec.name)) for tensor in tensors)
    return Decision(tensors=tensors, parts=_parts(tensors), assignment=assignment)


def _pruned(tensor: SourceTensor, treatment: Treatment | None) -> SourceTensor:
    if treatment is None or treatment.sparsity is None:
        return tensor
    return replace(tensor, rows=pruned_rows(tensor.rows, tensor.spec, treatment.sparsity))


def _parts(tensors: Sequence[SourceTensor]) -> dict[str, Part]:
    """What every tensor is, by name."""
    parts = parts_of(tensor.spec for tensor in tensors)
    if Part.LINEAR not in parts.values():
        raise Unsupported(
            f"the model has no linear weights to compress among its {len(parts)} tensors",
            hint="linear weights are tensors of two dimensions whose names end in .weight",
        )
    return parts


def _input_widths(tensors: Sequence[SourceTensor], parts: Mapping[str, Part]) -> dict[str, int]:
    """Columns of every weight to be compressed, by name."""
    widths = {}
    for tensor in tensors:
        if parts[tensor.spec.name] is Part.LINEAR:
            _check_target(tensor.spec)
            widths[tensor.spec.name] = tensor.spec.shape[1]
    return widths


def _check_target(spec: TensorSpec) -> None:
    if spec.dtype not in set(Grid):
        raise Unsupported(f"weight {spec.name!r} is {spec.dtype}; weights of {', '.join(Grid)} can be compressed")
    row_bytes = spec.size_bytes // spec.shape[0]
    if row_bytes > LARGEST_ROW_BYTES:
        raise Unsupported(
            f"a row of weight {spec.name!r} has {row_bytes} bytes; at most {LARGEST_ROW_BYTES} are supported"
        )

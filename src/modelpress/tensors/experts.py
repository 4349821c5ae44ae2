"""Experts that are fused into one tensor of three dimensions, taken apart into the linear layers they are.

Servers and loaders know quantized experts one by one, under the names they have where they are stored apart:
``….experts.7.gate_proj.weight``. Nothing is copied for it: each is a view of the fused tensor's bytes.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelpress.errors import Unsupported
from modelpress.tensors.checkpoint import SourceTensor
from modelpress.tensors.header import MOST_TENSORS
from modelpress.tensors.rows import Rows, StoredRows, TransposedRows
from modelpress.tensors.spec import TensorSpec
from modelpress.tensors.target import module_of

_GATE_UP, _DOWN = "gate_up_proj", "down_proj"

#: Checkpoints that keep [experts, inputs, outputs]. All others keep the outputs first, as linear layers do.
_TRANSPOSED = frozenset({"llama4", "llama4_text", "qwen3_vl_moe", "qwen3_vl_moe_text"})
#: Gate and up take turns column by column, and each expert has biases: loaders have no names for them apart.
_INTERLEAVED = frozenset({"gpt_oss", "openai_privacy_filter"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fused:
    """The two fused tensors of one layer, and the sizes that both agree on."""

    gate_up: SourceTensor
    down: SourceTensor
    experts: int
    hidden: int
    inner: int
    transposed: bool


def apart(
    tensors: Sequence[SourceTensor],
    split: Mapping[str, tuple[SourceTensor, ...]],
    *,
    wanted: Container[str] | None = None,
) -> tuple[SourceTensor, ...]:
    """The tensors, with those that are ``split`` replaced by their experts.

    Where ``wanted`` is given, only in modules that have an expert of a wanted name: others are best left as they are.
    """
    if wanted is not None:
        modules = {module_of(name) for name, parts in split.items() if any(part.spec.name in wanted for part in parts)}
        split = {name: parts for name, parts in split.items() if module_of(name) in modules}
    return tuple(part for tensor in tensors for part in split.get(tensor.spec.name, (tensor,)))


def split_experts(tensors: Sequence[SourceTensor], config: Mapping[str, Any]) -> dict[str, tuple[SourceTensor, ...]]:
    """The experts of every fused tensor, by the fused tensor's name; those that cannot be taken apart are left out.

    Raises: Unsupported if there are more than any model has: a shape costs the file a few digits, its experts memory.
    Shapes: gate_up_proj [experts, 2 * inner, hidden] -> gate_proj and up_proj [inner, hidden] each;
            down_proj [experts, hidden, inner] -> [hidden, inner]; some architectures store the last two swapped.
    """
    model_types = _model_types(config)
    if model_types & _INTERLEAVED:
        return {}
    by_name = {tensor.spec.name: tensor for tensor in tensors if len(tensor.spec.shape) == 3}
    split: dict[str, tuple[SourceTensor, ...]] = {}
    count = 0
    for name, gate_up in by_name.items():
        module, _, parameter = name.rpartition(".")
        down = by_name.get(f"{module}.{_DOWN}")
        if parameter != _GATE_UP or down is None:
            continue
        fused = _agreed(gate_up, down, transposed=bool(model_types & _TRANSPOSED))
        if fused is not None:
            count += 3 * fused.experts
            if count > MOST_TENSORS:
                raise Unsupported(f"its fused experts are {count} tensors up to {name!r}, more than {MOST_TENSORS}")
            split[name] = tuple(_gates_and_ups(fused, module))
            split[down.spec.name] = tuple(_downs(fused, module))
    return split


def _model_types(config: Mapping[str, Any]) -> set[str]:
    """The model's own, and those of its parts."""
    parts = [config, *(value for value in config.values() if isinstance(value, dict))]
    return {part["model_type"] for part in parts if isinstance(part.get("model_type"), str)}


def _agreed(gate_up: SourceTensor, down: SourceTensor, *, transposed: bool) -> _Fused | None:
    """None unless both are plainly stored and their shapes fit together."""
    if not isinstance(gate_up.rows, StoredRows) or not isinstance(down.rows, StoredRows):
        return None
    experts, outputs, hidden = gate_up.spec.shape
    if transposed:
        outputs, hidden = hidden, outputs
    inner = outputs // 2
    expected = (experts, inner, hidden) if transposed else (experts, hidden, inner)
    if outputs % 2 or down.spec.shape != expected or 0 in expected or gate_up.spec.dtype != down.spec.dtype:
        return None
    return _Fused(gate_up=gate_up, down=down, experts=experts, hidden=hidden, inner=inner, transposed=transposed)


def _gates_and_ups(fused: _Fused, module: str) -> Iterable[SourceTensor]:
    for expert in range(fused.experts):
        for half, name in enumerate(("gate_proj", "up_proj")):
            yield _expert(
                fused.gate_up,
                name=f"{module}.{expert}.{name}.weight",
                shape=(fused.inner, fused.hidden),
                first=(expert, half * fused.inner),
                transposed=fused.transposed,
            )


def _downs(fused: _Fused, module: str) -> Iterable[SourceTensor]:
    for expert in range(fused.experts):
        yield _expert(
            fused.down,
            name=f"{module}.{expert}.{_DOWN}.weight",
            shape=(fused.hidden, fused.inner),
            first=(expert, 0),
            transposed=fused.transposed,
        )


def _expert(
    tensor: SourceTensor, *, name: str, shape: tuple[int, int], first: tuple[int, int], transposed: bool
) -> SourceTensor:
    """The matrix of ``shape`` that begins at the expert and the output row ``first``."""
    stored = tensor.rows
    assert isinstance(stored, StoredRows), tensor
    (rows, columns), (expert, row) = shape, first
    expert_bytes = tensor.spec.size_bytes // tensor.spec.shape[0]
    number_bytes = tensor.spec.alignment_bytes
    begin = stored.offset + expert * expert_bytes
    view: Rows
    if transposed:
        view = TransposedRows(
            file=stored.file,
            offset=begin + row * number_bytes,
            count=rows,
            columns=columns,
            number_bytes=number_bytes,
            stride_bytes=tensor.spec.shape[2] * number_bytes,
        )
    else:
        row_bytes = columns * number_bytes
        view = StoredRows(file=stored.file, offset=begin + row * row_bytes, count=rows, row_bytes=row_bytes)
    return SourceTensor(spec=TensorSpec(name=name, dtype=tensor.spec.dtype, shape=shape), file=tensor.file, rows=view)

"""Where a block can take the inverse of an input's scales: as the table says, or, for decoders without a row, as shown.

Many decoders have the parts of those in the table, under the same names, and put them together otherwise: a norm behind
attention that is called as others call the one before the next layers, say. So what the names suggest is tried on the
block itself, and only what leaves its output unchanged is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from modelpress.calibrate.architecture import ARCHITECTURES, GUESSES, Fold, Heads, folds_of
from modelpress.calibrate.decoder import Call, run
from modelpress.calibrate.fold import apply
from modelpress.errors import Unsupported

#: Of what an output changes by when only one half of a fold is made: a true fold changes it by its rounding alone,
#: which in bf16 is less than 1 %, one that misses a reader by that reader's share.
_TRUE_BELOW = 0.03


def folds_in(block: nn.Module, batch: tuple[Tensor, Call]) -> tuple[Fold, ...]:
    """The places of a block whose weights are loaded; ``batch`` is what goes into it.

    Raises: Unsupported where the block has none, or does not tell what it is.
    """
    config = next((module.config for module in block.modules() if hasattr(module, "config")), None)
    heads = _heads_of(config)
    model_type = getattr(config, "model_type", None)
    shapes = {
        name.removesuffix(".weight"): tuple(parameter.shape)
        for name, parameter in block.named_parameters()
        if name.endswith(".weight")
    }
    known = ARCHITECTURES.get(str(model_type))
    if known is not None:
        return folds_of(known, shapes=shapes, heads=heads)
    found = _shown(block, batch, shapes=shapes, heads=heads)
    if not found:
        raise Unsupported(
            f"nothing in a decoder block of type {model_type!r} is known to take the inverse of an input's scales",
            hint="method gptq scales nothing",
        )
    return found


def _heads_of(config: Any) -> Heads:
    queries = getattr(config, "num_attention_heads", None) or 1
    return Heads(queries=queries, values=getattr(config, "num_key_value_heads", None) or queries)


def _shown(
    block: nn.Module, batch: tuple[Tensor, Call], *, shapes: Mapping[str, tuple[int, ...]], heads: Heads
) -> tuple[Fold, ...]:
    """The folds of every guess that prove to be true; of those that share a reader, the first."""
    found: list[Fold] = []
    before = run(block, *batch)
    for guess in GUESSES:
        for fold in folds_of(guess, shapes=shapes, heads=heads):
            taken = {reader for other in found for reader in other.readers}
            if taken.isdisjoint(fold.readers) and _is_true(fold, block, batch, before):
                found.append(fold)
    return tuple(found)


def _is_true(fold: Fold, block: nn.Module, batch: tuple[Tensor, Call], before: Tensor) -> bool:
    """Whether scales that are folded in leave the block's output as it was."""
    source = block.get_submodule(fold.source)
    readers = [block.get_submodule(reader) for reader in fold.readers]
    kept = [(parameter, parameter.clone()) for module in (source, *readers) for parameter in module.parameters()]
    columns = readers[0].weight.shape[-1]
    # Powers of two, so that most of it is exact in any dtype; one for all heads that share one.
    places = torch.arange(columns, device=before.device) % fold.width
    scales = torch.where(places % 3 == 0, 4.0, 0.5)
    try:
        apply(fold, block, scales)
        changed = _distance(run(block, *batch), before)
        for parameter, value in kept[len(list(source.parameters())) :]:
            parameter.copy_(value)
        half = _distance(run(block, *batch), before)
    finally:
        for parameter, value in kept:
            parameter.copy_(value)
    return changed < _TRUE_BELOW * half


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one.float() - other.float()).norm())

"""The sizes of a model as a GGUF file's metadata gives them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from modelpress.tensors.gguf.header import Gguf

#: Of one layer; the largest models have some 500.
MOST_EXPERTS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What architectures have in common. ``experts`` and what goes with them are 0 for a model without."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_heads: int
    head_width: int
    vocabulary: int
    context: int
    rotated: int
    rope_base: float
    epsilon: float
    experts: int
    experts_used: int
    expert_width: int
    shared_width: int

    @property
    def extents(self) -> Mapping[str, int]:
        """The extents of weights by one letter each, as the table of architectures writes shapes."""
        queries, keys = self.heads * self.head_width, self.key_heads * self.head_width
        return {
            "H": self.hidden,
            "I": self.intermediate,
            "Q": queries,
            "K": keys,
            "D": self.head_width,
            "V": self.vocabulary,
            "E": self.experts,
            "M": self.expert_width,
            "S": self.shared_width,
            "1": 1,
            #: Queries, keys and values in one tensor; gate and up in one tensor.
            "F": queries + 2 * keys,
            "G": 2 * self.intermediate,
        }


def read_sizes(gguf: Gguf, family: str) -> Sizes:
    """Take a model's sizes from the metadata under ``family``; BadSource if one is missing or they do not fit."""

    def number(key: str, default: int | None = None) -> int:
        found = gguf.optional(f"{family}.{key}", int)
        if found is None:
            found = gguf.field(f"{family}.{key}", int) if default is None else default
        return found

    hidden, heads = number("embedding_length"), number("attention.head_count")
    if heads < 1:
        raise gguf.refuse(f"{family}.attention.head_count is {heads}")
    width = gguf.optional(f"{family}.attention.key_length", int)
    if width is None:
        if hidden % heads:
            raise gguf.refuse(f"width {hidden} and {heads} heads do not divide")
        width = hidden // heads
    sizes = Sizes(
        layers=number("block_count"),
        hidden=hidden,
        intermediate=number("feed_forward_length", 0),
        heads=heads,
        key_heads=number("attention.head_count_kv", heads),
        head_width=width,
        vocabulary=_vocabulary(gguf),
        context=number("context_length"),
        rotated=number("rope.dimension_count", width),
        rope_base=decimal(_stated(gguf, f"{family}.rope.freq_base", usual=10000.0)),
        epsilon=decimal(gguf.field(f"{family}.attention.layer_norm_rms_epsilon", float)),
        experts=number("expert_count", 0),
        experts_used=number("expert_used_count", 0),
        expert_width=number("expert_feed_forward_length", _extent(gguf, "blk.0.ffn_gate_exps.weight")),
        shared_width=number("expert_shared_feed_forward_length", _extent(gguf, "blk.0.ffn_gate_shexp.weight")),
    )
    _check(gguf, sizes, value_width=number("attention.value_length", width))
    return sizes


def _check(gguf: Gguf, sizes: Sizes, *, value_width: int) -> None:
    if sizes.key_heads < 1 or sizes.heads % sizes.key_heads:
        raise gguf.refuse(f"{sizes.heads} heads and {sizes.key_heads} key heads do not divide")
    if value_width != sizes.head_width:
        raise gguf.refuse(f"heads have keys of {sizes.head_width} and values of {value_width}, which is not read")
    for what, size in (("layer_norm_rms_epsilon", sizes.epsilon), ("rope.freq_base", sizes.rope_base)):
        if not 0 < size < math.inf:
            raise gguf.refuse(f"{what} is {size}, not a positive number")
    if sizes.rotated % 2 or not 0 < sizes.rotated <= sizes.head_width:
        raise gguf.refuse(f"{sizes.rotated} rotated dimensions in heads of {sizes.head_width}")
    # Before anything is made for each layer or expert: the counts may be lies.
    if not 0 < sizes.layers <= len(gguf.tensors):
        raise gguf.refuse(f"{sizes.layers} layers, but only {len(gguf.tensors)} tensors")
    if sizes.experts > MOST_EXPERTS:
        raise gguf.refuse(f"{sizes.experts} experts, at most {MOST_EXPERTS} are read")
    if sizes.experts and not 0 < sizes.experts_used <= sizes.experts:
        raise gguf.refuse(f"{sizes.experts_used} of {sizes.experts} experts are used at a time")


def _stated(gguf: Gguf, key: str, *, usual: float) -> float:
    stated = gguf.optional(key, float)
    return usual if stated is None else stated


def _vocabulary(gguf: Gguf) -> int:
    embedding = gguf.tensors.get("token_embd.weight")
    if embedding is None:
        raise gguf.refuse("it has no tensor 'token_embd.weight'", hint="a whole language model is needed")
    return embedding.shape[0]


def _extent(gguf: Gguf, name: str) -> int:
    """The rows of a matrix, or of each matrix of a stack; 0 if there is no such tensor."""
    tensor = gguf.tensors.get(name)
    return tensor.shape[-2] if tensor is not None and len(tensor.shape) > 1 else 0


def decimal(value: float) -> float:
    """The shortest decimal that is the same float32: the file holds a float32 of what the model's author wrote."""
    with np.errstate(over="ignore"):  # of a lie in float64
        return float(str(np.float32(value)))

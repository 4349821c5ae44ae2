"""Which tensors are weights of linear layers, by name and shape; no model code is run or needed.

An unknown architecture works when it names its parts as others do. What it names otherwise is a line in a table below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType

from modelpress.errors import Unsupported
from modelpress.tensors.spec import TensorSpec


class Part(StrEnum):
    """What a tensor is to a model; the values are words for a person."""

    LINEAR = "linear weight"  #: to be compressed; every other part stays as it is
    EMBEDDING = "embedding"
    NORM = "norm"
    HEAD = "output head"
    ROUTER = "expert router"
    TOWER = "vision or audio part"
    EXPERTS = "experts fused into one tensor"
    TENDER = "part that published recipes leave alone"
    OTHER = "other"  #: biases, vectors, convolutions: nothing that anybody would expect to be compressed


#: Parts that loaders build as linear layers or experts: unless the config names them, they are sought quantized.
NAMED_IN_CONFIG = frozenset({Part.HEAD, Part.ROUTER, Part.TOWER, Part.EXPERTS, Part.TENDER})

#: In a word of a module's name where it sees, hears or speaks: ``vision_tower``, ``visual``, ``image_embed``.
_SENSES = ("vision", "visual", "image", "video", "audio", "speech")

#: Words of parts that see, hear, speak, or lead from there to the language model.
_TOWERS = (
    *("patch_embed", "multi_modal_projector", "mm_projector", "img_projection", "projector", "connector", "aligner"),
    *("resampler", "resampler_model", "perceiver", "qformer", "merger", "language_projection", "vpm", "vit"),
    *("talker", "token2wav", "code2wav", "embed_tokens_extend", "generation_aligner", "generation_head"),
)

#: The last word of a module's name.
_BY_LAST_WORD = {
    "lm_head": Part.HEAD,
    "embed_out": Part.HEAD,
    "output_layer": Part.HEAD,
    "score": Part.HEAD,
    "classifier": Part.HEAD,
    "qa_outputs": Part.HEAD,
    "head": Part.HEAD,
    "lm_loss": Part.HEAD,
    "pooler": Part.HEAD,
    "wte": Part.EMBEDDING,
    "wpe": Part.EMBEDDING,
    "shared": Part.EMBEDDING,
    "relative_attention_bias": Part.EMBEDDING,
}

#: A word anywhere in a module's name.
_BY_ANY_WORD = {
    "gate": Part.ROUTER,
    "router": Part.ROUTER,
    "shared_expert_gate": Part.ROUTER,
    "modality_router": Part.ROUTER,
    "router_mlp": Part.ROUTER,
    "lm_head": Part.HEAD,
    "predictions": Part.HEAD,
    "embeddings": Part.EMBEDDING,
    # So do llm-compressor's examples for Qwen3-Next and Qwen3.5, for whatever scheme.
    "linear_attn": Part.TENDER,
    "mtp": Part.TENDER,
    # Models take these weights themselves and multiply by them, without the layer that would know how to read them.
    "dt_proj": Part.TENDER,
    # A few small numbers that decide which tokens are looked at.
    "indexer": Part.TENDER,
    "altup": Part.TENDER,
    **dict.fromkeys(_TOWERS, Part.TOWER),
}

_LANGUAGE = "language_model"

#: A module's whole name.
_BY_NAME = {"output": Part.HEAD}


_TRANSPOSED = "its linear layers are stored transposed (Conv1D), which no compressed-tensors loader expects"

#: Architectures that cannot be compressed at all, and why.
REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "GPT2LMHeadModel": _TRANSPOSED,
        "GPT2Model": _TRANSPOSED,
        "OpenAIGPTLMHeadModel": _TRANSPOSED,
    }
)


def check_architecture(name: str) -> None:
    """Nothing, for architectures that can be compressed, unknown ones among them.

    Raises: Unsupported with the reason.
    """
    reason = REFUSED.get(name)
    if reason is not None:
        raise Unsupported(f"models of architecture {name} cannot be compressed: {reason}")


def module_of(name: str) -> str:
    """The module a tensor belongs to: its name without the parameter's."""
    return name.rpartition(".")[0]


def parts_of(specs: Iterable[TensorSpec]) -> dict[str, Part]:
    """What every tensor of a model is, by name.

    Where a part of the model calls itself its language model, linear layers elsewhere serve other senses.
    """
    parts = {spec.name: part_of(spec) for spec in specs}
    linear = {name: _LANGUAGE in name.split(".") for name, part in parts.items() if part is Part.LINEAR}
    if any(linear.values()):
        parts |= {name: Part.TOWER for name, within in linear.items() if not within}
    return parts


def part_of(spec: TensorSpec) -> Part:
    """What a tensor is, by its name and shape."""
    module = module_of(spec.name)
    words = module.split(".")
    if len(spec.shape) == 3 and "experts" in words:
        return Part.EXPERTS
    if len(spec.shape) != 2 or not spec.name.endswith(".weight") or 0 in spec.shape:
        return Part.OTHER
    if module in _BY_NAME:
        return _BY_NAME[module]
    for word in words:
        if word in _BY_ANY_WORD:
            return _BY_ANY_WORD[word]
        if any(sense in word for sense in _SENSES):
            return Part.TOWER
    return _by_last_word(words[-1])


def _by_last_word(word: str) -> Part:
    if word in _BY_LAST_WORD:
        return _BY_LAST_WORD[word]
    if "embed" in word:
        return Part.EMBEDDING
    if "norm" in word or word.startswith("ln_"):
        return Part.NORM
    return Part.LINEAR

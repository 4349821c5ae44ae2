"""Which tensors are weights of linear layers, by name and shape; no model code is run or needed.

An unknown architecture works when it names its parts as others do. What it names otherwise is a line in a table below.
"""

from __future__ import annotations

from collections.abc import Mapping
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

_TOWERS = (
    *("visual", "vision", "vision_tower", "vision_model", "vision_encoder", "vision_embed_tokens", "vision_projection"),
    *("audio_tower", "audio_encoder", "audio_model", "speech_encoder", "embed_vision", "embed_audio", "patch_embed"),
    *("multi_modal_projector", "mm_projector", "img_projection", "connector", "resampler", "vpm"),
)

#: The last word of a module's name.
_BY_LAST_WORD = {
    "lm_head": Part.HEAD,
    "embed_out": Part.HEAD,
    "output_layer": Part.HEAD,
    "score": Part.HEAD,
    "classifier": Part.HEAD,
    "qa_outputs": Part.HEAD,
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
    "embeddings": Part.EMBEDDING,
    # So do llm-compressor's examples for Qwen3-Next and Qwen3.5, for whatever scheme.
    "linear_attn": Part.TENDER,
    "mtp": Part.TENDER,
    **dict.fromkeys(_TOWERS, Part.TOWER),
}

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
    return _by_last_word(words[-1])


def _by_last_word(word: str) -> Part:
    if word in _BY_LAST_WORD:
        return _BY_LAST_WORD[word]
    if "embed" in word:
        return Part.EMBEDDING
    if "norm" in word or word.startswith("ln_"):
        return Part.NORM
    return Part.LINEAR

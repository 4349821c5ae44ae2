"""Which tensors are weights of linear layers, by name and shape; no model code is run or needed.

An unknown architecture works when it names its parts as others do. What it names otherwise is a line in a table below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from modelpress.errors import Unsupported
from modelpress.tensors.spec import TensorSpec

_NORM = "norm"
_EMBEDDING = "embedding"
_HEAD = "output head"
_ROUTER = "expert router"
_TOWER = "vision or audio part"
_EXPERTS = "fused experts"
_ARCHITECTURE = "part of its architecture that is known not to bear rounding"

#: Kinds that loaders build as linear layers or experts: unless the config names them, they are sought quantized.
NAMED_IN_CONFIG = frozenset({_HEAD, _ROUTER, _TOWER, _EXPERTS, _ARCHITECTURE})

_TOWERS = (
    *("visual", "vision", "vision_tower", "vision_model", "vision_encoder", "vision_embed_tokens", "vision_projection"),
    *("audio_tower", "audio_encoder", "audio_model", "speech_encoder", "embed_vision", "embed_audio", "patch_embed"),
    *("multi_modal_projector", "mm_projector", "img_projection", "connector", "resampler", "vpm"),
)

#: The last word of a module's name.
_BY_LAST_WORD = {
    "lm_head": _HEAD,
    "embed_out": _HEAD,
    "output_layer": _HEAD,
    "score": _HEAD,
    "classifier": _HEAD,
    "qa_outputs": _HEAD,
    "wte": _EMBEDDING,
    "wpe": _EMBEDDING,
    "shared": _EMBEDDING,
    "relative_attention_bias": _EMBEDDING,
}

#: A word anywhere in a module's name.
_BY_ANY_WORD = {
    "gate": _ROUTER,
    "router": _ROUTER,
    "shared_expert_gate": _ROUTER,
    "embeddings": _EMBEDDING,
    **dict.fromkeys(_TOWERS, _TOWER),
}

#: A module's whole name.
_BY_NAME = {"output": _HEAD}


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What the rules above cannot tell of one architecture."""

    #: Words anywhere in a module's name that mean: leave it as it is.
    kept_words: frozenset[str] = frozenset()
    #: Why it cannot be compressed at all, or empty.
    refused: str = ""


_TRANSPOSED = "its linear layers are stored transposed (Conv1D), which no compressed-tensors loader expects"

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "GPT2LMHeadModel": Architecture(refused=_TRANSPOSED),
        "GPT2Model": Architecture(refused=_TRANSPOSED),
        "OpenAIGPTLMHeadModel": Architecture(refused=_TRANSPOSED),
        # llm-compressor's own recipe for this model leaves its linear attention alone.
        "Qwen3NextForCausalLM": Architecture(kept_words=frozenset({"linear_attn"})),
    }
)


def architecture_named(name: str) -> Architecture:
    """The table's row, or an empty one.

    Raises: Unsupported if models of this architecture cannot be compressed.
    """
    row = ARCHITECTURES.get(name, Architecture())
    if row.refused:
        raise Unsupported(f"models of architecture {name} cannot be compressed: {row.refused}")
    return row


def module_of(name: str) -> str:
    """The module a tensor belongs to: its name without the parameter's."""
    return name.rpartition(".")[0]


def kept_kind(spec: TensorSpec, architecture: Architecture) -> str | None:
    """Why a tensor that might be a linear layer's weight is left as it is; None for a weight to be compressed.

    A tensor that no rule names and that is no weight of two dimensions is of kind "".
    """
    module = module_of(spec.name)
    words = module.split(".")
    if len(spec.shape) == 3 and "experts" in words:
        return _EXPERTS
    if len(spec.shape) != 2 or not spec.name.endswith(".weight") or 0 in spec.shape:
        return ""
    return _kind_by_name(module, words, architecture)


def _kind_by_name(module: str, words: list[str], architecture: Architecture) -> str | None:
    last = words[-1]
    if module in _BY_NAME:
        return _BY_NAME[module]
    for word in words:
        if word in _BY_ANY_WORD:
            return _BY_ANY_WORD[word]
        if word in architecture.kept_words:
            return _ARCHITECTURE
    if last in _BY_LAST_WORD:
        return _BY_LAST_WORD[last]
    if "embed" in last or "embedding" in last:
        return _EMBEDDING
    if "norm" in last or last.startswith("ln_"):
        return _NORM
    return None

"""Tiny models in GGUF files, one of each architecture that is read, with random weights that bf16 holds exactly.

Names and shapes are written out and not taken from the code under test. llama.cpp loads the files and says what they
mean (tests/torch/test_gguf_source.py).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tests.unit.gguf_writer import F32, MetadataValue, StoredTensor, gguf_bytes

HIDDEN, HEADS, KEY_HEADS, INTERMEDIATE, LAYERS = 64, 4, 2, 96, 2
EXPERTS, EXPERT_WIDTH, SHARED_WIDTH = 4, 32, 48
CONTEXT = 256

_BYTES = [chr(byte) for byte in (*range(33, 127), *range(161, 173), *range(174, 256))]
_BYTES += [chr(256 + number) for number in range(256 - len(_BYTES))]
#: A byte-level vocabulary: the 256 bytes, a few joined ones, and tokens that stand for themselves.
_MERGES = ["h e", "Ġ t", "1 2", "12 3"]
#: Pairs across the places where rules split, so that a rule that splits elsewhere gives other tokens.
_ACROSS = [
    *("Ġ Ġ", "ĠĠ ĠĠ", "a A", "A a", "A A", "a a", ". a", "a .", "1 a", "a 1", "Ġ 1", "Ċ Ċ", "' s"),
    *("' S", ". .", "Ġ .", ". Ċ", "Ġ Ċ", "/ a", ". /", "/ Ċ", "č Ċ", "Ġ a", "Ġ A", "_ a"),
]
BYTE_LEVEL = [*_BYTES, "he", "Ġt", "12", "123", "hello", *(pair.replace(" ", "") for pair in _ACROSS)]
BYTE_LEVEL += ["<tool>", "<end>", "<begin>"]
#: SentencePiece's, with the bytes it falls back to.
PIECES = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
_JOINED = ["▁", "t", "h", "e", "l", "o", "a", "▁t", "he", "▁the", "ll", "hell", "▁hell", "hello", "▁hello", "o▁"]
PIECES += [*_JOINED, "<tool>"]
VOCABULARY = max(len(BYTE_LEVEL), len(PIECES))


def floats(values: Sequence[float]) -> bytes:
    """An array of float32 as a metadata value."""
    return struct.pack(f"<IIQ{len(values)}f", 9, 6, len(values), *values)


def byte_level_tokenizer(rule: str) -> dict[str, MetadataValue]:
    tokens = BYTE_LEVEL + [f"[PAD{number}]" for number in range(VOCABULARY - len(BYTE_LEVEL))]
    kinds = {"<tool>": 4, "<end>": 3, "<begin>": 3}
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": rule,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [5 if token.startswith("[PAD") else kinds.get(token, 1) for token in tokens],
        "tokenizer.ggml.merges": _MERGES + _ACROSS,
        "tokenizer.ggml.eos_token_id": BYTE_LEVEL.index("<end>"),
        "tokenizer.ggml.bos_token_id": BYTE_LEVEL.index("<begin>"),
        "tokenizer.ggml.padding_token_id": BYTE_LEVEL.index("<end>"),
        "tokenizer.ggml.add_bos_token": False,
    }


def sentencepiece_tokenizer(*, space_prefix: bool) -> dict[str, MetadataValue]:
    tokens = PIECES + [f"[PAD{number}]" for number in range(VOCABULARY - len(PIECES))]
    kinds = [2, 3, 3, *(6 for _ in range(256)), *(1 for _ in _JOINED), 4]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds + [5] * (VOCABULARY - len(kinds)),
        "tokenizer.ggml.scores": floats([-float(number) for number in range(VOCABULARY)]),
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": False,
        "tokenizer.ggml.add_space_prefix": space_prefix,
    }


def common_metadata(family: str, *more: Mapping[str, MetadataValue]) -> dict[str, MetadataValue]:
    own: dict[str, MetadataValue] = {
        "block_count": LAYERS,
        "context_length": CONTEXT,
        "embedding_length": HIDDEN,
        "feed_forward_length": INTERMEDIATE,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KEY_HEADS,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": 10000.0,
        "rope.dimension_count": HIDDEN // HEADS,
    }
    for each in more:
        own |= each
    return {"general.architecture": family, **{f"{family}.{key}": value for key, value in own.items()}}


Shapes = dict[str, tuple[int, ...]]

NORMS: Shapes = {"attn_norm.weight": (HIDDEN,), "ffn_norm.weight": (HIDDEN,)}
MLP: Shapes = {
    "ffn_gate.weight": (INTERMEDIATE, HIDDEN),
    "ffn_up.weight": (INTERMEDIATE, HIDDEN),
    "ffn_down.weight": (HIDDEN, INTERMEDIATE),
}


def attention(width: int) -> Shapes:
    """q, k, v and o for heads of ``width``."""
    return {
        "attn_q.weight": (HEADS * width, HIDDEN),
        "attn_k.weight": (KEY_HEADS * width, HIDDEN),
        "attn_v.weight": (KEY_HEADS * width, HIDDEN),
        "attn_output.weight": (HIDDEN, HEADS * width),
    }


def biases(width: int, *, output: bool = False) -> Shapes:
    rows = {"q": HEADS * width, "k": KEY_HEADS * width, "v": KEY_HEADS * width}
    found: Shapes = {f"attn_{part}.bias": (count,) for part, count in rows.items()}
    return found | ({"attn_output.bias": (HIDDEN,)} if output else {})


def head_norms(width: int) -> Shapes:
    return {"attn_q_norm.weight": (width,), "attn_k_norm.weight": (width,)}


def experts(width: int) -> Shapes:
    return {
        "ffn_gate_inp.weight": (EXPERTS, HIDDEN),
        "ffn_gate_exps.weight": (EXPERTS, width, HIDDEN),
        "ffn_up_exps.weight": (EXPERTS, width, HIDDEN),
        "ffn_down_exps.weight": (EXPERTS, HIDDEN, width),
    }


SHARED: Shapes = {
    "ffn_gate_inp_shexp.weight": (HIDDEN,),
    "ffn_gate_shexp.weight": (SHARED_WIDTH, HIDDEN),
    "ffn_up_shexp.weight": (SHARED_WIDTH, HIDDEN),
    "ffn_down_shexp.weight": (HIDDEN, SHARED_WIDTH),
}
GEMMA_NORMS: Shapes = {"post_attention_norm.weight": (HIDDEN,), "post_ffw_norm.weight": (HIDDEN,)}
PHI3: Shapes = {
    "attn_qkv.weight": ((HEADS + 2 * KEY_HEADS) * 16, HIDDEN),
    "attn_output.weight": (HIDDEN, HEADS * 16),
    "ffn_up.weight": (2 * INTERMEDIATE, HIDDEN),
    "ffn_down.weight": (HIDDEN, INTERMEDIATE),
}


def llama3_factors(base: float, width: int) -> NDArray[np.float32]:
    """The factors that Llama 3.1's converter writes, pair by pair."""
    factors = []
    for pair in range(width // 2):
        length = 2 * np.pi * base ** (2 * pair / width)
        if length < 8192 / 4:
            factors.append(1.0)
        elif length > 8192:
            factors.append(8.0)
        else:
            smooth = (8192 / length - 1) / 3
            factors.append(1 / ((1 - smooth) / 8 + smooth))
    return np.array(factors, np.float32)


def tiny_model(kind: str) -> tuple[dict[str, MetadataValue], dict[str, StoredTensor]]:
    """Metadata and tensors of one of :data:`KINDS`."""
    metadata, layer, tied, extra = KINDS[kind]
    chance = np.random.default_rng(sum(kind.encode()))
    family = str(metadata["general.architecture"])
    shapes: Shapes = {"token_embd.weight": (VOCABULARY, HIDDEN)}
    for number in range(int(str(metadata[f"{family}.block_count"]))):
        shapes |= {f"blk.{number}.{name}": shape for name, shape in layer.items()}
    shapes |= {"output_norm.weight": (HIDDEN,)} | ({} if tied else {"output.weight": (VOCABULARY, HIDDEN)})
    raised = family.startswith("gemma")
    tensors = {name: _stored(shape, _values(chance, name, shape, raised=raised)) for name, shape in shapes.items()}
    tensors |= {name: _stored(values.shape, values) for name, values in extra.items()}
    return dict(metadata), tensors


def tiny_file(kind: str) -> bytes:
    """The whole file."""
    return gguf_bytes(*tiny_model(kind))


def _values(chance: np.random.Generator, name: str, shape: tuple[int, ...], *, raised: bool) -> NDArray[np.float32]:
    norm = "norm" in name
    drawn = chance.normal(0, 0.1 if norm else 0.3, shape) if raised or not norm else chance.normal(1, 0.1, shape)
    rounded = (drawn.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    return rounded + np.float32(1) if raised and norm else rounded


def _stored(shape: tuple[int, ...], values: NDArray[np.float32]) -> StoredTensor:
    return StoredTensor(shape=shape, number=F32, data=values.astype("<f4").tobytes())


Kind = tuple[Mapping[str, MetadataValue], Shapes, bool, Mapping[str, NDArray[np.float32]]]
_MOE: dict[str, MetadataValue] = {"expert_count": EXPERTS, "expert_used_count": 2}

#: By a name of ours: metadata, the tensors of a layer, whether the embedding is tied, tensors of their own.
KINDS: Mapping[str, Kind] = {
    "llama": (
        common_metadata("llama") | byte_level_tokenizer("llama-bpe"),
        NORMS | attention(16) | MLP,
        False,
        {},
    ),
    "llama with biases and stretched positions": (
        common_metadata("llama", {"rope.freq_base": 500000.0}) | sentencepiece_tokenizer(space_prefix=True),
        NORMS | attention(16) | biases(16, output=True) | MLP,
        True,
        {"rope_freqs.weight": llama3_factors(500000.0, 16)},
    ),
    "mixtral": (
        common_metadata("llama", _MOE) | sentencepiece_tokenizer(space_prefix=True),
        NORMS | attention(16) | experts(INTERMEDIATE),
        False,
        {},
    ),
    "qwen2": (
        common_metadata("qwen2") | byte_level_tokenizer("qwen2"),
        NORMS | attention(16) | biases(16) | MLP,
        True,
        {},
    ),
    "qwen2 with yarn": (
        common_metadata(
            "qwen2",
            {
                "rope.scaling.type": "yarn",
                "rope.scaling.factor": 4.0,
                "rope.scaling.original_context_length": CONTEXT // 4,
            },
        )
        | byte_level_tokenizer("qwen2"),
        NORMS | attention(16) | biases(16) | MLP,
        False,
        {},
    ),
    "qwen3": (
        common_metadata("qwen3", {"attention.key_length": 32, "attention.value_length": 32, "rope.dimension_count": 32})
        | byte_level_tokenizer("qwen2"),
        NORMS | attention(32) | head_norms(32) | MLP,
        True,
        {},
    ),
    "qwen2moe": (
        common_metadata(
            "qwen2moe",
            _MOE,
            {"expert_feed_forward_length": EXPERT_WIDTH, "expert_shared_feed_forward_length": SHARED_WIDTH},
        )
        | byte_level_tokenizer("qwen2"),
        NORMS | attention(16) | biases(16) | experts(EXPERT_WIDTH) | SHARED,
        False,
        {},
    ),
    "qwen3moe": (
        common_metadata(
            "qwen3moe",
            _MOE,
            {
                "expert_feed_forward_length": EXPERT_WIDTH,
                "attention.key_length": 32,
                "attention.value_length": 32,
                "rope.dimension_count": 32,
            },
        )
        | byte_level_tokenizer("qwen2"),
        NORMS | attention(32) | head_norms(32) | experts(EXPERT_WIDTH),
        False,
        {},
    ),
    "gemma2": (
        common_metadata(
            "gemma2",
            {
                "attention.key_length": 32,
                "attention.value_length": 32,
                "attention.sliding_window": 4,
                "attn_logit_softcapping": 50.0,
                "final_logit_softcapping": 30.0,
                "rope.dimension_count": 32,
            },
        )
        | sentencepiece_tokenizer(space_prefix=False),
        NORMS | attention(32) | GEMMA_NORMS | MLP,
        True,
        {},
    ),
    "gemma3": (
        common_metadata(
            "gemma3",
            {
                "block_count": 7,
                "attention.key_length": 32,
                "attention.value_length": 32,
                "attention.sliding_window": 4,
                "rope.freq_base": 1000000.0,
                "rope.dimension_count": 32,
                "rope.scaling.type": "linear",
                "rope.scaling.factor": 8.0,
            },
        )
        | sentencepiece_tokenizer(space_prefix=False),
        NORMS | attention(32) | head_norms(32) | GEMMA_NORMS | MLP,
        True,
        {},
    ),
    "phi3": (
        common_metadata(
            "phi3",
            {
                # Above what llama.cpp sets aside at least, so that it takes the factors for short texts.
                "context_length": 2048,
                "rope.scaling.original_context_length": 1024,
                "rope.scaling.attn_factor": float(np.sqrt(1 + np.log(2) / np.log(1024))),
                "attention.sliding_window": 0,
            },
        )
        | sentencepiece_tokenizer(space_prefix=True),
        NORMS | PHI3,
        False,
        {
            "rope_factors_long.weight": np.linspace(1.5, 4.0, 8).astype(np.float32),
            "rope_factors_short.weight": np.linspace(1.0, 1.5, 8).astype(np.float32),
        },
    ),
}

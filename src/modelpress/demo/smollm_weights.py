"""The weights of a Llama model: from a GGUF file's names, row order and blocks to one bf16 safetensors file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelpress.errors import BadSource
from modelpress.tensors.gguf import Gguf, read_rows

# 1 MiB of float32, so that a piece is still in the processor's cache in each pass over it.
PIECE_VALUES = 1 << 18
# Halfway between the largest bf16 and the next power of two: from here on, rounding gives infinity.
BFLOAT16_OVERFLOW = np.float32(float.fromhex("0x1.ffp127"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Llama:
    """The sizes of a Llama model as its GGUF file's metadata gives them."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_heads: int
    vocabulary: int
    context: int
    rope_theta: float
    rms_epsilon: float

    @property
    def head_rows(self) -> int:
        """The width of one attention head."""
        return self.hidden // self.heads


def read_llama(gguf: Gguf) -> Llama:
    """Take a Llama model's sizes from the metadata; BadSource where one is missing or they do not fit together."""
    llama = Llama(
        layers=gguf.field("llama.block_count", int),
        hidden=gguf.field("llama.embedding_length", int),
        intermediate=gguf.field("llama.feed_forward_length", int),
        heads=gguf.field("llama.attention.head_count", int),
        key_heads=gguf.field("llama.attention.head_count_kv", int),
        vocabulary=gguf.field("llama.vocab_size", int),
        context=gguf.field("llama.context_length", int),
        rope_theta=gguf.field("llama.rope.freq_base", float),
        # The file holds a float32; the shortest decimal that means the same number is what the model's author wrote.
        rms_epsilon=float(str(np.float32(gguf.field("llama.attention.layer_norm_rms_epsilon", float)))),
    )
    if llama.heads < 1 or llama.key_heads < 1 or llama.hidden % llama.heads or llama.heads % llama.key_heads:
        raise BadSource(
            f"{gguf.path.name}: width {llama.hidden}, {llama.heads} heads and {llama.key_heads} key heads do not divide"
        )
    if (rotated := gguf.field("llama.rope.dimension_count", int)) != llama.head_rows or rotated % 2:
        raise BadSource(f"{gguf.path.name}: {rotated} rotated dimensions in heads of {llama.head_rows}")
    return llama


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One tensor of the output; ``interleaved`` says that its rows must be put back, head by head."""

    name: str
    source: str
    shape: tuple[int, ...]
    interleaved: bool = False


def list_parts(llama: Llama) -> list[Part]:
    """List the output's tensors in the order of the forward pass; the embedding serves as the output layer too."""
    keys = llama.key_heads * llama.head_rows
    in_layer = (
        ("input_layernorm", "attn_norm", (llama.hidden,)),
        ("self_attn.q_proj", "attn_q", (llama.hidden, llama.hidden)),
        ("self_attn.k_proj", "attn_k", (keys, llama.hidden)),
        ("self_attn.v_proj", "attn_v", (keys, llama.hidden)),
        ("self_attn.o_proj", "attn_output", (llama.hidden, llama.hidden)),
        ("post_attention_layernorm", "ffn_norm", (llama.hidden,)),
        ("mlp.gate_proj", "ffn_gate", (llama.intermediate, llama.hidden)),
        ("mlp.up_proj", "ffn_up", (llama.intermediate, llama.hidden)),
        ("mlp.down_proj", "ffn_down", (llama.hidden, llama.intermediate)),
    )
    embedding = Part(
        name="model.embed_tokens.weight", source="token_embd.weight", shape=(llama.vocabulary, llama.hidden)
    )
    layers = [
        Part(
            name=f"model.layers.{layer}.{name}.weight",
            source=f"blk.{layer}.{source}.weight",
            shape=shape,
            interleaved=source in ("attn_q", "attn_k"),
        )
        for layer in range(llama.layers)
        for name, source, shape in in_layer
    ]
    return [embedding, *layers, Part(name="model.norm.weight", source="output_norm.weight", shape=(llama.hidden,))]


def write_weights(gguf: Gguf, llama: Llama, path: Path) -> None:
    """Write all weights of ``gguf`` to the safetensors file ``path`` as bf16, rounded half to even.

    Bound:  memory is a few pieces of 1 MiB, or of ``head_rows`` rows where that is more, whatever the model's size.
    Raises: BadSource if the tensors are not exactly this model's, or a value is not finite in bf16.
    """
    parts = list_parts(llama)
    _check(gguf, parts)
    with path.open("xb") as out:
        out.write(_header(parts))
        for part in parts:
            for rows in _pieces(gguf, part, llama.head_rows):
                out.write(rows.data)
        out.flush()
        os.fsync(out.fileno())


def _check(gguf: Gguf, parts: Sequence[Part]) -> None:
    wanted = {part.source: part.shape for part in parts}
    found = {name: tensor.shape for name, tensor in gguf.tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise BadSource(
                f"{gguf.path.name}: tensor {name!r} has shape {found.get(name, 'none')}, "
                f"a Llama model of its sizes with tied embeddings has {wanted.get(name, 'no such tensor')}"
            )


def _header(parts: Sequence[Part]) -> bytes:
    """Make a safetensors header, padded to 8 bytes, for bf16 tensors that lie one after the other."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for part in parts:
        start, end = end, end + 2 * math.prod(part.shape)
        entries[part.name] = {"dtype": "BF16", "shape": part.shape, "data_offsets": (start, end)}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _pieces(gguf: Gguf, part: Part, head_rows: int) -> Iterator[NDArray[np.uint16]]:
    rows = math.prod(part.shape[:-1])
    heads_at_once = max(1, PIECE_VALUES // (part.shape[-1] * head_rows))
    step = heads_at_once * head_rows
    for start in range(0, rows, step):
        values = read_rows(gguf, part.source, start=start, stop=min(start + step, rows))
        if not np.abs(values).max() < BFLOAT16_OVERFLOW:  # not ">=": a NaN must be caught too
            raise BadSource(f"{gguf.path.name}: tensor {part.source!r} has a value that is not finite in bf16")
        rounded = round_to_bfloat16(values)
        yield restore_rows(rounded, head_rows) if part.interleaved else rounded


def round_to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round to the nearest bf16, ties to even, and give its bits; for values that are finite in bf16."""
    bits = values.view(np.uint32)
    # Adding just under half of the last kept bit, or all of half where that bit is odd, carries exactly when it should.
    return ((bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16).astype(np.uint16)


def restore_rows(rows: NDArray[np.uint16], head_rows: int) -> NDArray[np.uint16]:
    """Undo llama.cpp's order of the rows of q_proj and k_proj, for whole heads.

    llama.cpp rotates neighbouring rows, transformers rotates row j together with row j + head_rows / 2. So a GGUF head
    has the rows 0, half, 1, half + 1, … of the original.

    Shapes: [heads * head_rows, cols] -> the same.
    Source: llama.cpp, convert_hf_to_gguf.py (LlamaModel.permute), whose inverse this is.
    """
    pairs = rows.reshape(-1, head_rows // 2, 2, rows.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)

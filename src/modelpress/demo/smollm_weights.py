"""The weights of a Llama model: from a GGUF file's names, row order and blocks to one bf16 safetensors file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelpress.errors import BadSource
from modelpress.tensors.folder import Folder
from modelpress.tensors.gguf.blocks import round_to_bfloat16
from modelpress.tensors.gguf.header import Gguf
from modelpress.tensors.gguf.rows import read_rows
from modelpress.tensors.header import encode_header
from modelpress.tensors.spec import TensorSpec
from modelpress.tensors.writer import NewFile

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
            f"{gguf.file}: width {llama.hidden}, {llama.heads} heads and {llama.key_heads} key heads do not divide"
        )
    # Before anything is made for each layer: the count may be a lie.
    if llama.layers > len(gguf.tensors):
        raise BadSource(f"{gguf.file}: {llama.layers} layers, but only {len(gguf.tensors)} tensors")
    if (rotated := gguf.field("llama.rope.dimension_count", int)) != llama.head_rows or rotated % 2:
        raise BadSource(f"{gguf.file}: {rotated} rotated dimensions in heads of {llama.head_rows}")
    return llama


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One tensor of the output and its name in the GGUF file; ``interleaved`` rows must be put back, head by head."""

    spec: TensorSpec
    source: str

    @property
    def interleaved(self) -> bool:
        return self.source.endswith((".attn_q.weight", ".attn_k.weight"))


def _part(name: str, source: str, *shape: int) -> Part:
    return Part(spec=TensorSpec(name=f"{name}.weight", dtype="BF16", shape=shape), source=f"{source}.weight")


def list_parts(llama: Llama) -> list[Part]:
    """List the output's tensors in the order of the forward pass; the embedding serves as the output layer too."""
    hidden, keys = llama.hidden, llama.key_heads * llama.head_rows
    parts = [_part("model.embed_tokens", "token_embd", llama.vocabulary, hidden)]
    for number in range(llama.layers):
        layer, block = f"model.layers.{number}", f"blk.{number}"
        parts += [
            _part(f"{layer}.input_layernorm", f"{block}.attn_norm", hidden),
            _part(f"{layer}.self_attn.q_proj", f"{block}.attn_q", hidden, hidden),
            _part(f"{layer}.self_attn.k_proj", f"{block}.attn_k", keys, hidden),
            _part(f"{layer}.self_attn.v_proj", f"{block}.attn_v", keys, hidden),
            _part(f"{layer}.self_attn.o_proj", f"{block}.attn_output", hidden, hidden),
            _part(f"{layer}.post_attention_layernorm", f"{block}.ffn_norm", hidden),
            _part(f"{layer}.mlp.gate_proj", f"{block}.ffn_gate", llama.intermediate, hidden),
            _part(f"{layer}.mlp.up_proj", f"{block}.ffn_up", llama.intermediate, hidden),
            _part(f"{layer}.mlp.down_proj", f"{block}.ffn_down", hidden, llama.intermediate),
        ]
    return [*parts, _part("model.norm", "output_norm", hidden)]


def write_weights(folder: Folder, gguf: Gguf, *, llama: Llama, path: Path) -> None:
    """Write all weights of ``gguf`` to the safetensors file ``path`` as bf16, rounded half to even.

    Bound:  memory is a few pieces of 1 MiB, or of ``head_rows`` rows where that is more, whatever the model's size.
    Raises: BadSource if the tensors are not exactly this model's, or a value is not finite in bf16; DiskFull.
    """
    parts = list_parts(llama)
    _check(gguf, parts)
    offsets = list(accumulate((part.spec.size_bytes for part in parts), initial=0))
    header = encode_header([(part.spec, start) for part, start in zip(parts, offsets[:-1], strict=True)])
    with NewFile(path, size_bytes=len(header) + offsets[-1]) as out:
        out.write_at(0, header)
        position = len(header)
        for part in parts:
            for rows in _pieces(folder, gguf, part=part, head_rows=llama.head_rows):
                out.write_at(position, rows.reshape(-1).view(np.uint8).data)
                position += rows.nbytes
        out.commit()


def _check(gguf: Gguf, parts: Sequence[Part]) -> None:
    wanted = {part.source: part.spec.shape for part in parts}
    found = {name: tensor.shape for name, tensor in gguf.tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise BadSource(
                f"{gguf.file}: tensor {name!r} has shape {found.get(name, 'none')}, "
                f"a Llama model of its sizes with tied embeddings has {wanted.get(name, 'no such tensor')}"
            )


def _pieces(folder: Folder, gguf: Gguf, *, part: Part, head_rows: int) -> Iterator[NDArray[np.uint16]]:
    shape = part.spec.shape
    rows = math.prod(shape[:-1])
    heads_at_once = max(1, PIECE_VALUES // (shape[-1] * head_rows))
    step = heads_at_once * head_rows
    for start in range(0, rows, step):
        values = read_rows(folder, gguf, name=part.source, start=start, stop=min(start + step, rows))
        if not np.abs(values).max() < BFLOAT16_OVERFLOW:  # not ">=": a NaN must be caught too
            raise BadSource(f"{gguf.file}: tensor {part.source!r} has a value that is not finite in bf16")
        rounded = round_to_bfloat16(values)
        yield restore_rows(rounded, head_rows) if part.interleaved else rounded


def restore_rows(rows: NDArray[np.uint16], head_rows: int) -> NDArray[np.uint16]:
    """Undo llama.cpp's order of the rows of q_proj and k_proj, for whole heads.

    llama.cpp rotates neighbouring rows, transformers rotates row j together with row j + head_rows / 2. So a GGUF head
    has the rows 0, half, 1, half + 1, … of the original.

    Shapes: [heads * head_rows, cols] -> the same.
    Source: llama.cpp, convert_hf_to_gguf.py (LlamaModel.permute), whose inverse this is.
    """
    pairs = rows.reshape(-1, head_rows // 2, 2, rows.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)

"""GGUF files that were damaged at random: refused in a sentence, or read."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelpress.errors import BadSource
from modelpress.tensors.gguf.header import open_gguf
from modelpress.tensors.gguf.rows import read_rows
from tests.fuzz.damage import Draw, damaged_bytes
from tests.fuzz.memory_folder import MemoryFolder
from tests.unit.gguf_writer import F16, F32, Q4_0, Q4_K, Q8_0, MetadataValue, StoredTensor, gguf_bytes

_METADATA: dict[str, MetadataValue] = {
    "general.architecture": "llama",
    "general.alignment": 32,
    "llama.block_count": 1,
    "llama.rope.freq_base": 10000.0,
    "tokenizer.ggml.tokens": ["<s>", "a", "é"],
    "tokenizer.ggml.scores": [1, 2, 3],
    "tokenizer.ggml.add_bos_token": True,
}
_TENSORS = {
    "token_embd.weight": StoredTensor(shape=(3, 32), number=F16, data=bytes(3 * 32 * 2)),
    "blk.0.attn_q.weight": StoredTensor(shape=(4, 32), number=Q4_0, data=bytes(4 * 18)),
    "blk.0.ffn_up.weight": StoredTensor(shape=(2, 32), number=Q8_0, data=bytes(2 * 34)),
    "blk.0.ffn_down.weight": StoredTensor(shape=(1, 256), number=Q4_K, data=bytes(144)),
    "output_norm.weight": StoredTensor(shape=(32,), number=F32, data=bytes(32 * 4)),
}


@st.composite
def files(draw: Draw) -> bytes:
    """A sound file, or one that lies about a count, a shape or an offset; then some bytes are damaged."""
    tensors = dict(_TENSORS)
    if draw(st.booleans()):
        name = draw(st.sampled_from(sorted(tensors)))
        kept = tensors[name]
        tensors[name] = StoredTensor(
            shape=draw(st.one_of(st.just(kept.shape), st.lists(st.integers(0, 2**64 - 1), max_size=5).map(tuple))),
            number=draw(st.one_of(st.just(kept.number), st.integers(0, 40))),
            data=kept.data,
            offset=draw(st.one_of(st.none(), st.sampled_from((0, 32, 1, 2**63, 2**64 - 1)))),
        )
    content = gguf_bytes(
        _METADATA,
        tensors,
        version=draw(st.sampled_from((2, 3, 3, 3, 1, 2**24))),
        tensor_count=draw(st.sampled_from((None, None, None, 0, 1, 2**16, 2**63))),
        metadata_count=draw(st.sampled_from((None, None, None, 0, 1, 2**16, 2**63))),
    )
    return bytes(draw(damaged_bytes(content))) if draw(st.booleans()) else content


def check(content: bytes) -> None:
    """Nothing, if the file is refused in a printable sentence, or every tensor's first row can be read."""
    folder = MemoryFolder({"x.gguf": content})
    try:
        found = open_gguf(folder, "x.gguf")
    except BadSource as exc:
        assert exc.message.isprintable(), ascii(exc.message)
        assert len(exc.message) < 10_000
        return
    finally:
        assert folder.asked_bytes <= len(content)
    for name, tensor in found.tensors.items():
        assert tensor.offset + tensor.size_bytes <= len(content)
        with np.errstate(all="ignore"):
            assert read_rows(folder, found, name=name, stop=1).shape == (1, tensor.shape[-1])


@given(content=files())
def test_a_damaged_file_is_refused_or_read(content: bytes) -> None:
    check(content)


@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(content: bytes) -> None:
    check(content)
    check(b"GGUF\x03\0\0\0" + content)

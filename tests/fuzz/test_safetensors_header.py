"""Headers that were damaged at random, against safetensors' own reader: what that refuses is refused here."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import Any

import safetensors
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors import SafetensorError

from modelpress.errors import BadSource
from modelpress.tensors.grid import DTYPE_BITS
from modelpress.tensors.header import StoredTensor, read_header
from tests.fuzz.damage import Draw, assert_bearable, damaged_bytes, damaged_json
from tests.fuzz.memory_folder import MemoryFolder

_NAMES = ("a", "b", "model.layers.0.mlp.up_proj.weight", "", "é", "😀", "a\0b", "__metadata__")


def raw_file(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


@st.composite
def headers(draw: Draw) -> tuple[dict[str, Any], int]:
    """A sound header, and the bytes of its data."""
    entries: dict[str, Any] = {}
    if draw(st.booleans()):
        entries["__metadata__"] = {"format": "pt"}
    end = 0
    for name in draw(st.lists(st.sampled_from(_NAMES[:-1]), max_size=4, unique=True)):
        dtype = draw(st.sampled_from(sorted(DTYPE_BITS)))
        shape = draw(st.lists(st.sampled_from((0, 1, 2, 8)), max_size=4))
        if math.prod(shape) * DTYPE_BITS[dtype] % 8:  # numbers smaller than a byte come in whole bytes only
            dtype = "U8"
        bits = math.prod(shape) * DTYPE_BITS[dtype]
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + bits // 8]}
        end += bits // 8
    return entries, end


@st.composite
def files(draw: Draw) -> bytes:
    """A file that was sound, damaged in its header's parts, in its bytes, or in both."""
    entries, size = draw(headers())
    text = draw(damaged_json(entries)) if draw(st.booleans()) else json.dumps(entries)
    data = bytes(max(0, size + draw(st.sampled_from((0, 0, 0, 0, -1, 1)))))
    content = raw_file(text.encode(errors="surrogatepass"), data)
    return bytes(draw(damaged_bytes(content))) if draw(st.booleans()) else content


def read(content: bytes) -> tuple[StoredTensor, ...] | None:
    """The tensors found, or None for a file that is refused; nothing else may happen."""
    folder = MemoryFolder({"x": content})
    try:
        found = read_header(folder, "x")
    except BadSource as exc:
        assert_bearable(exc.message, longest=1500)
        return None
    finally:
        assert folder.asked_bytes <= len(content)
    return found


def entry(**changes: Any) -> dict[str, Any]:
    return {"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1], **changes}}


#: Written in Rust, and without types.
deserialize: Callable[[bytes], list[tuple[str, dict[str, Any]]]] = safetensors.deserialize

SOUND = b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'


@given(content=files())
# What was once taken here and refused there.
@example(raw_file(json.dumps({"__metadata__": 5, **entry()}).encode(), b"1"))
@example(raw_file(json.dumps({"__metadata__": {"a": 5}, **entry()}).encode(), b"1"))
@example(raw_file(json.dumps({"__metadata__": {"a": "\ud800"}, **entry()}).encode(), b"1"))
@example(raw_file(json.dumps(entry()).encode("utf-16-le"), b"1"))
@example(raw_file(b"\xef\xbb\xbf{" + SOUND + b"}", b"1"))
@example(raw_file(json.dumps(entry(x=float("nan"))).encode(), b"1"))
@example(raw_file(json.dumps(entry(x=10**400)).encode(), b"1"))
@example(raw_file(json.dumps(entry(x="\ud800")).encode(), b"1"))
@example(raw_file(json.dumps(entry(data_offsets=[0, 1])).replace("[0,", "[-0,").encode(), b"1"))
@example(raw_file(json.dumps(entry(shape=[2**62, 2**62, 0], data_offsets=[0, 0])).encode()))
@example(raw_file(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":' + b"[" * 200 + b"]" * 200 + b"}}", b"1"))
def test_whatever_safetensors_own_reader_refuses_is_refused_and_what_is_taken_is_the_same(content: bytes) -> None:
    ours = read(content)
    try:
        theirs = dict(deserialize(content))
    except SafetensorError:
        assert ours is None
        return
    if ours is not None:
        found = {t.spec.name: (list(t.spec.shape), content[t.offset : t.offset + t.spec.size_bytes]) for t in ours}
        assert found == {name: (value["shape"], bytes(value["data"])) for name, value in theirs.items()}


@given(content=headers())
def test_a_sound_file_is_never_refused(content: tuple[dict[str, Any], int]) -> None:
    entries, size = content
    assert read(raw_file(json.dumps(entries).encode(), bytes(size))) is not None


@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(content: bytes) -> None:
    read(content)
    read(raw_file(content))

"""Reading GGUF files: metadata, tensors by rows, block types against their definition, and hostile headers."""

from __future__ import annotations

import math
import struct
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from modelpress.errors import BadSource
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.gguf import header as header_module
from modelpress.tensors.gguf.blocks import BLOCK_TYPES, dequantize
from modelpress.tensors.gguf.header import Gguf, open_gguf
from modelpress.tensors.gguf.rows import GgufRows, read_values, rows_of
from modelpress.tensors.kernel.block_decoding import round_to_bfloat16
from modelpress.tensors.rows import Workbench
from tests.unit.gguf_writer import (
    BLOCK_BYTES,
    BLOCK_LENGTHS,
    F32,
    Q4_1,
    Q8_0,
    MetadataValue,
    StoredTensor,
    decode_data,
    gguf_bytes,
    gguf_text,
)

MATRIX = StoredTensor(shape=(4, 64), number=Q4_1, data=bytes(range(160)))
VECTOR = StoredTensor(shape=(3,), number=F32, data=struct.pack("<3f", 1.0, -2.5, 0.1))
SOUND = gguf_bytes({"general.name": "small", "some.count": 7}, {"matrix": MATRIX, "vector": VECTOR})


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def opened(place: Path, data: bytes) -> Gguf:
    place.write_bytes(data)
    return open_gguf(LocalFolder(place.parent), place.name)


@st.composite
def blocks(draw: st.DrawFn, number: int) -> bytes:
    """Draw up to five whole blocks of any bytes."""
    count = draw(st.integers(1, 5))
    return draw(st.binary(min_size=count * BLOCK_BYTES[number], max_size=count * BLOCK_BYTES[number]))


@pytest.mark.parametrize("number", BLOCK_BYTES)
@given(data=st.data())
def test_blocks_of_every_type_decode_as_the_format_defines_them(number: int, data: st.DataObject) -> None:
    drawn = data.draw(blocks(number))
    values = dequantize(np.frombuffer(drawn, np.uint8), BLOCK_TYPES[number])
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, np.array(decode_data(number, drawn), np.float64))


def test_every_type_that_is_read_is_tested() -> None:
    assert {number: (known.size_bytes, known.length) for number, known in BLOCK_TYPES.items()} == {
        number: (size, BLOCK_LENGTHS[number]) for number, size in BLOCK_BYTES.items()
    }


def test_a_q4_1_block_written_out_by_hand_decodes_to_its_sixteen_levels() -> None:
    # Scale 0.5, minimum -1; byte i holds i in its low half (value i) and 15 - i in its high half (value 16 + i).
    data = struct.pack("<ee", 0.5, -1.0) + bytes(i | (15 - i) << 4 for i in range(16))
    values = dequantize(np.frombuffer(data, np.uint8), BLOCK_TYPES[Q4_1])
    levels = [i / 2 - 1 for i in range(16)]
    assert values.tolist() == levels + levels[::-1]


@pytest.mark.parametrize("version", [2, 3])
def test_both_versions_give_names_shapes_and_places(place: Path, version: int) -> None:
    data = gguf_bytes({"general.name": "small"}, {"matrix": MATRIX, "vector": VECTOR}, version=version)
    gguf = opened(place, data)
    assert gguf.version == version
    assert list(gguf.tensors) == ["matrix", "vector"]
    matrix, vector = gguf.tensors.values()
    assert (matrix.shape, matrix.block_type.name, matrix.size_bytes) == ((4, 64), "Q4_1", 160)
    assert data[matrix.offset : matrix.offset + matrix.size_bytes] == MATRIX.data
    assert data[vector.offset : vector.offset + vector.size_bytes] == VECTOR.data


def test_metadata_of_every_type_comes_back_as_it_was_written(place: Path) -> None:
    numbers: dict[str, tuple[int, str, int | float]] = {
        "u8": (0, "<B", 200),
        "i8": (1, "<b", -100),
        "u16": (2, "<H", 60000),
        "i16": (3, "<h", -30000),
        "u32": (4, "<I", 4_000_000_000),
        "i32": (5, "<i", -2_000_000_000),
        "f32": (6, "<f", 0.15625),
        "u64": (10, "<Q", 2**64 - 1),
        "i64": (11, "<q", -(2**63)),
        "f64": (12, "<d", 0.1),
    }
    metadata: dict[str, MetadataValue] = {
        key: struct.pack("<I", kind) + struct.pack(code, value) for key, (kind, code, value) in numbers.items()
    }
    metadata |= {"text": "naïve 模型", "yes": True, "texts": ["a", "", "Ġb"], "integers": [3, -1, 1]}
    read = opened(place, gguf_bytes(metadata, {})).metadata
    assert {key: read[key] for key in numbers} == {key: value for key, (_, _, value) in numbers.items()}
    assert (read["text"], read["yes"], read["texts"]) == ("naïve 模型", True, ("a", "", "Ġb"))
    assert isinstance(read["integers"], np.ndarray)
    assert read["integers"].tolist() == [3, -1, 1]


def test_a_field_of_another_type_or_none_is_refused_by_its_key(place: Path) -> None:
    gguf = opened(place, gguf_bytes({"flag": True, "count": 3}, {}))
    assert gguf.field("count", int) == 3
    with pytest.raises(BadSource, match="'flag' is of type bool, int is needed"):
        gguf.field("flag", int)
    with pytest.raises(BadSource, match="'width' is missing"):
        gguf.field("width", int)


def test_another_alignment_moves_the_data(place: Path) -> None:
    metadata: dict[str, MetadataValue] = {"general.alignment": 256}
    gguf = opened(place, gguf_bytes(metadata, {"matrix": MATRIX, "vector": VECTOR}, alignment=256))
    assert [tensor.offset for tensor in gguf.tensors.values()] == [256, 512]
    assert read_values(LocalFolder(place.parent), gguf, name="vector").tolist() == [1.0, -2.5, np.float32(0.1)]


def read_rows(place: Path, gguf: Gguf, rows: GgufRows, *, start: int, stop: int) -> list[list[int]]:
    """The bf16 bits of some rows."""
    buffer = np.empty((stop - start) * rows.row_bytes, np.uint8)
    rows.read(LocalFolder(place), start=start, buffer=buffer, bench=Workbench())
    bits: list[list[int]] = buffer.view("<u2").reshape(stop - start, rows.columns).tolist()
    return bits


def widened(bits: list[list[int]]) -> NDArray[np.float32]:
    return (np.array(bits, np.uint32) << np.uint32(16)).view(np.float32)


@given(st.integers(0, 4), st.integers(0, 4))
def test_any_range_of_rows_is_that_part_of_the_whole(tmp_path_factory: pytest.TempPathFactory, a: int, b: int) -> None:
    place = tmp_path_factory.getbasetemp()
    gguf = opened(place / "rows.gguf", SOUND)
    rows = rows_of(gguf, gguf.tensors["matrix"])
    assert (rows.count, rows.row_bytes, rows.stored_bytes) == (4, 128, 160)
    whole = round_to_bfloat16(np.array(decode_data(Q4_1, MATRIX.data), np.float32)).reshape(4, 64)
    start, stop = sorted((a, b))
    assert read_rows(place, gguf, rows, start=start, stop=stop) == whole[start:stop].tolist()


def test_the_finest_rows_are_blocks_and_hold_the_same(place: Path) -> None:
    gguf = opened(place, SOUND)
    rows = rows_of(gguf, gguf.tensors["matrix"])
    finest = rows.finest
    assert isinstance(finest, GgufRows)
    assert (finest.count, finest.row_bytes, finest.stored_bytes) == (8, 64, rows.stored_bytes)
    whole = read_rows(place.parent, gguf, rows, start=0, stop=4)
    blocks = read_rows(place.parent, gguf, finest, start=3, stop=8)
    assert [*chain(*blocks)] == [*chain(*whole)][3 * 32 :]


@given(st.integers(0, 24), st.integers(0, 24))
def test_rows_of_heads_come_back_in_their_first_order(tmp_path_factory: pytest.TempPathFactory, a: int, b: int) -> None:
    place = tmp_path_factory.getbasetemp()
    # Three heads of eight rows of one value, which says where llama.cpp's order would have put it.
    stored = [head * 8 + half * 4 + pair for head in range(3) for pair in range(4) for half in range(2)]
    tensor = StoredTensor(shape=(24, 1), number=F32, data=struct.pack("<24f", *stored))
    gguf = opened(place / "heads.gguf", gguf_bytes({}, {"it": tensor}))
    rows = replace(rows_of(gguf, gguf.tensors["it"]), head_rows=8)
    start, stop = sorted((a, b))
    expected = round_to_bfloat16(np.arange(start, stop, dtype=np.float32)).tolist()
    assert read_rows(place, gguf, rows, start=start, stop=stop) == [[bits] for bits in expected]
    assert rows.finest is rows


def rotated(vector: NDArray[np.float64], position: int, *, pairs: list[tuple[int, int]]) -> NDArray[np.float64]:
    """Rotate one head's vector for its position in the text, pair by pair (RoPE, base 10000)."""
    turned = vector.copy()
    for number, (first, second) in enumerate(pairs):
        angle = position * 10000.0 ** (-2 * number / len(vector))
        turned[first] = vector[first] * math.cos(angle) - vector[second] * math.sin(angle)
        turned[second] = vector[first] * math.sin(angle) + vector[second] * math.cos(angle)
    return turned


def test_attention_scores_are_the_same_with_either_order_of_rows_and_its_own_rotation(place: Path) -> None:
    chance = np.random.default_rng(7)
    stored = chance.integers(0, 100, (2, 16, 8)).astype(np.float32)
    tensors = {
        name: StoredTensor(shape=(16, 8), number=F32, data=matrix.tobytes())
        for name, matrix in zip(("query", "key"), stored, strict=True)
    }
    gguf = opened(place, gguf_bytes({}, tensors))
    query, key = (
        widened(read_rows(place.parent, gguf, replace(rows_of(gguf, tensor), head_rows=16), start=0, stop=16))
        for tensor in gguf.tensors.values()
    )
    halves = [(pair, pair + 8) for pair in range(8)]
    neighbours = [(2 * pair, 2 * pair + 1) for pair in range(8)]
    here, there = chance.normal(size=(2, 8))
    before = rotated(stored[0] @ here, 11, pairs=neighbours) @ rotated(stored[1] @ there, 3, pairs=neighbours)
    after = rotated(query @ here, 11, pairs=halves) @ rotated(key @ there, 3, pairs=halves)
    assert after == pytest.approx(before, rel=1e-12)


def test_norms_that_were_raised_by_one_are_lowered_before_they_are_rounded(place: Path) -> None:
    # 2^-10 is lost where one is added in bf16, and comes back whole from float32.
    tensor = StoredTensor(shape=(3,), number=F32, data=struct.pack("<3f", 1 + 2.0**-10, 1.5, 0.0))
    gguf = opened(place, gguf_bytes({}, {"norm": tensor}))
    rows = replace(rows_of(gguf, gguf.tensors["norm"]), raised=True)
    expected = round_to_bfloat16(np.array([2.0**-10, 0.5, -1.0], np.float32)).tolist()
    assert read_rows(place.parent, gguf, rows, start=0, stop=1) == [expected]


def test_a_file_that_shrank_after_it_was_opened_is_refused(place: Path) -> None:
    gguf = opened(place, SOUND)
    place.write_bytes(SOUND[: gguf.tensors["matrix"].offset + 100])
    with pytest.raises(BadSource, match=r"model\.gguf ends at byte \d+, 60 bytes too early"):
        read_rows(place.parent, gguf, rows_of(gguf, gguf.tensors["matrix"]), start=0, stop=4)


def test_every_beginning_of_a_sound_file_is_refused(place: Path) -> None:
    end_of_data = len(SOUND) - (-len(VECTOR.data) % 32)
    for length in range(end_of_data):
        with pytest.raises(BadSource):
            opened(place, SOUND[:length])
    assert len(opened(place, SOUND[:end_of_data]).tensors) == 2


@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_bytes_changed_at_random_are_read_or_refused_but_never_crash(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(SOUND)
    for position, value in changes:
        data[position] = value
    place = tmp_path_factory.getbasetemp()
    try:
        gguf = opened(place / "changed.gguf", bytes(data))
    except BadSource:
        return
    for tensor in gguf.tensors.values():
        with suppress(BadSource):  # a changed scale may be infinite
            rows = rows_of(gguf, tensor)
            assert len(read_rows(place, gguf, rows, start=0, stop=rows.count)) == rows.count


HUGE = 2**62


def with_value(raw: bytes) -> bytes:
    return gguf_bytes({"key": raw}, {})


def with_tensor(
    *, shape: tuple[int, ...] = (3,), number: int = F32, data: bytes = VECTOR.data, offset: int | None = None
) -> bytes:
    return gguf_bytes({}, {"it": StoredTensor(shape=shape, number=number, data=data, offset=offset)})


HOSTILE = {
    "not a GGUF file": b"PK\x03\x04" + bytes(60),
    "version 1 is not read": gguf_bytes({}, {}, version=1),
    "version 4 is not read": gguf_bytes({}, {}, version=4),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    f"claims {HUGE} tensors": gguf_bytes({}, {}, tensor_count=HUGE),
    f"claims {HUGE} metadata entries": gguf_bytes({}, {}, metadata_count=HUGE),
    f"claims {HUGE} bytes in a metadata key": gguf_bytes({}, {}, metadata_count=1)[:24] + struct.pack("<Q", HUGE),
    f"claims {HUGE} bytes in metadata 'key'": with_value(struct.pack("<IQ", 8, HUGE)),
    f"claims {HUGE} elements of metadata 'key'": with_value(struct.pack("<IIQ", 9, 0, HUGE)),
    "3000000 strings of metadata 'key' do not fit": with_value(struct.pack("<IIQ", 9, 8, 3_000_000)),
    "truncated: metadata 'key' ends at byte": with_value(struct.pack("<IIQ", 9, 10, 3_000_000)),
    "an array of arrays": with_value(struct.pack("<IIQ", 9, 9, 1)),
    "unknown value type 13": with_value(struct.pack("<I", 13)),
    "metadata 'key' is not UTF-8": with_value(struct.pack("<I", 8) + gguf_text(b"a\xff")),
    "'key' comes twice": gguf_bytes({}, {}, metadata_count=2)[:24] + (gguf_text("key") + struct.pack("<II", 4, 1)) * 2,
    "general.alignment is 0": gguf_bytes({"general.alignment": 0}, {}),
    "general.alignment is 12": gguf_bytes({"general.alignment": 12}, {}),
    "general.alignment is 'x'": gguf_bytes({"general.alignment": "x"}, {}),
    "'it' is of type Q2_K; the types read are F32, F16, Q4_0, Q4_1, Q5_0": with_tensor(number=10),
    "'it' is of type number 99, which is unknown": with_tensor(number=99),
    "'it' has 0 dimensions": with_tensor(shape=()),
    "'it' has 5 dimensions": with_tensor(shape=(1, 1, 1, 1, 3)),
    "does not consist of whole F32 blocks": with_tensor(shape=(3, 0)),
    "does not consist of whole Q8_0 blocks of 32 values": with_tensor(shape=(2, 33), number=Q8_0),
    "truncated: tensor 'it' ends at byte": with_tensor(shape=(2**63, 2**63)),
    "truncated: tensor 'it' ends": with_tensor(offset=64),
    "'it' begins at 8, not a multiple of 32": with_tensor(offset=8),
    "the tensors 'a' and 'b' overlap": gguf_bytes(
        {},
        {"a": StoredTensor(shape=(9,), number=F32, data=bytes(36)), "b": StoredTensor(
            shape=(1,), number=F32, data=bytes(4), offset=32)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("why", HOSTILE)
def test_a_lying_header_is_refused_in_a_sentence(place: Path, why: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadSource) as refused:
            opened(place, HOSTILE[why])
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert why in str(refused.value)
    assert str(refused.value).startswith("model.gguf: ")
    assert peak_bytes < 1 << 20


def test_a_header_over_its_limit_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_module, "HEADER_LIMIT_BYTES", 60)
    with pytest.raises(BadSource, match="ends at byte 61, a header may have 60 bytes"):
        opened(place, gguf_bytes({"key": "fourteen bytes"}, {}))


def test_two_tensors_of_one_name_are_refused(place: Path) -> None:
    entry = gguf_text("twin") + struct.pack("<IQIQ", 1, 1, F32, 0)
    with pytest.raises(BadSource, match="the tensor 'twin' comes twice"):
        opened(place, gguf_bytes({}, {}, tensor_count=2)[:24] + entry * 2 + bytes(64))

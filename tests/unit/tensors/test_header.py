"""What a hostile or broken safetensors header is told; one test an attack."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpress.errors import BadSource
from modelpress.tensors import header
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.header import encode_header, read_header
from modelpress.tensors.spec import TensorSpec
from tests.unit.tensors.models import raw_file


def tensor(start: int, end: int, *, dtype: Any = "U8", shape: Any = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [end - start] if shape is None else shape, "data_offsets": [start, end]}


def refusal(directory: Path, content: bytes) -> str:
    """What reading a file of this content says."""
    (directory / "x.safetensors").write_bytes(content)
    with pytest.raises(BadSource) as caught:
        read_header(LocalFolder(directory), "x.safetensors")
    return caught.value.message


def test_a_file_shorter_than_its_length_field_is_refused(tmp_path: Path) -> None:
    assert "has 3 bytes, fewer than the 8" in refusal(tmp_path, b"abc")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert "has 0 bytes" in refusal(tmp_path, b"")


def test_a_header_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    assert "claims a header of 1000 bytes, but the whole file has 10" in refusal(tmp_path, raw_file({}, length=1000))


def test_a_header_over_the_cap_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", header.LARGEST_HEADER_BYTES + 1))
        file.truncate(header.LARGEST_HEADER_BYTES + 100)
    with pytest.raises(BadSource, match="more than the 100000000 that are allowed"):
        read_header(LocalFolder(tmp_path), "x.safetensors")


def test_a_header_length_of_2_to_the_64_is_refused(tmp_path: Path) -> None:
    assert "18446744073709551615 bytes" in refusal(tmp_path, raw_file({}, length=2**64 - 1))


def test_a_header_that_is_not_json_is_refused(tmp_path: Path) -> None:
    assert "is not JSON" in refusal(tmp_path, raw_file(b"{nonsense"))


def test_a_header_that_is_not_text_is_refused(tmp_path: Path) -> None:
    assert "is not JSON" in refusal(tmp_path, raw_file(b"\xff\xfe\x00"))


def test_a_header_nested_without_end_is_refused(tmp_path: Path) -> None:
    assert "JSON of more than 64 levels" in refusal(tmp_path, raw_file(b"[" * 200_000))


def test_a_header_with_a_number_of_endless_digits_is_refused(tmp_path: Path) -> None:
    assert "is not JSON" in refusal(tmp_path, raw_file(b'{"a":' + b"9" * 5000 + b"}"))


def test_a_header_that_is_a_list_is_refused(tmp_path: Path) -> None:
    assert "not a JSON object" in refusal(tmp_path, raw_file([]))


def test_a_tensor_named_twice_is_refused(tmp_path: Path) -> None:
    entry = b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
    assert "names something twice" in refusal(tmp_path, raw_file(b"{" + entry + b"," + entry + b"}", b"1"))


def test_overlapping_tensors_are_refused(tmp_path: Path) -> None:
    assert "overlaps" in refusal(tmp_path, raw_file({"a": tensor(0, 4), "b": tensor(2, 6)}, bytes(6)))


def test_a_hole_between_tensors_is_refused(tmp_path: Path) -> None:
    assert "leaves a hole" in refusal(tmp_path, raw_file({"a": tensor(0, 4), "b": tensor(5, 6)}, bytes(6)))


def test_a_hole_before_the_first_tensor_is_refused(tmp_path: Path) -> None:
    assert "leaves a hole" in refusal(tmp_path, raw_file({"a": tensor(1, 4)}, bytes(4)))


def test_bytes_after_the_last_tensor_are_refused(tmp_path: Path) -> None:
    assert "it has" in refusal(tmp_path, raw_file({"a": tensor(0, 4)}, bytes(5)))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    assert "its tensors need" in refusal(tmp_path, raw_file({"a": tensor(0, 4)}, bytes(3)))


def test_a_shape_that_does_not_fit_the_bytes_is_refused(tmp_path: Path) -> None:
    content = raw_file({"a": tensor(0, 4, dtype="F32", shape=[2])}, bytes(4))
    assert "needs 8 bytes, it has 4" in refusal(tmp_path, content)


def test_a_shape_whose_product_overflows_64_bits_is_refused(tmp_path: Path) -> None:
    assert "needs" in refusal(tmp_path, raw_file({"a": tensor(0, 0, shape=[2**32, 2**32])}))


def test_a_shape_that_overflows_before_its_zero_is_refused_and_one_that_begins_with_zero_is_not(tmp_path: Path) -> None:
    assert "than can be counted" in refusal(tmp_path, raw_file({"a": tensor(0, 0, shape=[2**62, 2**62, 0])}))
    (tmp_path / "x.safetensors").write_bytes(raw_file({"a": tensor(0, 0, shape=[0, 2**62, 2**62])}))
    assert read_header(LocalFolder(tmp_path), "x.safetensors")


@pytest.mark.parametrize("shape", [[-1], [1.0], ["1"], [True], 4, None, [2**63], [1] * 9])
def test_a_shape_of_anything_but_a_few_natural_numbers_is_refused(tmp_path: Path, shape: Any) -> None:
    content = raw_file({"a": {"dtype": "U8", "shape": shape, "data_offsets": [0, 1]}}, b"1")
    assert "impossible shape" in refusal(tmp_path, content)


@pytest.mark.parametrize("offsets", [[1, 0], [0], [0, 1, 2], [-1, 0], [0, 1.0], "01", None])
def test_offsets_that_are_no_range_are_refused(tmp_path: Path, offsets: Any) -> None:
    content = raw_file({"a": {"dtype": "U8", "shape": [1], "data_offsets": offsets}}, b"1")
    assert "impossible data_offsets" in refusal(tmp_path, content)


@pytest.mark.parametrize("dtype", ["F128", "", 7, None, "bf16", "x" * 10_000])
def test_an_unknown_dtype_is_refused(tmp_path: Path, dtype: Any) -> None:
    message = refusal(tmp_path, raw_file({"a": tensor(0, 1, dtype=dtype)}, b"1"))
    assert "unknown dtype" in message
    assert len(message) < 200


def test_an_entry_without_offsets_is_refused(tmp_path: Path) -> None:
    assert "or lacks one" in refusal(tmp_path, raw_file({"a": {"dtype": "U8", "shape": [1]}}))


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    assert "name is no text" in refusal(tmp_path, raw_file({"\ud800": tensor(0, 1)}, b"1"))


def test_a_name_without_end_is_refused_without_repeating_it(tmp_path: Path) -> None:
    assert len(refusal(tmp_path, raw_file({"x" * 100_000: tensor(0, 1)}, b"1"))) < 200


def test_more_tensors_than_the_cap_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header, "MOST_TENSORS", 2)
    content = raw_file({"a": tensor(0, 0), "b": tensor(0, 0), "c": tensor(0, 0)})
    assert "names 3 tensors, more than the 2" in refusal(tmp_path, content)


def test_tensors_come_in_the_order_of_their_bytes_whatever_the_headers_order(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(
        raw_file({"b": tensor(2, 3), "empty": tensor(2, 2), "a": tensor(0, 2)}, b"123")
    )
    assert [t.spec.name for t in read_header(LocalFolder(tmp_path), "x.safetensors")] == ["a", "empty", "b"]


SPECS = st.lists(
    st.builds(
        lambda name, dtype, shape: TensorSpec(name=name, dtype=dtype, shape=tuple(shape)),
        st.text(min_size=1).filter(lambda name: name != "__metadata__"),
        st.sampled_from(["BF16", "F16", "F32", "I8", "I32", "I64", "BOOL"]),
        st.lists(st.integers(0, 5), max_size=3),
    ),
    max_size=6,
    unique_by=lambda spec: spec.name,
)


@given(specs=SPECS)
def test_a_written_header_reads_back(specs: list[TensorSpec], tmp_path_factory: pytest.TempPathFactory) -> None:
    placed, end = [], 0
    for spec in specs:
        placed.append((spec, end))
        end += spec.size_bytes
    encoded = encode_header(placed)
    directory = tmp_path_factory.mktemp("header")
    (directory / "x.safetensors").write_bytes(encoded + bytes(end))
    found = read_header(LocalFolder(directory), "x.safetensors")
    assert {t.spec: t.offset for t in found} == {spec: len(encoded) + offset for spec, offset in placed}
    assert len(encoded) % 8 == 0

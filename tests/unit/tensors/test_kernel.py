"""The C kernel and its numpy twin: the same bytes, within the bound they promise, on whatever finite weights."""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from modelpress.domain.recipe import ScaleSearch
from modelpress.tensors import kernel
from modelpress.tensors.grid import Grid
from modelpress.tensors.kernel import KERNEL, LIBRARY, native, twin
from modelpress.tensors.kernel.library import PATH, Library, StaleLibrary, choose
from modelpress.tensors.kernel.numbers import narrow
from modelpress.tensors.pack import pack, unpack
from modelpress.tensors.rounding.integers import IntegerRounding
from tests.kernel import needs_c

EXPONENT = {Grid.BF16: 0x7F80, Grid.F16: 0x7C00, Grid.F32: 0x7F800000}
WORD = {Grid.BF16: "<u2", Grid.F16: "<u2", Grid.F32: "<u4"}

SEARCHES: list[ScaleSearch] = ["max", "mse"]


def roundings(symmetric: Sequence[bool], searches: Sequence[ScaleSearch]) -> st.SearchStrategy[IntegerRounding]:
    """All that rows may be rounded to, of awkward and usual shapes."""
    return st.builds(
        lambda grid, layout, group, groups, search: IntegerRounding(
            grid=grid,
            bits=layout[0],
            packed=layout[1],
            symmetric=layout[2],
            group=group,
            columns=group * groups,
            scale_search=search,
        ),
        st.sampled_from(list(Grid)),
        st.one_of(st.tuples(st.integers(2, 8), st.just(True), st.sampled_from(symmetric)), st.just((8, False, True))),
        st.one_of(st.sampled_from([32, 64, 96, 128]), st.integers(1, 70)),
        st.integers(1, 4),
        st.sampled_from(searches),
    )


def weights(rounding: IntegerRounding, *, rows: int, seed: int, kind: str) -> NDArray[np.uint8]:
    """Finite weights: any bits at all, near zero, or as models have them; some groups wholly zero."""
    random = np.random.default_rng(seed)
    count = rows * rounding.columns
    if kind == "usual":
        bits = raw_bits(random.standard_normal(count, dtype=np.float32) / np.float32(50), rounding.grid)
    else:
        bits = random.integers(0, 1 << 8 * rounding.grid.size_bytes, count, dtype=np.uint32)
        exponent = np.uint32(EXPONENT[rounding.grid])
        # One bit off the exponent makes a NaN or an infinity the largest of numbers; all bits off, a subnormal.
        lowest = np.uint32(EXPONENT[rounding.grid] & -EXPONENT[rounding.grid])
        bits[(bits & exponent) == exponent] ^= lowest
        if kind == "subnormal":
            bits &= ~exponent
    bits = bits.reshape(rows * rounding.groups, rounding.group).copy()
    bits[random.random(len(bits)) < 0.2] = 0
    return bits.astype(WORD[rounding.grid]).reshape(-1).view(np.uint8)


def raw_bits(numbers: NDArray[np.float32], grid: Grid) -> NDArray[np.uint32]:
    """Numbers of the grid near these, as bits."""
    if grid is Grid.F16:
        return numbers.astype(np.float16).view(np.uint16).astype(np.uint32)
    return numbers.view(np.uint32) >> np.uint32(0 if grid is Grid.F32 else 16)


def run(function: object, rounding: IntegerRounding, source: NDArray[np.uint8]) -> tuple[int, list[bytes]]:
    """The row that is not finite, and the bytes of values, scales and zero points."""
    rows = len(source) // rounding.source_row_bytes
    values, scales, *zeros = [np.full(size, 0xAA, dtype=np.uint8) for size in rounding.output_bytes(rows)]
    assert callable(function)
    row = function(rounding, source, values=values, scales=scales, zeros=zeros[0] if zeros else None)
    return row, [output.tobytes() for output in (values, scales, *zeros)]


@functools.cache
def natives() -> tuple[native.NativeKernel, ...]:
    """The C kernel for every instruction set this machine has."""
    return tuple(native.NativeKernel(Library(instruction_set=name)) for name in Library().instruction_sets)


@needs_c
@settings(max_examples=300, deadline=None)
@given(
    rounding=roundings([True, False], SEARCHES),
    rows=st.one_of(st.integers(1, 5), st.integers(30, 40)),
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(["any", "usual", "subnormal"]),
)
def test_kernel_and_twin_give_the_same_bytes(rounding: IntegerRounding, rows: int, seed: int, kind: str) -> None:
    source = weights(rounding, rows=rows, seed=seed, kind=kind)
    by_twin = run(twin.quantize, rounding, source)
    assert by_twin[0] == -1
    assert [run(native_kernel.quantize, rounding, source) for native_kernel in natives()] == [by_twin] * len(natives())


@needs_c
@pytest.mark.parametrize("grid", [Grid.BF16, Grid.F16])
@pytest.mark.parametrize("bits", [4, 8])
def test_kernel_and_twin_agree_on_every_16_bit_number_beside_every_scale_it_may_set(grid: Grid, bits: int) -> None:
    every = np.arange(EXPONENT[grid], dtype=np.uint16)
    # Each group of two: a number, and one of the same size to within a few powers of two.
    beside = np.stack([every, np.maximum(every.astype(np.int32) - 700, 0).astype(np.uint16)], axis=1)
    rounding = IntegerRounding(grid=grid, bits=bits, columns=2, group=2, packed=True)
    source = beside.reshape(-1).view(np.uint8)
    by_twin = run(twin.quantize, rounding, source)
    assert [run(native_kernel.quantize, rounding, source) for native_kernel in natives()] == [by_twin] * len(natives())


@needs_c
@pytest.mark.parametrize(("grid", "significands"), [(Grid.BF16, 1 << 7), (Grid.F16, 1 << 10)])
@pytest.mark.parametrize(("bits", "symmetric"), [(4, True), (4, False), (8, True)])
def test_multiplying_does_what_dividing_does_for_every_pair_of_significands(
    grid: Grid, significands: int, bits: int, symmetric: bool
) -> None:
    # Rows: a largest number of each significand, and all numbers below it that do not become 0.
    columns = bits * significands
    largest = np.arange(20 * significands, 21 * significands, dtype=np.uint16)
    source = (largest[:, np.newaxis] - np.arange(columns, dtype=np.uint16)).reshape(-1).view(np.uint8)
    rounding = IntegerRounding(grid=grid, bits=bits, columns=columns, group=columns, packed=True, symmetric=symmetric)
    by_twin = run(twin.quantize, rounding, source)
    assert [run(native_kernel.quantize, rounding, source) for native_kernel in natives()] == [by_twin] * len(natives())


@pytest.mark.parametrize("grid", [Grid.BF16, Grid.F16])
def test_a_quotient_rounded_to_the_grid_is_the_product_with_the_inverse_for_scales_no_weight_sets_too(
    grid: Grid,
) -> None:
    significands = np.arange(1, 2, grid.epsilon, dtype=np.float32)
    products = significands * (np.float32(1) / significands)[:, np.newaxis]
    quotients = significands / significands[:, np.newaxis]
    assert (narrow(products, grid) == narrow(quotients, grid)).all()


@settings(max_examples=200, deadline=None)
@given(rounding=roundings([True], ["max"]), seed=st.integers(0, 2**32), kind=st.sampled_from(["any", "usual"]))
def test_a_rounded_weight_is_within_half_a_scale_and_one_rounding_of_its_quotient(
    rounding: IntegerRounding, seed: int, kind: str
) -> None:
    source = weights(rounding, rows=3, seed=seed, kind=kind)
    row, (value_bytes, scale_bytes) = run(twin.quantize, rounding, source)
    assert row == -1
    scales = exact(np.frombuffer(scale_bytes, np.uint8), rounding.grid).reshape(3, rounding.groups, 1)
    stored = np.frombuffer(value_bytes, np.uint8).reshape(3, -1)
    values = unpack(stored, bits=rounding.bits, columns=rounding.columns) if rounding.packed else stored.view(np.int8)
    numbers = exact(source, rounding.grid).reshape(3, rounding.groups, rounding.group)
    errors = np.abs(numbers - values.reshape(numbers.shape).astype(np.float64) * scales)
    one_rounding = np.abs(numbers) * rounding.grid.epsilon / 2
    # A scale that is rounded itself may end up to a rounding too small, so that the largest weight is clamped.
    clamped = np.abs(numbers) / scales > 2 ** (rounding.bits - 1) - 0.5
    within = errors <= scales / 2 * (1 + 1e-12) + one_rounding
    assert within[~clamped].all()
    limit = 2 ** (rounding.bits - 1) - 1
    assert (np.abs(values.reshape(numbers.shape)[clamped].astype(int)) >= limit).all()


def exact(raw: NDArray[np.uint8], grid: Grid) -> NDArray[np.float64]:
    """The numbers that the bytes stand for."""
    if grid is Grid.BF16:
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return raw.view(np.float16 if grid is Grid.F16 else np.float32).astype(np.float64)


@settings(max_examples=100, deadline=None)
@given(rounding=roundings([False], ["max"]), pieces=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_rows_may_be_rounded_in_pieces_that_begin_at_the_row_multiple(
    rounding: IntegerRounding, pieces: int, seed: int
) -> None:
    rows = pieces * rounding.row_multiple + 3
    source = weights(rounding, rows=rows, seed=seed, kind="usual")
    _, whole = run(kernel.quantize, rounding, source)
    joined = [b""] * len(whole)
    for start in range(0, rows, rounding.row_multiple):
        piece = source[start * rounding.source_row_bytes :][: rounding.row_multiple * rounding.source_row_bytes]
        joined = [before + made for before, made in zip(joined, run(kernel.quantize, rounding, piece)[1], strict=True)]
    assert joined == whole


@settings(max_examples=100, deadline=None)
@given(rounding=roundings([True, False], ["mse"]), seed=st.integers(0, 2**32))
def test_a_search_never_loses_more_than_the_largest_weights_scale(rounding: IntegerRounding, seed: int) -> None:
    source = weights(rounding, rows=32, seed=seed, kind="usual")
    searched, plain = (
        squared_errors(how, source) for how in (rounding, dataclasses.replace(rounding, scale_search="max"))
    )
    assert (searched <= plain * (1 + 1e-5)).all()


def squared_errors(rounding: IntegerRounding, source: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What rounding loses in each group, exactly."""
    rows = len(source) // rounding.source_row_bytes
    _, (value_bytes, scale_bytes, *zero_bytes) = run(twin.quantize, rounding, source)
    stored = np.frombuffer(value_bytes, np.uint8).reshape(rows, -1)
    values = unpack(stored, bits=rounding.bits, columns=rounding.columns) if rounding.packed else stored.view(np.int8)
    zeros = np.zeros((rows, rounding.groups))
    if zero_bytes:
        words = np.frombuffer(zero_bytes[0], np.uint32).reshape(-1, rounding.groups)
        streams = np.ascontiguousarray(words.T).view(np.uint8)
        zeros = unpack(streams, bits=rounding.bits, columns=rows).T.astype(np.float64)
    shape = (rows, rounding.groups, rounding.group)
    scales = exact(np.frombuffer(scale_bytes, np.uint8), rounding.grid).reshape(*shape[:2], 1)
    decoded = (values.reshape(shape) - zeros[:, :, np.newaxis]) * scales
    losses: NDArray[np.float64] = ((decoded - exact(source, rounding.grid).reshape(shape)) ** 2).sum(axis=2)
    return losses


@pytest.mark.parametrize(
    ("bits", "scales", "zeros", "values"),
    [
        (3, "003c123f123f2b3f7d3c9132003c", "c4851100", "24090000620f0000a5000000e8050000060000001e06000024090000"),
        (4, "003c893e893ea03eec3b0732003c", "083f8108", "8888000074fb00008b040000a02f00001f0100008f80000088880000"),
        (
            8,
            "003c813c813c973cde39fe2f003c",
            "8000fe3612808000",
            "80808080407fbffebe7f3f0000b2ff2bfe141200ff80008080808080",
        ),
    ],
)
def test_numbers_with_zero_points_are_those_that_llm_compressor_wrote(
    bits: int, scales: str, zeros: str, values: str
) -> None:
    source = np.frombuffer(
        bytes.fromhex(
            "0000000000000000803f00404040804080bf00c040c080c080bf13406d404dbe"
            "cd3d833a2837fcbb7d3300007db300000080008000800080"
        ),
        np.uint8,
    )
    rounding = IntegerRounding(grid=Grid.BF16, bits=bits, columns=4, group=4, packed=True, symmetric=False)
    expected = (-1, [bytes.fromhex(text) for text in (values, scales, zeros)])
    assert run(twin.quantize, rounding, source) == expected
    assert run(kernel.quantize, rounding, source) == expected


@pytest.mark.parametrize("grid", list(Grid))
def test_a_group_that_is_all_zero_decodes_to_zeros_and_has_the_grids_epsilon_for_its_scale(grid: Grid) -> None:
    rounding = IntegerRounding(grid=grid, bits=4, columns=32, group=32, packed=True)
    scales, values = np.empty(rounding.scale_row_bytes, np.uint8), np.empty(rounding.value_row_bytes, np.uint8)
    assert rounding.round_rows(np.zeros(rounding.source_row_bytes, np.uint8), (values, scales)) is None
    assert exact(scales, grid).tolist() == [
        {"BF16": 0.0078125, "F16": 0.0009765625, "F32": 1.1920928955078125e-07}[grid]
    ]
    assert not unpack(values.reshape(1, -1), bits=4, columns=32).any()


@pytest.mark.parametrize("grid", list(Grid))
@pytest.mark.parametrize("function", [twin.quantize, pytest.param("c", marks=needs_c)])
@pytest.mark.parametrize("kind", ["nan", "infinity", "minus infinity"])
def test_the_first_row_that_is_not_finite_is_told(grid: Grid, function: object, kind: str) -> None:
    rounding = IntegerRounding(grid=grid, bits=8, columns=8, group=8, packed=False)
    source = weights(rounding, rows=9, seed=1, kind="usual").view(WORD[grid]).reshape(9, 8)
    exponent = EXPONENT[grid]
    sign = 1 << 31 if grid is Grid.F32 else 1 << 15
    bad = {"nan": exponent | 1, "infinity": exponent, "minus infinity": exponent | sign}[kind]
    source[4, 7] = bad
    source[7, 0] = bad
    called = native.NativeKernel().quantize if function == "c" else function
    assert run(called, rounding, source.reshape(-1).view(np.uint8))[0] == 4


@given(
    bits=st.integers(2, 8),
    rows=st.integers(1, 4),
    columns=st.integers(1, 70),
    seed=st.integers(0, 2**32),
)
def test_packed_integers_unpack_to_themselves(bits: int, rows: int, columns: int, seed: int) -> None:
    low, high = -(1 << bits - 1), 1 << bits - 1
    values = np.random.default_rng(seed).integers(low, high, (rows, columns), dtype=np.int8)
    packed = pack(values, bits=bits)
    assert packed.shape == (rows, -(-columns * bits // 32) * 4)
    assert (unpack(packed, bits=bits, columns=columns) == values).all()


@settings(deadline=None)
@given(rounding=roundings([True, False], SEARCHES), rows=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_integers_scales_and_zero_points_are_encoded_as_rounding_leaves_them(
    rounding: IntegerRounding, rows: int, seed: int
) -> None:
    outputs = [np.zeros(size, dtype=np.uint8) for size in rounding.output_bytes(rows)]
    assert rounding.round_rows(weights(rounding, rows=rows, seed=seed, kind="usual"), outputs) is None
    values, scales, *rest = outputs
    integers, zeros = values.view(np.int8).reshape(rows, -1), None
    if rounding.packed:
        integers = unpack(values.reshape(rows, -1), bits=rounding.bits, columns=rounding.columns)
    if rest:
        streams = np.ascontiguousarray(rest[0].view(np.uint32).reshape(-1, rounding.groups).T)
        zeros = np.ascontiguousarray(unpack(streams.view(np.uint8), bits=rounding.bits, columns=rows).T)
    for encoded, output in zip(rounding.encode(integers, scales=scales, zeros=zeros), outputs, strict=True):
        assert np.array_equal(encoded, output)


def test_eight_nibbles_lie_in_a_word_low_bits_first() -> None:
    values = np.array([[-8, -7, -6, -5, -4, -3, -2, 7]], dtype=np.int8)
    assert pack(values, bits=4).view("<u4").tolist() == [[0xF6543210]]


def test_a_row_that_ends_within_a_word_is_padded_with_zero_bits() -> None:
    assert pack(np.array([[7, 7, 7]], dtype=np.int8), bits=4).tolist() == [[0xFF, 0x0F, 0, 0]]


def test_the_environment_can_ask_for_the_twin() -> None:
    command = [sys.executable, "-c", "from modelpress.tensors.kernel import KERNEL; print(KERNEL)"]
    path = os.pathsep.join(sys.path)
    without = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path, "MODELPRESS_KERNEL": "none"}, capture_output=True, check=True
    )
    assert without.stdout.strip() == b"numpy"


@needs_c
def test_a_kernel_that_was_built_is_used() -> None:
    assert KERNEL == "c"
    assert LIBRARY is not None


@needs_c
def test_the_environment_can_ask_for_an_instruction_set_and_else_gets_the_widest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    *_, widest = names = Library().instruction_sets
    for asked, used in {**{name: name for name in names}, "abacus": widest, "": widest}.items():
        monkeypatch.setenv("MODELPRESS_KERNEL", asked)
        chosen = choose()
        assert chosen is not None
        assert chosen.instruction_set == used


@needs_c
def test_a_library_of_other_sources_than_those_beside_it_is_not_used(tmp_path: Path) -> None:
    for file in (PATH, *PATH.parent.glob("*.[ch]")):
        shutil.copy(file, tmp_path)
    assert Library(tmp_path / PATH.name).instruction_sets
    with (tmp_path / "numbers.h").open("a") as header:
        header.write("/* another */")
    with pytest.raises(StaleLibrary):
        Library(tmp_path / PATH.name)

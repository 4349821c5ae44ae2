"""FP8 and FP4: the C kernel and its twin give the same bytes, within the bound they promise, on any finite weights."""

from __future__ import annotations

import functools
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from modelpress.tensors.grid import Grid
from modelpress.tensors.kernel import native_floats, twin_floats
from modelpress.tensors.kernel.library import Library
from modelpress.tensors.rounding.float4 import Mxfp4Rounding, Nvfp4Rounding
from modelpress.tensors.rounding.float8 import Float8Rounding
from tests.kernel import needs_c
from tests.unit.tensors.test_kernel import EXPONENT, WORD, exact, raw_bits

FloatRounding: TypeAlias = Float8Rounding | Nvfp4Rounding | Mxfp4Rounding

KINDS = ("any", "usual", "subnormal", "tie", "spread", "small")
#: The numbers of e2m1 by their codes.
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])


def float8(grid: Grid, *, columns: int, edge: int | None) -> Float8Rounding:
    return Float8Rounding(grid=grid, columns=columns, height=edge or 1, width=edge or columns)


ROUNDINGS: st.SearchStrategy[FloatRounding] = st.one_of(
    st.builds(
        lambda grid, columns, edge: float8(grid, columns=columns, edge=edge),
        st.sampled_from(list(Grid)),
        st.integers(1, 300),
        st.sampled_from([None, 4, 128]),
    ),
    st.builds(
        lambda grid, groups: Nvfp4Rounding(grid=grid, columns=16 * groups),
        st.sampled_from(list(Grid)),
        st.integers(1, 9),
    ),
    st.builds(
        lambda grid, groups: Mxfp4Rounding(grid=grid, columns=32 * groups),
        st.sampled_from(list(Grid)),
        st.integers(1, 5),
    ),
)


def weights(grid: Grid, *, rows: int, columns: int, seed: int, kind: str) -> NDArray[np.uint8]:
    """Finite weights: any bits, as models have them, near zero, between two numbers of the format, of all sizes."""
    random = np.random.default_rng(seed)
    shape = (rows, columns)
    if kind in {"any", "subnormal"}:
        bits = random.integers(0, 1 << 8 * grid.size_bytes, shape, dtype=np.uint32)
        exponent = np.uint32(EXPONENT[grid])
        # One bit off the exponent makes a NaN or an infinity the largest of numbers; all bits off, a subnormal.
        bits[(bits & exponent) == exponent] ^= np.uint32(EXPONENT[grid] & -EXPONENT[grid])
        if kind == "subnormal":
            bits &= ~exponent
    else:
        numbers = random.standard_normal(shape, dtype=np.float32)
        if kind == "tie":
            # Sixteenths of up to 15: halfway between numbers of both formats, and the numbers themselves.
            numbers = random.integers(-240, 241, shape).astype(np.float32) / np.float32(16)
        if kind == "spread":
            numbers *= np.float32(2) ** random.integers(-24, 4, shape).astype(np.float32)
        scale = {"usual": 0.02, "small": 1e-4}.get(kind, 1.0)
        bits = raw_bits(numbers * np.float32(scale), grid)
    flat = bits.reshape(-1)
    start = int(random.integers(0, len(flat)))
    flat[start : start + 40] = 0
    return flat.astype(WORD[grid]).view(np.uint8)


@functools.cache
def kernels() -> tuple[native_floats.NativeFloats, ...]:
    """The C kernel for every instruction set this machine has."""
    return tuple(native_floats.NativeFloats(Library(instruction_set=name)) for name in Library().instruction_sets)


def rounded(functions: object, rounding: FloatRounding, source: NDArray[np.uint8]) -> tuple[int, bytes, bytes]:
    """The row that was refused or -1, values, scales."""
    rows = len(source) // (rounding.columns * rounding.grid.size_bytes)
    values, scales = (np.full(size, 0xAA, np.uint8) for size in rounding.output_bytes(rows)[:2])
    name = {Float8Rounding: "float8", Nvfp4Rounding: "nvfp4", Mxfp4Rounding: "mxfp4"}[type(rounding)]
    row: int = getattr(functions, name)(rounding, source, scales=scales, values=values)
    return row, values.tobytes(), scales.tobytes()


def bound(rounding: FloatRounding, source: NDArray[np.uint8]) -> FloatRounding:
    """The rounding, knowing the weights' magnitude if it must."""
    if isinstance(rounding, Nvfp4Rounding):
        return rounding.bind(twin_floats.magnitude(rounding.grid, source))
    return rounding


@needs_c
@settings(max_examples=400, deadline=None)
@given(rounding=ROUNDINGS, rows=st.integers(1, 9), seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS))
def test_kernel_and_twin_give_the_same_bytes(rounding: FloatRounding, rows: int, seed: int, kind: str) -> None:
    source = weights(rounding.grid, rows=rows, columns=rounding.columns, seed=seed, kind=kind)
    known = bound(rounding, source)
    by_twin = rounded(twin_floats, known, source)
    assert by_twin[0] == -1
    assert [rounded(kernel, known, source) for kernel in kernels()] == [by_twin] * len(kernels())
    sizes = {kernel.magnitude(rounding.grid, source) for kernel in kernels()}
    assert sizes == {twin_floats.magnitude(rounding.grid, source)}


@needs_c
@pytest.mark.parametrize("grid", [Grid.BF16, Grid.F16])
@pytest.mark.parametrize("behind", [0, 1, 300, 700, 1500])
def test_kernel_and_twin_agree_on_every_16_bit_number_beside_one_that_sets_its_scale(grid: Grid, behind: int) -> None:
    every = np.arange(EXPONENT[grid], dtype=np.int32)
    pairs = np.stack([every, np.maximum(every - behind, 0)], axis=1).astype(np.uint16)
    rounding = float8(grid, columns=2, edge=None)
    source = pairs.reshape(-1).view(np.uint8)
    by_twin = rounded(twin_floats, rounding, source)
    assert [rounded(kernel, rounding, source) for kernel in kernels()] == [by_twin] * len(kernels())


@settings(max_examples=200, deadline=None)
@given(
    grid=st.sampled_from(list(Grid)),
    edge=st.sampled_from([None, 8]),
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(KINDS),
)
def test_an_e4m3_weight_is_within_half_a_step_of_its_quotient(
    grid: Grid, edge: int | None, seed: int, kind: str
) -> None:
    rounding = float8(grid, columns=50, edge=edge)
    source = weights(grid, rows=20, columns=50, seed=seed, kind=kind)
    row, value_bytes, scale_bytes = rounded(twin_floats, rounding, source)
    assert row == -1
    scales = exact(np.frombuffer(scale_bytes, np.uint8), grid).reshape(-1, rounding.scales_across)
    each = np.repeat(np.repeat(scales, rounding.height, axis=0)[:20], rounding.width, axis=1)[:, :50]
    values = from_e4m3(np.frombuffer(value_bytes, np.uint8)).reshape(20, 50)
    numbers = exact(source, grid).reshape(20, 50)
    step = np.maximum(2.0 ** np.floor(np.log2(np.maximum(np.abs(values), 2.0**-6))) / 8, 2.0**-9)
    # At a power of two the step below is half of that above, which only widens the bound.
    one_rounding = np.abs(numbers) * grid.epsilon / 2
    # A scale that is rounded itself may end up too small, so that the largest weights are clamped.
    clamped = np.abs(numbers / each) > 448
    assert (np.abs(numbers - values * each) <= step / 2 * each * (1 + 1e-12) + one_rounding)[~clamped].all()
    assert (np.abs(values)[clamped] == 448).all()
    assert (np.signbit(values) == np.signbit(numbers)).all()


@settings(max_examples=200, deadline=None)
@given(grid=st.sampled_from(list(Grid)), seed=st.integers(0, 2**32), kind=st.sampled_from(["usual", "tie", "spread"]))
def test_an_nvfp4_weight_is_the_nearest_that_its_two_scales_allow(grid: Grid, seed: int, kind: str) -> None:
    source = weights(grid, rows=6, columns=64, seed=seed, kind=kind)
    rounding = Nvfp4Rounding(grid=grid, columns=64).bind(twin_floats.magnitude(grid, source))
    _, value_bytes, scale_bytes = rounded(twin_floats, rounding, source)
    scales = from_e4m3(np.frombuffer(scale_bytes, np.uint8)) / rounding.global_scale
    check_nearest(exact(source, grid).reshape(-1, 16), unpacked(value_bytes).reshape(-1, 16), scales)


@settings(max_examples=200, deadline=None)
@given(grid=st.sampled_from(list(Grid)), seed=st.integers(0, 2**32), kind=st.sampled_from(["usual", "tie", "spread"]))
def test_an_mxfp4_weight_is_the_nearest_that_a_power_of_two_allows(grid: Grid, seed: int, kind: str) -> None:
    source = weights(grid, rows=6, columns=64, seed=seed, kind=kind)
    _, value_bytes, scale_bytes = rounded(twin_floats, Mxfp4Rounding(grid=grid, columns=64), source)
    scales = 2.0 ** (np.frombuffer(scale_bytes, np.uint8).astype(float) - 127)
    check_nearest(exact(source, grid).reshape(-1, 32), unpacked(value_bytes).reshape(-1, 32), scales)


def check_nearest(numbers: NDArray[np.float64], values: NDArray[np.float64], scales: NDArray[np.float64]) -> None:
    """No other number of the format is nearer to any weight than the one that was taken."""
    every = np.concatenate([-E2M1, E2M1])
    nearest = np.abs(numbers[..., np.newaxis] - every * scales[:, np.newaxis, np.newaxis]).min(axis=-1)
    errors = np.abs(numbers - values * scales[:, np.newaxis])
    assert (errors <= nearest + np.abs(numbers) * 2.0**-22).all()


def from_e4m3(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    exponents, fractions = codes >> 3 & 15, (codes & 7).astype(float)
    sizes: NDArray[np.float64] = np.where(
        exponents == 0, fractions * 2.0**-9, (8 + fractions) * 2.0 ** (exponents - 10.0)
    )
    assert not (codes & 127 == 127).any()
    return np.where(codes < 128, sizes, -sizes)


def unpacked(value_bytes: bytes) -> NDArray[np.float64]:
    pairs = np.frombuffer(value_bytes, np.uint8)
    codes = np.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1)
    numbers: NDArray[np.float64] = np.where(codes < 8, 1.0, -1.0) * E2M1[codes & 7]
    return numbers


#: 0.25 -0.25 0.75 -0.75 1.25 1.75 2.5 3.5 5 6 -6 -0.1 -0.0 0 -1e-7 -5 and zeros, below a row of zeros, in bf16.
EDGES = bytes(64) + bytes.fromhex("803e80be403f40bfa03fe03f20406040a040c040c0c0cdbd00800000d7b3a0c0") + bytes(32)


@pytest.mark.parametrize(
    ("rounding", "values", "scales"),
    [
        (
            float8(Grid.BF16, columns=32, edge=None),
            "00" * 32 + "59d966e66c7074787c7efecf800080fc" + "00" * 16,
            "003c5b3c",
        ),
        (
            Nvfp4Rounding(grid=Grid.BF16, columns=32),
            "00" * 16 + "80a24264768f00e8" + "00" * 8,
            "20207e20",
        ),
        (Mxfp4Rounding(grid=Grid.BF16, columns=32), "00" * 16 + "80a24264768f00e8" + "00" * 8, "007f"),
    ],
    ids=["fp8", "nvfp4", "mxfp4"],
)
def test_ties_signs_and_zeros_are_those_of_llm_compressor(rounding: FloatRounding, values: str, scales: str) -> None:
    source = np.frombuffer(EDGES, np.uint8)
    made = rounded(twin_floats, bound(rounding, source), source)
    assert (made[0], made[1].hex(), made[2].hex()) == (-1, values, scales)


@pytest.mark.parametrize(
    ("grid", "largest", "scale"),
    [
        (Grid.BF16, 6.0, 448.0),
        (Grid.BF16, 0.0870361328125, 30976.0),
        (Grid.F32, 0.0, 1.0),
        (Grid.BF16, 0.0, 1.0),
        (Grid.F16, 0.04, 1.0),
        (Grid.F16, 6.0, 448.0),
    ],
)
def test_the_global_scale_is_made_in_two_roundings_and_is_1_where_it_would_be_infinite(
    grid: Grid, largest: float, scale: float
) -> None:
    assert Nvfp4Rounding(grid=grid, columns=16).bind(largest).global_scale == scale


@pytest.mark.parametrize("grid", list(Grid))
@pytest.mark.parametrize("functions", [twin_floats, pytest.param("c", marks=needs_c)], ids=["numpy", "c"])
@pytest.mark.parametrize("kind", ["nan", "infinity", "minus infinity"])
@pytest.mark.parametrize("edge", [None, 4])
def test_the_first_row_that_is_not_finite_is_told(grid: Grid, functions: object, kind: str, edge: int | None) -> None:
    source = weights(grid, rows=9, columns=32, seed=1, kind="usual").view(WORD[grid]).reshape(9, 32)
    exponent, sign = EXPONENT[grid], 1 << 31 if grid is Grid.F32 else 1 << 15
    source[4, 7] = {"nan": exponent | 1, "infinity": exponent, "minus infinity": exponent | sign}[kind]
    source[7, 0] = source[4, 7]
    raw = source.reshape(-1).view(np.uint8)
    called = native_floats.NativeFloats() if functions == "c" else functions
    for rounding in (
        float8(grid, columns=32, edge=edge),
        Nvfp4Rounding(grid=grid, columns=32).bind(1.0),
        Mxfp4Rounding(grid=grid, columns=32),
    ):
        assert rounded(called, rounding, raw)[0] == 4
    assert called.magnitude(grid, raw) == np.inf  # type: ignore[attr-defined]


def test_only_the_first_piece_of_a_weight_carries_its_global_scale() -> None:
    rounding = Nvfp4Rounding(grid=Grid.BF16, columns=32).bind(6.0)
    assert [rounding.output_bytes(rows)[2] for rows in (0, 1, 5)] == [0, 4, 4]
    values, scales, overall = (np.zeros(size, np.uint8) for size in rounding.output_bytes(2))
    assert rounding.round_rows(np.frombuffer(EDGES, np.uint8), (values, scales, overall)) is None
    assert overall.view("<f4").tolist() == [448.0]
    assert rounding.round_rows(np.frombuffer(EDGES, np.uint8), (values, scales, overall[:0])) is None

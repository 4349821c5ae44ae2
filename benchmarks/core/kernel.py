"""The kernel alone, on one core: source bytes a second for each instruction set, beside memcpy; what a search gains.

Source and output lie in memory and are larger than a core's own cache. memcpy's figure is for a copy that reads and
writes as many bytes, taken together, as the kernel reads and writes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.core.place import tell
from benchmarks.report import Report
from modelpress.domain.recipe import ScaleSearch
from modelpress.tensors.grid import Grid
from modelpress.tensors.kernel.library import Library
from modelpress.tensors.kernel.native import NativeKernel
from modelpress.tensors.kernel.numbers import narrow, widen
from modelpress.tensors.pack import unpack
from modelpress.tensors.rounding.integers import IntegerRounding

#: Pieces of the source's size that are rounded in turn, so that none is left in a cache when it comes again.
_PIECES, _ROWS, _COLUMNS = 16, 512, 4096
_ROUNDS = 5

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Of one kind of rounding with one set of instructions; bytes a second of the source."""

    scheme: str
    grid: str
    instruction_set: str
    one_core: float
    #: Two threads at once; 0 where not measured.
    two_cores: float
    memcpy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What a search of the scale costs and gives: times as long, and decibels of signal over noise."""

    scheme: str
    times: float
    plain_decibels: float
    searched_decibels: float


def measure() -> None:
    """Measure all, and write the report."""
    report = Report("core-kernel", title="The kernel, one core", versions={"numpy": np.__version__})
    rates = [rate for grid in Grid for rounding in roundings(grid) for rate in measure_rates(rounding)]
    report.table(
        ("rounding", "source", "instructions", "GB/s of source", "memcpy", "of memcpy", "two threads"),
        [
            (
                rate.scheme,
                rate.grid,
                rate.instruction_set,
                f"{rate.one_core / 1e9:.2f}",
                f"{rate.memcpy / 1e9:.2f}",
                f"{rate.one_core / rate.memcpy:.2f}",
                f"×{rate.two_cores / rate.one_core:.2f}" if rate.two_cores else "",
            )
            for rate in rates
        ],
    )
    report.heading("What a search of the scale costs and gains")
    report.say("Weights drawn from a normal distribution, bf16. The cost is of the kernel alone, on one core.")
    gains = [measure_gain(bits, symmetric=symmetric) for bits in (2, 3, 4, 8) for symmetric in (True, False)]
    report.table(
        ("rounding", "times as long", "SNR, dB", "with search", "gain, dB"),
        [
            (
                gain.scheme,
                f"{gain.times:.1f}",
                f"{gain.plain_decibels:.2f}",
                f"{gain.searched_decibels:.2f}",
                f"{gain.searched_decibels - gain.plain_decibels:.2f}",
            )
            for gain in gains
        ],
    )
    for rate in rates:
        report.raw(**asdict(rate))
    for gain in gains:
        report.raw(**asdict(gain))
    report.write()


def roundings(grid: Grid) -> list[IntegerRounding]:
    """Those that the named schemes come to."""
    four = IntegerRounding(grid=grid, bits=4, columns=_COLUMNS, group=128, packed=True)
    return [
        four,
        replace(four, group=32),
        replace(four, symmetric=False),
        replace(four, bits=3),
        replace(four, bits=8, group=_COLUMNS),
        replace(four, bits=8, group=_COLUMNS, packed=False),
    ]


def measure_rates(rounding: IntegerRounding) -> list[Rate]:
    """The best of many short runs in which all took turns, and memcpy with them."""
    tell(f"kernel: {_named(rounding)}, {rounding.grid}")
    names = Library().instruction_sets
    kernels = {name: NativeKernel(Library(instruction_set=name)) for name in names}
    pieces = _weights(rounding.grid).reshape(_PIECES, -1)
    outputs = [[np.zeros(size, np.uint8) for size in rounding.output_bytes(_ROWS)] for _ in range(_PIECES)]
    moved = (pieces.shape[1] + sum(map(len, outputs[0]))) // 2
    there = np.empty_like(pieces)
    best = dict.fromkeys((*names, "memcpy", "two"), math.inf)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(_ROUNDS):
            for piece, copied in zip(pieces, there, strict=True):
                _time(best, "memcpy", partial(np.copyto, copied[:moved], piece[:moved]))
            for name, kernel in kernels.items():
                for piece, to in zip(pieces, outputs, strict=True):
                    _time(best, name, partial(_run, kernel, rounding, piece, to))
            both = partial(_run, kernels[names[-1]], rounding)
            for first in range(0, _PIECES, 2):
                pair = pieces[first : first + 2], outputs[first : first + 2]
                _time(best, "two", partial(_on_both, pool, both, *pair))
    size = pieces.shape[1]
    return [
        Rate(
            scheme=_named(rounding),
            grid=rounding.grid.value,
            instruction_set=name,
            one_core=size / best[name],
            two_cores=2 * size / best["two"] if name == names[-1] else 0,
            memcpy=size / best["memcpy"],
        )
        for name in names
    ]


def measure_gain(bits: int, *, symmetric: bool) -> Gain:
    """A search beside the plain scale, on the machine's widest instructions."""
    plain = IntegerRounding(
        grid=Grid.BF16,
        bits=bits,
        columns=_COLUMNS,
        group=_COLUMNS if bits == 8 else 128,
        packed=True,
        symmetric=symmetric,
    )
    tell(f"kernel: search, {_named(plain)}")
    kernel, source = NativeKernel(), _weights(Grid.BF16)[: 256 * plain.source_row_bytes]
    seconds, decibels = {}, {}
    how: ScaleSearch
    for how in ("max", "mse"):
        rounding = replace(plain, scale_search=how)
        outputs = [np.empty(size, dtype=np.uint8) for size in rounding.output_bytes(256)]
        seconds[how] = min(_seconds(partial(_run, kernel, rounding, source, outputs)) for _ in range(5))
        decibels[how] = _decibels(rounding, source, outputs)
    return Gain(
        scheme=_named(plain),
        times=seconds["mse"] / seconds["max"],
        plain_decibels=decibels["max"],
        searched_decibels=decibels["mse"],
    )


def _named(rounding: IntegerRounding) -> str:
    group = "channel" if rounding.group == rounding.columns else f"group {rounding.group}"
    kind = "" if rounding.packed else ", bytes"
    return f"{rounding.bits} bits, {group}{kind}{'' if rounding.symmetric else ', zero points'}"


def _weights(grid: Grid) -> Bytes:
    numbers = np.random.default_rng(1).standard_normal((_PIECES * _ROWS, _COLUMNS), dtype=np.float32) / np.float32(50)
    return narrow(numbers, grid).reshape(-1)


def _run(kernel: NativeKernel, rounding: IntegerRounding, source: Bytes, outputs: list[Bytes]) -> None:
    values, scales, *zeros = outputs
    row = kernel.quantize(rounding, source, values=values, scales=scales, zeros=zeros[0] if zeros else None)
    assert row == -1


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _on_both(pool: ThreadPoolExecutor, work: Callable[[Bytes, list[Bytes]], None], *pair: Any) -> None:
    for _ in pool.map(work, *pair):
        pass


def _time(best: dict[str, float], name: str, work: Callable[[], object]) -> None:
    best[name] = min(best[name], _seconds(work))


def _decibels(rounding: IntegerRounding, source: Bytes, outputs: list[Bytes]) -> float:
    """The power of the weights over that of what rounding loses."""
    rows = len(source) // rounding.source_row_bytes
    weights = widen(source.reshape(rows, -1), rounding.grid).astype(np.float64)
    values = unpack(outputs[0].reshape(rows, -1), bits=rounding.bits, columns=_COLUMNS).astype(np.float64)
    if not rounding.symmetric:
        streams = np.ascontiguousarray(outputs[2].view(np.uint32).reshape(-1, rounding.groups).T).view(np.uint8)
        zeros = unpack(streams, bits=rounding.bits, columns=rows).T
        values -= np.repeat(zeros, rounding.group, axis=1)
    values *= np.repeat(widen(outputs[1].reshape(rows, -1), rounding.grid), rounding.group, axis=1)
    return 10 * math.log10(float((weights**2).sum() / ((values - weights) ** 2).sum()))


if __name__ == "__main__":
    measure()

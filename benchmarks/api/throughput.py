"""How many lists a second one server process answers, held against what they cannot do without, and another server."""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from dataclasses import asdict
from statistics import median

from benchmarks.api import cache, moto, pages, request
from benchmarks.api.bare import BarePages
from benchmarks.api.figures import VERSIONS, milliseconds
from benchmarks.api.load import Load, replay, request_file, require_wrk
from benchmarks.api.seeding import Seeded, seeded_sqlite
from benchmarks.api.server import running
from benchmarks.api.serving import NOTHING
from benchmarks.report import Report

_CONNECTIONS = (1, 8, 32)
_ROUNDS = 7
_SECONDS = 3
_DISTINCT_REQUESTS = 400
_LARGEST_SHARE = 1.5
_LARGEST_P99_US = 10_000
_SMALLEST_RATIO = 20

LISTS, NO_OP, MOTO = "list", "signed no-op", "moto"
Loads = dict[tuple[str, int], list[Load]]
#: By the clock, and of the processor.
Bare = list[tuple[float, float]]


def measure(size: str) -> None:
    """Measure, and write the report."""
    require_wrk()
    seeded = seeded_sqlite(size)
    loads, bare = _measure(seeded)
    report = Report(
        "throughput", title=f"Lists a second, at {size} tasks on SQLite, one server process", versions=VERSIONS
    )
    report.say(
        f"wrk replays {_DISTINCT_REQUESTS} distinct signed requests of {request.PAGE_ITEMS} items, markers spread over "
        f"the largest account's list, every other one newest first. {_ROUNDS} rounds of {_SECONDS} s each, in which "
        "all took turns; medians. The signed no-op is one more action in the same process, which answers an empty "
        "object. The bare query is the same pages on the driver, prepared, all rows fetched. moto is moto_server "
        f"{moto.VERSION} listing SageMaker compilation jobs, {request.PAGE_ITEMS} a page out of {moto.JOBS:,}: a job "
        "that makes a model smaller for a device is the closest to ours that it has."
    )
    _tell(report, loads, bare)
    report.write()


def _measure(seeded: Seeded) -> tuple[Loads, Bare]:
    markers = pages.spread_markers(seeded, count=_DISTINCT_REQUESTS)
    loads: Loads = defaultdict(list)
    bare: Bare = []
    with ExitStack() as stack:
        server = stack.enter_context(running(seeded))
        other = stack.enter_context(moto.running_moto())
        bare_pages = BarePages(seeded)
        stack.callback(bare_pages.close)
        ages = request.ages(len(markers))
        lists = [
            request.listing(host=server.host, age_seconds=age, marker=marker, pageReverse=bool(number % 2))
            for number, (marker, age) in enumerate(zip(markers, ages, strict=True))
        ]
        nothing = [request.signed(NOTHING, {}, host=server.host, age_seconds=age) for age in ages]
        replayed = {
            LISTS: (stack.enter_context(request_file(lists)), server),
            NO_OP: (stack.enter_context(request_file(nothing)), server),
            MOTO: (stack.enter_context(request_file(moto.requests(other))), other),
        }
        replay(replayed[LISTS][0], server, connections=8, seconds=1)  # so that every page was read before
        for number in range(_ROUNDS):
            cache.tell(f"throughput, round {number + 1} of {_ROUNDS}")
            for connections in _CONNECTIONS:
                bare.append(bare_pages.timed(markers, seconds=0.5))
                for name, (file, running_server) in replayed.items():
                    load = replay(file, running_server, connections=connections, seconds=_SECONDS)
                    # moto closes connections after an answer, which wrk may count as broken.
                    assert not load.refused, f"{name}: {load}"
                    assert name == MOTO or not load.broken, f"{name}: {load}"
                    loads[name, connections].append(load)
    return loads, bare


def _tell(report: Report, loads: Loads, bare: Bare) -> None:
    rate = {key: median(load.rate for load in of_key) for key, of_key in loads.items()}
    p99 = {key: median(load.p99_us for load in of_key) for key, of_key in loads.items()}
    report.table(
        ("connections", "what", "requests/s", "best round", "µs each (1/rate)", "processor, µs", "p50, ms", "p99, ms"),
        [
            (
                *(str(key[1]), key[0], f"{rate[key]:,.0f}", f"{max(load.rate for load in of_key):,.0f}"),
                *(f"{1e6 / rate[key]:.0f}", f"{median(load.processor_us for load in of_key):.0f}"),
                *(milliseconds(median(load.p50_us for load in of_key)), milliseconds(p99[key])),
            )
            for key, of_key in loads.items()
        ],
    )
    clock, processor = (median(one[part] for one in bare) for part in (0, 1))
    report.say(f"The bare query: {clock:.1f} µs a page by the clock, {processor:.1f} µs of the processor.")
    report.table(
        (
            *("connections", "list : (bare query + no-op), by 1/rate", "the same, of the processor"),
            *("list : moto, by rate", "moto : list, of the processor"),
        ),
        [
            (
                str(connections),
                f"{median(_shares(loads, bare, connections)):.2f}",
                f"{median(_processor_shares(loads, bare, connections)):.2f}",
                f"{median(_ratios(loads, connections)):.1f}",
                f"{median(_processor_ratios(loads, connections)):.1f}",
            )
            for connections in _CONNECTIONS
        ],
    )
    report.say("Medians of the rounds' own ratios. The processor's time tells what a busy machine's clock hides.")
    _tell_targets(report, loads, bare, p99_us=p99[LISTS, _CONNECTIONS[-1]])
    for (name, connections), of_key in loads.items():
        for number, load in enumerate(of_key):
            report.raw(what=name, connections=connections, round=number, **asdict(load))
    report.raw(what="bare query", us=[one[0] for one in bare], processor_us=[one[1] for one in bare])


def _tell_targets(report: Report, loads: Loads, bare: Bare, *, p99_us: float) -> None:
    most = _CONNECTIONS[-1]
    share, ratio = median(_shares(loads, bare, most)), median(_ratios(loads, most))
    report.target(
        f"a list costs at most {_LARGEST_SHARE:g} times a bare query and a signed no-op together, "
        f"at {most} connections: {share:.2f}",
        met=share <= _LARGEST_SHARE,
    )
    report.target(
        f"p99 below {milliseconds(_LARGEST_P99_US)} ms at {most} connections: {milliseconds(p99_us)} ms",
        met=p99_us < _LARGEST_P99_US,
    )
    report.target(
        f"at least {_SMALLEST_RATIO} times moto's rate at {most} connections: {ratio:.1f} times",
        met=ratio >= _SMALLEST_RATIO,
    )


def _shares(loads: Loads, bare: Bare, connections: int) -> list[float]:
    """Of each round: a list's cost over that of its two parts, by the clock."""
    rounds = zip(loads[LISTS, connections], loads[NO_OP, connections], _of(bare, connections), strict=True)
    return [(1e6 / listed.rate) / (least[0] + 1e6 / nothing.rate) for listed, nothing, least in rounds]


def _processor_shares(loads: Loads, bare: Bare, connections: int) -> list[float]:
    """The same in processor time."""
    rounds = zip(loads[LISTS, connections], loads[NO_OP, connections], _of(bare, connections), strict=True)
    return [listed.processor_us / (least[1] + nothing.processor_us) for listed, nothing, least in rounds]


def _of(bare: Bare, connections: int) -> Bare:
    """The bare query was measured before each number of connections: those before this one."""
    return bare[_CONNECTIONS.index(connections) :: len(_CONNECTIONS)]


def _ratios(loads: Loads, connections: int) -> list[float]:
    """Of each round: our rate over moto's."""
    rounds = zip(loads[LISTS, connections], loads[MOTO, connections], strict=True)
    return [ours.rate / theirs.rate for ours, theirs in rounds]


def _processor_ratios(loads: Loads, connections: int) -> list[float]:
    """Of each round: moto's processor time over ours."""
    rounds = zip(loads[LISTS, connections], loads[MOTO, connections], strict=True)
    return [theirs.processor_us / ours.processor_us for ours, theirs in rounds]

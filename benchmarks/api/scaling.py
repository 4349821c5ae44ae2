"""Whether a page costs the same whatever the number of tasks: whole signed requests, over one kept connection."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.api import cache, pages, request
from benchmarks.api.connection import Connection
from benchmarks.api.figures import VERSIONS, Times, milliseconds
from benchmarks.api.inside import prepare, timed
from benchmarks.api.seeding import ENGINES, Seeded, seeded_postgresql, seeded_sqlite
from benchmarks.api.server import running
from benchmarks.api.serving import NOTHING
from benchmarks.report import Report
from modelpress.api.http import Application
from modelpress.service.services import open_services
from tests.conformance.postgres import PostgresServer, kept_server

_ROUNDS = 7
_REQUESTS_A_ROUND = 120
_DISTINCT_PAGES = 40
_COLD_STARTS = 3
_COLD_PAGES = 15
_LARGEST_RATIO = 2.0

Key = tuple[str, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One database's times, in microseconds."""

    seeded: Seeded
    warm: dict[Key, list[tuple[float, ...]]] = field(default_factory=dict)
    inside: dict[Key, list[tuple[float, ...]]] = field(default_factory=dict)
    first_cold: list[float] = field(default_factory=list)
    cold: dict[Key, list[float]] = field(default_factory=dict)


def measure(sizes: Sequence[str], engines: Sequence[str]) -> None:
    """Measure, and write the report."""
    report = Report("scaling", title="Pages of a list, by the number of tasks", versions=VERSIONS)
    report.say(
        f"A page of {request.PAGE_ITEMS} tasks of the largest of seven accounts (two fifths of all tasks), "
        "each a whole signed request over one kept connection, one after the other. "
        f"Medians over {_ROUNDS} rounds in which all sizes took turns. Milliseconds."
    )
    for engine in ENGINES:
        if engine in engines:
            with _databases(engine, sizes) as (databases, server):
                measured = [Measured(seeded=seeded) for seeded in databases]
                _measure_warm(measured)
                uvloop.run(_measure_inside(measured))
                for one in measured:
                    _measure_cold(one, server)
            _tell(report, engine, measured)
    report.write()


@contextmanager
def _databases(engine: str, sizes: Sequence[str]) -> Iterator[tuple[list[Seeded], PostgresServer | None]]:
    if engine == "sqlite":
        yield [seeded_sqlite(name) for name in sizes], None
        return
    with kept_server(cache.directory() / "cluster") as server:
        yield [seeded_postgresql(name, server) for name in sizes], server


# Warm: every page was read before.


def _measure_warm(measured: Sequence[Measured]) -> None:
    with ExitStack() as stack:
        ready = []
        for one in measured:
            server = stack.enter_context(running(one.seeded))
            connection = stack.enter_context(Connection(server))
            ready.append((one, connection, _requests(one.seeded, host=server.host)))
        for one, connection, requests in ready:
            for key, prepared in requests.items():
                for body, sent in prepared:
                    _check(connection.result(sent), key, body, one.seeded)
        for number in range(_ROUNDS):
            cache.tell(f"warm pages on {measured[0].seeded.engine}, round {number + 1} of {_ROUNDS}")
            for key in ready[0][2]:
                taken: list[list[float]] = [[] for _ in ready]
                for i in range(_REQUESTS_A_ROUND):
                    # One request to each size in turn, so that whatever else the machine does hits all sizes alike.
                    for times, (_, connection, requests) in zip(taken, ready, strict=True):
                        times.append(connection.timed(requests[key][i % len(requests[key])][1]))
                for times, (one, _, _) in zip(taken, ready, strict=True):
                    one.warm.setdefault(key, []).append(tuple(times))


def _requests(seeded: Seeded, *, host: str) -> dict[Key, list[tuple[dict[str, Any], bytes]]]:
    bodies = pages.variants(seeded, count=_DISTINCT_PAGES).of
    return {
        key: [(body, request.listing(host=host, **body)) for body in bodies_of_one]
        for key, bodies_of_one in bodies.items()
    }


def _check(result: Any, key: Key, body: dict[str, Any], seeded: Seeded) -> None:
    """That the page is what was asked for: a quick answer to another question is none."""
    items = result["modelCompTaskList"]
    told = f"{seeded.engine} {seeded.name} {key} {body}"
    assert len(items) == request.PAGE_ITEMS, f"{told}: {len(items)} items"
    for item in items:
        assert item["sourceModelId"] == body.get("sourceModelId", item["sourceModelId"]), told
        assert item["status"] == body.get("status", item["status"]), told


# Inside: the same without HTTP, in this process.


async def _measure_inside(measured: Sequence[Measured]) -> None:
    with ExitStack() as stack:
        ready = []
        for one in measured:
            settings = one.seeded.settings
            app = Application(stack.enter_context(open_services(settings)), settings)
            requests = _requests(one.seeded, host="127.0.0.1:8080")
            ready.append((one, app, {key: [prepare(raw) for _, raw in some] for key, some in requests.items()}))
        for _ in range(_ROUNDS):
            for key in ready[0][2]:
                taken: list[list[float]] = [[] for _ in ready]
                for i in range(_REQUESTS_A_ROUND):
                    for times, (_, app, prepared) in zip(taken, ready, strict=True):
                        times.append(await timed(app, prepared[key][i % len(prepared[key])]))
                for times, (one, _, _) in zip(taken, ready, strict=True):
                    one.inside.setdefault(key, []).append(tuple(times))


# Cold: a fresh process, and no page of the database in memory.


def _measure_cold(one: Measured, server: PostgresServer | None) -> None:
    for number in range(_COLD_STARTS):
        cache.tell(f"cold pages of {one.seeded.engine} {one.seeded.name}, start {number + 1} of {_COLD_STARTS}")
        markers = pages.spread_markers(one.seeded, count=2 * _COLD_PAGES, shift=number / _COLD_STARTS)
        if server is not None:
            server.stop()
        drop_pages(Path(one.seeded.data) if server is None else server.directory)
        if server is not None:
            server.start()
        with running(one.seeded) as started, Connection(started) as connection:
            connection.timed(request.signed(NOTHING, {}, host=started.host))
            one.first_cold.append(connection.timed(request.listing(host=started.host)))
            for reverse in (False, True):
                # Every other marker each way: a page read forward is not read backward.
                for marker in markers[reverse::2]:
                    sent = request.listing(host=started.host, marker=marker, pageReverse=reverse)
                    one.cold.setdefault(("deep", reverse), []).append(connection.timed(sent))


def drop_pages(directory: Path) -> None:
    """Write out the files below ``directory`` and have the system forget their pages; nobody may have them mapped."""
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


# Telling.


def _tell(report: Report, engine: str, measured: Sequence[Measured]) -> None:
    names = [one.seeded.name for one in measured]
    report.heading(engine)
    report.table(
        ("tasks", "seeding, s", "on disk, MiB", "bytes a task"),
        [
            (
                one.seeded.name,
                f"{one.seeded.seconds:.0f}",
                f"{one.seeded.size_bytes / 2**20:,.0f}",
                f"{one.seeded.size_bytes / one.seeded.size:.0f}",
            )
            for one in measured
        ],
    )
    report.say("Warm, whole request: median (99th percentile).")
    _tell_warm(report, measured, names)
    report.say("The same requests to the application inside one process, without HTTP: median (99th percentile).")
    report.table(
        ("page", *names),
        [
            (_label(key), *(_shown(Times(rounds=tuple(one.inside[key]))) for one in measured))
            for key in measured[0].inside
        ],
    )
    report.say(
        f"Cold: the files' pages dropped, {'PostgreSQL and ' if engine == 'postgresql' else ''}the server started anew "
        f"{_COLD_STARTS} times. The first list of the process (which also prepares its statements), then deep pages at "
        "markers far apart: median (slowest)."
    )
    _tell_cold(report, measured, names)
    for one in measured:
        report.raw(engine=engine, size=one.seeded.name, seconds=one.seeded.seconds, size_bytes=one.seeded.size_bytes)
        for kind, times in (("warm", one.warm), ("inside", one.inside)):
            for (variant, reverse), rounds in times.items():
                told = Times(rounds=tuple(rounds)).as_json()
                report.raw(engine=engine, size=one.seeded.name, kind=kind, variant=variant, reverse=reverse, **told)
        report.raw(engine=engine, size=one.seeded.name, kind="first cold", us=one.first_cold)
        for (variant, reverse), taken in one.cold.items():
            report.raw(engine=engine, size=one.seeded.name, kind="cold", variant=variant, reverse=reverse, us=taken)


def _tell_warm(report: Report, measured: Sequence[Measured], names: Sequence[str]) -> None:
    rows = []
    worst = 0.0
    for key in measured[0].warm:
        times = [Times(rounds=tuple(one.warm[key])) for one in measured]
        ratio = times[-1].median / times[0].median
        worst = max(worst, ratio)
        rows.append((_label(key), *map(_shown, times), f"{ratio:.2f}"))
    report.table(("page", *names, f"{names[-1]} : {names[0]}"), rows)
    if len(measured) > 1:
        report.target(
            f"{measured[0].seeded.engine}: the warm median at {names[-1]} is at most {_LARGEST_RATIO:g} times that at "
            f"{names[0]}; the worst page: {worst:.2f} times",
            met=worst <= _LARGEST_RATIO,
        )
        report.say("")


def _tell_cold(report: Report, measured: Sequence[Measured], names: Sequence[str]) -> None:
    rows = [("first list", *(_shown(Times(rounds=(tuple(one.first_cold),)), slowest=True) for one in measured))]
    rows += [
        (_label(key), *(_shown(Times(rounds=(tuple(one.cold[key]),)), slowest=True) for one in measured))
        for key in measured[0].cold
    ]
    report.table(("page", *names), rows)


def _label(key: Key) -> str:
    return f"{key[0]}, {'newest' if key[1] else 'oldest'} first"


def _shown(times: Times, *, slowest: bool = False) -> str:
    return f"{milliseconds(times.median)} ({milliseconds(times.largest if slowest else times.p99)})"

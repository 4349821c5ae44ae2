"""Many clients that poll while many tasks report progress: whether anything fails, and how long the server takes."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from psycopg import sql

from benchmarks.api import cache, request
from benchmarks.api.connection import Connection, content_length
from benchmarks.api.figures import VERSIONS, Times, milliseconds
from benchmarks.api.load import replay, request_file, require_wrk
from benchmarks.api.reporting import CLAIMED
from benchmarks.api.seeding import ENGINES, Seeded, seeded_postgresql, seeded_sqlite
from benchmarks.api.server import Running, process, running
from benchmarks.api.serving import TIMINGS
from benchmarks.report import Report
from tests.conformance.house import write_checkpoint
from tests.conformance.postgres import kept_server

_TASKS = 1_000
_CLIENTS = 100
_ROUNDS = 5
_POLLING_SECONDS = 10
_SATURATED_SECONDS = 5
#: After wrk has gone, until the server has answered what it left behind.
_REST_SECONDS = 1
#: Between two polls of a client, as loops around an SDK's call wait.
_PAUSE_SECONDS = (0.25, 0.75)
_LARGEST_P99_US = 20_000
_LEAST_PROGRESS = 0.95

POLLING, SATURATED = "polling", "saturated"


@dataclass(slots=True, kw_only=True)
class Seen:
    """What happened; times in microseconds, by round."""

    #: In the server, by (load, action).
    inside: defaultdict[tuple[str, str], list[tuple[float, ...]]] = field(default_factory=lambda: defaultdict(list))
    #: As the clients saw it, with their wait for the server's attention.
    outside: list[tuple[float, ...]] = field(default_factory=list)
    rates: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: int = 0
    #: What the reporting worker did, and from when to when clients polled meanwhile, on the same clock.
    reporter: dict[str, Any] = field(default_factory=dict)
    windows: list[tuple[float, float]] = field(default_factory=list)

    def reports(self) -> list[list[float]]:
        """Microseconds of each report that was made while clients polled, by round."""
        made = list(zip(self.reporter["ended"], self.reporter["taken_us"], strict=True))
        return [[taken for ended, taken in made if start <= ended < end] for start, end in self.windows]


def measure(size: str, engines: Sequence[str]) -> None:
    """Measure, and write the report."""
    require_wrk()
    report = Report(
        "polling", title=f"{_CLIENTS} clients poll while {_TASKS:,} tasks report progress", versions=VERSIONS
    )
    report.say(
        f"Over a copy of the database of {size} tasks: {_TASKS:,} more, made through the API, claimed and reported "
        "once a second each by a process of its own through the product's leases (a stub of the work alone). "
        f"{_CLIENTS} kept connections ask in turn for the newest {request.PAGE_ITEMS} tasks and for one task, and wait "
        f"{_PAUSE_SECONDS[0]:g} to {_PAUSE_SECONDS[1]:g} s in between; saturated, they do not wait (wrk). "
        f"{_ROUNDS} rounds of {_POLLING_SECONDS} s and {_SATURATED_SECONDS} s. Milliseconds; p99 is the median of the "
        "rounds' own."
    )
    for engine in ENGINES:
        if engine in engines:
            with _copy(engine, size) as seeded:
                _tell(report, engine, _measure(seeded))
    report.write()


@contextmanager
def _copy(engine: str, size: str) -> Iterator[Seeded]:
    """A database that may be written to."""
    for left in cache.directory().glob("polling-*"):  # by a run that was killed
        shutil.rmtree(left)
    with ExitStack() as stack:
        folder = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="polling-", dir=cache.directory()))) / "data"
        )
        if engine == "sqlite":
            kept = seeded_sqlite(size)
            shutil.copytree(kept.data, folder)
            yield replace(kept, data=str(folder), url=f"sqlite:///{folder / 'modelpress.db'}")
            return
        server = stack.enter_context(kept_server(cache.directory() / "cluster"))
        kept = seeded_postgresql(size, server)
        shutil.copytree(kept.data, folder)
        name = "polling"
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            # Names of our own making: nothing in them needs quoting.
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            template = sql.Identifier(f"bench_{size}".lower())
            connection.execute(drop)
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), template))
            yield replace(kept, data=str(folder), url=server.url(name))
            connection.execute(drop)


def _measure(seeded: Seeded) -> Seen:
    seen = Seen()
    with running(seeded, timed=True) as server:
        tasks = _make_tasks(seeded, server)
        with _reporting(seeded, seen):
            listing = request.listing(host=server.host, pageReverse=True)
            details = [request.signed(request.DETAIL, {"modelCompTaskId": task}, host=server.host) for task in tasks]
            mixed = [each for detail in details for each in (listing, detail)]
            with request_file(mixed) as file:
                _timings(server)
                for number in range(_ROUNDS):
                    cache.tell(f"polling on {seeded.engine}, round {number + 1} of {_ROUNDS}")
                    began = time.monotonic()
                    asyncio.run(_poll(server, listing, details, seen))
                    seen.windows.append((began, began + _POLLING_SECONDS))
                    _keep(server, POLLING, seen)
                    load = replay(file, server, connections=_CLIENTS, seconds=_SATURATED_SECONDS)
                    seen.errors += load.refused + load.broken
                    seen.rates[SATURATED].append(load.rate)
                    time.sleep(_REST_SECONDS)
                    _keep(server, SATURATED, seen)
    return seen


def _make_tasks(seeded: Seeded, server: Running) -> list[str]:
    """New tasks of the first account, made through the API."""
    cache.tell(f"making {_TASKS} tasks on {seeded.engine}")
    write_checkpoint(Path(seeded.data) / "local" / "tiny")
    with Connection(server) as connection:

        def call(action: str, **body: object) -> str:
            result = connection.result(request.signed(action, body, host=server.host))
            return str(result["modelId"] if action == "CreateCustomModel" else result)

        set_id = call("CreateCustomModelSet", modelSetName="polling", modelType="Text2Text")
        meta = {"bucket": "local", "objectPath": "tiny", "modelFormat": "HuggingFace.Transformers"}
        model_id = call("CreateCustomModel", modelSetId=set_id, sourceType="Import", importMeta=meta)
        config = {"strategy": "Quantization", "weight": "W8A16C16"}
        task = {"name": "polled", "sourceModelId": model_id, "modelSetId": set_id, "config": config}
        return [call("CreateModelCompTask", **task) for _ in range(_TASKS)]


@contextmanager
def _reporting(seeded: Seeded, seen: Seen) -> Iterator[None]:
    """The reporting worker, from when it holds all tasks; what it did is kept at its end."""
    command = [sys.executable, "-m", "benchmarks.api.reporting", "--data", seeded.data, "--tasks", str(_TASKS)]
    with process(command, MODELPRESS_DATABASE=seeded.url, keep_output=True) as child:
        assert child.stderr is not None
        told = []
        for line in child.stderr:
            told.append(line)
            if CLAIMED in line:
                break
        else:
            raise SystemExit("the reporting worker did not start:\n" + "".join(told))
        yield
        seen.reporter = _farewell(child)


def _farewell(child: subprocess.Popen[str]) -> dict[str, Any]:
    child.terminate()
    output, errors = child.communicate()
    if child.returncode:
        raise SystemExit(f"the reporting worker failed:\n{errors}")
    told: dict[str, Any] = json.loads(output)
    return told


# Clients.


async def _poll(server: Running, listing: bytes, details: Sequence[bytes], seen: Seen) -> None:
    taken: list[float] = []
    until = time.monotonic() + _POLLING_SECONDS
    clients = [_client(server, listing, details, number, until) for number in range(_CLIENTS)]
    for result in await asyncio.gather(*clients, return_exceptions=True):
        if isinstance(result, BaseException):
            cache.tell(f"a client failed: {result!r}")
            seen.errors += 1
        else:
            taken += result
    seen.outside.append(tuple(taken))
    seen.rates[POLLING].append(len(taken) / _POLLING_SECONDS)


async def _client(server: Running, listing: bytes, details: Sequence[bytes], number: int, until: float) -> list[float]:
    chance = random.Random(number)
    taken = []
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    await asyncio.sleep(chance.uniform(0, _PAUSE_SECONDS[1]))
    while time.monotonic() < until:
        for sent in (listing, chance.choice(details)):
            began = time.perf_counter()
            writer.write(sent)
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(content_length(head))
            taken.append((time.perf_counter() - began) * 1e6)
            if not head.startswith(b"HTTP/1.1 200 "):
                raise AssertionError(body)
            await asyncio.sleep(chance.uniform(*_PAUSE_SECONDS))
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return taken


# The server's own clock.


def _timings(server: Running) -> dict[str, list[float]]:
    with urllib.request.urlopen(f"http://{server.host}{TIMINGS}") as answer:
        told: dict[str, list[float]] = json.load(answer)
    return told


def _keep(server: Running, load: str, seen: Seen) -> None:
    for query, taken in _timings(server).items():
        seen.inside[load, query.removeprefix("Action=")].append(tuple(taken))


# Telling.


def _tell(report: Report, engine: str, seen: Seen) -> None:
    report.heading(engine)
    rows = [
        (load, f"{action}, in the server", *_row(Times(rounds=tuple(rounds))))
        for (load, action), rounds in seen.inside.items()
    ]
    rows.append((POLLING, "all, seen by the clients", *_row(Times(rounds=tuple(seen.outside)))))
    report.table(("load", "what", "requests", "p50", "p99", "slowest"), rows)
    reports = seen.reports()
    rate = median(len(round_) / _POLLING_SECONDS for round_ in reports)
    shown = {load: ", ".join(f"{one:,.0f}" for one in rates) for load, rates in seen.rates.items()}
    report.say(f"Requests a second by round: polling {shown[POLLING]}; saturated {shown[SATURATED]}.")
    writes = Times(rounds=tuple(map(tuple, reports)))
    report.say(
        f"Progress while clients polled: {rate:,.0f} reports a second of {_TASKS:,} due, each "
        f"{milliseconds(writes.median)} ms (p99 {milliseconds(writes.p99)}), "
        f"{milliseconds(seen.reporter['processor_us'])} of them in the reporting process."
    )
    report.target(f"{engine}: no error; there were {seen.errors}", met=not seen.errors)
    part = rate / _TASKS
    report.target(
        f"{engine}: progress is reported as it is due while clients poll: {part:.0%}", met=part > _LEAST_PROGRESS
    )
    polled = {action: Times(rounds=tuple(r)) for (load, action), r in seen.inside.items() if load == POLLING}
    worst = max(times.p99 for times in polled.values())
    report.target(
        f"{engine}: p99 in the server below {milliseconds(_LARGEST_P99_US)} ms while polling: {milliseconds(worst)} ms",
        met=worst < _LARGEST_P99_US,
    )
    report.say("")
    for (load, action), rounds in seen.inside.items():
        report.raw(engine=engine, load=load, action=action, **Times(rounds=tuple(rounds)).as_json())
    report.raw(engine=engine, load=POLLING, seen_by="clients", **Times(rounds=tuple(seen.outside)).as_json())
    report.raw(engine=engine, rates=seen.rates, errors=seen.errors)
    report.raw(engine=engine, what="report", reports_a_second=rate, **writes.as_json())


def _row(times: Times) -> tuple[str, str, str, str]:
    return (
        f"{times.count:,}",
        *(milliseconds(times.median), milliseconds(times.p99), milliseconds(times.largest)),
    )

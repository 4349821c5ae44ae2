"""Where the time of one list request goes: its parts, each alone, against the whole.

What this file calls of the product's inner functions is called nowhere else in these benchmarks.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

import uvloop

from benchmarks.api import cache, pages, request
from benchmarks.api.bare import BarePages
from benchmarks.api.figures import VERSIONS
from benchmarks.api.inside import prepare, timed
from benchmarks.api.load import replay, request_file, require_wrk
from benchmarks.api.seeding import PAIRS, Seeded, seeded_sqlite
from benchmarks.api.server import Running, running
from benchmarks.api.serving import NOTHING
from benchmarks.report import Report
from modelpress.api.actions import ACTIONS
from modelpress.api.answer import success_answer
from modelpress.api.http import Application
from modelpress.api.request import decode
from modelpress.domain.page import PageRequest
from modelpress.domain.task_filter import TaskFilter
from modelpress.service.services import Services, open_services
from modelpress.signature import SignedRequest, format_timestamp, parse_authorization, sign, verify

_ROUNDS = 15
_CALLS_A_ROUND = 200
_LOAD_SECONDS = 1
_REQUEST_ID = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"

Call = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How an SDK signs."""

    name: str
    headers: tuple[str, ...]
    #: Go and Java sign the bare host, whatever the Host header has.
    with_port: bool


FORMS = (
    Form(name="Python", headers=("content-type", "host", "request-source", "x-bce-date"), with_port=True),
    Form(name="Go", headers=("content-type", "host", "request-source", "x-bce-date"), with_port=False),
    Form(name="Java", headers=("host", "x-bce-date"), with_port=False),
    Form(name="Node", headers=("content-length", "content-type", "host", "x-bce-date"), with_port=True),
)


def measure(size: str) -> None:
    """Measure, and write the report."""
    require_wrk()
    seeded = seeded_sqlite(size)
    taken = _measure(seeded)
    least = {name: median(rounds) for name, rounds in taken.items()}
    report = Report("micro", title=f"Where the time of a list goes, at {size} tasks on SQLite", versions=VERSIONS)
    report.say(
        f"Microseconds of the processor a call, without HTTP unless it says so: medians of {_ROUNDS} rounds of "
        f"{_CALLS_A_ROUND} calls, in which all took turns. A list of {request.PAGE_ITEMS} items, markers spread over "
        "the largest account's list."
    )
    whole = least[_WHOLE]
    report.table(
        ("part", "µs", f"of {_WHOLE}"),
        [(name, f"{value:.1f}", f"{value / whole:.0%}") for name, value in least.items()],
    )
    _explain(report, least)
    for name, rounds in taken.items():
        report.raw(what=name, us=[round(one, 2) for one in rounds])
    report.write()


_PARSE, _LOOKUP, _DECODE = "parse the Authorization header", "look up the access key", "decode the body"
_BARE, _PAGE, _RUN, _ENCODE = (
    "bare page query",
    "page of the service",
    "the action: page and items",
    "encode the answer",
)
_INSIDE, _WHOLE, _NOTHING = "the application, without HTTP", "whole request over HTTP", "signed no-op over HTTP"


def _measure(seeded: Seeded) -> dict[str, list[float]]:
    markers = pages.spread_markers(seeded, count=_CALLS_A_ROUND)
    taken: dict[str, list[float]] = {}
    with ExitStack() as stack:
        server = stack.enter_context(running(seeded))
        services = stack.enter_context(open_services(seeded.settings))
        bare = BarePages(seeded)
        stack.callback(bare.close)
        parts = {**_signatures(), **_parts(services, bare, markers)}
        for number in range(_ROUNDS):
            cache.tell(f"parts of a request, round {number + 1} of {_ROUNDS}")
            for name, call in parts.items():
                taken.setdefault(name, []).append(_each(call))
            taken.setdefault(_INSIDE, []).append(uvloop.run(_inside(seeded, services, markers)))
            for name, sent in _sent(server, markers).items():
                with request_file(sent) as file:
                    load = replay(file, server, connections=8, seconds=_LOAD_SECONDS)
                taken.setdefault(name, []).append(load.processor_us)
    return taken


def _each(call: Call) -> float:
    began = time.thread_time_ns()
    for _ in range(_CALLS_A_ROUND):
        call()
    return (time.thread_time_ns() - began) / 1000 / _CALLS_A_ROUND


def _signatures() -> dict[str, Call]:
    """The signature check in each SDK's form, over distinct timestamps, as clients' are."""
    return {f"check the signature, as {form.name} signs": _signature(form) for form in FORMS}


def _signature(form: Form) -> Call:
    now = datetime.now(UTC)
    pair = PAIRS[0]
    made = itertools.cycle([_signed(form, now - timedelta(seconds=age)) for age in request.ages(_CALLS_A_ROUND)])

    def check() -> None:
        value, received = next(made)
        verify(parse_authorization(value), received, secret_key=pair.secret_key, now=now)

    return check


def _signed(form: Form, moment: datetime) -> tuple[str, SignedRequest]:
    """An Authorization header, and the request as it is received with it."""
    headers = {
        "host": "127.0.0.1:8080",
        "content-type": "application/json",
        "content-length": "72",
        "request-source": "qianfan_sdk",
        "x-bce-date": format_timestamp(moment),
    }
    signed = {**headers, "host": headers["host"] if form.with_port else "127.0.0.1"}
    target = {"method": "POST", "path": "/v2/model", "query": f"Action={request.LIST}"}
    value = sign(
        SignedRequest(**target, headers=signed),
        access_key=PAIRS[0].access_key,
        secret_key=PAIRS[0].secret_key,
        now=moment,
        signed_headers=form.headers,
    )
    return value, SignedRequest(**target, headers=headers)


def _parts(services: Services, bare: BarePages, markers: Sequence[str]) -> Mapping[str, Call]:
    key = PAIRS[0].access_key
    caller = services.access.caller(key)[0]
    action = ACTIONS[request.LIST]
    bodies = [request.encoded(request.page_of({"marker": marker})) for marker in markers]
    asked = [decode(body, action.request) for body in bodies]
    wanted = [PageRequest(marker=marker, max_keys=request.PAGE_ITEMS) for marker in markers]
    answers = [action.run(services, caller, each) for each in asked]
    in_turn = itertools.cycle(range(len(markers)))
    authorization = prepare(request.listing(host="127.0.0.1:8080")).header("authorization")
    return {
        _PARSE: lambda: parse_authorization(authorization),
        _LOOKUP: lambda: services.access.caller(key),
        _DECODE: lambda: decode(bodies[next(in_turn)], action.request),
        _BARE: lambda: bare.read(markers[next(in_turn)], reverse=False),
        _PAGE: lambda: services.tasks.page(caller, wanted[next(in_turn)], TaskFilter()),
        _RUN: lambda: action.run(services, caller, asked[next(in_turn)]),
        _ENCODE: lambda: success_answer(_REQUEST_ID, answers[next(in_turn)]),
    }


async def _inside(seeded: Seeded, services: Services, markers: Sequence[str]) -> float:
    app = Application(services, seeded.settings)
    prepared = [prepare(raw) for raw in _lists("127.0.0.1:8080", markers)]
    began = time.thread_time_ns()
    for each in prepared:
        await timed(app, each)
    return (time.thread_time_ns() - began) / 1000 / len(prepared)


def _sent(server: Running, markers: Sequence[str]) -> dict[str, list[bytes]]:
    return {
        _WHOLE: _lists(server.host, markers),
        _NOTHING: [
            request.signed(NOTHING, {}, host=server.host, age_seconds=age) for age in request.ages(len(markers))
        ],
    }


def _lists(host: str, markers: Sequence[str]) -> list[bytes]:
    ages = request.ages(len(markers))
    return [
        request.listing(host=host, age_seconds=age, marker=marker) for marker, age in zip(markers, ages, strict=True)
    ]


def _explain(report: Report, least: Mapping[str, float]) -> None:
    """A sentence on each share, computed, so that it stays true."""
    checked = least["check the signature, as Python signs"]
    shares = {
        "HTTP: the protocol, the socket, the event loop": least[_WHOLE] - least[_INSIDE],
        "who is calling: signature and key": checked + least[_LOOKUP],
        "the query itself": least[_BARE],
        "what the store and service add to it": least[_PAGE] - least[_BARE],
        "rows into items of the answer, and JSON": least[_RUN] - least[_PAGE] + least[_ENCODE],
    }
    shares["the rest of the edge: headers, routing, body, ids"] = least[_WHOLE] - sum(shares.values())
    report.heading("Where it goes")
    report.table(
        ("share", "µs", "of the whole"),
        [(name, f"{value:.0f}", f"{value / least[_WHOLE]:.0%}") for name, value in shares.items()],
    )
    report.say(
        "Differences of medians: a share below zero is noise. The whole is what the server's process used of a "
        "processor for each request of eight connections."
    )

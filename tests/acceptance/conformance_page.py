"""docs/conformance.md, made of what was really checked; the same bytes whenever the same was checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from modelpress.conformance.check import Outcome
from modelpress.conformance.checks import CHECKS
from modelpress.conformance.document import Document
from modelpress.conformance.field import Field, Mark
from modelpress.conformance.silence import POINTS
from modelpress.conformance.table import ActionTable
from modelpress.conformance.tables import TABLES
from modelpress.conformance.verdict import Verdict

MADE = (
    "<!-- Made by `make conformance` from what it really checked. Decisions: src/modelpress/conformance/silence.py. -->"
)
_NO = "–"
#: Every document, in the order in which the actions that stand on it are told.
SOURCES = list(dict.fromkeys([*(table.document for table in TABLES.values()), *(check.document for check in CHECKS)]))


@dataclass(frozen=True)
class Coverage:
    """What was checked: outcomes by channel, and by SDK the fields of its captured requests, by action."""

    outcomes: Mapping[str, Sequence[Outcome]]
    captured: Mapping[str, Mapping[str, frozenset[str]]]

    @cached_property
    def channels(self) -> list[str]:
        """The columns of the tables."""
        return [*self.outcomes, *(f"{sdk} (captured)" for sdk in self.captured)]

    def _passed(self, channel: str, action: str) -> Iterator[Outcome]:
        return (
            outcome
            for outcome in self.outcomes[channel]
            if outcome.check.action == action and outcome.verdict is Verdict.PASS
        )

    def request_cells(self, action: str, field: Field) -> list[str]:
        """How far a field of a request was checked, by channel."""
        cells, place = [], field.place
        for channel in self.outcomes:
            met = [outcome for outcome in self._passed(channel, action) if place in outcome.request]
            does = any(not outcome.check.kinds_only for outcome in met)
            cells.append("✓" if does else "kind" if met else _NO)
        return [*cells, *("✓" if place in fields.get(action, ()) else _NO for fields in self.captured.values())]

    def answer_cells(self, action: str, field: Field) -> list[str]:
        """Whether a field was in answers, of its kind, by channel."""
        cells = []
        for channel in self.outcomes:
            met = field.checked and any(field.place in outcome.answer for outcome in self._passed(channel, action))
            cells.append("✓" if met else _NO)
        return [*cells, *(_NO for _ in self.captured)]

    def verdict_cells(self, action: str, name: str) -> list[str]:
        """How a check ended, by channel that can run it."""
        found = []
        for channel in self.outcomes:
            (outcome,) = (one for one in self.outcomes[channel] if (one.check.action, one.check.name) == (action, name))
            found.append({Verdict.PASS: "✓", Verdict.NA: _NO, Verdict.FAIL: "✗"}[outcome.verdict])
        return found


def unmet(coverage: Coverage) -> Iterator[str]:
    """Fields that some channel should have checked and did not."""
    for table in TABLES.values():
        for fields, cells in ((table.request, coverage.request_cells), (table.answer, coverage.answer_cells)):
            for field in fields:
                found = dict(zip(coverage.outcomes, cells(table.name, field), strict=False))
                if field.http_only:
                    found = {"HTTP": found["HTTP"]}
                if table.offered and field.checked and set(found.values()) != {"✓"}:
                    yield f"{table.name} {field.place}: {found}"


def page(coverage: Coverage) -> str:
    """The whole page."""
    lines = ["# Conformance", MADE, "", *_introduction(coverage), ""]
    for table in TABLES.values():
        lines += _action(table, coverage)
    lines += [
        "## Where Baidu's documents are silent",
        "",
        "What follows is decided by us, because the published documents leave it open or contradict each other;",
        "none of it was observed on the real service.",
        "",
        "| action | open point | here |",
        "|---|---|---|",
        *(f"| {point.action} | {point.point} | {point.here} |" for point in POINTS),
        "",
        *(f"[{number}]: {source.url}" for number, source in enumerate(SOURCES, 1)),
        "",
    ]
    return "\n".join(lines)


def _refused(table: ActionTable) -> bool:
    """Whether it is known only to be refused: it takes no field, and has no success."""
    return not table.answer and all(field.mark is Mark.NOT_OFFERED for field in table.request)


def totals(coverage: Coverage) -> dict[str, int]:
    """The numbers at the top."""
    tables = [table for table in TABLES.values() if table.name != "every action"]
    fields = [field for table in TABLES.values() for field in (*table.request, *table.answer) if table.offered]
    return {
        "documented": sum(table.mark is not Mark.OURS for table in tables),
        "offered": sum(table.mark is Mark.DOCUMENTED and not _refused(table) for table in tables),
        "ours": sum(table.mark is Mark.OURS for table in tables),
        "fields": sum(field.mark is Mark.DOCUMENTED for field in fields),
        "fields of ours": sum(field.mark is Mark.OURS for field in fields),
        "fields not offered": sum(field.mark is Mark.NOT_OFFERED for field in fields),
        "checks": len(next(iter(coverage.outcomes.values()))),
    }


def summary(coverage: Coverage) -> str:
    """The totals as the README has them."""
    count = totals(coverage)
    by_channel = ", ".join(f"{_met(coverage, channel)} fields over {channel}" for channel in coverage.outcomes)
    return (
        f"> {count['offered']} of {count['documented']} actions and routes in documents or SDKs, "
        f"{count['ours']} of ours; {count['checks']} checks: {by_channel}; observed on the real service: no"
    )


def _met(coverage: Coverage, channel: str) -> int:
    """How many fields were checked by a channel."""
    index = coverage.channels.index(channel)
    return sum(cells[index] == "✓" for cells in _all_cells(coverage))


def _introduction(coverage: Coverage) -> list[str]:
    count = totals(coverage)
    lines = [
        "Whether modelpress answers as Baidu's documents say, field by field. `modelpress conformance URL` runs the",
        "same checks against any server, the real service too: with keys in `QIANFAN_ACCESS_KEY` and",
        "`QIANFAN_SECRET_KEY`, `modelpress conformance https://qianfan.baidubce.com`. It reads only, unless `--write`",
        "is given; then it removes its own models and tasks again, and files that it exported or uploaded stay.",
        "",
        "| | |",
        "|---|---|",
        f"| actions and routes in documents or SDKs | {count['documented']}, of which {count['offered']} are offered |",
        f"| actions of ours | {count['ours']} |",
        f"| their fields | {count['fields']} documented and offered, {count['fields of ours']} of ours, "
        f"{count['fields not offered']} documented and not offered |",
        f"| checks | {count['checks']} |",
    ]
    for channel, outcomes in coverage.outcomes.items():
        passed = sum(outcome.verdict is Verdict.PASS for outcome in outcomes)
        lines.append(f"| by {channel} | {passed} checks pass, {_met(coverage, channel)} fields are checked |")
    for name in coverage.channels[len(coverage.outcomes) :]:
        lines.append(f"| by {name} | {_met(coverage, name)} fields of requests |")
    return [
        *lines,
        "| observed on the real service | no |",
        "",
        "In the tables, ✓ in a request: what the field does was checked; *kind*: only that another kind is refused.",
        "✓ in an answer: it was met, of its kind (times as ISO 8601, statuses of the documented words). Go and Java:",
        "the field is in a captured request of that SDK, and the server accepts it. –: not checked there; headers and",
        "failures of authentication are for plain HTTP alone.",
    ]


def _all_cells(coverage: Coverage) -> Iterator[list[str]]:
    for table in TABLES.values():
        if table.offered:
            yield from (coverage.request_cells(table.name, field) for field in table.request)
            yield from (coverage.answer_cells(table.name, field) for field in table.answer)


def _action(table: ActionTable, coverage: Coverage) -> list[str]:
    source = table.document
    lines = [f"## {table.name[:1].upper() + table.name[1:] if ' ' in table.name else table.name}", ""]
    mark = "" if table.mark is Mark.DOCUMENTED else f" **{table.mark.value}**{': ' if table.note else ''}{table.note}."
    told = f"Source: {_link(source)}.{mark}"
    lines += ["An action of ours, see [API](api.md)." if table.mark is Mark.OURS else told, ""]
    if not table.offered:
        names = ", ".join(f"`{field.place}`" for field in (*table.request, *table.answer))
        return [*lines, f"Its fields: {names}.", ""]
    for title, fields, cells in (
        ("request", table.request, coverage.request_cells),
        ("answer", table.answer, coverage.answer_cells),
    ):
        if fields:
            lines += [_row(f"field of the {title}", *coverage.channels, ""), _rule(len(coverage.channels) + 2)]
            lines += [_row(f"`{one.place}`", *cells(table.name, one), _mark(one)) for one in fields]
            lines.append("")
    checks = [outcome.check for outcome in next(iter(coverage.outcomes.values())) if outcome.check.action == table.name]
    lines += [_row("check", *coverage.outcomes, "source"), _rule(len(coverage.outcomes) + 2)]
    for check in checks:
        where = "ours" if check.ours or table.mark is Mark.OURS else _link(check.document)
        lines.append(_row(check.sentence, *coverage.verdict_cells(check.action, check.name), where))
    return [*lines, ""]


def _link(source: Document) -> str:
    return f"[{source.title}][{SOURCES.index(source) + 1}], {source.date}"


def _mark(field: Field) -> str:
    return f"{field.mark.value}: {field.note}" if field.note else field.mark.value


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _rule(columns: int) -> str:
    return "|" + "---|" * columns

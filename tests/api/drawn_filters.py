"""Filters of the list of tasks as callers may write them, and whether a task passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeVar

from hypothesis import strategies as st

from modelpress.domain.task import TaskStatus
from tests.api.expected_tasks import ExpectedTask, Where

T = TypeVar("T")
#: By every name of each scheme.
SCHEMES = {
    **dict.fromkeys(("W8A16C16", "W8A16", "wint8", "WINT8"), "W8A16C16"),
    **dict.fromkeys(("W4A16C16", "w4a16c16", "wint4"), "W4A16C16"),
    **dict.fromkeys(("INT8-PTQ", "W8A8", "W8A8C16", "int8-ptq"), "INT8-PTQ"),
}
QUANT_CONF = {"W8A16C16": "wint8", "W4A16C16": "wint4", "INT8-PTQ": "int8-ptq"}
NAMES = ["task", "Task", "a%b_c", "模型", "ask", "'; --"]
TAGS: list[dict[str, str]] = [{}, {"a": ""}, {"a": "x"}, {"a": "X"}, {"a": "x", "b": "x"}, {"b": "模型", "c": "%"}]
_ZONES = [UTC, timezone(timedelta(hours=8)), timezone(timedelta(hours=-3, minutes=-30))]
_WHENS = [timedelta(), timedelta(seconds=1), timedelta(seconds=-1), timedelta(milliseconds=500), timedelta(days=-400)]


def pick(data: st.DataObject, options: Sequence[T], *, what: str) -> T:
    """One of these. By its place: ids differ each time, and an example must be the same when it is run again."""
    return options[data.draw(st.integers(0, len(options) - 1), label=what)]


def tags_as_sent(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags as the wire has them."""
    return [{"tagKey": key, "tagValue": value} for key, value in tags.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What values of filters are drawn from."""

    sources: list[str]
    set_ids: list[str]
    tasks: list[ExpectedTask]


Drawn = tuple[Any, Where]


def _source(data: st.DataObject, choice: Choice) -> Drawn:
    source = pick(data, [*choice.sources, "amv-none"], what="sourceModelId")
    return source, lambda task: task.source == source


def _set(data: st.DataObject, choice: Choice) -> Drawn:
    set_id = pick(data, [*choice.set_ids, "am-none"], what="modelSetId")
    return set_id, lambda task: task.set_id == set_id


def _status(data: st.DataObject, _choice: Choice) -> Drawn:
    wanted = data.draw(st.lists(st.sampled_from(list(TaskStatus)), min_size=1, max_size=4), label="status")
    sent: Any = [status.value.title() for status in wanted]
    if len(wanted) == 1 and data.draw(st.booleans()):
        sent = wanted[0].value
    return sent, lambda task: task.status in wanted


def _strategy(data: st.DataObject, _choice: Choice) -> Drawn:
    strategy = pick(data, ["Quantization", "quantization", "Sparsity"], what="strategy")
    return strategy, lambda task: strategy != "Sparsity"


def _weight(data: st.DataObject, _choice: Choice) -> Drawn:
    weight = pick(data, list(SCHEMES), what="weight")
    return weight, lambda task: task.scheme == SCHEMES[weight]


def _name(data: st.DataObject, _choice: Choice) -> Drawn:
    part = pick(data, [*NAMES, "a", "A", "%", "_", "s", "'"], what="name")
    return part, lambda task: part in task.name


def _moment(data: st.DataObject, choice: Choice) -> datetime:
    moment = (
        pick(data, choice.tasks, what="createTime").created_at if choice.tasks else datetime(2026, 3, 1, tzinfo=UTC)
    )
    return (moment + pick(data, _WHENS, what="shift")).astimezone(pick(data, _ZONES, what="zone"))


def _start(data: st.DataObject, choice: Choice) -> Drawn:
    moment = _moment(data, choice)
    return moment.isoformat(), lambda task: task.created_at >= moment


def _end(data: st.DataObject, choice: Choice) -> Drawn:
    moment = _moment(data, choice)
    late = moment.replace(microsecond=0) + timedelta(seconds=1)
    return moment.isoformat(), lambda task: task.created_at < late


def _tags(data: st.DataObject, _choice: Choice) -> Drawn:
    tags = pick(data, TAGS, what="tags")
    return tags_as_sent(tags), lambda task: tags.items() <= task.tags.items()


_FILTERS: dict[str, Callable[[st.DataObject, Choice], Drawn]] = {
    "name": _name,
    "weight": _weight,
    "modelSetId": _set,
    "strategy": _strategy,
    "sourceModelId": _source,
    "status": _status,
    "createTimeStart": _start,
    "createTimeEnd": _end,
    "tags": _tags,
}


def draw_filters(data: st.DataObject, choice: Choice, *, least: int) -> tuple[dict[str, Any], Where]:
    """At most three filters, and whether a task passes all of them."""
    names = data.draw(
        st.lists(st.sampled_from(list(_FILTERS)), min_size=least, max_size=3, unique=True), label="filters"
    )
    drawn = {name: _FILTERS[name](data, choice) for name in names}
    return {name: sent for name, (sent, _) in drawn.items()}, lambda task: all(ok(task) for _, ok in drawn.values())

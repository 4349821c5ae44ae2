"""Which tasks a list shows, and the tags that tasks bear."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from modelpress.domain.method import Strategy, find_strategy
from modelpress.domain.scheme import SCHEMES, Scheme, find_scheme
from modelpress.domain.task import TaskStatus
from modelpress.errors import InvalidRequest

#: A key and a value; a task has a key once at most.
Tag = tuple[str, str]

MOST_TAGS = 10
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """What must hold of a task for a list to show it; an empty field asks for nothing."""

    source_model_id: str = ""
    model_set_id: str = ""
    statuses: tuple[TaskStatus, ...] = ()
    strategy: Strategy | None = None
    scheme: Scheme | None = None
    #: A part of the name, in this letter case.
    name_part: str = ""
    created_from: datetime | None = None
    #: The first moment that is too late.
    created_before: datetime | None = None
    #: All of them.
    tags: tuple[Tag, ...] = ()


def make_statuses(words: Iterable[str]) -> tuple[TaskStatus, ...]:
    """Statuses by their words, in any letter case, each once.

    Raises: InvalidRequest naming ``status``.
    """
    known = {status.value: status for status in TaskStatus}
    found: dict[TaskStatus, None] = {}
    for word in words:
        status = known.get(word.strip().lower())
        if status is None:
            raise InvalidRequest("status", f"{word!r} is none of {', '.join(known)}")
        found[status] = None
    return tuple(found)


def make_scheme(name: str) -> Scheme | None:
    """The scheme of this name, older name or alias; none for an empty name.

    Raises: InvalidRequest naming ``weight``.
    """
    scheme = find_scheme(name)
    if scheme is None and name:
        raise InvalidRequest("weight", f"{name!r} is none of {', '.join(s.name for s in SCHEMES)}")
    return scheme


def make_strategy(name: str) -> Strategy | None:
    """The strategy of this name in any letter case; none for an empty name.

    Raises: InvalidRequest naming ``strategy``.
    """
    strategy = find_strategy(name)
    if strategy is None and name:
        raise InvalidRequest("strategy", f"{name!r} is none of {', '.join(Strategy)}")
    return strategy


def make_moment(text: str, *, field: str) -> datetime | None:
    """A time as the API writes them (RFC 3339 with an offset); none for an empty text.

    Raises: InvalidRequest naming ``field``.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidRequest(field, f"{text!r} is not a time with an offset, like 2026-01-31T23:59:59+08:00")
    return moment


def end_of_second(moment: datetime | None) -> datetime | None:
    """The first moment after the second of ``moment``: answers show whole seconds, so a list ends with a whole one."""
    if moment is None:
        return None
    try:
        return moment.replace(microsecond=0) + _SECOND
    except OverflowError:  # the last second that can be written
        return moment


def make_tags(pairs: Iterable[Tag]) -> tuple[Tag, ...]:
    """Tags in the order of their keys.

    Raises: InvalidRequest for a key that is there twice, and for more than ten.
    """
    tags = tuple(sorted(pairs))
    if len(tags) > MOST_TAGS:
        raise InvalidRequest("tags", f"{len(tags)} tags are more than {MOST_TAGS}")
    if len({key for key, _ in tags}) < len(tags):
        raise InvalidRequest("tags", "a key is there more than once")
    return tags

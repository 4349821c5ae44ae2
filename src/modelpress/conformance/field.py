"""Fields of requests and answers: what is written of each, and whether a value is as written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal

Kind = Literal[
    "string",
    "time",
    "integer",
    "number",
    "boolean",
    "object",
    "strings",
    "list",
    "string or strings",
    "file",
    "integer or string",
]

#: ISO 8601 as the newest page has it: whole seconds and an offset.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)")

_IS: Mapping[Kind, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "time": lambda value: isinstance(value, str) and _TIME.fullmatch(value) is not None,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "strings": lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    "list": lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value),
    "file": lambda value: False,  # of requests alone
    "integer or string": lambda value: _IS["integer"](value) or _IS["string"](value),
    "string or strings": lambda value: _IS["string"](value) or _IS["strings"](value),
}


class Mark(StrEnum):
    """Whose a field is."""

    DOCUMENTED = "documented"
    OURS = "ours"
    NOT_OFFERED = "documented, not offered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a body; ``place`` is its path, with ``[]`` after a list: ``result.items[].id``."""

    place: str
    kind: Kind
    mark: Mark = Mark.DOCUMENTED
    #: Of a request: it is required. Of an answer: no success is without it.
    always: bool = False
    #: The only values it has; empty: any.
    words: tuple[str, ...] = ()
    #: Why it is not offered, or why no check holds it.
    note: str = ""
    #: Whether a check is expected of it; if not, ``note`` says why.
    checked: bool = True
    #: Only plain HTTP can be made to send or to meet it.
    http_only: bool = False


def always(place: str, kind: Kind = "string", *, words: tuple[str, ...] = ()) -> Field:
    """A documented field that is required, or always there."""
    return Field(place=place, kind=kind, always=True, words=words)


def sometimes(place: str, kind: Kind = "string", *, words: tuple[str, ...] = (), unchecked: str = "") -> Field:
    """A documented field that may be left out."""
    return Field(place=place, kind=kind, words=words, note=unchecked, checked=not unchecked)


def ours(place: str, kind: Kind = "string", *, always: bool = False, unchecked: str = "") -> Field:
    """A field that modelpress adds to what is documented."""
    return Field(place=place, kind=kind, mark=Mark.OURS, always=always, note=unchecked, checked=not unchecked)


def not_offered(place: str, kind: Kind = "string", *, why: str) -> Field:
    """A documented field that modelpress neither reads nor answers."""
    return Field(place=place, kind=kind, mark=Mark.NOT_OFFERED, note=why, checked=False)


def by_http(*fields: Field) -> tuple[Field, ...]:
    """Fields that only plain HTTP can be made to send or to meet."""
    return tuple(replace(field, http_only=True) for field in fields)


def within(place: str, fields: Sequence[Field]) -> tuple[Field, ...]:
    """The fields of an object that lies at ``place``."""
    return tuple(replace(field, place=f"{place}.{field.place}") for field in fields)


def parents(body: Any, place: str) -> Iterator[dict[str, Any]]:
    """The objects of ``body`` that could have the last name of ``place``."""
    *path, _ = place.split(".")
    found = [body]
    for name in path:
        inner = [one.get(name.removesuffix("[]")) for one in found if isinstance(one, dict)]
        if name.endswith("[]"):
            inner = [item for items in inner if isinstance(items, list) for item in items]
        found = inner
    return (one for one in found if isinstance(one, dict))


def values(body: Any, place: str) -> list[Any]:
    """Every value of ``body`` at ``place``; a list's items apart where the place ends in ``[]``."""
    name = place.rpartition(".")[2].removesuffix("[]")
    return [parent[name] for parent in parents(body, place) if name in parent]


def faults(body: Any, field: Field) -> Iterator[str]:
    """What is not as written about ``field`` in ``body``."""
    name = field.place.rpartition(".")[2].removesuffix("[]")
    for parent in parents(body, field.place):
        if name not in parent:
            if field.always:
                yield f"{field.place} is missing"
        elif not _IS[field.kind](parent[name]):
            yield f"{field.place} is {_shown(parent[name])}, not of kind {field.kind}"
        elif field.words and parent[name] not in field.words:
            yield f"{field.place} is {_shown(parent[name])}, none of {', '.join(field.words)}"


def places(body: Any, *, prefix: str = "") -> Iterator[str]:
    """Every place of ``body`` that has a value."""
    if not isinstance(body, dict):
        return
    for name, value in body.items():
        place = f"{prefix}{name}"
        listed = isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
        yield f"{place}[]" if listed else place
        for inner in value if listed else [value]:
            yield from places(inner, prefix=f"{place}[]." if listed else f"{place}.")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"

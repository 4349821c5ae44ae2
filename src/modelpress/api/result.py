"""What all results share: absent is not null, times, and how paging is told. The wire's own camelCase."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from msgspec import UNSET, Struct, UnsetType

from modelpress.domain.page import PageRequest

#: Some 100 bytes each.
_REMEMBERED = 65_536
_QUARTER_SECONDS = 900


class Result(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The base of all results; a field that is UNSET is left out."""


class PageInfo(Result, frozen=True, kw_only=True):
    """Paging, echoed and told."""

    marker: str
    max_keys: int
    is_truncated: bool
    next_marker: str | UnsetType = UNSET


def time_text(moment: datetime) -> str:
    """RFC 3339 with the server's offset, whole seconds."""
    return second_text(int(moment.timestamp() // 1))


@lru_cache(_REMEMBERED)
def second_text(second: int) -> str:
    """A second since 1970, as ``time_text`` writes it; remembered, since lists show the same times again and again."""
    quarter, rest = divmod(second, _QUARTER_SECONDS)
    to_the_hour, minute, offset = _quarter_text(quarter)
    return f"{to_the_hour}:{minute + rest // 60:02d}:{rest % 60:02d}{offset}"


@lru_cache(_REMEMBERED)
def _quarter_text(quarter: int) -> tuple[str, int, str]:
    # Offsets of all time zones begin and end at whole quarters of an hour, and are multiples of one.
    moment = datetime.fromtimestamp(quarter * _QUARTER_SECONDS).astimezone()
    text = moment.isoformat()
    return text[:13], moment.minute, text[19:]


def page_info(request: PageRequest, next_marker: str | None) -> PageInfo:
    """The paging of a list."""
    return PageInfo(
        marker=request.marker,
        max_keys=request.max_keys,
        is_truncated=next_marker is not None,
        next_marker=UNSET if next_marker is None else next_marker,
    )

"""Pages of a list. The marker is the first item *of* its page, and stays valid when that item is deleted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from modelpress.errors import InvalidRequest

T = TypeVar("T")

DEFAULT_PAGE = 10
LARGEST_PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """Which page is wanted; an empty marker means from the first item, in the order of ``reverse``."""

    marker: str = ""
    max_keys: int = DEFAULT_PAGE
    reverse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """One page; ``next_marker`` is the id of the next page's first item, None on the last page."""

    items: tuple[T, ...]
    next_marker: str | None


def make_page_request(*, marker: str | None, max_keys: int | None, reverse: bool | None) -> PageRequest:
    """Defaults and bounds applied: above 100 means 100 (documented), below 1 is refused.

    Raises: InvalidRequest for maxKeys.
    """
    wanted = DEFAULT_PAGE if max_keys is None else max_keys
    if wanted < 1:
        raise InvalidRequest("maxKeys", f"{wanted} is below 1")
    return PageRequest(marker=marker or "", max_keys=min(wanted, LARGEST_PAGE), reverse=bool(reverse))

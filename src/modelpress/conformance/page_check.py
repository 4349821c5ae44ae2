"""The rules of paging, the same for every list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelpress.conformance import document
from modelpress.conformance.check import Check
from modelpress.conformance.scene import Scene
from modelpress.conformance.session import Session
from modelpress.conformance.tables import TABLES
from modelpress.conformance.verdict import NotApplicable, ensure

_INFO = "result.pageInfo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """A list as one session reads it: ``items`` is the list's field, ``key`` that of an item's id."""

    session: Session
    action: str
    items: str
    key: str
    fill: Callable[[], object]

    def page(self, **wanted: Any) -> tuple[list[str], dict[str, Any]]:
        """The ids of a page, and its pageInfo."""
        result = self.session.result(self.action, wanted)
        return [item[self.key] for item in result[self.items]], result["pageInfo"]

    def several(self) -> list[str]:
        """The first two or three ids.

        Raises: NotApplicable if there are fewer.
        """
        ids, _ = self.page(maxKeys=3)
        while len(ids) < 2 and self.session.options.write:
            self.fill()
            ids, _ = self.page(maxKeys=3)
        if len(ids) < 2:
            raise NotApplicable(f"the list has {len(ids)} items, too few for two pages")
        return ids


def _default_page(pages: Pages) -> str:
    """Without maxKeys and marker a page begins with the first item and has at most 10."""
    ids, info = pages.page()
    ensure(info["maxKeys"] == 10 and len(ids) <= 10, f"maxKeys is {info['maxKeys']} with {len(ids)} items")
    ensure(info["marker"] == "", f"marker is {info['marker']!r}")
    return f"{len(ids)} items"


def _over_a_hundred(pages: Pages) -> str:
    """A maxKeys above 100 counts as 100."""
    _, info = pages.page(maxKeys=101)
    ensure(info["maxKeys"] == 100, f"101 became {info['maxKeys']}")
    return "101 is 100"


def _below_one(pages: Pages) -> str:
    """A maxKeys below 1 is refused with 400 InappropriateJSON."""
    return pages.session.refused(pages.action, {"maxKeys": 0}, code="InappropriateJSON", status=400, about="maxKeys")


def _following_pages(pages: Pages) -> str:
    """Pages joined by nextMarker give the same items as one page; nextMarker is there exactly where it goes on."""
    expected, joined, marker = pages.several(), list[str](), ""
    while len(joined) < len(expected):
        ids, info = pages.page(maxKeys=1, **({"marker": marker} if marker else {}))
        ensure(len(ids) == 1, f"a page of one has {len(ids)}")
        ensure(("nextMarker" in info) == info["isTruncated"], "nextMarker and isTruncated contradict each other")
        joined += ids
        marker = info.get("nextMarker", "")
        if not marker:
            break
    ensure(joined == expected, "pages of one differ from one page")
    return f"{len(joined)} pages of one"


def _marker_echoed(pages: Pages) -> str:
    """The marker that was sent is told in pageInfo."""
    marker = pages.several()[1]
    _, info = pages.page(marker=marker)
    ensure(info["marker"] == marker, f"it became {info['marker']!r}")
    return "equal"


def _marker_included(pages: Pages) -> str:
    """The item that the marker names is the first of its page."""
    marker = pages.several()[1]
    ids, _ = pages.page(marker=marker, maxKeys=1)
    ensure(ids == [marker], "the page begins elsewhere")
    return "it is the first"


def _reversed_page(pages: Pages) -> str:
    """pageReverse turns the order of the list around."""
    pages.several()
    forward, info = pages.page(maxKeys=100)
    backward, _ = pages.page(maxKeys=100, pageReverse=True)
    if info["isTruncated"]:
        ensure(forward[0] != backward[0], "both begin with the same item")
        return "over a hundred items: the two begin differently"
    ensure(backward == forward[::-1], "it is not the reverse")
    return f"{len(forward)} items"


def _unknown_marker(pages: Pages) -> str:
    """A marker that never was an id is refused with 400 InvalidMarker."""
    return pages.session.refused(pages.action, {"marker": "none-of-ours"}, code="InvalidMarker", status=400)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    run: Callable[[Pages], str]
    request: tuple[str, ...] = ()
    #: Fields of pageInfo.
    answer: tuple[str, ...] = ()
    ours: bool = False


_RULES = (
    _Rule(run=_default_page, answer=("marker", "maxKeys", "isTruncated")),
    _Rule(run=_over_a_hundred, request=("maxKeys",), answer=("maxKeys",)),
    _Rule(run=_below_one, request=("maxKeys",), ours=True),
    _Rule(run=_following_pages, request=("marker", "maxKeys"), answer=("nextMarker", "isTruncated")),
    _Rule(run=_marker_echoed, request=("marker",), answer=("marker",)),
    _Rule(run=_marker_included, request=("marker",), ours=True),
    _Rule(run=_reversed_page, request=("pageReverse",)),
    _Rule(run=_unknown_marker, request=("marker",)),
)


def page_checks(action: str, *, items: str, key: str, fill: Callable[[Scene], object]) -> tuple[Check, ...]:
    """The checks on the paging of a list; ``fill`` makes one more item."""

    def make(rule: _Rule) -> Check:
        def run(session: Session, scene: Scene) -> str:
            pages = Pages(session=session, action=action, items=items, key=key, fill=lambda: fill(scene))
            return rule.run(pages)

        return Check(
            action=action,
            name=rule.run.__name__.strip("_").replace("_", "-"),
            sentence=rule.run.__doc__ or "",
            run=run,
            document=document.ERRORS if rule.run is _unknown_marker else TABLES[action].document,
            request=rule.request,
            answer=tuple(f"{_INFO}.{name}" for name in rule.answer),
            ours=rule.ours,
        )

    return tuple(make(rule) for rule in _RULES)

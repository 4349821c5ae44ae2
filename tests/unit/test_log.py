"""Reading a log in pages: every whole line once, whatever the bytes."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpress.storage import log
from modelpress.storage.log import CUT, LONGEST_LINE_BYTES, LogPage, append_line, read_page

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a log may be."""
    return tmp_path / "logs" / "amva-1.log"


def _written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def _all(path: Path, *, max_lines: int, growing: bool = False) -> list[str]:
    """All lines, page by page, as one who follows reads them."""
    lines: list[str] = []
    offset, more = 0, True
    while more:
        page = read_page(path, offset=offset, max_lines=max_lines, growing=growing)
        assert page.offset == offset
        assert not page.is_truncated or len(page.lines) == max_lines
        lines += page.lines
        offset, more = page.next_offset, page.is_truncated
    return lines


@given(
    lines=st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b".")), max_size=12), page=st.integers(1, 5)
)
def test_pages_put_together_are_the_log(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], page: int
) -> None:
    path = _written(tmp_path_factory.getbasetemp() / "pages.log", b"".join(line + b"\n" for line in lines))
    assert _all(path, max_lines=page) == [line.decode(errors="replace").removesuffix("\r") for line in lines]


@given(content=st.binary(max_size=200), offset=st.integers(0, 300), max_lines=st.integers(1, 5), growing=st.booleans())
def test_any_offset_into_any_bytes_is_answered(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, offset: int, max_lines: int, growing: bool
) -> None:
    path = _written(tmp_path_factory.getbasetemp() / "any.log", content)
    page = read_page(path, offset=offset, max_lines=max_lines, growing=growing)
    assert page.offset == min(offset, len(content))
    assert page.offset <= page.next_offset <= len(content)
    told = content[page.offset : page.next_offset]
    assert told.count(b"\n") == len(page.lines) or not told.endswith(b"\n")
    assert not growing or not told or told.endswith(b"\n")


def test_no_log_is_an_empty_one(path: Path) -> None:
    assert read_page(path, offset=7, max_lines=5, growing=True) == LogPage(
        lines=(), offset=0, next_offset=0, is_truncated=False
    )


def test_a_line_that_is_being_written_is_told_when_it_is_whole(path: Path) -> None:
    _written(path, b"one\ntw")
    page = read_page(path, offset=0, max_lines=1, growing=True)
    assert (page.lines, page.next_offset, page.is_truncated) == (("one",), 4, False)
    assert read_page(path, offset=4, max_lines=5, growing=True).lines == ()
    assert read_page(path, offset=4, max_lines=5, growing=False).lines == ("tw",)
    _written(path, b"one\ntwo\n")
    assert read_page(path, offset=4, max_lines=5, growing=True).lines == ("two",)


def test_an_offset_in_the_middle_of_a_line_or_of_a_character_tells_the_rest(path: Path) -> None:
    _written(path, "aé\nb\n".encode())
    assert read_page(path, offset=1, max_lines=5, growing=True).lines == ("é", "b")
    assert read_page(path, offset=2, max_lines=5, growing=True).lines == ("\ufffd", "b")
    assert read_page(path, offset=10**30, max_lines=5, growing=True).lines == ()


@pytest.mark.parametrize("beyond", [-1, 0, 1, 100_000])
def test_a_very_long_line_is_cut_and_the_next_one_follows_it(path: Path, beyond: int) -> None:
    length = LONGEST_LINE_BYTES + beyond
    _written(path, b"x" * length + b"\nnext\n")
    page = read_page(path, offset=0, max_lines=5, growing=True)
    assert page.lines == ("x" * min(length, LONGEST_LINE_BYTES) + (CUT if beyond > 0 else ""), "next")
    assert page.next_offset == length + 6
    _written(path, b"x" * length)
    assert read_page(path, offset=0, max_lines=5, growing=True).lines == ()
    assert len(read_page(path, offset=0, max_lines=5, growing=False).lines) == 1


def test_a_page_ends_after_so_many_bytes_whatever_is_asked_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_MOST_BYTES", 10_000)
    monkeypatch.setattr(log, "_BLOCK_BYTES", 1000)
    _written(path, b"x" * 4000 + b"\n" + b"y" * 50_000 + b"\n" + b"z\n")
    first = read_page(path, offset=0, max_lines=1000, growing=True)
    assert [line[0] for line in first.lines] == ["x", "y"]
    assert first.is_truncated
    assert first.next_offset < 20_000
    assert "".join(line[0] for line in _all(path, max_lines=1)) == "xyyyyz"


def test_a_page_near_the_end_of_a_huge_log_reads_no_more_than_it_tells(path: Path) -> None:
    _written(path, b"")
    os.truncate(path, 1 << 40)  # a terabyte of nothing: to read it would take an hour
    append_line(path, "the end", now=NOW)
    page = read_page(path, offset=1 << 40, max_lines=1000, growing=True)
    assert page.lines == ("2026-03-01T08:00:00.000+00:00 the end",)


def test_a_line_stays_one_line_whatever_its_text(path: Path) -> None:
    append_line(path, "a\nb\x1b[31m\udcff é", now=NOW)
    append_line(path, "second", now=NOW)
    assert [line.partition(" ")[2] for line in _all(path, max_lines=9)] == [
        r"a\u000ab\u001b[31m\udcff é",
        "second",
    ]


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    append_line(tmp_path / "file" / "below.log", "text", now=NOW)

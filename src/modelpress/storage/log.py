"""A task's log: one file, appended by every attempt and by its supervisor, read in pieces by whoever follows it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from io import BufferedReader
from pathlib import Path

#: What is told of a longer line.
LONGEST_LINE_BYTES = 4096
CUT = " … (cut)"
_BLOCK_BYTES = 65_536
#: Read for one page: 1,000 lines of the greatest length, and as much again that is passed over.
_MOST_BYTES = 8_388_608


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """Some lines, the byte at which the first begins, and the byte at which those that follow will."""

    lines: tuple[str, ...]
    offset: int
    next_offset: int
    #: Whether more lines are there already.
    is_truncated: bool


def log_line(text: str, *, now: datetime) -> bytes:
    """``text`` as one line of a log; what would break the line, or a terminal, is written out."""
    plain = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
    return f"{now.isoformat(timespec='milliseconds')} {plain}\n".encode(errors="backslashreplace")


def append_line(path: Path, text: str, *, now: datetime) -> None:
    """Add a line to a log, in one write; a disk that refuses it does not stop the work that is told of."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            file.write(log_line(text, now=now))


def read_page(path: Path, *, offset: int, max_lines: int, growing: bool) -> LogPage:
    """At most ``max_lines`` lines from the byte ``offset`` on; of a log that is ``growing`` only whole ones.

    In the middle of a line the rest of it counts as one; beyond the end there is nothing; no log is an empty one.

    Bound: reads what it tells, one line more, and the ends of lines that are cut.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return LogPage(lines=(), offset=0, next_offset=0, is_truncated=False)
    with file:
        start = end = min(offset, os.fstat(file.fileno()).st_size)
        file.seek(start)
        lines: list[str] = []
        while (line := _next_line(file, growing=growing)) is not None:
            if len(lines) == max_lines or end - start >= _MOST_BYTES:
                return LogPage(lines=tuple(lines), offset=start, next_offset=end, is_truncated=True)
            lines.append(line)
            end = file.tell()
        return LogPage(lines=tuple(lines), offset=start, next_offset=end, is_truncated=False)


def _next_line(file: BufferedReader, *, growing: bool) -> str | None:
    piece = file.readline(LONGEST_LINE_BYTES)
    if piece.endswith(b"\n"):
        return _text(piece[:-1])
    if len(piece) < LONGEST_LINE_BYTES:  # the end of the file
        return None if growing or not piece else _text(piece)
    passed_bytes = 0
    while passed_bytes < _MOST_BYTES:
        rest = file.readline(_BLOCK_BYTES)
        if not rest and growing:
            return None
        passed_bytes += len(rest)
        if not rest or rest.endswith(b"\n"):
            break
    return _text(piece) + (CUT if passed_bytes > 1 else "")


def _text(line: bytes) -> str:
    return line.decode(errors="replace").removesuffix("\r")

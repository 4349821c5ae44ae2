"""A file of calibration text: JSON lines, a JSON list or plain text, of which as much is read as is needed.

Of JSON lines all are passed over and those taken that draw the least lots, until they are enough; a line's lot follows
from its number. So a file of any size is read once in little memory, the choice is spread evenly over it, and it is
the same each time. Of a long plain text, passages at even distances are read.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, BinaryIO

from modelpress.calibrate.document import BadRecord, Document, document
from modelpress.errors import BadCalibration

#: A line of several novels is no line; and parsed, it may take some tens of times its bytes.
MOST_LINE_BYTES = 8 << 20
#: A JSON list is parsed as a whole.
MOST_LIST_BYTES = 32 << 20
_BLOCK_BYTES = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FOREIGN = (
    (b"\x1f\x8b", "compressed by gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PAR1", "a Parquet file"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
)
_UNDERSTOOD = "JSON lines, a JSON list and plain text are understood, in UTF-8 and not compressed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileText:
    """What was taken of a file, documents in the order in which they are to be used."""

    documents: tuple[Document, ...]
    #: Lines or records that there are, also those that were not taken.
    records: int
    #: Of those taken, those in which nothing is said.
    empty: int


class _Form(Enum):
    LINES = auto()
    LIST = auto()
    PLAIN = auto()


def read_documents(path: Path, *, text_field: str | None, passages: int, passage_bytes: int) -> FileText:
    """Documents of the file at ``path``, at least ``passages`` times ``passage_bytes`` of them if it has as much.

    Raises: BadCalibration naming the line, if the file is empty or no text, or a line that was taken is not as it
            should be; a line that was not taken is not looked at.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            form = _form(file, name=path.name)
            if form is _Form.PLAIN:
                found = _passages(file, name=path.name, size=size, count=passages, passage_bytes=passage_bytes)
                return _told(list(found), name=path.name, records=1)
            records: Iterable[tuple[int, Any]]
            if form is _Form.LIST:
                listed = _list(file, name=path.name, size=size)
                records, total = enumerate(listed, 1), len(listed)
            else:
                lines, total = _chosen_lines(file, name=path.name, budget_bytes=passages * passage_bytes)
                records = ((number, _parsed(line, name=path.name, number=number)) for number, line in lines)
            word = "record" if form is _Form.LIST else "line"
            taken = {
                number: _taken(record, text_field=text_field, place=f"{word} {number}", name=path.name)
                for number, record in records
            }
    except OSError as exc:
        raise BadCalibration(f"calibration data {path.name} cannot be read: {exc.strerror or exc}") from exc
    return _told([taken[number] for number in sorted(taken, key=_lot)], name=path.name, records=total)


def _told(taken: Sequence[Document], *, name: str, records: int) -> FileText:
    with_text = tuple(one for one in taken if not one.empty)
    if not with_text:
        raise BadCalibration(f"calibration data {name} has no text in any of {records} records", hint=_UNDERSTOOD)
    return FileText(documents=with_text, records=records, empty=len(taken) - len(with_text))


def _taken(record: Any, *, text_field: str | None, place: str, name: str) -> Document:
    try:
        return document(record, text_field=text_field, place=place)
    except BadRecord as exc:
        raise BadCalibration(f"calibration data {name}: {place} {exc}", hint=exc.hint) from exc


# --- what it is ---------------------------------------------------------------------------------------------


def _form(file: BinaryIO, *, name: str) -> _Form:
    """What the file is, by its name and its first line that is not blank; leaves it at its start."""
    head = file.read(len(_BYTE_ORDER_MARK) + 1)
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            raise BadCalibration(f"calibration data {name} is {what}", hint=_UNDERSTOOD)
    _rewind(file)
    suffix = Path(name).suffix.lower()
    # No more of a line than could be one of JSON: a plain text may lie on one line.
    starts = iter(lambda: file.readline(MOST_LINE_BYTES), b"")
    first = next((start for start in starts if start.strip()), b"").strip()
    _rewind(file)
    if not first:
        raise BadCalibration(f"calibration data {name} is empty", hint=_UNDERSTOOD)
    if suffix in (".jsonl", ".ndjson"):
        return _Form.LINES
    try:
        value = json.loads(first) if first[:1] in (b"{", b"[") else None
    except (ValueError, RecursionError):
        # A list over many lines, a line that is to be told as bad, or a text that begins with a bracket.
        if suffix == ".json":
            return _Form.LIST
        return _Form.LINES if first.startswith(b'{"') else _Form.PLAIN
    if value is None:
        return _Form.LIST if suffix == ".json" else _Form.PLAIN
    return _Form.LIST if suffix == ".json" and isinstance(value, list) else _Form.LINES


def _rewind(file: BinaryIO) -> None:
    """To the first byte that is text."""
    file.seek(0)
    if file.read(len(_BYTE_ORDER_MARK)) != _BYTE_ORDER_MARK:
        file.seek(0)


# --- JSON ---------------------------------------------------------------------------------------------------


def _lines(file: BinaryIO, *, name: str) -> Iterator[bytes]:
    number = 0
    while line := file.readline(MOST_LINE_BYTES + 1):
        number += 1
        if len(line) > MOST_LINE_BYTES:
            raise BadCalibration(
                f"calibration data {name}: line {number} is longer than {MOST_LINE_BYTES >> 20} MiB", hint=_UNDERSTOOD
            )
        yield line


def _chosen_lines(file: BinaryIO, *, name: str, budget_bytes: int) -> tuple[list[tuple[int, bytes]], int]:
    """The lines of least lots, just enough for the budget, in the file's order with their numbers; and how many there
    are that are not blank."""
    chosen: list[tuple[int, int, bytes]] = []
    held = total = 0
    for number, line in enumerate(_lines(file, name=name), 1):
        if line.isspace():
            continue
        total += 1
        lot = -_lot(number)
        if held >= budget_bytes and lot < chosen[0][0]:
            continue
        heapq.heappush(chosen, (lot, number, line))
        held += len(line)
        while held - len(chosen[0][2]) >= budget_bytes:
            held -= len(heapq.heappop(chosen)[2])
    return sorted((number, line) for _, number, line in chosen), total


def _lot(number: int) -> int:
    """A number of 64 bits that follows from ``number`` and looks drawn by chance (the finalizer of SplitMix64)."""
    mixed = number * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return mixed ^ mixed >> 31


def _parsed(line: bytes, *, name: str, number: int) -> Any:
    try:
        return json.loads(line.decode())
    except UnicodeDecodeError as exc:
        raise _not_utf8(name, number, exc) from exc
    except (ValueError, RecursionError) as exc:
        why = f"{exc.msg} at column {exc.colno}" if isinstance(exc, json.JSONDecodeError) else str(exc)
        raise BadCalibration(
            f"calibration data {name}: line {number} is not JSON ({why})",
            hint="each line is a JSON value of its own; a plain text is taken if its name does not end in .jsonl",
        ) from exc


def _list(file: BinaryIO, *, name: str, size: int) -> list[Any]:
    if size > MOST_LIST_BYTES:
        raise BadCalibration(
            f"calibration data {name} is a JSON list of {size} bytes, more than {MOST_LIST_BYTES}",
            hint="with one object on each line (JSONL), a file may have any size",
        )
    raw = file.read()
    try:
        value = json.loads(raw.decode())
    except UnicodeDecodeError as exc:
        raise _not_utf8(name, raw.count(b"\n", 0, exc.start) + 1, exc) from exc
    except (ValueError, RecursionError) as exc:
        raise BadCalibration(f"calibration data {name} is not JSON ({exc})", hint=_UNDERSTOOD) from exc
    return value if isinstance(value, list) else [value]


# --- plain text ---------------------------------------------------------------------------------------------


def _passages(file: BinaryIO, *, name: str, size: int, count: int, passage_bytes: int) -> Iterator[Document]:
    """The whole text, if it is no longer than what is wanted; else ``count`` passages at even distances."""
    if size <= count * passage_bytes:
        yield Document(text=_text(file.read(), file, name=name, whole=True), place="the text")
        return
    for number in range(count):
        # From the middle of each of as many equal parts.
        start = max(0, (size * (2 * number + 1) // count - passage_bytes) // 2)
        file.seek(start)
        raw = _from_a_start(file.read(passage_bytes))
        yield Document(text=_text(raw, file, name=name, whole=False), place=f"the passage at byte {start}")


def _from_a_start(raw: bytes) -> bytes:
    """``raw`` from where a line begins, else a word, else a character, if one does in its first quarter."""
    for mark in (b"\n", b" "):
        found = raw.find(mark, 0, len(raw) // 4)
        if found >= 0:
            return raw[found + 1 :]
    skipped = next((at for at, byte in enumerate(raw[:4]) if byte & 0xC0 != 0x80), 0)
    return raw[skipped:]


def _text(raw: bytes, file: BinaryIO, *, name: str, whole: bool) -> str:
    """``raw``, which was just read from ``file``, as text; without the character that its end cuts if not ``whole``."""
    try:
        return raw.decode()
    except UnicodeDecodeError as exc:
        if not whole and exc.reason == "unexpected end of data":
            return raw[: exc.start].decode()
        end = file.tell() - len(raw) + exc.start
        raise _not_utf8(name, _line_at(file, end), exc) from exc


def _line_at(file: BinaryIO, offset: int) -> int:
    file.seek(0)
    line, left = 1, offset
    while left and (block := file.read(min(left, _BLOCK_BYTES))):
        line += block.count(b"\n")
        left -= len(block)
    return line


def _not_utf8(name: str, line: int, exc: UnicodeDecodeError) -> BadCalibration:
    return BadCalibration(
        f"calibration data {name}: line {line} is not UTF-8 (byte 0x{exc.object[exc.start]:02x}: {exc.reason})",
        hint="convert the file to UTF-8",
    )

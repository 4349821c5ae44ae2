"""A stranger's JSON object, looked over before it is parsed: parsed, three bytes may take eighty of memory.

A model directory's JSON (headers, index, config) is small things in few brackets. What is far denser or deeper than any
of them is refused while it is still bytes, so that the parser's memory stays in proportion to the file.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

#: Real ones have under ten levels. Python's own limit would strike when a config is written, not when it is read.
MOST_LEVELS = 64
#: A list takes some 80 bytes of memory. A tensor's entry has three brackets and at least 50 bytes, a sub-config more.
_BYTES_A_BRACKET = 16
#: A member takes some 80 bytes of memory too. The densest honest thing is a shape of eight dimensions of 1.
_BYTES_A_COMMA = 6
#: Of a file this small, parsing cannot take much.
_HARMLESS_BYTES = 200_000
_SCANNED_BYTES = 1 << 18


class NotAnObject(ValueError):
    """Why these bytes are not taken for a JSON object: a clause to follow "it is" or "its header is"."""


def parse_object(
    raw: bytes,
    *,
    strict: bool = False,
    bytes_a_bracket: int = _BYTES_A_BRACKET,
    bytes_a_comma: int = _BYTES_A_COMMA,
) -> dict[str, Any]:
    """The JSON object that ``raw`` is.

    ``strict`` is what Rust's parser of safetensors is: no NaN, no name twice in one object, no zero with a minus. A
    config is not strict: those of some state-space models hold Infinity. A file may be no denser than one bracket in
    ``bytes_a_bracket``, and likewise its commas.

    Bound:  memory is at most some sixteen times ``raw``, time is in proportion to it.
    Raises: NotAnObject.
    """
    _look_over(raw, bytes_a_bracket=bytes_a_bracket, bytes_a_comma=bytes_a_comma)
    hooks: dict[str, Any] = {}
    if strict:
        hooks = {"object_pairs_hook": _without_duplicates, "parse_constant": _no_constant}
        if b"-0" in raw:
            hooks["parse_int"] = _without_minus_zero
    try:
        # Decoded here, since json would also take UTF-16, UTF-32 and a byte order mark.
        value = json.loads(raw.decode(), **hooks)
    except NotAnObject:
        raise
    except (ValueError, RecursionError) as exc:
        raise NotAnObject(f"not JSON ({exc})") from exc
    if not isinstance(value, dict):
        raise NotAnObject("not a JSON object")
    return value


def is_text(text: str) -> bool:
    """False for halves of characters, which JSON can write and UTF-8 cannot."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _look_over(raw: bytes, *, bytes_a_bracket: int, bytes_a_comma: int) -> None:
    """Nothing, if ``raw`` is no deeper and no denser than a model's JSON is; whether it is JSON is not asked."""
    # With escapes gone, every quotation mark begins or ends a string.
    text = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = commas = level = 0
    inside = False
    for start in range(0, len(text), _SCANNED_BYTES):
        data = np.frombuffer(text, np.uint8, min(_SCANNED_BYTES, len(text) - start), start)
        quoted = np.logical_xor.accumulate(data == ord('"')) ^ inside
        inside = bool(quoted[-1])
        data = np.where(quoted, 0, data)
        opened = (data == ord("[")) | (data == ord("{"))
        closed = (data == ord("]")) | (data == ord("}"))
        levels = level + np.cumsum(opened.astype(np.int8) - closed, dtype=np.int32)
        if int(levels.max()) > MOST_LEVELS:
            raise NotAnObject(f"JSON of more than {MOST_LEVELS} levels")
        level = int(levels[-1])
        brackets += int(np.count_nonzero(opened))
        commas += int(np.count_nonzero(data == ord(",")))
    if len(raw) > _HARMLESS_BYTES and (brackets * bytes_a_bracket > len(raw) or commas * bytes_a_comma > len(raw)):
        raise NotAnObject(f"JSON of {brackets} brackets and {commas} commas in {len(raw)} bytes, as no model has it")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise NotAnObject("JSON that names something twice")
    return entries


def _no_constant(text: str) -> float:
    raise NotAnObject(f"not JSON ({text} is no number)")


def _without_minus_zero(text: str) -> int:
    if text == "-0":
        raise NotAnObject("JSON with -0 for a number")
    return int(text)

"""Which script a character belongs to, roughly: by the blocks of Unicode, for the report on calibration text."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Script(IntEnum):
    """A script that the report tells of; ``SIGNS`` are digits, marks, spaces and symbols, which all scripts share."""

    SIGNS = 0
    LATIN = 1
    HAN = 2
    KANA = 3
    HANGUL = 4
    CYRILLIC = 5
    ARABIC = 6
    OTHER = 7


#: First and last character of runs of letters, in order. Source: Blocks.txt of Unicode 16.
_RUNS: tuple[tuple[int, int, Script], ...] = (
    (0x41, 0x5A, Script.LATIN),
    (0x61, 0x7A, Script.LATIN),
    (0xAA, 0xAA, Script.LATIN),
    (0xBA, 0xBA, Script.LATIN),
    (0xC0, 0xD6, Script.LATIN),
    (0xD8, 0xF6, Script.LATIN),
    (0xF8, 0x2AF, Script.LATIN),
    (0x370, 0x3FF, Script.OTHER),
    (0x400, 0x52F, Script.CYRILLIC),
    (0x530, 0x5FF, Script.OTHER),
    (0x600, 0x6FF, Script.ARABIC),
    (0x700, 0x74F, Script.OTHER),
    (0x750, 0x77F, Script.ARABIC),
    (0x780, 0x85F, Script.OTHER),
    (0x860, 0x8FF, Script.ARABIC),
    (0x900, 0x10FF, Script.OTHER),
    (0x1100, 0x11FF, Script.HANGUL),
    (0x1200, 0x1C7F, Script.OTHER),
    (0x1C80, 0x1C8F, Script.CYRILLIC),
    (0x1C90, 0x1DFF, Script.OTHER),
    (0x1E00, 0x1EFF, Script.LATIN),
    (0x1F00, 0x1FFF, Script.OTHER),
    (0x2C60, 0x2C7F, Script.LATIN),
    (0x2C80, 0x2DDF, Script.OTHER),
    (0x2DE0, 0x2DFF, Script.CYRILLIC),
    (0x2E80, 0x2FDF, Script.HAN),
    (0x3005, 0x3007, Script.HAN),
    (0x3041, 0x309F, Script.KANA),
    (0x30A1, 0x30FA, Script.KANA),
    (0x30FC, 0x30FF, Script.KANA),
    (0x3100, 0x312F, Script.OTHER),
    (0x3130, 0x318F, Script.HANGUL),
    (0x31F0, 0x31FF, Script.KANA),
    (0x3400, 0x4DBF, Script.HAN),
    (0x4E00, 0x9FFF, Script.HAN),
    (0xA000, 0xA63F, Script.OTHER),
    (0xA640, 0xA69F, Script.CYRILLIC),
    (0xA720, 0xA7FF, Script.LATIN),
    (0xA800, 0xA95F, Script.OTHER),
    (0xA960, 0xA97F, Script.HANGUL),
    (0xA980, 0xABFF, Script.OTHER),
    (0xAC00, 0xD7FF, Script.HANGUL),
    (0xF900, 0xFAFF, Script.HAN),
    (0xFB50, 0xFDFF, Script.ARABIC),
    (0xFE70, 0xFEFE, Script.ARABIC),
    (0xFF21, 0xFF3A, Script.LATIN),
    (0xFF41, 0xFF5A, Script.LATIN),
    (0xFF66, 0xFF9F, Script.KANA),
    (0xFFA0, 0xFFDC, Script.HANGUL),
    (0x10000, 0x1CFFF, Script.OTHER),
    (0x1E000, 0x1EFFF, Script.OTHER),
    (0x20000, 0x3FFFF, Script.HAN),
)
_FIRST = np.array([first for first, _, _ in _RUNS], dtype=np.uint32)
_LAST = np.array([last for _, last, _ in _RUNS], dtype=np.uint32)
_SCRIPT = np.array([script for _, _, script in _RUNS], dtype=np.uint8)


def scripts_of(text: str) -> NDArray[np.uint8]:
    """The script of each character of ``text``."""
    characters = np.frombuffer(text.encode("utf-32-le", "replace"), dtype="<u4")
    runs = np.searchsorted(_FIRST, characters, side="right") - 1
    inside = (runs >= 0) & (characters <= _LAST[runs])
    return np.where(inside, _SCRIPT[runs], np.uint8(Script.SIGNS))


def scripts_of_spans(text: str, spans: Sequence[tuple[int, int]]) -> NDArray[np.uint8]:
    """The script of the first letter in each span of ``text`` (first character, one past the last).

    A span without characters, as a tokenizer tells of the second byte of one, is that of its first.
    """
    # One past the end is no letter.
    scripts = np.append(scripts_of(text), np.uint8(Script.SIGNS))
    places = np.where(scripts != Script.SIGNS, np.arange(len(scripts)), len(scripts) - 1)
    next_letter = np.minimum.accumulate(places[::-1])[::-1]
    starts, ends = np.array(spans, dtype=np.int64).reshape(-1, 2).T
    found = next_letter[starts]
    return np.where(found < np.maximum(ends, starts + 1), scripts[found], np.uint8(Script.SIGNS))

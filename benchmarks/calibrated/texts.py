"""The texts: what methods are calibrated on, and what their outputs are judged by, in and out of that domain.

All of it ships with Python or with this repository, so that no network is asked. Of the documentation of Python's own
topics, the first part by name is for calibration and the rest for judging.
"""

from __future__ import annotations

import os
from pathlib import Path
from pydoc_data import topics

#: How much everyone is calibrated on: samples, and the tokens of each.
SAMPLES, LENGTH = 32, 512

#: Of the documentation's topics, sorted by name, those that may be calibrated on.
_CALIBRATION_SHARE = 0.6
_ROOT = Path(__file__).resolve().parents[2]
_CHINESE = Path(__file__).with_name("texts") / "chinese.txt"

#: Characters of one sample: more tokens than a sample has, and not so many that a reader would take fewer lines.
_PIECE_CHARACTERS = 3500


def calibration_pieces(count: int) -> list[str]:
    """So many pieces of the documentation, evenly spread, each from the beginning of a line.

    Without space around them, which programs that read text may take away.
    """
    text = _documentation(calibration=True)
    if count * _PIECE_CHARACTERS > len(text):
        raise ValueError(f"{count} samples of {_PIECE_CHARACTERS} characters are more than the text's {len(text)}")
    step = (len(text) - _PIECE_CHARACTERS) // max(1, count - 1)
    starts = [text.rfind("\n", 0, step * number) + 1 for number in range(count)]
    return [text[start : start + _PIECE_CHARACTERS].strip() for start in starts]


def domains() -> dict[str, str]:
    """The texts to judge by: another part of what is calibrated on, licences, and Chinese if it is there."""
    found = {"documentation": _apart(_documentation(calibration=False)), "licences": _licences()}
    if _CHINESE.is_file():
        found["Chinese"] = _CHINESE.read_text(encoding="utf-8")
    return found


def _documentation(*, calibration: bool) -> str:
    names = sorted(topics.topics)
    first = int(len(names) * _CALIBRATION_SHARE)
    return "\n\n".join(topics.topics[name] for name in (names[:first] if calibration else names[first:]))


def _apart(text: str) -> str:
    """Without the paragraphs that are in what may be calibrated on, or came before: topics hold parts of each other."""
    seen = _words(_documentation(calibration=True))
    kept = []
    for paragraph in text.split("\n\n"):
        words = _words(paragraph)
        if words not in seen:
            kept.append(paragraph)
            seen += words
    return "\n\n".join(kept)


def _words(text: str) -> str:
    """A paragraph may be indented in one topic and not in another."""
    return f" {' '.join(text.split())} "


def _licences() -> str:
    """Python's, where it was installed, and this repository's."""
    paths = (Path(os.__file__).with_name("LICENSE.txt"), _ROOT / "LICENSE")
    return "\n\n".join(path.read_text(encoding="utf-8") for path in paths if path.is_file())

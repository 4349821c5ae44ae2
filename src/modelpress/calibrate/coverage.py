"""What the calibration text covered, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelpress.calibrate.script import Script
from modelpress.calibrate.window import Tokens

#: Fewer than this say little of a layer with some thousand inputs.
ENOUGH_TOKENS = 8192
#: From this share of one script on, results on others' text are in doubt.
_ONE_SIDED = 0.95
#: Below this share, a script that does occur is said to be rare.
_RARE = 0.1
_NAMES = {
    Script.LATIN: "Latin script",
    Script.HAN: "Chinese characters",
    Script.KANA: "Japanese kana",
    Script.HANGUL: "Korean",
    Script.CYRILLIC: "Cyrillic",
    Script.ARABIC: "Arabic script",
    Script.OTHER: "other scripts",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Of one calibration's samples."""

    #: What the text was: "the built-in text", a file's name, "text that the model wrote".
    title: str
    samples: int
    samples_wanted: int
    tokens: int
    #: Documents that are in the samples, of those that were read.
    documents: int
    #: Of these, those of which the samples have only a part.
    truncated: int
    #: Documents in which nothing is said, left out.
    empty: int
    #: Tokens by the script of their text; ``signs`` are digits, marks, spaces and special tokens.
    scripts: Mapping[Script, int]
    #: Different tokens of the model's vocabulary, of how many.
    distinct_tokens: int
    vocabulary: int
    #: What else is to be said, as sentences.
    notes: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """A plain object."""
        return {
            "title": self.title,
            "samples": self.samples,
            "samples_wanted": self.samples_wanted,
            "tokens": self.tokens,
            "documents": self.documents,
            "truncated": self.truncated,
            "empty": self.empty,
            "scripts": {script.name.lower(): count for script, count in self.scripts.items()},
            "distinct_tokens": self.distinct_tokens,
            "vocabulary": self.vocabulary,
            "notes": list(self.notes),
        }

    def sentences(self) -> tuple[str, ...]:
        """For people: what was seen, and what may be too little."""
        return (
            f"Calibrated on {self.samples} samples, {self.tokens} tokens, of {self.title}; "
            f"{self.distinct_tokens} of {self.vocabulary} tokens of the vocabulary occur.",
            *self._amount(),
            *self._languages(),
            *self.notes,
        )

    def _amount(self) -> list[str]:
        said = []
        if self.samples < self.samples_wanted:
            said.append(f"The text was enough for {self.samples} of {self.samples_wanted} samples.")
        if self.tokens < ENOUGH_TOKENS:
            said.append(
                f"{self.tokens} tokens are few, less than {ENOUGH_TOKENS}: "
                "the result may be no better than without calibration."
            )
        if self.empty:
            said.append(f"{self.empty} documents without text were left out.")
        return said

    def _languages(self) -> list[str]:
        letters: dict[Script, int] = {
            script: count for script, count in self.scripts.items() if script is not Script.SIGNS and count
        }
        total = sum(letters.values())
        if not total:
            return []
        said = [f"Of the tokens with letters, {_listed(letters, total)}."]
        most = max(letters, key=lambda script: letters[script])
        if letters[most] > _ONE_SIDED * total:
            said.append(
                f"Nearly all of the text is of one kind ({_NAMES[most]}): on text in other scripts the result may be "
                "worse than without calibration. Calibrate on what the model will read and write."
            )
        elif 0 < letters.get(Script.HAN, 0) < _RARE * total:
            said.append(
                f"Only {_percent(letters[Script.HAN], total)} are Chinese characters: "
                "if the model is to read and write Chinese, calibrate it on more of it."
            )
        return said


def coverage_of(
    windows: Sequence[Tokens],
    *,
    title: str,
    samples_wanted: int,
    vocabulary: int,
    documents: int,
    truncated: int = 0,
    empty: int = 0,
    notes: Sequence[str] = (),
) -> Coverage:
    """The coverage of ``windows``."""
    all_tokens = Tokens.joined(windows)
    counts = np.bincount(all_tokens.scripts, minlength=len(Script))
    return Coverage(
        title=title,
        samples=len(windows),
        samples_wanted=samples_wanted,
        tokens=len(all_tokens),
        documents=documents,
        truncated=truncated,
        empty=empty,
        scripts={script: int(counts[script]) for script in Script},
        distinct_tokens=len(np.unique(all_tokens.ids)),
        vocabulary=vocabulary,
        notes=tuple(notes),
    )


def _listed(letters: Mapping[Script, int], total: int) -> str:
    ranked = sorted(letters, key=lambda script: (-letters[script], script))
    shares = [f"{_percent(letters[script], total)} are {_NAMES[script]}" for script in ranked]
    return shares[0] if len(shares) == 1 else f"{', '.join(shares[:-1])} and {shares[-1]}"


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return "less than 1 %" if share < 1 else f"{share:.0f} %"

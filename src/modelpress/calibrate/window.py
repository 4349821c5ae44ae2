"""Windows of calibration tokens: what a sample is made of.

A sample is a window of a stream of documents, full to its last token, as models are pretrained on. Short documents
share one (each sees those before it, as in pretraining), long ones fill several; nothing is padded, so no statistic
counts what is no text, and nearly all windows have one length, so they make whole batches. Every window begins with
what the tokenizer begins a text with: models that always had a <bos> there are lost without it.

Kept apart instead, documents of 200 tokens would fill a tenth of what was asked for, and positions beyond 200 would
never be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: A last window shorter than this tells nothing that is worth a batch of its own.
_LEAST_TOKENS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Token ids, and the script of each one's text."""

    ids: NDArray[np.int64]
    scripts: NDArray[np.uint8]

    @classmethod
    def without_text(cls, ids: Sequence[int]) -> Tokens:
        """Special tokens."""
        return cls(ids=np.array(ids, dtype=np.int64), scripts=np.zeros(len(ids), dtype=np.uint8))

    @classmethod
    def joined(cls, parts: Sequence[Tokens]) -> Tokens:
        """One after the other."""
        if not parts:
            return cls.without_text(())
        return cls(
            ids=np.concatenate([part.ids for part in parts]),
            scripts=np.concatenate([part.scripts for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, start: int, end: int) -> Tokens:
        """Those from ``start`` to before ``end``."""
        return Tokens(ids=self.ids[start:end], scripts=self.scripts[start:end])

    def pieces(self, length: int) -> list[Tokens]:
        """Cut into pieces of ``length``, the last one shorter; in an order that is spread over them."""
        count = -(-len(self) // length)
        return [self.part(number * length, (number + 1) * length) for number in spread(count)]


def spread(count: int) -> list[int]:
    """The numbers below ``count`` in an order of which every beginning lies evenly among them.

    Source: van der Corput's sequence, counting with the bits in reverse.
    """
    bits = max(count - 1, 0).bit_length()
    order = (int(f"{number:0{bits}b}"[::-1], 2) if bits else 0 for number in range(1 << bits))
    return [number for number in order if number < count]


class Windows:
    """Windows that are filled with pieces of text, one after the other, until there are ``count``.

    Each begins with ``opening``.
    """

    def __init__(self, *, count: int, length: int, opening: Tokens) -> None:
        self._count, self._length, self._opening = count, length, opening
        self._whole: list[Tokens] = []
        self._parts: list[Tokens] = []
        self._left = self.room

    @property
    def room(self) -> int:
        """Tokens of text that a window holds."""
        return self._length - len(self._opening)

    @property
    def full(self) -> bool:
        """Whether all are."""
        return len(self._whole) == self._count

    def place(self, piece: Tokens, *, separator: Tokens) -> int:
        """Put a piece in, over as many windows as it takes; how many of its tokens found room.

        ``separator`` comes before it, unless it begins a window.
        """
        if self._parts and not self.full:
            self._fill(separator)
        return 0 if self.full else self._fill(piece)

    def taken(self) -> tuple[Tokens, ...]:
        """The windows, with the last one as far as it was filled, unless that is too little to be of use."""
        begun = len(self._opening) + self.room - self._left
        useful = self._parts and (begun >= _LEAST_TOKENS or not self._whole)
        return (*self._whole, *([self._joined()] if useful else []))

    def _fill(self, tokens: Tokens) -> int:
        placed = 0
        while placed < len(tokens) and not self.full:
            part = tokens.part(placed, placed + self._left)
            self._parts.append(part)
            self._left -= len(part)
            placed += len(part)
            if not self._left:
                self._whole.append(self._joined())
                self._parts, self._left = [], self.room
        return placed

    def _joined(self) -> Tokens:
        return Tokens.joined([self._opening, *self._parts])

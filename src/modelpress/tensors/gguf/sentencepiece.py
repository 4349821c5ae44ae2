"""Merges in the order that SentencePiece's scores give: a tokenizer.json has merges, a GGUF file has scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: ggml's type of a token that text is joined to; others are matched whole, or never made by joining.
NORMAL = 1


def find_merges(tokens: Sequence[str], scores: NDArray[Any], *, normal: NDArray[np.bool_]) -> list[tuple[str, str]]:
    """Every pair of tokens that make a token, the pair whose token has the highest score first.

    SentencePiece joins those neighbours that make the token of the highest score, the leftmost of equals; a merge's
    place in this list is that order. Only ``normal`` tokens are joined, and made by joining.

    Bound: as many looks as the vocabulary has characters, each as long as a token.
    """
    order = np.argsort(-scores.astype(np.float64), kind="stable").tolist()
    joined = [token_id for token_id in order if normal[token_id]]
    parts = {tokens[token_id] for token_id in joined}
    merges: list[tuple[str, str]] = []
    for token_id in joined:
        token = tokens[token_id]
        merges += [
            (token[:end], token[end:]) for end in range(1, len(token)) if token[:end] in parts and token[end:] in parts
        ]
    return merges

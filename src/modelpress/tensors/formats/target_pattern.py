"""The names under which config.json tells loaders of modules whose treatment is not the model's own.

Loaders rename modules as they load (``block_sparse_moe`` becomes ``mlp``, a language model gets a prefix), so a pattern
of a name's last words is said where it means the same modules; where it would mean others too, whole names are.

Source: how transformers 5.17 and vLLM 0.32 match targets; ``re:`` begins a regular expression for a module's name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

_EXPERTS = "experts"
_WORDS_KEPT = 2


def target_patterns(modules: Sequence[str], *, others: Collection[str]) -> list[str]:
    """Targets that mean all of ``modules`` and none of the ``others``."""
    foreign = {_tail(other) for other in others}
    targets = (module if _tail(module) in foreign else f"re:.*\\.{_tail(module)}$" for module in modules)
    return list(dict.fromkeys(targets))


def _tail(module: str) -> str:
    """A regular expression of the last words: of an expert, those from ``experts`` on."""
    words = module.split(".")
    start = words.index(_EXPERTS) if _EXPERTS in words else max(0, len(words) - _WORDS_KEPT)
    return "\\.".join("\\d+" if word.isdecimal() else re.escape(word) for word in words[start:])

"""Which rule of llama.cpp splits text as a tokenizer.json does: told by what its pre-tokenizer is, never guessed.

A file that names another rule loads without a word and gives other tokens, so a rule that is not known is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_ENDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT4 = _ENDS + "|" + _LETTERS + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + _REST
_QWEN2 = _ENDS + "|" + _LETTERS + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + _REST
_QWEN35 = _ENDS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + _REST
_CAPITALS, _SMALL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def _cased(ends: str, digits: str) -> str:
    """Words whose capitals come first; ``ends`` may follow each."""
    first = r"[^\r\n\p{L}\p{N}]?" + f"{_CAPITALS}*{_SMALL}+{ends}"
    second = r"[^\r\n\p{L}\p{N}]?" + f"{_CAPITALS}+{_SMALL}*{ends}"
    return f"{first}|{second}|{digits}" + r"| ?[^\s\p{L}\p{N}]+[\r\n/]*" + _REST


_TEKKEN = _cased("", r"\p{N}")
_GPT4O = _cased(_ENDS + "?", r"\p{N}{1,3}")
_DEEPSEEK3 = (
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"| ?[\p{P}\p{S}]+[\r\n]*" + _REST,
)
_DIGITS, _GPT2 = "every digit apart", "GPT-2's expression"

#: What splits the text, in its order, and whether a word that is a token is taken whole (ignore_merges; None for
#: either), to llama.cpp's name. Source: llama.cpp, llama-vocab.cpp.
_RULES: Mapping[tuple[tuple[str, ...], bool | None], str] = MappingProxyType(
    {
        ((_GPT2,), False): "gpt-2",
        ((_DIGITS, _GPT2), False): "smollm",
        ((_GPT4,), True): "llama-bpe",
        ((_GPT4,), False): "dbrx",
        ((_QWEN2,), False): "qwen2",
        ((_QWEN35,), False): "qwen35",
        ((_TEKKEN,), True): "tekken",
        ((_GPT4O,), False): "gpt-4o",
        (_DEEPSEEK3, False): "deepseek-v3",
    }
)
KNOWN_RULES = tuple(_RULES.values())


def splitting_rule(pre_tokenizer: object, *, ignore_merges: bool) -> str | None:
    """llama.cpp's name of the rule that a tokenizer.json's ``pre_tokenizer`` is; None if there is none."""
    steps: list[str] = []
    for part in _flat(pre_tokenizer):
        step = _step(part)
        if step is None:
            return None
        steps += step
    return _RULES.get((tuple(steps), ignore_merges))


def _flat(pre_tokenizer: object) -> list[Any]:
    if not isinstance(pre_tokenizer, dict) or pre_tokenizer.get("type") != "Sequence":
        return [pre_tokenizer]
    parts = pre_tokenizer.get("pretokenizers")
    return parts if isinstance(parts, list) else [None]


def _step(part: Any) -> list[str] | None:
    """How a part splits text: nothing for one that only turns it into bytes; None if it is not known."""
    if not isinstance(part, dict):
        return None
    if part.get("type") == "ByteLevel" and not part.get("add_prefix_space", True):
        return [_GPT2] if part.get("use_regex", True) else []
    if part.get("type") == "Digits" and part.get("individual_digits"):
        return [_DIGITS]
    if part.get("type") == "Split":
        return _split(part)
    return None


def _split(part: Mapping[str, Any]) -> list[str] | None:
    pattern = part.get("pattern")
    expression = pattern.get("Regex") if isinstance(pattern, dict) else None
    if not isinstance(expression, str):
        return None
    # Some files write the end of a line itself, others its escape.
    expression = expression.replace("\r", r"\r").replace("\n", r"\n")
    way = (part.get("behavior"), part.get("invert"))
    # What is found stands apart; or what is not found goes, which is nothing where everything is found.
    if way == ("Isolated", False) or (way == ("Removed", True) and expression in _FIND_EVERYTHING):
        return [expression]
    return None


_FIND_EVERYTHING = frozenset({_GPT4, _QWEN2, _QWEN35, _TEKKEN, _GPT4O})

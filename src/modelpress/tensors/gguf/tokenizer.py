"""The tokenizer in Hugging Face's files, built from what a GGUF file keeps of it.

A GGUF file keeps the tokens, their types and what joins them: merges and the *name* of the rule that splits text before
them, or the scores of SentencePiece. A rule must be known to be written out: another would give other tokens without
any error, so an unknown name is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelpress.tensors.gguf.header import Gguf
from modelpress.tensors.gguf.sentencepiece import NORMAL, find_merges

# ggml's token types: a control token is special, a user-defined one is matched whole but is part of the text.
UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4

#: transformers' names of the roles a token may have, and a GGUF file's.
ROLES: Mapping[str, str] = MappingProxyType(
    {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
)

#: SentencePiece's own limit is 16 if a model was not trained otherwise. Each is cut at every place, to find its merges.
_LONGEST_PIECE = 256

_HINT = "give the model as a Hugging Face directory, which has its own tokenizer.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """How text is split before its bytes are joined: an expression, or GPT-2's with or without every digit apart."""

    pattern: str | None = None
    digits_apart: bool = False
    normalizer: str | None = None
    #: A word that is a token is taken whole, whatever the merges say; and a text begins with the first token.
    whole_words: bool = False


# Both differ in one place: how many digits stay together.
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_GPT2 = _Rule()
_LLAMA3 = _Rule(pattern=_PATTERN.format(digits="{1,3}"), whole_words=True)
_CL100K = _Rule(pattern=_LLAMA3.pattern)
# Words end where a small letter is followed by a capital; marks belong to letters.
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN = _Rule(
    pattern=rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    whole_words=True,
)
_QWEN2 = _Rule(pattern=_PATTERN.format(digits=""), normalizer="NFC")

#: By ``tokenizer.ggml.pre``. Source: llama.cpp, llama-vocab.cpp, and the models' own tokenizer.json.
_RULES: Mapping[str, _Rule] = MappingProxyType(
    {
        "default": _GPT2,
        "gpt-2": _GPT2,
        "smollm": _Rule(digits_apart=True),
        "llama-bpe": _LLAMA3,
        "llama3": _LLAMA3,
        "llama-v3": _LLAMA3,
        "dbrx": _CL100K,
        "tekken": _TEKKEN,
        "qwen2": _QWEN2,
        "deepseek-r1-qwen": _Rule(pattern=_QWEN2.pattern),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The tokens by their ids, their types, and the ids of those with a role."""

    tokens: tuple[str, ...]
    types: NDArray[Any]
    ids: Mapping[str, int]

    def roles(self) -> dict[str, str]:
        """The tokens with a role, by transformers' names of the roles."""
        return {role: self.tokens[token_id] for role, token_id in self.ids.items()}


def read_vocabulary(gguf: Gguf, *, rows: int) -> Vocabulary:
    """The tokens of a model whose embedding has ``rows``; BadSource if the file's lists do not fit together."""
    tokens = gguf.field("tokenizer.ggml.tokens", tuple)
    types = gguf.field("tokenizer.ggml.token_type", np.ndarray)
    different = len(set(tokens))
    if not different == len(tokens) == len(types) == rows:
        raise gguf.refuse(
            f"{len(tokens)} tokens ({different} different), {len(types)} token types and "
            f"a vocabulary of {rows} do not fit together"
        )
    ids = {}
    for role, key in ROLES.items():
        token_id = gguf.optional(f"tokenizer.ggml.{key}_token_id", int)
        if token_id is not None:
            if not 0 <= token_id < len(tokens):
                raise gguf.refuse(f"token {token_id} has a role, but there are {len(tokens)} tokens")
            ids[role] = token_id
    return Vocabulary(tokens=tokens, types=types, ids=ids)


def tokenizer_files(gguf: Gguf, vocabulary: Vocabulary, *, context: int) -> dict[str, Any]:
    """Make the contents of tokenizer.json, tokenizer_config.json and special_tokens_map.json.

    Raises: BadSource if the file's tokenizer is of a kind that is not known.
    """
    kind = gguf.field("tokenizer.ggml.model", str)
    if kind == "gpt2":
        tokenizer = _byte_level(gguf, vocabulary)
    elif kind == "llama":
        tokenizer = _sentencepiece(gguf, vocabulary)
    else:
        raise gguf.refuse(f"its tokenizer is of kind {kind[:100]!r}; gpt2 and llama are read", hint=_HINT)
    template = gguf.optional("tokenizer.chat_template", str)
    settings = {
        "add_prefix_space": False,
        **({} if template is None else {"chat_template": template}),
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        # The class that takes tokenizer.json as it is; GPT2Tokenizer would put GPT-2's splitting rule in its place.
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    roles = vocabulary.roles()
    return {
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": roles | settings,
        "special_tokens_map.json": roles,
    }


def _byte_level(gguf: Gguf, vocabulary: Vocabulary) -> dict[str, Any]:
    name = gguf.optional("tokenizer.ggml.pre", str) or "default"
    if name not in _RULES:
        raise gguf.refuse(
            f"tokenizer.ggml.pre is {name[:100]!r}, a rule for splitting text that is not known; "
            f"{', '.join(_RULES)} are",
            hint=_HINT,
        )
    rule = _RULES[name]
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": gguf.optional("tokenizer.ggml.add_space_prefix", bool) or False,
        "trim_offsets": True,
        "use_regex": rule.pattern is None,
    }
    return _tokenizer(
        gguf,
        vocabulary,
        normalizer=None if rule.normalizer is None else {"type": rule.normalizer},
        pre_tokenizer=_splitting(rule, byte_level),
        decoder={**byte_level, "use_regex": True},
        begins=rule.whole_words,
        model={
            "unk_token": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": rule.whole_words,
            "merges": gguf.field("tokenizer.ggml.merges", tuple),
        },
    )


def _splitting(rule: _Rule, byte_level: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any]
    if rule.pattern is not None:
        first = {"type": "Split", "pattern": {"Regex": rule.pattern}, "behavior": "Isolated", "invert": False}
    elif rule.digits_apart:
        first = {"type": "Digits", "individual_digits": True}
    else:
        return byte_level
    return {"type": "Sequence", "pretokenizers": [first, byte_level]}


def _sentencepiece(gguf: Gguf, vocabulary: Vocabulary) -> dict[str, Any]:
    scores = gguf.field("tokenizer.ggml.scores", np.ndarray)
    if len(scores) != len(vocabulary.tokens):
        raise gguf.refuse(f"{len(vocabulary.tokens)} tokens and {len(scores)} scores do not fit together")
    longest = max(map(len, vocabulary.tokens))
    if longest > _LONGEST_PIECE:
        raise gguf.refuse(f"it has a token of {longest} characters; for this tokenizer, {_LONGEST_PIECE} are read")
    spaced = gguf.optional("tokenizer.ggml.add_space_prefix", bool) is not False
    unknown = vocabulary.ids.get("unk_token")
    prepend = [{"type": "Prepend", "prepend": "▁"}] if spaced else []
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if spaced else []
    return _tokenizer(
        gguf,
        vocabulary,
        normalizer={
            "type": "Sequence",
            "normalizers": [*prepend, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}],
        },
        pre_tokenizer=None,
        decoder={
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                *strip,
            ],
        },
        begins=True,
        model={
            "unk_token": None if unknown is None else vocabulary.tokens[unknown],
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "merges": find_merges(vocabulary.tokens, scores, normal=vocabulary.types == NORMAL),
        },
    )


def _tokenizer(
    gguf: Gguf,
    vocabulary: Vocabulary,
    *,
    normalizer: dict[str, Any] | None,
    pre_tokenizer: dict[str, Any] | None,
    decoder: dict[str, Any],
    begins: bool,
    model: dict[str, Any],
) -> dict[str, Any]:
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added(gguf, vocabulary),
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": _framing(gguf, vocabulary, begins=begins),
        "decoder": decoder,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": model["unk_token"],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": model["fuse_unk"],
            "byte_fallback": model["byte_fallback"],
            "ignore_merges": model["ignore_merges"],
            "vocab": {token: token_id for token_id, token in enumerate(vocabulary.tokens)},
            "merges": model["merges"],
        },
    }


def _added(gguf: Gguf, vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """The tokens that are matched whole, before anything else looks at the text."""
    types = vocabulary.types
    unknown = vocabulary.ids.get("unk_token")
    # Phi-3 was trained without the spaces after its marks, which the file does not say (llama-vocab.cpp knows it too).
    swallowing = gguf.metadata.get("general.architecture") == "phi3"
    return [
        {
            "id": token_id,
            "content": vocabulary.tokens[token_id],
            "single_word": False,
            "lstrip": False,
            "rstrip": swallowing and vocabulary.tokens[token_id] not in {"<unk>", "<s>", "<|endoftext|>"},
            "normalized": False,
            "special": bool(types[token_id] != USER_DEFINED),
        }
        for token_id in np.flatnonzero((types == CONTROL) | (types == USER_DEFINED) | (types == UNKNOWN)).tolist()
        if types[token_id] != UNKNOWN or token_id == unknown
    ]


def _framing(gguf: Gguf, vocabulary: Vocabulary, *, begins: bool) -> dict[str, Any] | None:
    """What is put before and after each text; ``begins`` is meant where the file does not say."""
    stated = gguf.optional("tokenizer.ggml.add_bos_token", bool)
    first = _frame(gguf, vocabulary, role="bos_token") if (begins if stated is None else stated) else []
    last = _frame(gguf, vocabulary, role="eos_token") if gguf.optional("tokenizer.ggml.add_eos_token", bool) else []
    if not first and not last:
        return None
    parts = [*first, *last]

    def special(token: str, kind: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": kind}}

    def framed(name: str, kind: int) -> list[dict[str, Any]]:
        text = {"Sequence": {"id": name, "type_id": kind}}
        return [*(special(token, kind) for token in first), text, *(special(token, kind) for token in last)]

    return {
        "type": "TemplateProcessing",
        "single": framed("A", 0),
        "pair": [*framed("A", 0), *framed("B", 1)],
        "special_tokens": {
            token: {"id": token, "ids": [vocabulary.tokens.index(token)], "tokens": [token]} for token in parts
        },
    }


def _frame(gguf: Gguf, vocabulary: Vocabulary, *, role: str) -> list[str]:
    if role not in vocabulary.ids:
        raise gguf.refuse(f"each text is to have the {role}, but no token has that role")
    return [vocabulary.tokens[vocabulary.ids[role]]]

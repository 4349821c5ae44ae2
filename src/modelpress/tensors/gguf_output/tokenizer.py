"""The tokenizer as a GGUF file keeps it, made from Hugging Face's files.

A file with a wrong kind of tokenizer loads, and then every completion fails or is nonsense. So what the tokenizer is
must be known from tokenizer.json: a byte-level BPE with a known rule of splitting is "gpt2", a BPE as SentencePiece has
it is "llama"; anything else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelpress.errors import BadSource, Unsupported
from modelpress.tensors.gguf_output import encoding
from modelpress.tensors.gguf_output.splitting import KNOWN_RULES, splitting_rule

TOKENIZER, SETTINGS, ROLES_FILE = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
TEMPLATE, GENERATION = "chat_template.jinja", "generation_config.json"

# ggml's token types: a control token is special, a user-defined one is matched whole but is part of the text.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

#: transformers' names of the roles a token may have, and a GGUF file's.
_ROLES: Mapping[str, str] = MappingProxyType(
    {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
)
#: Some models' files do not mark these as special; llama.cpp has to know that they are no text.
_LOOKS_SPECIAL = re.compile(r"<\|.*\|>|<｜.*｜>", re.DOTALL)
_BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")
_SPACE = "▁"
_HINT = "compress it to another scheme, which keeps the tokenizer's own files"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFiles:
    """The parsed files; empty where there is none. ``template`` is the chat template that has a file of its own."""

    tokenizer: Mapping[str, Any]
    settings: Mapping[str, Any]
    roles: Mapping[str, Any]
    template: str | None
    #: config.json, whose ids of tokens hold where the files above say nothing.
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """The metadata, and what is to be told of it."""

    metadata: Mapping[str, bytes]
    note: str


def make_tokenizer(files: TokenizerFiles, *, rows: int) -> Tokenizer:
    """The metadata of a model whose embedding has ``rows``; rows without a token get a name and are never used.

    Raises: Unsupported if the kind of tokenizer is not known; BadSource if its lists do not fit together.
    """
    try:
        return _make_tokenizer(files, rows=rows)
    except UnicodeEncodeError as exc:
        raise BadSource(f"the tokenizer holds half a character: {exc.object[:100]!r}") from exc


def _make_tokenizer(files: TokenizerFiles, *, rows: int) -> Tokenizer:
    model = files.tokenizer.get("model")
    if not isinstance(model, dict):
        raise BadSource(f"{TOKENIZER} has no model")
    kind, rule = _kind(files.tokenizer, model)
    tokens = _Tokens(files.tokenizer, model, rows=rows)
    template = _templates(files)
    metadata = {
        "tokenizer.ggml.model": encoding.text(kind),
        "tokenizer.ggml.pre": encoding.text(rule),
        "tokenizer.ggml.tokens": encoding.texts(tokens.texts),
    }
    if kind == "llama":
        tokens.mark_sentencepiece(model)
        metadata["tokenizer.ggml.scores"] = encoding.f32s(_scores(model, tokens))
    metadata["tokenizer.ggml.token_type"] = encoding.i32s(tokens.types)
    if kind == "gpt2":
        metadata["tokenizer.ggml.merges"] = encoding.texts(_merges(model))
    metadata |= _roles(files, tokens)
    metadata |= _framing(files, begins=kind == "llama")
    metadata["tokenizer.ggml.add_space_prefix"] = encoding.boolean(kind == "llama" and _adds_space(files.tokenizer))
    padded = f", {tokens.padded} of them without a token" if tokens.padded else ""
    return Tokenizer(
        metadata=metadata | template,
        note=f"Its tokenizer is written as {kind!r} with the rule {rule!r}: {rows} rows{padded}.",
    )


def _kind(tokenizer: Mapping[str, Any], model: Mapping[str, Any]) -> tuple[str, str]:
    """llama.cpp's names of the kind and of the rule that splits text.

    Raises: Unsupported if there are none.
    """
    if model.get("type", "BPE") != "BPE":
        raise Unsupported(f"its tokenizer is of kind {str(model.get('type'))[:50]!r}; BPE is written", hint=_HINT)
    for setting in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(setting):
            raise Unsupported(f"its tokenizer has a {setting}, which llama.cpp has not", hint=_HINT)
    if model.get("byte_fallback") and _is_sentencepiece(tokenizer):
        return "llama", "default"
    if _normalizers(tokenizer.get("normalizer")) - {"NFC"}:
        raise Unsupported("its tokenizer changes text before it splits it, as llama.cpp does not", hint=_HINT)
    rule = splitting_rule(tokenizer.get("pre_tokenizer"), ignore_merges=bool(model.get("ignore_merges")))
    if rule is None:
        raise Unsupported(
            f"its tokenizer splits text by a rule that llama.cpp is not known to have; {', '.join(KNOWN_RULES)} are",
            hint=_HINT,
        )
    return "gpt2", rule


def _parts(value: object, name: str) -> list[Mapping[str, Any]]:
    """A step of the tokenizer, or the steps of a sequence of them."""
    if not isinstance(value, dict):
        return []
    inner = value.get(name)
    parts = inner if value.get("type") == "Sequence" and isinstance(inner, list) else [value]
    return [part for part in parts if isinstance(part, dict)]


def _normalizers(normalizer: object) -> set[str]:
    return {str(part.get("type")) for part in _parts(normalizer, "normalizers")}


def _is_sentencepiece(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a space becomes ▁, and nothing else happens to text."""
    normalizers = _parts(tokenizer.get("normalizer"), "normalizers")
    splitters = _parts(tokenizer.get("pre_tokenizer"), "pretokenizers")
    replaced = any(
        part.get("type") == "Replace" and part.get("pattern") == {"String": " "} and part.get("content") == _SPACE
        for part in normalizers
    )
    spaced = any(part.get("type") == "Metaspace" and part.get("replacement") == _SPACE for part in splitters)
    known = {str(part.get("type")) for part in normalizers} <= {"Prepend", "Replace"}
    # Gemma's files split at spaces too, of which there are none left then.
    return known and (replaced or spaced) and {str(p.get("type")) for p in splitters} <= {"Metaspace", "Split"}


def _adds_space(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a text begins with a space that is not there."""
    normalizers = _parts(tokenizer.get("normalizer"), "normalizers")
    if any(part.get("type") == "Prepend" and part.get("prepend") == _SPACE for part in normalizers):
        return True
    splitters = _parts(tokenizer.get("pre_tokenizer"), "pretokenizers")
    spaced = [part for part in splitters if part.get("type") == "Metaspace"]
    return any(
        part.get("prepend_scheme", "always") != "never" and part.get("add_prefix_space", True) for part in spaced
    )


class _Tokens:
    """The tokens by their ids and their types: one for each row of the embedding, each a text of its own."""

    def __init__(self, tokenizer: Mapping[str, Any], model: Mapping[str, Any], *, rows: int) -> None:
        self.types: NDArray[np.int32] = np.full(rows, UNUSED, np.int32)
        self.ids = self._vocabulary(model, rows=rows)
        texts: list[str | None] = [None] * rows
        for token, token_id in self.ids.items():
            texts[token_id] = token
        self.types[list(self.ids.values())] = NORMAL
        for added in _added(tokenizer):
            special = bool(added.get("special")) or _LOOKS_SPECIAL.fullmatch(str(added.get("content"))) is not None
            self._add(texts, added.get("content"), added.get("id"), kind=CONTROL if special else USER_DEFINED)
        self.padded = texts.count(None)
        self.texts = self._named(texts)

    @staticmethod
    def _vocabulary(model: Mapping[str, Any], *, rows: int) -> dict[str, int]:
        vocabulary = model.get("vocab")
        if not isinstance(vocabulary, dict) or set(map(type, vocabulary.values())) != {int}:
            raise BadSource(f"{TOKENIZER} has no vocabulary of tokens and their ids")
        for token, token_id in ((t, i) for t, i in vocabulary.items() if not 0 <= i < rows):
            raise _outside(token, token_id, rows)
        if len(set(vocabulary.values())) != len(vocabulary):
            raise BadSource(f"{TOKENIZER} has several tokens of one id")
        return dict(vocabulary)

    def _add(self, texts: list[str | None], token: object, token_id: object, *, kind: int) -> None:
        if not isinstance(token, str) or type(token_id) is not int:
            raise BadSource(f"{TOKENIZER} has an added token {token!r:.100} with the id {token_id!r:.100}")
        if not 0 <= token_id < len(texts):
            raise _outside(token, token_id, len(texts))
        if self.ids.setdefault(token, token_id) != token_id or texts[token_id] not in {None, token}:
            raise BadSource(f"{TOKENIZER} has two tokens {token[:100]!r}, or two with the id {token_id}")
        texts[token_id] = token
        self.types[token_id] = kind

    def _named(self, texts: Sequence[str | None]) -> list[str]:
        """A row that has no token is called as llama.cpp's converter calls it, which no other may be."""
        named = []
        for token_id, token in enumerate(texts):
            if token is None:
                token = f"[PAD{token_id}]"
                if token in self.ids:
                    raise BadSource(f"{TOKENIZER} has a token {token!r}, the name of a row that has none")
            elif token.startswith("[PAD") and token == f"[PAD{token_id}]":
                self.types[token_id] = UNUSED
            named.append(token)
        return named

    def mark_sentencepiece(self, model: Mapping[str, Any]) -> None:
        """Mark what SentencePiece's tokens alone can be: a byte, or what stands for an unknown character."""
        for token, token_id in self.ids.items():
            if _BYTE_TOKEN.fullmatch(token):
                self.types[token_id] = BYTE
        unknown = self.ids.get(str(model.get("unk_token")))
        if unknown is not None:
            self.types[unknown] = UNKNOWN


def _added(tokenizer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    added = tokenizer.get("added_tokens") or []
    if not isinstance(added, list) or not all(isinstance(entry, dict) for entry in added):
        raise BadSource(f"{TOKENIZER} has added_tokens that are no list of tokens")
    return added


def _outside(token: str, token_id: int, rows: int) -> BadSource:
    return BadSource(f"{TOKENIZER} gives token {token[:100]!r} the id {token_id}, but the embedding has {rows} rows")


def _merges(model: Mapping[str, Any]) -> list[str]:
    """The pairs of tokens that are joined, the first first, with a space between; as older files have them."""
    merges = model.get("merges")
    try:
        if not isinstance(merges, list):
            raise TypeError
        lines = [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
    except TypeError as exc:
        raise BadSource(f"{TOKENIZER} has no list of merges") from exc
    for line in lines:
        if line.count(" ") != 1:
            raise BadSource(f"{TOKENIZER} has a merge {line[:100]!r}, which is no pair of tokens")
    return lines


def _scores(model: Mapping[str, Any], tokens: _Tokens) -> NDArray[np.float32]:
    """SentencePiece's scores: of two tokens that might be joined next, the one of the earlier merge has the higher.

    What no merge makes is below them all.
    """
    merges = _merges(model)
    scores = np.full(len(tokens.texts), -float(len(merges)) - 1, np.float32)
    scores[tokens.types != NORMAL] = 0
    for place in range(len(merges) - 1, -1, -1):
        token_id = tokens.ids.get(merges[place].replace(" ", ""))
        if token_id is None:
            raise BadSource(f"{TOKENIZER} joins {merges[place][:100]!r}, which make no token")
        scores[token_id] = float(-place)
    return scores


def _roles(files: TokenizerFiles, tokens: _Tokens) -> dict[str, bytes]:
    """The tokens with a role: by their text, or else by the id that config.json gives."""
    found = {}
    for role, key in _ROLES.items():
        token_id = None
        for source in (files.settings, files.roles):
            token = source.get(role)
            token = token.get("content") if isinstance(token, dict) else token
            if token_id is None and isinstance(token, str):
                token_id = tokens.ids.get(token)
        if token_id is None:
            stated = files.config.get(f"{role}_id")
            stated = stated[0] if isinstance(stated, list) and stated else stated
            token_id = stated if type(stated) is int and 0 <= stated < len(tokens.texts) else None
        if token_id is not None:
            found[f"tokenizer.ggml.{key}_token_id"] = encoding.u32(token_id)
    return found


def _framing(files: TokenizerFiles, *, begins: bool) -> dict[str, bytes]:
    """Whether each text begins with the first token and ends with the last.

    What the settings say is what transformers' Llama does; else what the tokenizer's own template does; ``begins``
    is SentencePiece's way where neither says anything.
    """
    first, last = _framed(files)
    stated_first, stated_last = files.settings.get("add_bos_token"), files.settings.get("add_eos_token")
    if isinstance(stated_first, bool):
        first = stated_first
    elif first is None:
        first = begins
    if isinstance(stated_last, bool):
        last = stated_last
    return {
        "tokenizer.ggml.add_bos_token": encoding.boolean(first),
        "tokenizer.ggml.add_eos_token": encoding.boolean(bool(last)),
    }


def _framed(files: TokenizerFiles) -> tuple[bool | None, bool | None]:
    """What the template puts before and after a text; None where there is no template."""
    for part in _parts(files.tokenizer.get("post_processor"), "processors"):
        single = part.get("single")
        if part.get("type") == "TemplateProcessing" and isinstance(single, list) and single:
            return _is_special(single[0]), len(single) > 1 and _is_special(single[-1])
    return None, None


def _is_special(piece: object) -> bool:
    return isinstance(piece, dict) and "SpecialToken" in piece


def _templates(files: TokenizerFiles) -> dict[str, bytes]:
    """The chat template, and those that have a name."""
    stated = files.template if files.template is not None else files.settings.get("chat_template")
    if isinstance(stated, str):
        return {"tokenizer.chat_template": encoding.text(stated)}
    entries = stated if isinstance(stated, list) else []
    named = {
        entry["name"]: entry["template"]
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("template"), str)
    }
    found = {"tokenizer.chat_template": encoding.text(named.pop("default"))} if "default" in named else {}
    names = [name for name in named if re.fullmatch(r"\w{1,50}", name, re.ASCII)]
    if names:
        found["tokenizer.chat_templates"] = encoding.texts(names)
    return found | {f"tokenizer.chat_template.{name}": encoding.text(named[name]) for name in names}

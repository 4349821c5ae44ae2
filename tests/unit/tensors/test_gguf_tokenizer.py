"""Tokenizers in GGUF's words: known kinds are told from others by what they are, and odd files are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from modelpress.errors import BadSource, Unsupported
from modelpress.tensors.gguf_output import encoding
from modelpress.tensors.gguf_output.splitting import splitting_rule
from modelpress.tensors.gguf_output.tokenizer import TokenizerFiles, make_tokenizer

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BYTES_ONLY = BYTE_LEVEL | {"use_regex": False}
DIGITS = {"type": "Digits", "individual_digits": True}
# As these models' own files have them.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK3 = (
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^"""
    + "\r\n"
    + r"\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+["
    + "\r\n"
    + r"]*|\s*["
    + "\r\n"
    + r"]+|\s+(?!\S)|\s+",
)


def split(*expressions: str, behavior: str = "Isolated", invert: bool = False) -> dict[str, Any]:
    parts = [
        {"type": "Split", "pattern": {"Regex": expression}, "behavior": behavior, "invert": invert}
        for expression in expressions
    ]
    return {"type": "Sequence", "pretokenizers": [*parts, BYTES_ONLY]}


@pytest.mark.parametrize(
    ("pre_tokenizer", "ignore_merges", "rule"),
    [
        (BYTE_LEVEL, False, "gpt-2"),
        ({"type": "Sequence", "pretokenizers": [DIGITS, BYTE_LEVEL]}, False, "smollm"),
        (split(LLAMA3), True, "llama-bpe"),
        (split(LLAMA3), False, "dbrx"),
        (split(LLAMA3, behavior="Removed", invert=True), False, "dbrx"),
        (split(QWEN2), False, "qwen2"),
        (split(TEKKEN), True, "tekken"),
        (split(GPT4O), False, "gpt-4o"),
        (split(*DEEPSEEK3), False, "deepseek-v3"),
        (split(LLAMA3 + "|x"), True, None),
        (split(*DEEPSEEK3, behavior="Removed", invert=True), False, None),
        (split(LLAMA3, behavior="MergedWithNext"), True, None),
        (BYTE_LEVEL | {"add_prefix_space": True}, False, None),
        (DIGITS | {"individual_digits": False}, False, None),
        ({"type": "Whitespace"}, False, None),
        ({"type": "Sequence", "pretokenizers": "none"}, False, None),
        ({"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated", "invert": False}, False, None),
        (None, False, None),
        (7, False, None),
    ],
)
def test_a_rule_is_told_by_its_expressions(pre_tokenizer: object, ignore_merges: bool, rule: str | None) -> None:
    assert splitting_rule(pre_tokenizer, ignore_merges=ignore_merges) == rule


def byte_level(**changes: Any) -> dict[str, Any]:
    """A tokenizer.json of four tokens and a special one; ``changes`` are to its model, or to itself by ``_`` names."""
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "Ġa": 3}, "merges": ["a b", ["Ġ", "a"]]}
    whole = {
        "added_tokens": [{"id": 4, "content": "<|end|>", "special": True}],
        "pre_tokenizer": BYTE_LEVEL,
        "model": model | {key: value for key, value in changes.items() if not key.startswith("_")},
    }
    return whole | {key[1:]: value for key, value in changes.items() if key.startswith("_")}


SENTENCEPIECE = byte_level(
    vocab={"<unk>": 0, "<0x41>": 1, "▁": 2, "a": 3, "▁a": 4},
    merges=["▁ a"],
    byte_fallback=True,
    unk_token="<unk>",
    _added_tokens=[{"id": 0, "content": "<unk>", "special": True}, {"id": 5, "content": "<s>", "special": True}],
    _normalizer={
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ],
    },
    _pre_tokenizer=None,
    _post_processor={
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    },
)


def made(tokenizer: Mapping[str, Any], *, rows: int = 6, **files: Any) -> Mapping[str, bytes]:
    said = {"settings": {}, "roles": {}, "template": None, "config": {}} | files
    return make_tokenizer(TokenizerFiles(tokenizer=tokenizer, **said), rows=rows).metadata


def types(metadata: Mapping[str, bytes]) -> list[int]:
    numbers: NDArray[np.int32] = np.frombuffer(metadata["tokenizer.ggml.token_type"][16:], "<i4")
    return list(map(int, numbers))


def test_rows_without_a_token_are_named_and_never_used() -> None:
    metadata = made(byte_level(), rows=7)
    assert metadata["tokenizer.ggml.tokens"] == encoding.texts(["a", "b", "ab", "Ġa", "<|end|>", "[PAD5]", "[PAD6]"])
    assert types(metadata) == [1, 1, 1, 1, 3, 5, 5]
    assert metadata["tokenizer.ggml.merges"] == encoding.texts(["a b", "Ġ a"])


def test_sentencepieces_kind_has_scores_bytes_and_an_unknown_token() -> None:
    metadata = made(SENTENCEPIECE)
    assert metadata["tokenizer.ggml.model"] == encoding.text("llama")
    assert types(metadata) == [2, 6, 1, 1, 1, 3]
    assert metadata["tokenizer.ggml.scores"] == encoding.f32s([0, 0, -2, -2, 0, 0])
    assert metadata["tokenizer.ggml.add_bos_token"] == encoding.boolean(True)
    assert metadata["tokenizer.ggml.add_space_prefix"] == encoding.boolean(True)
    assert "tokenizer.ggml.merges" not in metadata


def test_roles_are_tokens_by_text_or_else_by_the_id_in_the_config() -> None:
    metadata = made(
        byte_level(),
        settings={"eos_token": {"content": "<|end|>"}, "bos_token": "nowhere"},
        roles={"pad_token": "b"},
        config={"bos_token_id": 1, "eos_token_id": [0, 4], "pad_token_id": 99},
    )
    ids = {key: value for key, value in metadata.items() if key.endswith("_token_id")}
    assert ids == {
        "tokenizer.ggml.bos_token_id": encoding.u32(1),
        "tokenizer.ggml.eos_token_id": encoding.u32(4),
        "tokenizer.ggml.padding_token_id": encoding.u32(1),
    }


@pytest.mark.parametrize(
    ("settings", "begins"), [({}, False), ({"add_bos_token": True}, True), ({"add_bos_token": None}, False)]
)
def test_a_text_begins_as_the_settings_say(settings: dict[str, Any], begins: bool) -> None:
    metadata = made(byte_level(), settings=settings)
    assert metadata["tokenizer.ggml.add_bos_token"] == encoding.boolean(begins)


def test_a_template_of_its_own_file_comes_first_and_named_ones_keep_their_names() -> None:
    assert made(byte_level(), settings={"chat_template": "no"}, template="yes")[
        "tokenizer.chat_template"
    ] == encoding.text("yes")
    entries = [{"name": "default", "template": "one"}, {"name": "tool_use", "template": "two"}, {"name": "../x"}, 7]
    metadata = made(byte_level(), settings={"chat_template": entries})
    assert metadata["tokenizer.chat_template"] == encoding.text("one")
    assert metadata["tokenizer.chat_template.tool_use"] == encoding.text("two")
    assert metadata["tokenizer.chat_templates"] == encoding.texts(["tool_use"])


@pytest.mark.parametrize(
    ("tokenizer", "error", "what"),
    [
        ({}, BadSource, "no model"),
        (byte_level(type="Unigram"), Unsupported, "Unigram"),
        (byte_level(type="WordPiece"), Unsupported, "WordPiece"),
        (byte_level(end_of_word_suffix="</w>"), Unsupported, "end_of_word_suffix"),
        (byte_level(_pre_tokenizer={"type": "Whitespace"}), Unsupported, "rule"),
        (byte_level(_normalizer={"type": "Lowercase"}), Unsupported, "changes text"),
        (byte_level(ignore_merges=True), Unsupported, "rule"),
        (byte_level(vocab={}), BadSource, "vocabulary"),
        (byte_level(vocab=["a"]), BadSource, "vocabulary"),
        (byte_level(vocab={"a": "0"}), BadSource, "vocabulary"),
        (byte_level(vocab={"a": True}), BadSource, "vocabulary"),
        (byte_level(vocab={"a": 10**30}), BadSource, "6 rows"),
        (byte_level(vocab={"a": -1}), BadSource, "6 rows"),
        (byte_level(vocab={"a": 0, "b": 0}), BadSource, "one id"),
        (byte_level(vocab={"[PAD5]": 0}), BadSource, "PAD5"),
        (byte_level(vocab={"half \ud800": 0}), BadSource, "half a character"),
        (byte_level(merges=None), BadSource, "merges"),
        (byte_level(merges=["a b c"]), BadSource, "no pair"),
        (byte_level(merges=["ab"]), BadSource, "no pair"),
        (byte_level(merges=[["a", 1]]), BadSource, "merges"),
        (byte_level(merges=[7]), BadSource, "merges"),
        (byte_level(_added_tokens=[{"id": 6, "content": "x"}]), BadSource, "6 rows"),
        (byte_level(_added_tokens=[{"id": 0, "content": "x"}]), BadSource, "two with the id 0"),
        (byte_level(_added_tokens=[{"id": 5, "content": "a"}]), BadSource, "two tokens 'a'"),
        (byte_level(_added_tokens=[{"id": None, "content": "x"}]), BadSource, "added token"),
        (byte_level(_added_tokens={"id": 5}), BadSource, "added_tokens"),
        (SENTENCEPIECE | {"model": SENTENCEPIECE["model"] | {"merges": ["a a"]}}, BadSource, "make no token"),
    ],
)
def test_odd_tokenizers_are_refused(tokenizer: dict[str, Any], error: type[Exception], what: str) -> None:
    with pytest.raises(error, match=what):
        made(tokenizer)

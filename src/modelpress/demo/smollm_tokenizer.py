"""SmolLM's tokenizer in Hugging Face's files, built from what a GGUF file keeps of it.

A GGUF file keeps the tokens, their types, the merges and the *name* of the splitting rule. The rule must be known:
"smollm" cuts out every digit alone and then applies GPT-2's pattern (llama.cpp, LLAMA_VOCAB_PRE_TYPE_SMOLLM).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from modelpress.errors import BadSource
from modelpress.tensors.gguf.header import Gguf

# ggml's token types: a control token is special, a user-defined one is matched whole but is part of the text.
CONTROL, USER_DEFINED = 3, 4

#: What the file must say for the rule above to be its own.
EXPECTED: Mapping[str, str | bool] = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.ggml.add_space_prefix": False,
}

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def special_ids(gguf: Gguf) -> dict[str, int]:
    """Give the ids of the four tokens with a role, by transformers' names of the roles."""
    keys = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    return {role: gguf.field(f"tokenizer.ggml.{key}_token_id", int) for role, key in keys.items()}


def tokenizer_files(gguf: Gguf, *, context: int) -> dict[str, object]:
    """Make the contents of tokenizer.json, tokenizer_config.json and special_tokens_map.json.

    Raises: BadSource if the file's tokenizer is another than SmolLM's, or its lists do not fit together.
    """
    for key, expected in EXPECTED.items():
        if (found := gguf.field(key, type(expected))) != expected:
            raise BadSource(f"{gguf.file}: {key} is {found!r}, the tokenizer of SmolLM has {expected!r}")
    tokens = gguf.field("tokenizer.ggml.tokens", tuple)
    roles = {role: _token(gguf, tokens, token_id) for role, token_id in special_ids(gguf).items()}
    settings = {
        "add_prefix_space": False,
        "chat_template": gguf.field("tokenizer.chat_template", str),
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        # The class that takes tokenizer.json as it is; GPT2Tokenizer would put GPT-2's splitting rule in its place.
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    return {
        "tokenizer.json": _tokenizer(gguf, tokens),
        "tokenizer_config.json": roles | settings,
        "special_tokens_map.json": roles,
    }


def _token(gguf: Gguf, tokens: tuple[str, ...], token_id: int) -> str:
    if token_id >= len(tokens):
        raise BadSource(f"{gguf.file}: token {token_id} has a role, but there are {len(tokens)} tokens")
    return tokens[token_id]


def _tokenizer(gguf: Gguf, tokens: tuple[str, ...]) -> dict[str, object]:
    vocabulary = {token: token_id for token_id, token in enumerate(tokens)}
    types = gguf.field("tokenizer.ggml.token_type", np.ndarray)
    if not len(vocabulary) == len(tokens) == len(types) == gguf.field("llama.vocab_size", int):
        raise BadSource(
            f"{gguf.file}: {len(tokens)} tokens ({len(vocabulary)} different), {len(types)} token types and "
            f"a vocabulary of {gguf.metadata['llama.vocab_size']} do not fit together"
        )
    added = [
        {
            "id": token_id,
            "content": tokens[token_id],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": bool(types[token_id] == CONTROL),
        }
        for token_id in np.flatnonzero((types == CONTROL) | (types == USER_DEFINED)).tolist()
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTE_LEVEL],
        },
        "post_processor": None,
        "decoder": _BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": gguf.field("tokenizer.ggml.merges", tuple),
        },
    }

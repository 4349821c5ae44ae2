"""A llama of random weights that truly runs, with a tokenizer of one token a byte: written without torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_HEADS = 4
#: The bytes, and the end of a text.
_VOCABULARY = 257
_END = "<|end|>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of the model. ``hidden`` is the width of hidden states, ``inner`` of the feed-forward network."""

    blocks: int
    hidden: int = 128
    inner: int = 256


def write_llama(directory: Path, sizes: Sizes) -> None:
    """A checkpoint in bf16 of one file, the same at every call; models and tokenizers of transformers load it."""
    directory.mkdir(parents=True)
    _write_weights(directory / "model.safetensors", dict(_weights(sizes)))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.inner,
        "num_hidden_layers": sizes.blocks,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _HEADS,
        "vocab_size": _VOCABULARY,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": _VOCABULARY - 1,
    }
    _write_json(directory / "config.json", config)
    _write_json(directory / "tokenizer.json", _tokenizer())
    _write_json(directory / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": _END})


def write_texts(file: Path, sources: list[Path]) -> None:
    """A JSONL file of the paragraphs of texts."""
    file.parent.mkdir(parents=True, exist_ok=True)
    paragraphs = [part for source in sources for part in source.read_text(encoding="utf-8").split("\n\n")]
    file.write_text("".join(json.dumps({"text": part}) + "\n" for part in paragraphs), encoding="utf-8")


def _weights(sizes: Sizes) -> Iterator[tuple[str, NDArray[np.float32]]]:
    random = np.random.default_rng(20260102)

    def matrix(rows: int, columns: int) -> NDArray[np.float32]:
        # Rows of unlike sizes, so that the inputs of the next layer are unlike, as trained models' are.
        spread = np.exp(random.standard_normal(rows)[:, None] / 2)
        numbers: NDArray[np.float64] = spread * random.standard_normal((rows, columns)) / np.sqrt(columns)
        return numbers.astype(np.float32)

    hidden, inner = sizes.hidden, sizes.inner
    yield "model.embed_tokens.weight", matrix(_VOCABULARY, hidden)
    for number in range(sizes.blocks):
        block = f"model.layers.{number}"
        for part in "qkvo":
            yield f"{block}.self_attn.{part}_proj.weight", matrix(hidden, hidden)
        for part in ("gate", "up"):
            yield f"{block}.mlp.{part}_proj.weight", matrix(inner, hidden)
        yield f"{block}.mlp.down_proj.weight", matrix(hidden, inner)
        for part in ("input", "post_attention"):
            yield f"{block}.{part}_layernorm.weight", np.ones(hidden, dtype=np.float32)
    yield "model.norm.weight", np.ones(hidden, dtype=np.float32)
    yield "lm_head.weight", matrix(_VOCABULARY, hidden)


def _write_weights(file: Path, weights: Mapping[str, NDArray[np.float32]]) -> None:
    entries, end = {}, 0
    for name, numbers in weights.items():
        place = [end, end + numbers.size * 2]
        entries[name] = {"dtype": "BF16", "shape": list(numbers.shape), "data_offsets": place}
        end = place[1]
    text = json.dumps(entries).encode()
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for numbers in weights.values():
            # The upper half of a float32 is a bf16.
            out.write((numbers.view(np.uint32) >> 16).astype(np.uint16).data)


def _tokenizer() -> Mapping[str, object]:
    """Of byte-level BPE without a single merge."""
    end = {"id": _VOCABULARY - 1, "content": _END, "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [end | flags],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {letter: number for number, letter in enumerate(_letters())},
            "merges": [],
        },
    }


def _letters() -> Iterator[str]:
    """What byte-level BPE writes for each byte: itself where it can be seen, else the next letter above them all."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    above = iter(range(0x100, 0x200))
    return (chr(byte if byte in seen else next(above)) for byte in range(256))


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")

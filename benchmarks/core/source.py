"""Synthetic models in the shapes of real ones: random bf16 weights as large as trained ones are, made once and kept.

    python -m benchmarks.core.source NAME DIRECTORY

makes one; benchmarks do that in a process of its own, since numpy would make the measuring process large.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from benchmarks.core.place import ROOT, fits, tell

#: Part of the directories' names: what is written otherwise from now on gets a new one.
_FORM = "3"
_BLOCK_NUMBERS = 1 << 25
#: The standard deviation of weights of trained models of these sizes.
_SCALE = 0.02
_MOST_TOKENS = 151_643

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """A model of the Qwen2 family by its sizes, in ``files`` safetensors files."""

    hidden: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    words: int
    tied: bool
    files: int
    #: Full of holes, which take no room on the disk and read as zeros.
    sparse: bool = False
    #: Ends of the names of the tensors that there are; all of them, if none is given.
    kept: tuple[str, ...] = ("",)

    def tensors(self) -> Iterator[tuple[str, Shape]]:
        """Names and shapes, in the order of the files."""
        return ((name, shape) for name, shape in self._whole() if name.endswith(self.kept))

    def _whole(self) -> Iterator[tuple[str, Shape]]:
        narrow = self.hidden // self.heads * self.key_heads
        yield "model.embed_tokens.weight", (self.words, self.hidden)
        for layer in range(self.layers):
            of = f"model.layers.{layer}"
            for name, rows in (("q", self.hidden), ("k", narrow), ("v", narrow)):
                yield f"{of}.self_attn.{name}_proj.weight", (rows, self.hidden)
                yield f"{of}.self_attn.{name}_proj.bias", (rows,)
            yield f"{of}.self_attn.o_proj.weight", (self.hidden, self.hidden)
            yield f"{of}.mlp.gate_proj.weight", (self.inner, self.hidden)
            yield f"{of}.mlp.up_proj.weight", (self.inner, self.hidden)
            yield f"{of}.mlp.down_proj.weight", (self.hidden, self.inner)
            yield f"{of}.input_layernorm.weight", (self.hidden,)
            yield f"{of}.post_attention_layernorm.weight", (self.hidden,)
        yield "model.norm.weight", (self.hidden,)
        if not self.tied:
            yield "lm_head.weight", (self.words, self.hidden)

    @property
    def size_bytes(self) -> int:
        """Bytes of all weights."""
        return sum(2 * math.prod(shape) for _, shape in self.tensors())

    def config(self) -> dict[str, object]:
        """What loaders and compressors want to know."""
        return {
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_heads,
            "vocab_size": self.words,
            "tie_word_embeddings": self.tied,
            "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1e6,
            "hidden_act": "silu",
            "dtype": "bfloat16",
            "torch_dtype": "bfloat16",
        }


#: ``tiny`` is for what does not depend on size; ``huge`` has a linear weight and an embedding of 4 GiB each.
MODELS = {
    "tiny": Shapes(hidden=256, inner=512, layers=2, heads=4, key_heads=2, words=512, tied=True, files=1),
    "0.5B": Shapes(hidden=896, inner=4864, layers=24, heads=14, key_heads=2, words=151936, tied=True, files=4),
    "1.5B": Shapes(hidden=1536, inner=8960, layers=28, heads=12, key_heads=2, words=151936, tied=True, files=3),
    "7B": Shapes(hidden=3584, inner=18944, layers=28, heads=28, key_heads=4, words=152064, tied=False, files=4),
    "huge": Shapes(
        hidden=8192,
        inner=262144,
        layers=1,
        heads=64,
        key_heads=8,
        words=262144,
        tied=True,
        files=1,
        sparse=True,
        kept=("embed_tokens.weight", "down_proj.weight", "norm.weight"),
    ),
}


def source(name: str) -> Path | None:
    """The directory of the model, made if it is not there; None if the disk has no room for it."""
    directory = ROOT / f"source-{_FORM}" / name
    if not directory.exists():
        shapes = MODELS[name]
        if not shapes.sparse and not fits(shapes.size_bytes):
            tell(f"no room for the {name} model of {shapes.size_bytes / 1e9:.1f} GB below {ROOT}: left out")
            return None
        tell(f"making the {name} model of {shapes.size_bytes / 1e9:.1f} GB")
        subprocess.run([sys.executable, "-m", "benchmarks.core.source", name, str(directory)], check=True)
    return directory


def weight_bytes(directory: Path) -> int:
    """Bytes of the safetensors files."""
    return sum(file.stat().st_size for file in directory.glob("*.safetensors"))


def make(shapes: Shapes, directory: Path) -> None:
    """Write the model, under its name only when it is whole."""
    partial = directory.with_name(f".{directory.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    (partial / "config.json").write_text(json.dumps(shapes.config(), indent=1), encoding="utf-8")
    (partial / "tokenizer.json").write_text(json.dumps(_tokenizer(shapes.words), indent=1), encoding="utf-8")
    tensors = list(shapes.tensors())
    each = -(-len(tensors) // shapes.files)
    names = [f"model-{number + 1:05}-of-{shapes.files:05}.safetensors" for number in range(shapes.files)]
    names = ["model.safetensors"] if shapes.files == 1 else names
    block = None if shapes.sparse else _random_block()
    weight_map = {}
    for number, name in enumerate(names):
        part = tensors[number * each : (number + 1) * each]
        _write_file(partial / name, part, block)
        weight_map.update({tensor: name for tensor, _ in part})
    if shapes.files > 1:
        index = {"metadata": {"total_size": shapes.size_bytes}, "weight_map": weight_map}
        (partial / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    os.sync()
    partial.rename(directory)


def _tokenizer(words: int) -> dict[str, object]:
    """A byte-level BPE, which joins any two symbols, then any three, until there are as many tokens as Qwen2 has."""
    letters = [chr(0x100 + number) for number in range(256)]
    pairs = [(first, second) for first in letters for second in letters]
    triples = ((first + second, third) for first, second in pairs for third in letters)
    merges = list(islice(chain(pairs, triples), min(words, _MOST_TOKENS) - len(letters)))
    tokens = letters + ["".join(merge) for merge in merges]
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True},
        "decoder": {"type": "ByteLevel"},
        "model": {
            "type": "BPE",
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [" ".join(merge) for merge in merges],
        },
    }


def _random_block() -> memoryview:
    """Normal random numbers as bf16, which all tensors are cut out of: nothing depends on their being alike."""
    import numpy as np

    numbers = np.random.default_rng(7).standard_normal(_BLOCK_NUMBERS, dtype=np.float32) * np.float32(_SCALE)
    return memoryview((numbers.view(np.uint32) >> 16).astype("<u2").view(np.uint8).data)


def _write_file(path: Path, tensors: list[tuple[str, Shape]], block: memoryview | None) -> None:
    entries, end = {}, 0
    for name, shape in tensors:
        size = 2 * math.prod(shape)
        entries[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb", buffering=0) as file:
        file.write(len(header).to_bytes(8, "little") + header)
        if block is None:
            file.truncate(8 + len(header) + end)
            return
        for start in range(0, end, len(block)):
            rest = block[: min(len(block), end - start)]
            while rest:
                rest = rest[file.write(rest) :]


if __name__ == "__main__":
    make(MODELS[sys.argv[1]], Path(sys.argv[2]))

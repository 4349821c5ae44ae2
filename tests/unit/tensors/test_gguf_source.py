"""GGUF files as checkpoints: what they become, what is refused, and that nothing after them needs to know."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpress.domain.wish import Wish, make_recipe
from modelpress.errors import BadSource
from modelpress.tensors.checkpoint import Checkpoint, open_checkpoint
from modelpress.tensors.folder import LocalFolder, folder_of
from modelpress.tensors.gguf.sentencepiece import find_merges
from modelpress.tensors.plan import make_plan
from modelpress.worker.press import press
from tests.unit.gguf_models import KINDS, PIECES, VOCABULARY, floats, tiny_model
from tests.unit.gguf_writer import F32, Q8_0, MetadataValue, StoredTensor, gguf_bytes


def opened(
    place: Path,
    kind: str,
    *,
    metadata: Mapping[str, MetadataValue] | None = None,
    tensors: Mapping[str, StoredTensor | None] | None = None,
) -> Checkpoint:
    """The tiny model with some metadata and tensors replaced, or with None taken away."""
    stated, stored = tiny_model(kind)
    merged = {**stored, **(tensors or {})}
    whole = gguf_bytes({**stated, **(metadata or {})}, {name: it for name, it in merged.items() if it is not None})
    (place / "model.gguf").write_bytes(whole)
    return open_checkpoint(LocalFolder(place))


def content(checkpoint: Checkpoint, name: str) -> Any:
    (document,) = (each for each in checkpoint.documents if each.name == name)
    return json.loads(document.content)


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_is_compressed_and_verified(tmp_path: Path, kind: str) -> None:
    opened(tmp_path, kind)
    recipe = make_recipe(Wish(strategy="Quantization", weight="W8A16C16"))
    plan, statistics = press(LocalFolder(tmp_path), recipe, tmp_path / "output", report=lambda _progress: None)
    assert statistics.source_bytes == (tmp_path / "model.gguf").stat().st_size
    assert {"config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"} <= {
        path.name for path in (tmp_path / "output").iterdir()
    }
    config = json.loads((tmp_path / "output" / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "compressed-tensors"
    assert any(note.startswith("model.gguf is read as bf16") for note in plan.notes)


def test_a_stack_of_experts_becomes_one_tensor_an_expert(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, "qwen2moe")
    shapes = {tensor.spec.name: tensor.spec.shape for tensor in checkpoint.tensors}
    for expert in range(4):
        assert shapes[f"model.layers.1.mlp.experts.{expert}.gate_proj.weight"] == (32, 64)
        assert shapes[f"model.layers.1.mlp.experts.{expert}.down_proj.weight"] == (64, 32)
    assert shapes["model.layers.0.mlp.shared_expert_gate.weight"] == (1, 64)
    assert {tensor.spec.dtype for tensor in checkpoint.tensors} == {"BF16"}
    assert len(shapes) == len(checkpoint.tensors)


EXPECTED: Mapping[str, Mapping[str, object]] = {
    "llama": {"model_type": "llama", "attention_bias": False, "tie_word_embeddings": False, "rope_scaling": None},
    "llama with biases and stretched positions": {
        "attention_bias": True,
        "tie_word_embeddings": True,
        "pad_token_id": None,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    },
    "mixtral": {"architectures": ["MixtralForCausalLM"], "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2 with yarn": {
        "rope_scaling": {
            "rope_type": "yarn",
            "type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    },
    "qwen3": {"head_dim": 32, "attention_bias": False},
    "qwen2moe": {"norm_topk_prob": False, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 48},
    "qwen3moe": {"norm_topk_prob": True, "num_experts": 4},
    "gemma2": {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "query_pre_attn_scalar": 32},
    "gemma3": {"model_type": "gemma3_text", "sliding_window": 4, "rope_local_base_freq": 10000.0},
    "phi3": {"original_max_position_embeddings": 1024, "partial_rotary_factor": 1.0},
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_config_says_what_the_metadata_says(tmp_path: Path, kind: str) -> None:
    config = opened(tmp_path, kind).config
    assert {key: config[key] for key in EXPECTED[kind]} == EXPECTED[kind]
    assert (config["vocab_size"], config["hidden_size"], config["torch_dtype"]) == (VOCABULARY, 64, "bfloat16")


def test_text_ends_at_the_end_of_a_turn_too(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, "gemma2", metadata={"tokenizer.ggml.eot_token_id": 7})
    assert content(checkpoint, "generation_config.json")["eos_token_id"] == [2, 7]


@pytest.mark.parametrize(
    ("begin", "end", "single"),
    [(True, True, ["<begin>", "A", "<end>"]), (True, False, ["<begin>", "A"]), (False, True, ["A", "<end>"])],
)
def test_texts_get_the_tokens_that_the_file_asks_for(tmp_path: Path, begin: bool, end: bool, single: list[str]) -> None:
    metadata = {"tokenizer.ggml.add_bos_token": begin, "tokenizer.ggml.add_eos_token": end}
    framing = content(opened(tmp_path, "qwen2", metadata=metadata), "tokenizer.json")["post_processor"]
    assert [next(iter(part.values()))["id"] for part in framing["single"]] == single
    assert set(framing["special_tokens"]) == set(single) - {"A"}


def test_merges_are_in_the_order_of_the_scores_and_only_of_tokens_that_are_joined() -> None:
    tokens = ("a", "b", "c", "ab", "abc", "bc", "aa", "x")
    scores = np.array([-9, -9, -9, -2, -1, -3, 0, 0], np.float32)
    normal = np.array([True, True, True, True, True, True, False, True])
    assert find_merges(tokens, scores, normal=normal) == [("a", "bc"), ("ab", "c"), ("a", "b"), ("b", "c")]


def test_a_tokenizer_beside_the_file_is_carried_over_and_none_is_made(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "config.json").write_text('{"architectures": ["Other"]}')
    checkpoint = opened(tmp_path, "llama", metadata={"tokenizer.ggml.pre": "one of next year"})
    assert [document.name for document in checkpoint.documents] == ["generation_config.json"]
    assert [side_file.name for side_file in checkpoint.side_files] == ["tokenizer.json"]
    assert checkpoint.architecture == "LlamaForCausalLM"


def test_weights_that_were_rounded_before_are_told(tmp_path: Path) -> None:
    rounded = StoredTensor(shape=(VOCABULARY, 64), number=Q8_0, data=bytes(VOCABULARY * 2 * 34))
    checkpoint = opened(tmp_path, "llama", tensors={"output.weight": rounded})
    (_, note) = checkpoint.notes
    assert note.startswith("1 of its 21 tensors were rounded before: Q8_0 (1).")
    assert len(opened(tmp_path, "llama").notes) == 1


def test_equal_files_make_equal_plans_in_every_process(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, "mixtral")
    recipe = make_recipe(Wish(strategy="Quantization", weight="W4A16C16"))
    assert make_plan(checkpoint, recipe).digest == make_plan(open_checkpoint(LocalFolder(tmp_path)), recipe).digest
    # An address in a text would make it another plan after a restart.
    assert not any(" at 0x" in repr(tensor.rows) for tensor in checkpoint.tensors)


def test_one_file_of_several_is_a_model_by_itself(tmp_path: Path) -> None:
    opened(tmp_path, "llama")
    (tmp_path / "other.gguf").write_bytes((tmp_path / "model.gguf").read_bytes())
    with pytest.raises(BadSource, match=r"it has 2 GGUF files, first 'model\.gguf'"):
        open_checkpoint(LocalFolder(tmp_path))
    assert open_checkpoint(folder_of(tmp_path / "other.gguf")).shards == ("other.gguf",)


def test_weights_in_safetensors_come_before_a_gguf_file_beside_them(tmp_path: Path) -> None:
    opened(tmp_path, "llama")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(BadSource, match=r"no config\.json"):
        open_checkpoint(LocalFolder(tmp_path))


FACTORS = StoredTensor(shape=(8,), number=F32, data=struct.pack("<8f", *range(1, 9)))
LONG = ["a" * 257 if token == "hello" else token for token in PIECES] + [
    f"[{n}]" for n in range(VOCABULARY - len(PIECES))
]
STRETCHED = "llama with biases and stretched positions"


@pytest.mark.parametrize(
    ("kind", "metadata", "tensors", "why"),
    [
        ("llama", {"general.architecture": "mamba"}, {}, "architecture 'mamba' are not read"),
        ("llama", {"tokenizer.ggml.pre": "chameleon"}, {}, "'chameleon', a rule for splitting text that is not known"),
        ("llama", {"tokenizer.ggml.model": "t5"}, {}, "tokenizer is of kind 't5'"),
        ("llama", {"llama.attention.value_length": 8}, {}, "keys of 16 and values of 8"),
        ("llama", {}, {"token_embd.weight": None}, "no tensor 'token_embd.weight'"),
        ("llama", {}, {"rope_freqs.weight": FACTORS}, "not those of Llama 3's rule"),
        (STRETCHED, {}, {"blk.1.attn_output.bias": None}, "'blk.1.attn_output.bias' of shape .* there is none"),
        ("qwen2", {}, {"rope_freqs.weight": FACTORS}, "'rope_freqs.weight', which no Qwen2ForCausalLM"),
        ("qwen2 with yarn", {"qwen2.rope.scaling.type": "su"}, {}, "scaling.type is 'su'"),
        ("qwen2", {"qwen2.rope.scaling.type": "linear"}, {}, "'qwen2.rope.scaling.factor' is missing"),
        ("qwen3", {"qwen3.rope.dimension_count": 16}, {}, "16 rotated dimensions in heads of 32"),
        ("qwen3moe", {"qwen3moe.expert_count": 5}, {}, r"of shape \(5, 64\) is needed, it has \(4, 64\)"),
        ("qwen3moe", {"qwen3moe.expert_count": 5000}, {}, "5000 experts, at most 4096"),
        ("qwen3moe", {"qwen3moe.expert_used_count": 5}, {}, "5 of 4 experts are used"),
        ("phi3", {}, {"rope_factors_short.weight": None}, "'rope_factors_short.weight' with 8 factors is needed"),
        ("llama", {"llama.rope.freq_base": -1.0}, {}, "rope.freq_base is -1.0, not a positive number"),
        ("llama", {"llama.attention.layer_norm_rms_epsilon": math.nan}, {}, "epsilon is nan"),
        ("gemma2", {"tokenizer.ggml.tokens": LONG}, {}, "a token of 257 characters"),
        ("gemma2", {"tokenizer.ggml.scores": floats([1.0])}, {}, "tokens and 1 scores do not fit"),
    ],
)
def test_what_is_not_understood_is_refused_before_weights_are_read(
    tmp_path: Path,
    kind: str,
    metadata: Mapping[str, MetadataValue],
    tensors: Mapping[str, StoredTensor | None],
    why: str,
) -> None:
    with pytest.raises(BadSource, match=why):
        opened(tmp_path, kind, metadata=metadata, tensors=tensors)

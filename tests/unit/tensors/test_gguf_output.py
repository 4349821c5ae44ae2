"""GGUF files that are written: read back by the reader of GGUF sources, they are the files the models came from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from modelpress.domain.recipe import Override, Recipe
from modelpress.domain.scheme import Q4_0, Q4_K_M, Q8_0, Scheme
from modelpress.errors import BadSource, QualityGate, Unsupported
from modelpress.quality.verification import verify
from modelpress.tensors.checkpoint import open_checkpoint
from modelpress.tensors.compress import compress
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.gguf.header import Gguf, open_gguf
from modelpress.tensors.gguf.rows import read_values
from modelpress.tensors.gguf_output.block_choice import choose_block_type
from modelpress.tensors.plan import Plan, make_plan
from tests.unit.gguf_models import KINDS, tiny_file
from tests.unit.tensors.models import write_model


def source_of(kind: str, directory: Path) -> LocalFolder:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.gguf").write_bytes(tiny_file(kind))
    return LocalFolder(directory)


def plan_of(folder: LocalFolder, scheme: Scheme = Q8_0, **wishes: Any) -> Plan:
    return make_plan(open_checkpoint(folder), Recipe(scheme=scheme, **wishes))


def written(plan: Plan, folder: LocalFolder, directory: Path) -> tuple[LocalFolder, Gguf]:
    compress(plan, folder, directory, report=lambda _progress: None)
    verify(plan, directory)
    made = LocalFolder(directory)
    return made, open_gguf(made, plan.shards[0].name)


def same(first: object, second: object) -> bool:
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return np.array_equal(first, second)
    return type(first) is type(second) and bool(first == second)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_made_of_a_model_is_the_file_the_model_was_made_of(tmp_path: Path, kind: str) -> None:
    folder = source_of(kind, tmp_path / "source")
    original = open_gguf(folder, "model.gguf")
    made, gguf = written(plan_of(folder), folder, tmp_path / "made")

    # What only says how a file came to be, and what has another meaning than its numbers.
    apart = (".scores", ".token_type", ".attention.sliding_window")
    told = {key for key in original.metadata if not key.endswith(apart)}
    differing = [key for key in told if not same(original.metadata[key], gguf.metadata.get(key))]
    assert differing == []
    types = [np.array(file.metadata["tokenizer.ggml.token_type"]) for file in (original, gguf)]
    # A token that is never used is one like others by the time it comes from tokenizer.json.
    assert np.array_equal(types[0][types[0] != 5], types[1][types[0] != 5])
    assert gguf.tensors.keys() == original.tensors.keys()
    for name, tensor in original.tensors.items():
        assert gguf.tensors[name].shape == tensor.shape
        ours, theirs = read_values(made, gguf, name=name), read_values(folder, original, name=name)
        if gguf.tensors[name].block_type.name == "F32":
            assert np.allclose(ours, theirs, rtol=1e-6, atol=0), name
        else:
            assert np.abs(ours - theirs).max() <= np.abs(theirs).max() / 127, name


@pytest.mark.parametrize("kind", ["mixtral", "gemma2", "phi3"])
def test_scores_join_tokens_in_the_order_of_the_original_ones(tmp_path: Path, kind: str) -> None:
    folder = source_of(kind, tmp_path / "source")
    original = open_gguf(folder, "model.gguf")
    _, gguf = written(plan_of(folder), folder, tmp_path / "made")

    def joined_in_order(file: Gguf) -> list[str]:
        scores: NDArray[Any] = file.field("tokenizer.ggml.scores", np.ndarray)
        tokens = file.field("tokenizer.ggml.tokens", tuple)
        made_by_joining = {"▁t", "he", "▁the", "ll", "hell", "▁hell", "hello", "▁hello", "o▁"}
        return [tokens[place] for place in np.argsort(-scores, kind="stable") if tokens[place] in made_by_joining]

    # "▁hello" is "▁hell" and "o" or "▁" and "hello": both merges have its place.
    assert joined_in_order(gguf) == joined_in_order(original)


def test_the_same_bytes_for_any_number_of_threads(tmp_path: Path) -> None:
    folder = source_of("qwen3moe", tmp_path / "source")
    plan = plan_of(folder, Q4_0)
    for threads in (1, 3):
        compress(plan, folder, tmp_path / str(threads), report=lambda _progress: None, threads=threads)
    name = plan.shards[0].name
    assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()


def test_what_the_recipe_keeps_is_kept_and_what_it_overrides_is_overridden(tmp_path: Path) -> None:
    folder = source_of("llama", tmp_path / "source")
    plan = plan_of(folder, Q4_0, ignore=("lm_head",), overrides=(Override(targets=("down_proj",), scheme=Q8_0),))
    _, gguf = written(plan, folder, tmp_path / "made")
    types = {name: tensor.block_type.name for name, tensor in gguf.tensors.items()}
    assert types["output.weight"] == "BF16"
    assert types["blk.1.ffn_down.weight"] == "Q8_0"
    assert types["blk.1.ffn_up.weight"] == "Q4_0"
    assert types["blk.1.ffn_norm.weight"] == "F32"


def test_a_pattern_that_means_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="q_prj"):
        plan_of(source_of("llama", tmp_path), ignore=("q_prj",))


@pytest.mark.parametrize(
    ("name", "columns", "tied", "expected"),
    [
        ("output.weight", 4096, False, "Q6_K"),
        ("token_embd.weight", 4096, False, "Q4_K"),
        ("token_embd.weight", 4096, True, "Q6_K"),
        ("token_embd.weight", 576, True, "Q8_0"),
        ("blk.0.attn_v.weight", 4096, False, "Q6_K"),
        ("blk.4.attn_v.weight", 4096, False, "Q4_K"),
        ("blk.6.ffn_down.weight", 4096, False, "Q6_K"),
        ("blk.31.ffn_down_exps.weight", 4096, False, "Q6_K"),
        ("blk.5.ffn_down.weight", 4096, False, "Q4_K"),
        ("blk.5.ffn_up.weight", 96, False, "Q5_0"),
        ("blk.5.ffn_up.weight", 40, False, "F16"),
    ],
)
def test_what_matters_more_gets_more_bits(name: str, columns: int, tied: bool, expected: str) -> None:
    assert choose_block_type(Q4_K_M, name=name, columns=columns, layers=32, tied=tied).name == expected


def test_a_file_that_was_changed_is_not_verified(tmp_path: Path) -> None:
    folder = source_of("llama", tmp_path / "source")
    plan = plan_of(folder)
    written(plan, folder, tmp_path / "made")
    path = tmp_path / "made" / plan.shards[0].name
    whole = path.read_bytes()
    scale = plan.shards[0].offsets["blk.0.ffn_up.weight"]
    for place, byte, what in [(30, b"\xff", "header"), (scale + 1, b"\x7f", "not finite")]:
        path.write_bytes(whole[:place] + byte + whole[place + 1 :])
        with pytest.raises(QualityGate, match=what):
            verify(plan, tmp_path / "made")
    path.write_bytes(whole[:-1])
    with pytest.raises(QualityGate, match="planned were"):
        verify(plan, tmp_path / "made")


def test_an_unknown_architecture_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    config = {"architectures": ["OddForCausalLM"], "model_type": "odd"}
    with pytest.raises(Unsupported, match="OddForCausalLM") as refused:
        plan_of(
            LocalFolder(
                write_model(tmp_path, {"model.embed_tokens.weight": ("BF16", (2, 32), bytes(128))}, config=config)
            )
        )
    assert "Qwen3ForCausalLM" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("change", "error", "what"),
    [
        ({"num_hidden_layers": 10**9}, BadSource, "layers"),
        ({"num_hidden_layers": 3}, BadSource, "model.layers.2.input_layernorm"),
        ({"num_hidden_layers": 1}, Unsupported, "has no place"),
        ({"hidden_size": 128}, BadSource, "of shape"),
        ({"hidden_size": None}, BadSource, "hidden_size"),
        ({"num_attention_heads": 0}, BadSource, "num_attention_heads"),
        ({"num_key_value_heads": 3}, BadSource, "do not fit"),
        ({"rms_norm_eps": "small"}, BadSource, "rms_norm_eps"),
        ({"rms_norm_eps": float("nan")}, BadSource, "rms_norm_eps"),
        ({"head_dim": 2**31 - 2, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, BadSource, "of shape"),
        ({"head_dim": 15}, BadSource, "do not fit"),
        ({"partial_rotary_factor": 0.3}, BadSource, "rotated"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, Unsupported, "dynamic"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, BadSource, "original_max_position"),
    ],
)
def test_a_config_that_does_not_fit_the_tensors_is_refused(
    tmp_path: Path, change: dict[str, Any], error: type[Exception], what: str
) -> None:
    checkpoint = open_checkpoint(source_of("llama", tmp_path))
    config = {**checkpoint.config, **change}
    with pytest.raises(error, match=what):
        make_plan(replace(checkpoint, config=config), Recipe(scheme=Q8_0))


@pytest.mark.parametrize(
    ("kind", "change", "what"),
    [
        ("qwen3moe", {"norm_topk_prob": False}, "norm_topk_prob"),
        ("qwen2moe", {"mlp_only_layers": [0]}, "have no experts"),
        ("gemma2", {"query_pre_attn_scalar": 7}, "query_pre_attn_scalar"),
        ("gemma3", {"sliding_window_pattern": 2}, "every sixth"),
        ("gemma3", {"final_logit_softcapping": 30.0}, "capped"),
    ],
)
def test_a_model_that_llama_cpp_would_run_otherwise_is_refused(
    tmp_path: Path, kind: str, change: dict[str, Any], what: str
) -> None:
    checkpoint = open_checkpoint(source_of(kind, tmp_path))
    with pytest.raises(Unsupported, match=what):
        make_plan(replace(checkpoint, config={**checkpoint.config, **change}), Recipe(scheme=Q8_0))


def test_a_window_that_llama_cpp_does_not_know_of_is_told(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(source_of("llama", tmp_path))
    plan = make_plan(replace(checkpoint, config={**checkpoint.config, "sliding_window": 4096}), Recipe(scheme=Q8_0))
    assert any("window of 4096" in note for note in plan.notes)


def test_a_model_without_a_tokenizer_json_is_refused(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(source_of("llama", tmp_path))
    without = tuple(document for document in checkpoint.documents if document.name != "tokenizer.json")
    with pytest.raises(Unsupported, match=r"tokenizer\.json") as refused:
        make_plan(replace(checkpoint, documents=without), Recipe(scheme=Q8_0))
    assert "save_pretrained" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("content", "what"), [(b"[1]", "not a JSON object"), (b"{", "not JSON"), (b"[" * 100_000, "levels")]
)
def test_a_tokenizer_json_that_is_none_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    checkpoint = open_checkpoint(source_of("llama", tmp_path))
    documents = tuple(
        replace(document, content=content) if document.name == "tokenizer.json" else document
        for document in checkpoint.documents
    )
    with pytest.raises(BadSource, match=what):
        make_plan(replace(checkpoint, documents=documents), Recipe(scheme=Q8_0))

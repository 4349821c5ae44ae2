"""How much narrower and shorter a model gets for a ratio, told by names, shapes and config, and how it is planned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelpress.domain.method import Method, Strategy
from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import known_scheme
from modelpress.domain.sparsity import Sparsity
from modelpress.errors import InternalFailure, Unsupported
from modelpress.tensors.checkpoint import Checkpoint, open_checkpoint
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.plan import make_plan
from modelpress.tensors.rows import Workbench
from modelpress.tensors.structure import Structure, UnmadeRows, narrowed, plan_structure
from tests.unit.tensors.models import Tensors, weight, write_model

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 128,
    "num_hidden_layers": 8,
    "layer_types": ["full_attention"] * 8,
}


def recipe(ratio: float, scheme: str = "DENSE", **wishes: Any) -> Recipe:
    return Recipe(
        scheme=known_scheme(scheme),
        strategy=Strategy.SPARSITY,
        method=Method.STRUCTURED,
        sparsity=Sparsity(ratio=ratio),
        **wishes,
    )


def decoder(blocks: int = 8, *, hidden: int = 32, inner: int = 128) -> Tensors:
    """A quarter of each block's linear weights is attention's, as in many models."""
    tensors: Tensors = {"model.embed_tokens.weight": weight(16, hidden), "lm_head.weight": weight(16, hidden)}
    for block in range(blocks):
        prefix = f"model.layers.{block}."
        tensors[f"{prefix}self_attn.qkv_proj.weight"] = weight(128, hidden)
        tensors[f"{prefix}mlp.gate_proj.weight"] = weight(inner, hidden)
        tensors[f"{prefix}mlp.up_proj.weight"] = weight(inner, hidden)
        tensors[f"{prefix}mlp.up_proj.bias"] = ("BF16", (inner,), bytes(2 * inner))
        tensors[f"{prefix}mlp.down_proj.weight"] = weight(hidden, inner)
    return tensors


def checkpoint(folder: Path, tensors: Tensors | None = None, config: dict[str, Any] | None = None) -> Checkpoint:
    write_model(folder, tensors or decoder(), config=config or CONFIG)
    return open_checkpoint(LocalFolder(folder))


@pytest.mark.parametrize(
    ("ratio", "width", "blocks"),
    [(0.0, 128, 8), (0.25, 88, 8), (0.375, 64, 8), (0.5, 40, 8), (0.56, 32, 8), (0.7, 40, 5), (0.9, 24, 2)],
)
def test_neurons_go_first_and_blocks_where_a_quarter_of_them_is_left(
    tmp_path: Path, ratio: float, width: int, blocks: int
) -> None:
    structure = plan_structure(checkpoint(tmp_path), recipe(ratio))
    assert (structure.widths["mlp"], structure.kept_blocks) == ((128, width), blocks)
    assert structure.config_widths == {"intermediate_size": width}
    assert structure.ratio == pytest.approx(ratio, abs=0.03)


def test_the_planned_model_is_the_smaller_one_in_tensors_config_and_notes(tmp_path: Path) -> None:
    plan = make_plan(checkpoint(tmp_path), recipe(0.7))
    specs = {spec.name: spec.shape for shard in plan.shards for step in shard.steps for spec in step.outputs}
    assert {name.split(".")[2] for name in specs if "layers" in name} == set("01234")
    assert specs["model.layers.4.mlp.gate_proj.weight"] == (40, 32)
    assert specs["model.layers.4.mlp.up_proj.bias"] == (40,)
    assert specs["model.layers.4.mlp.down_proj.weight"] == (32, 40)
    assert specs["model.embed_tokens.weight"] == (16, 32)
    config = json.loads(next(d.content for d in plan.documents if d.name == "config.json"))
    assert (config["intermediate_size"], config["num_hidden_layers"]) == (40, 5)
    assert config["layer_types"] == ["full_attention"] * 5
    assert "quantization_config" not in config
    assert any("69.7% of the blocks' linear weights go; 40 of 128 neurons stay; 5 of 8 blocks" in n for n in plan.notes)
    assert plan.output_bytes < 0.4 * plan.source_bytes


def test_where_all_blocks_stay_only_neurons_wait_for_data(tmp_path: Path) -> None:
    source = checkpoint(tmp_path)
    made = narrowed(source, plan_structure(source, recipe(0.25)))
    waiting = {tensor.spec.name for tensor in made.tensors if isinstance(tensor.rows, UnmadeRows)}
    assert waiting == {name for name in decoder() if "mlp" in name}


def test_what_waits_for_data_cannot_be_read(tmp_path: Path) -> None:
    import numpy as np

    source = checkpoint(tmp_path)
    rows = next(t.rows for t in narrowed(source, plan_structure(source, recipe(0.25))).tensors if "mlp" in t.spec.name)
    with pytest.raises(InternalFailure):
        rows.read(LocalFolder(tmp_path), start=0, buffer=np.empty(rows.row_bytes, np.uint8), bench=Workbench())


def test_widths_are_multiples_of_the_groups_that_suited_before(tmp_path: Path) -> None:
    source = checkpoint(tmp_path)
    assert plan_structure(source, recipe(0.25, "W4A16C16")).widths["mlp"] == (128, 96)
    assert plan_structure(source, recipe(0.25, "W4A16C16", group_size=64)).widths["mlp"] == (128, 64)


def structure_of_experts(folder: Path, **config: Any) -> Structure:
    tensors = {
        name.replace("mlp.", f"mlp.experts.{expert}."): tensor
        for name, tensor in decoder(2).items()
        for expert in range(2)
    }
    return plan_structure(checkpoint(folder, tensors, {**CONFIG, "layer_types": None, **config}), recipe(0.25))


def test_experts_have_a_width_of_their_own_where_the_config_says_so(tmp_path: Path) -> None:
    structure = structure_of_experts(tmp_path / "own", moe_intermediate_size=128, intermediate_size=999)
    assert set(structure.widths) == {"mlp.experts.0", "mlp.experts.1"}
    assert set(structure.config_widths) == {"moe_intermediate_size"}
    assert set(structure_of_experts(tmp_path / "shared").config_widths) == {"intermediate_size"}


def test_one_number_for_all_layers_is_needed(tmp_path: Path) -> None:
    tensors = decoder()
    tensors["model.layers.3.mlp.down_proj.weight"] = weight(32, 96)
    with pytest.raises(Unsupported, match=r"layers.3.mlp.down_proj.weight' has 96 columns, and config.json says"):
        plan_structure(checkpoint(tmp_path, tensors), recipe(0.25))


@pytest.mark.parametrize(
    "odd",
    [
        {"model_type": "gemma3_text"},
        {"layer_types": ["full_attention", "sliding_attention"] * 4},
        {"use_sliding_window": True},
    ],
)
def test_blocks_of_several_kinds_lose_neurons_alone(tmp_path: Path, odd: dict[str, Any]) -> None:
    source = checkpoint(tmp_path, config={**CONFIG, **odd})
    assert plan_structure(source, recipe(0.5)).kept_blocks == 8
    with pytest.raises(Unsupported, match="without whole blocks") as caught:
        plan_structure(source, recipe(0.8))
    assert caught.value.hint is not None
    assert "up to 0.56" in caught.value.hint


def test_more_than_there_is_to_take_is_refused_with_the_most_there_is(tmp_path: Path) -> None:
    source = checkpoint(tmp_path, decoder(2), {**CONFIG, "layer_types": None, "num_hidden_layers": 2})
    with pytest.raises(Unsupported, match="80% of the blocks' linear weights cannot go") as caught:
        plan_structure(source, recipe(0.8))
    assert caught.value.hint == "sparsityRatio may be up to 0.75"


def test_fused_experts_and_models_without_feed_forward_parts_are_refused(tmp_path: Path) -> None:
    fused = {**decoder(2), "model.layers.0.mlp.experts.gate_up_proj": ("BF16", (2, 8, 4), bytes(128))}
    with pytest.raises(Unsupported, match="fused"):
        plan_structure(checkpoint(tmp_path / "fused", fused), recipe(0.5))
    plain = {name: tensor for name, tensor in decoder(2).items() if "mlp" not in name}
    with pytest.raises(Unsupported, match="structured pruning knows blocks by"):
        plan_structure(checkpoint(tmp_path / "plain", plain), recipe(0.5))


def test_patterns_say_what_is_quantized_and_nothing_else(tmp_path: Path) -> None:
    source = checkpoint(tmp_path)
    assert plan_structure(source, recipe(0.25, "W8A16C16", ignore=("layers.0.*",))).kept_blocks == 8
    with pytest.raises(Unsupported, match="from all blocks alike"):
        plan_structure(source, recipe(0.25, ignore=("layers.0.*",)))

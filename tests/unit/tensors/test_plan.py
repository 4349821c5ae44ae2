"""What a plan decides: which weights, which groups, which files, and what it tells about that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelpress.domain.recipe import GroupSize
from modelpress.errors import Unsupported
from modelpress.tensors import decision
from modelpress.tensors import shard as shards
from modelpress.tensors.plan import Plan
from tests.unit.tensors.models import CONFIG, Tensors, layers, plan_of, weight, write_model


def compressed(plan: Plan) -> set[str]:
    """The modules whose weights are compressed."""
    return {step.source.name.removesuffix(".weight") for shard in plan.shards for step in shard.steps if step.rounding}


def document(plan: Plan, name: str) -> dict[str, Any]:
    value = json.loads({d.name: d.content for d in plan.documents}[name])
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(
    ("widths", "expected"),
    [((256, 384), 128), ((256, 192), 64), ((96, 64), 32), ((128, 72), None), ((100,), None)],
)
def test_four_bits_take_the_largest_group_that_divides_every_width(
    tmp_path: Path, widths: tuple[int, ...], expected: int | None
) -> None:
    write_model(tmp_path, {f"model.layers.{i}.mlp.up_proj.weight": weight(8, w) for i, w in enumerate(widths)})
    plan = plan_of(tmp_path)
    assert plan.group_size == expected
    weights = plan.quantization_config["config_groups"]["group_0"]["weights"]
    assert (weights["strategy"], weights["group_size"]) == (("group" if expected else "channel"), expected)


def test_the_reason_for_a_smaller_group_is_told(tmp_path: Path) -> None:
    write_model(tmp_path, layers(1, columns=576))
    assert any("Groups of 64" in n and "128 does not divide" in n and "(576)" in n for n in plan_of(tmp_path).notes)


@pytest.mark.parametrize("scheme", ["W8A16C16", "INT8-PTQ"])
def test_eight_bits_have_one_scale_a_row_unless_a_group_is_asked_for(tmp_path: Path, scheme: str) -> None:
    write_model(tmp_path, layers(1, columns=128))
    assert plan_of(tmp_path, scheme).group_size is None
    assert plan_of(tmp_path, scheme, group_size=64).group_size == 64


def test_channel_is_a_wish_that_four_bits_grant(tmp_path: Path) -> None:
    write_model(tmp_path, layers(1, columns=128))
    assert plan_of(tmp_path, group_size="channel").group_size is None


def test_a_group_that_does_not_divide_is_refused_with_the_layers(tmp_path: Path) -> None:
    write_model(tmp_path, layers(3, columns=72))
    with pytest.raises(Unsupported) as caught:
        plan_of(tmp_path, group_size=64)
    assert "6 of 6 layers" in caught.value.message
    assert "model.layers.0.self_attn.q_proj.weight (72)" in caught.value.message
    assert "and 3 more" in caught.value.message


def test_embeddings_norms_routers_heads_and_towers_stay(tmp_path: Path) -> None:
    kept = {
        "model.embed_tokens.weight": weight(8, 32),
        "model.norm.weight": ("BF16", (32,), bytes(64)),
        "lm_head.weight": weight(8, 32),
        "model.layers.0.mlp.gate.weight": weight(4, 32),
        "model.layers.0.mlp.shared_expert_gate.weight": weight(1, 32),
        "model.layers.0.block_sparse_moe.router.layer.weight": weight(4, 32),
        "visual.blocks.0.attn.qkv.weight": weight(8, 32),
        "model.vision_tower.encoder.fc1.weight": weight(8, 32),
        "multi_modal_projector.linear_1.weight": weight(8, 32),
        "transformer.wte.weight": weight(8, 32),
        "model.layers.1.linear_attn.in_proj_qkvz.weight": weight(8, 32),
        "mtp.layers.0.mlp.up_proj.weight": weight(8, 32),
        "model.layers.0.conv1d.weight": ("BF16", (8, 1, 4), bytes(64)),
        "model.layers.0.self_attn.q_proj.bias": ("BF16", (8,), bytes(16)),
    }
    targets = {
        "model.layers.0.self_attn.q_proj.weight": weight(8, 32),
        "model.layers.0.mlp.gate_proj.weight": weight(8, 32),
        "model.layers.0.mlp.experts.3.w2.weight": weight(8, 32),
        "model.layers.0.mlp.shared_expert.up_proj.weight": weight(8, 32),
        "encoder.layer.0.output.dense.weight": weight(8, 32),
    }
    write_model(tmp_path, {**kept, **targets})
    plan = plan_of(tmp_path)
    assert compressed(plan) == {name.removesuffix(".weight") for name in targets}
    assert set(plan.quantization_config["ignore"]) == {
        "lm_head",
        "model.layers.0.mlp.gate",
        "model.layers.0.mlp.shared_expert_gate",
        "model.layers.0.block_sparse_moe.router.layer",
        "visual.blocks.0.attn.qkv",
        "model.vision_tower.encoder.fc1",
        "multi_modal_projector.linear_1",
        "model.layers.1.linear_attn.in_proj_qkvz",
        "mtp.layers.0.mlp.up_proj",
    }


def test_fused_experts_stay_and_are_told(tmp_path: Path) -> None:
    write_model(tmp_path, {**layers(1), "model.layers.0.mlp.experts.gate_up_proj": ("BF16", (2, 8, 4), bytes(128))})
    plan = plan_of(tmp_path)
    assert "model.layers.0.mlp.experts" in plan.quantization_config["ignore"]
    assert any("fused" in note and "model.layers.0.mlp.experts.gate_up_proj" in note for note in plan.notes)


def test_where_there_is_a_language_model_linear_layers_outside_it_stay(tmp_path: Path) -> None:
    inside = ["model.language_model.layers.0.self_attn.q_proj", "model.language_model.layers.0.mlp.up_proj"]
    outside = ["model.reader.layers.0.attn.q_proj", "model.bridge.linear_1"]
    write_model(tmp_path, {f"{name}.weight": weight(8, 32) for name in inside + outside})
    plan = plan_of(tmp_path)
    assert compressed(plan) == set(inside)
    assert set(plan.quantization_config["ignore"]) == {"lm_head", *outside}


@pytest.mark.parametrize(
    "module",
    [
        "model.image_tower.encoder.layers.0.mlp.fc1",
        "model.aligner.linear1",
        "model.embed_tokens_extend.audio_embed.up_proj_for_speech",
        "talker.model.layers.0.self_attn.q_proj",
        "qformer.encoder.layer.0.output.dense",
        "model.layers.0.self_attn.indexer.wk",
        "model.layers.0.mixer.dt_proj",
        "lm_head.decoder",
        "cls.predictions.transform.dense",
        "model.layers.0.altup.modality_router",
    ],
)
def test_small_parts_and_other_senses_stay(tmp_path: Path, module: str) -> None:
    write_model(tmp_path, {**layers(1), f"{module}.weight": weight(8, 64)})
    plan = plan_of(tmp_path)
    assert module not in compressed(plan)
    assert module in plan.quantization_config["ignore"]


def test_an_architecture_of_the_table_is_refused_with_its_reason(tmp_path: Path) -> None:
    write_model(tmp_path, layers(1), config={"architectures": ["GPT2LMHeadModel"]})
    with pytest.raises(Unsupported, match=r"GPT2LMHeadModel cannot be compressed: .*transposed"):
        plan_of(tmp_path)


def test_a_model_without_linear_weights_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path, {"model.embed_tokens.weight": weight(8, 32)})
    with pytest.raises(Unsupported, match="no linear weights to compress among its 1 tensors"):
        plan_of(tmp_path)


def test_a_weight_of_double_precision_is_refused_by_name(tmp_path: Path) -> None:
    write_model(tmp_path, {"a.up_proj.weight": ("F64", (2, 2), bytes(32))})
    with pytest.raises(Unsupported, match=r"'a\.up_proj\.weight' is F64"):
        plan_of(tmp_path)


def test_a_row_beyond_the_memory_bound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "LARGEST_ROW_BYTES", 100)
    write_model(tmp_path, layers(1))
    with pytest.raises(Unsupported, match="has 128 bytes; at most 100"):
        plan_of(tmp_path)


def test_output_shards_mirror_the_sources(tmp_path: Path) -> None:
    second: Tensors = {"b." + name: value for name, value in layers(1).items()}
    write_model(tmp_path, layers(1), second)
    plan = plan_of(tmp_path)
    assert [shard.name for shard in plan.shards] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    assert {step.source.name for step in plan.shards[1].steps} == set(second)


def test_shards_are_split_at_the_cap_and_a_larger_tensor_stands_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "LARGEST_SHARD_BYTES", 3000)
    write_model(tmp_path, layers(3))
    plan = plan_of(tmp_path)
    sizes = [sum(step.output_bytes for step in shard.steps) for shard in plan.shards]
    assert all(size <= 3000 or len(shard.steps) == 1 for size, shard in zip(sizes, plan.shards, strict=True))
    # No two neighbours would have fitted into one.
    assert all(a + b.steps[0].output_bytes > 3000 for a, b in zip(sizes, plan.shards[1:], strict=False))
    names = [step.source.name for shard in plan.shards for step in shard.steps]
    assert names == list(layers(3))
    index = document(plan, "model.safetensors.index.json")
    assert index["metadata"]["total_size"] == sum(sizes)
    assert set(index["weight_map"].values()) == {shard.name for shard in plan.shards}


def test_one_shard_has_no_index(tmp_path: Path) -> None:
    write_model(tmp_path, layers(1))
    plan = plan_of(tmp_path)
    assert [shard.name for shard in plan.shards] == ["model.safetensors"]
    assert [d.name for d in plan.documents] == ["config.json", "modelpress.json"]


def test_every_tensor_lies_at_a_multiple_of_its_elements(tmp_path: Path) -> None:
    write_model(tmp_path, {**layers(1, columns=33), "odd.count": ("U8", (3,), b"123")})
    for scheme in ("W4A16C16", "INT8-PTQ"):
        shard = plan_of(tmp_path, scheme).shards[0]
        specs = [spec for step in shard.steps for spec in step.outputs]
        assert all(shard.offsets[spec.name] % spec.alignment_bytes == 0 for spec in specs)


def test_the_config_is_the_sources_with_an_entry_more_and_remote_code_less(tmp_path: Path) -> None:
    config = {
        **CONFIG,
        "auto_map": {"AutoModel": "modeling_x.X"},
        "rope_theta": 1e6,
        "note": "中文 \ud800",
        "time_step_limit": [0.0, float("inf")],
    }
    write_model(tmp_path, layers(1), config=config, files={"modeling_x.py": b"raise SystemExit"})
    plan = plan_of(tmp_path, "INT8-PTQ")
    written = document(plan, "config.json")
    entry = written.pop("quantization_config")
    assert written == {key: value for key, value in config.items() if key != "auto_map"}
    assert entry == plan.quantization_config
    assert entry["format"] == "int-quantized"
    activations = entry["config_groups"]["group_0"]["input_activations"]
    assert (activations["strategy"], activations["dynamic"], activations["num_bits"]) == ("token", True, 8)
    assert any("auto_map" in note for note in plan.notes)
    assert any("modeling_x.py" in note for note in plan.notes)
    assert not plan.side_files


def test_the_report_tells_recipe_and_notes_but_no_place_and_no_time(tmp_path: Path) -> None:
    reports = []
    for place in ("a", "b"):
        write_model(tmp_path / place, layers(1))
        plan = plan_of(tmp_path / place)
        reports.append({d.name: d.content for d in plan.documents}["modelpress.json"])
    assert reports[0] == reports[1]
    report = json.loads(reports[0])
    assert report["recipe"]["scheme"] == "W4A16C16"
    assert report["group_size"] == 64
    assert report["notes"]


@pytest.mark.parametrize("asked", [None, 32])
def test_the_digest_tells_recipes_and_contents_apart(tmp_path: Path, asked: GroupSize) -> None:
    write_model(tmp_path, layers(1))
    same = plan_of(tmp_path, group_size=asked).digest
    assert same == plan_of(tmp_path, group_size=asked).digest
    others = {plan_of(tmp_path, "W8A16C16", group_size=asked).digest, plan_of(tmp_path, group_size="channel").digest}
    write_model(tmp_path, layers(1))
    (tmp_path / "config.json").write_text('{"architectures": ["Other"]}')
    others.add(plan_of(tmp_path, group_size=asked).digest)
    assert same not in others
    assert len(others) == 3

"""Which weights a recipe's patterns and overrides mean, and what config.json says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelpress.domain.recipe import Override
from modelpress.domain.scheme import known_scheme
from modelpress.errors import Unsupported
from modelpress.quality.verification import verify
from modelpress.tensors.compress import compress
from modelpress.tensors.folder import LocalFolder
from tests.unit.tensors.models import layers, plan_of, weight, write_model

Q, UP = "model.layers.{}.self_attn.q_proj", "model.layers.{}.mlp.up_proj"
W8, INT8 = known_scheme("W8A16C16"), known_scheme("INT8-PTQ")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_model(tmp_path / "source", layers(2, columns=128))


def rounded(source: Path, **wishes: Any) -> set[str]:
    plan = plan_of(source, **wishes)
    steps = [step for shard in plan.shards for step in shard.steps]
    return {step.source.name.removesuffix(".weight") for step in steps if step.rounding is not None}


def test_targets_alone_are_compressed_and_the_others_are_ignored_by_loaders(source: Path) -> None:
    assert rounded(source, targets=("q_proj",)) == {Q.format(0), Q.format(1)}
    plan = plan_of(source, targets=("q_proj",))
    assert plan.quantization_config["ignore"] == ["lm_head", UP.format(0), UP.format(1)]
    assert "2 linear weights are left as they are, as asked, first model.layers.0.mlp.up_proj.weight." in plan.notes


def test_what_is_ignored_is_left_whatever_else_is_said_of_it(source: Path) -> None:
    wishes = {"ignore": ("layers.0.*",), "overrides": (Override(targets=("mlp.*",), scheme=W8),)}
    assert rounded(source, **wishes) == {Q.format(1), UP.format(1)}


def test_an_override_gives_its_modules_a_group_of_their_own_in_the_config(source: Path, tmp_path: Path) -> None:
    plan = plan_of(source, overrides=(Override(targets=("up_proj",), scheme=W8),))
    entry = plan.quantization_config
    assert entry["format"] == "pack-quantized"
    base, over = entry["config_groups"]["group_0"], entry["config_groups"]["group_1"]
    assert (base["targets"], base["weights"]["num_bits"], base["weights"]["group_size"]) == (["Linear"], 4, 128)
    assert (over["targets"], over["weights"]["num_bits"], over["weights"]["strategy"]) == (
        [r"re:.*\.mlp\.up_proj$"],
        8,
        "channel",
    )
    compress(plan, LocalFolder(source), tmp_path / "out", report=lambda progress: None)
    verify(plan, tmp_path / "out")


def test_groups_of_two_formats_name_their_own(source: Path) -> None:
    entry = plan_of(source, overrides=(Override(targets=("up_proj",), scheme=INT8),)).quantization_config
    assert entry["format"] == "mixed-precision"
    assert [group["format"] for group in entry["config_groups"].values()] == ["pack-quantized", "int-quantized"]


def test_the_recipes_own_scheme_is_the_one_that_holds_for_all_linear_layers(source: Path) -> None:
    # The first weight in the file is one that the override means.
    entry = plan_of(source, overrides=(Override(targets=("q_proj",), scheme=W8),)).quantization_config
    assert entry["config_groups"]["group_0"]["weights"]["num_bits"] == 4
    assert entry["config_groups"]["group_1"]["targets"] == [r"re:.*\.self_attn\.q_proj$"]


def test_an_override_of_some_layers_names_them_since_a_pattern_would_mean_the_others_too(source: Path) -> None:
    entry = plan_of(source, overrides=(Override(targets=("layers.1.*",), scheme=W8),)).quantization_config
    assert entry["config_groups"]["group_1"]["targets"] == [Q.format(1), UP.format(1)]


def test_experts_are_named_from_the_word_experts_on_whatever_stands_before(tmp_path: Path) -> None:
    names = [f"model.layers.0.block_sparse_moe.experts.{i}.w2.weight" for i in range(2)]
    write_model(tmp_path, {**layers(1, columns=128), **{name: weight(8, 128) for name in names}})
    entry = plan_of(tmp_path, overrides=(Override(targets=("w2",), scheme=W8),)).quantization_config
    assert entry["config_groups"]["group_1"]["targets"] == [r"re:.*\.experts\.\d+\.w2$"]


def test_a_group_size_is_chosen_for_the_modules_of_each_scheme_alone(tmp_path: Path) -> None:
    tensors = {
        **layers(1, columns=128),
        "model.layers.0.mlp.down_proj.weight": layers(1, columns=96)["model.embed_tokens.weight"],
    }
    write_model(tmp_path, tensors)
    assert plan_of(tmp_path).group_size == 32
    plan = plan_of(tmp_path, overrides=(Override(targets=("down_proj",), scheme=W8),))
    assert plan.group_size == 128


def test_a_pattern_that_means_nothing_is_refused_with_what_is_near(source: Path) -> None:
    with pytest.raises(Unsupported, match="'q_prj' means none of the model's 4 linear layers") as caught:
        plan_of(source, ignore=("q_prj",))
    assert caught.value.hint == "some have names like q_proj, up_proj"


def test_a_recipe_that_leaves_everything_is_refused(source: Path) -> None:
    with pytest.raises(Unsupported, match="leaves all 4 linear weights as they are"):
        plan_of(source, ignore=("*",))


def test_widths_that_a_float_schemes_groups_do_not_divide_are_refused_with_the_layers(tmp_path: Path) -> None:
    narrow = write_model(tmp_path / "narrow", {"a.up_proj.weight": weight(8, 128), "b.up_proj.weight": weight(8, 24)})
    for scheme in ("WFP8AFP8C16-BLOCK", "WNVFP4A16C16", "WMXFP4A16C16"):
        with pytest.raises(Unsupported, match=r"input width.* of 1 of 2 layers: b\.up_proj\.weight \(24\)"):
            plan_of(narrow, scheme)
    plan_of(narrow, "WFP8AFP8C16")

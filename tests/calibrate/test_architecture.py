"""The table of architectures, against tiny random models of each as transformers builds and saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modelpress.calibrate.architecture import ARCHITECTURES, Fold, Heads, fold_before, folds_of, stored_names
from modelpress.calibrate.experts import separate
from modelpress.calibrate.fold import apply, rows_of, tied
from modelpress.errors import BadSource
from tests.calibrate.tiny import CONFIGS, stored_tensors, tiny_model, with_experts_apart


def folds_in(model: Any, block: torch.nn.Module) -> tuple[Fold, ...]:
    config = model.config
    return folds_of(
        ARCHITECTURES[config.model_type],
        shapes={
            name.removesuffix(".weight"): tuple(p.shape) for name, p in block.named_parameters() if "weight" in name
        },
        heads=Heads(queries=config.num_attention_heads, values=config.num_key_value_heads),
    )


def random_scales(fold: Fold, columns: int) -> Tensor:
    return tied(torch.exp(torch.randn(columns, dtype=torch.float64)), fold, reduce="amax")


def logits_of(model: Any) -> Tensor:
    tokens = torch.arange(20).reshape(2, 10) * 7 % 64
    with torch.no_grad():
        return model(input_ids=tokens, use_cache=False).logits


@pytest.mark.parametrize("model_type", CONFIGS)
def test_scales_in_every_place_of_every_block_leave_the_logits_unchanged(model_type: str, tmp_path: Path) -> None:
    model = tiny_model(model_type)
    with_experts_apart(model, tmp_path)
    before = logits_of(model)
    for block in model.model.layers:
        for fold in folds_in(model, block):
            apply(fold, block, random_scales(fold, block.get_submodule(fold.readers[0]).weight.shape[-1]))
    # The Gemmas' norms round their weights to float32 themselves.
    bound = 1e-9 if ARCHITECTURES[model_type].norm_offset == 0 else 1e-4
    torch.testing.assert_close(logits_of(model), before, rtol=bound, atol=bound)


@pytest.mark.parametrize("model_type", CONFIGS)
def test_every_linear_layer_of_every_block_has_a_place_for_its_inputs_scales(model_type: str, tmp_path: Path) -> None:
    model = tiny_model(model_type)
    with_experts_apart(model, tmp_path)
    for block in model.model.layers:
        readers = [reader for fold in folds_in(model, block) for reader in fold.readers]
        linears = {name for name, module in block.named_modules() if isinstance(module, torch.nn.Linear)}
        assert len(readers) == len(set(readers))
        assert linears <= set(readers)


@pytest.mark.parametrize("model_type", ["mixtral", "qwen2_moe", "qwen3_moe"])
def test_the_first_reader_of_a_norm_before_experts_sees_every_token(model_type: str, tmp_path: Path) -> None:
    model = tiny_model(model_type)
    with_experts_apart(model, tmp_path)
    block = model.model.layers[1]
    fold = fold_before(["mlp.experts.1.gate_proj", "mlp.experts.1.up_proj"], folds_in(model, block))
    assert fold is not None
    assert fold.readers[0] == "mlp.gate"
    assert fold.source == "post_attention_layernorm"
    assert {f"mlp.experts.{number}.{name}_proj" for number in range(3) for name in ("gate", "up")} <= set(fold.readers)


def test_values_that_query_heads_share_have_one_scale_for_all_of_them() -> None:
    fold = Fold(source="v", readers=("o",), width=2, repeats=2)
    assert rows_of(fold, columns=8).tolist() == [0, 1, 0, 1, 2, 3, 2, 3] == [fold.row_of(column) for column in range(8)]
    values = torch.tensor([1.0, 2, 3, 6, 5, 4, 9, 0])
    assert tied(values, fold, reduce="amax").tolist() == [3, 6, 3, 6, 9, 4, 9, 4]
    assert tied(values, fold, reduce="mean").tolist() == [2, 4, 2, 4, 7, 2, 7, 2]


def test_a_place_whose_sizes_do_not_fit_is_left_out() -> None:
    shapes = {"self_attn.v_proj": (12, 32), "self_attn.o_proj": (32, 32), "mlp.up_proj": (24, 32)}
    assert folds_of(ARCHITECTURES["llama"], shapes=shapes, heads=Heads(queries=4, values=2)) == ()


@pytest.mark.parametrize("model_type", CONFIGS)
def test_every_parameter_has_a_tensor_in_the_checkpoint_that_transformers_writes(
    model_type: str, tmp_path: Path
) -> None:
    model = tiny_model(model_type)
    stored = stored_tensors(model, tmp_path)
    separate(model)
    parameters = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    names = stored_names(parameters, stored=stored)
    missing = parameters.keys() - names.keys()
    assert missing <= {"lm_head.weight"}, "only a tied head has none of its own"
    assert {name: tuple(stored[names[name]].shape) for name in names} == {name: parameters[name] for name in names}
    assert sorted(names.values()) == sorted(stored)


def test_older_names_are_known() -> None:
    parameters = {
        "model.layers.0.mlp.gate.weight",
        "model.layers.0.mlp.experts.1.down_proj.weight",
        "model.language_model.layers.0.mlp.up_proj.weight",
        "lm_head.weight",
    }
    stored = [
        "model.layers.0.block_sparse_moe.gate.weight",
        "layers.0.block_sparse_moe.experts.1.w2.weight",
        "language_model.model.layers.0.mlp.up_proj.weight",
        "language_model.lm_head.weight",
        "model.layers.0.self_attn.rotary_emb.inv_freq",
    ]
    assert stored_names(parameters, stored=stored) == {
        "model.layers.0.mlp.gate.weight": stored[0],
        "model.layers.0.mlp.experts.1.down_proj.weight": stored[1],
        "model.language_model.layers.0.mlp.up_proj.weight": stored[2],
        "lm_head.weight": stored[3],
    }


def test_two_tensors_of_one_parameter_are_refused() -> None:
    stored = ["model.layers.0.mlp.gate.weight", "model.layers.0.block_sparse_moe.gate.weight"]
    with pytest.raises(BadSource, match=r"both the model's 'model\.layers\.0\.mlp\.gate\.weight'"):
        stored_names(stored[:1], stored=stored)

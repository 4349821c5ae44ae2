"""Scaled blocks: what the output gets computes what the block computed on its way, for every architecture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from modelpress.calibrate.block_method import BlockPass
from modelpress.calibrate.block_work import BlockWork
from modelpress.calibrate.decoder import Call, Decoder, run
from modelpress.calibrate.integers import IntegerFormat
from modelpress.calibrate.lockstep import groups_of
from modelpress.calibrate.methods import METHODS
from modelpress.domain.method import Method
from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import W8A16C16
from tests.calibrate.tiny import CONFIGS, tiny_model, with_experts_apart

FORMAT = IntegerFormat(bits=8, group_size=4, symmetric=True, dtype=torch.float32)
METHODS_THAT_SCALE = (Method.AWQ, Method.SMOOTHQUANT)


Done = tuple[BlockWork, list[tuple[Tensor, Call]], list[Tensor], dict[str, Tensor]]


def compressed(
    model_type: str, method: Method, folder: Path, *, left: tuple[str, ...] = (), together: bool = True
) -> Done:
    """The last block of a tiny model on its way through a method, what went in, what came out, and its old weights."""
    model = tiny_model(model_type)
    decoder = Decoder(model.config.to_dict(), dtype=torch.float32, device=torch.device("cpu"))
    with_experts_apart(model, folder)
    tensors = {name: tensor.float() for name, tensor in model.state_dict().items()}
    number, name = len(decoder.blocks) - 1, decoder.names[-1]
    weights = {n.removeprefix(f"{name}."): t for n, t in tensors.items() if n.startswith(f"{name}.")}
    batches = _batches(decoder, tensors, number)
    with decoder.loaded(number, weights) as block:
        linears = [n for n, module in block.named_modules() if isinstance(module, nn.Linear) and n not in left]
        recipe = Recipe(scheme=W8A16C16, method=method)
        work = BlockWork(number=number, block=block, recipe=recipe, steps={}, formats=dict.fromkeys(linears, FORMAT))
        shares: list[float] = []
        groups = [group for group in groups_of(block, *batches[0]) if set(group.names) & set(linears)]
        outputs = METHODS[method](
            work, BlockPass(batches=batches, groups=groups, together=together, tick=shares.append)
        )
        outputs = list(outputs)
        assert shares == sorted(shares)
        assert shares[-1] == 1
        expected = [run(block, *batch) for batch in batches]
    torch.testing.assert_close(outputs, expected)
    finished = weights | {f"{n}.weight": rounded.dense() for n, rounded in work.rounded.items()} | work.replaced
    with decoder.loaded(number, finished) as block:
        again = [run(block, *batch) for batch in batches]
    torch.testing.assert_close(again, outputs, rtol=1e-4, atol=1e-4)
    return work, batches, outputs, weights


def _batches(decoder: Decoder, tensors: Mapping[str, Tensor], number: int) -> list[tuple[Tensor, Call]]:
    random = torch.Generator().manual_seed(0)
    found = []
    for _ in range(2):
        tokens = torch.randint(3, 64, (4, 20), generator=random)
        hidden, calls = decoder.embed(tokens, tensors[decoder.embedding_name])
        found.append((hidden, calls[number]))
    return found


@pytest.mark.parametrize("method", METHODS_THAT_SCALE)
@pytest.mark.parametrize("model_type", CONFIGS)
def test_the_output_computes_what_the_block_computed_on_its_way(
    model_type: str, method: Method, tmp_path: Path
) -> None:
    work, *_ = compressed(model_type, method, tmp_path)
    assert work.rounded.keys() == work.formats.keys()
    assert "input_layernorm.weight" in work.replaced


def test_layers_left_as_they_are_are_scaled_with_those_that_share_their_input(tmp_path: Path) -> None:
    work, _, _, weights = compressed("llama", Method.AWQ, tmp_path, left=("self_attn.k_proj", "self_attn.v_proj"))
    for name in ("self_attn.k_proj", "self_attn.v_proj"):
        assert name not in work.rounded
        assert not torch.equal(work.replaced[f"{name}.weight"], weights[f"{name}.weight"])


def test_experts_that_too_few_tokens_reach_are_scaled_as_the_others_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelpress.calibrate.scaling.LEAST_TOKENS", 100)
    work, *_ = compressed("mixtral", Method.AWQ, tmp_path)
    starved = {name for name, facts in work.facts.items() if facts.get("starved")}
    assert starved, "the tiny model's router sends few tokens to some expert"
    assert all("experts" in name for name in starved)
    assert "post_attention_layernorm.weight" in work.replaced


def test_two_passes_give_an_output_that_computes_the_same_as_well(tmp_path: Path) -> None:
    compressed("qwen3_moe", Method.AWQ, tmp_path, together=False)

"""All batches in lockstep through a block: nothing is computed otherwise than by transformers itself."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modelpress.calibrate.decoder import Decoder, run
from modelpress.calibrate.lockstep import Group, groups_of, pass_together, pass_twice
from modelpress.calibrate.statistics import InputStatistics
from tests.calibrate.tiny import CONFIGS, tiny_model, with_experts_apart

TOKENS = torch.tensor([[1, 5, 9, 33, 7, 60], [1, 2, 2, 40, 8, 11], [4, 44, 6, 6, 63, 12]])


Loaded = tuple[Decoder, dict[str, Tensor]]


def _loaded(model_type: str, folder: Path) -> Loaded:
    """A decoder of a tiny model's config, and the model's weights, its experts apart."""
    model = tiny_model(model_type)
    decoder = Decoder(model.config.to_dict(), dtype=torch.float64, device=torch.device("cpu"))
    with_experts_apart(model, folder)
    return decoder, dict(model.state_dict())


def _weights(tensors: dict[str, Tensor], block: str) -> dict[str, Tensor]:
    return {n.removeprefix(f"{block}."): t.clone() for n, t in tensors.items() if n.startswith(f"{block}.")}


@pytest.mark.parametrize("model_type", CONFIGS)
def test_blocks_one_at_a_time_compute_what_the_whole_model_does(model_type: str, tmp_path: Path) -> None:
    model = tiny_model(model_type)
    # The kernel for all experts at once does not take float64.
    model.set_experts_implementation("eager")
    expected = model(TOKENS, output_hidden_states=True).hidden_states
    decoder, tensors = _loaded(model_type, tmp_path)
    rows, local = torch.unique(TOKENS, return_inverse=True)
    hidden, calls = decoder.embed(local, tensors[decoder.embedding_name][rows])
    for number, name in enumerate(decoder.names[:-1]):
        torch.testing.assert_close(hidden, expected[number])
        with decoder.loaded(number, _weights(tensors, name)) as block:
            hidden = run(block, hidden, calls[number])
    # What stands after the last block in this list went through the norm as well.
    torch.testing.assert_close(hidden, expected[-2])


def test_a_block_keeps_no_weights_when_it_is_done(tmp_path: Path) -> None:
    decoder, tensors = _loaded("llama", tmp_path)
    with decoder.loaded(0, _weights(tensors, decoder.names[0])) as block:
        given = {parameter.data_ptr() for parameter in block.parameters()}
    assert all(module.weight.is_meta for module in block.modules() if isinstance(module, torch.nn.Linear))
    assert given.isdisjoint(parameter.data_ptr() for parameter in block.parameters())


@pytest.mark.parametrize("model_type", ["llama", "gemma2", "phi3", "qwen3_moe"])
def test_a_pass_in_lockstep_gives_the_outputs_of_batches_one_by_one(model_type: str, tmp_path: Path) -> None:
    decoder, tensors = _loaded(model_type, tmp_path)
    number = len(decoder.blocks) - 1
    batches = _batches(decoder, tensors, number)
    with decoder.loaded(number, _weights(tensors, decoder.names[number])) as block:
        groups = groups_of(block, *batches[0])
        expected = [run(block, *batch) for batch in batches]
        seen: dict[Group, InputStatistics] = {}
        outputs = pass_together([block], batches, groups, seen.__setitem__)
        again: dict[Group, InputStatistics] = {}
        twice = list(pass_twice([block], batches, groups, again.__setitem__))
    assert all(map(torch.equal, outputs, expected))
    assert all(map(torch.equal, twice, expected))
    assert list(seen) == groups
    for group, statistics in seen.items():
        assert statistics.tokens == again[group].tokens
        torch.testing.assert_close(statistics.gram, again[group].gram)


def test_every_linear_layer_is_in_one_group_those_of_experts_that_nothing_reached_among_them(tmp_path: Path) -> None:
    decoder, tensors = _loaded("qwen3_moe", tmp_path)
    (hidden, call), *_ = _batches(decoder, tensors, 1)
    with decoder.loaded(1, _weights(tensors, decoder.names[1])) as block:
        # One token: two of the three experts see nothing of it.
        groups = groups_of(block, hidden[:1, :1], _first_token(call))
    experts = [group.names for group in groups if "experts" in group.names[0]]
    assert experts == [
        names
        for expert in range(3)
        for names in (
            (f"mlp.experts.{expert}.gate_proj", f"mlp.experts.{expert}.up_proj"),
            (f"mlp.experts.{expert}.down_proj",),
        )
    ]
    assert groups[0].names == ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


def test_what_comes_later_sees_what_became_of_what_comes_before(tmp_path: Path) -> None:
    decoder, tensors = _loaded("llama", tmp_path)
    batches = _batches(decoder, tensors, 0)
    with decoder.loaded(0, _weights(tensors, decoder.names[0])) as block:
        groups = groups_of(block, *batches[0])
        grams: list[Tensor] = []

        def halve(group: Group, statistics: InputStatistics) -> None:
            grams.append(statistics.gram)
            for name in group.names:
                block.get_submodule(name).weight.data.mul_(0.5)

        outputs = pass_together([block], batches, groups, halve)
        # The block is changed now; every group sees what it would see in the changed block from the start.
        after: list[Tensor] = []
        again = pass_together([block], batches, groups, lambda group, statistics: after.append(statistics.gram))
    assert all(map(torch.equal, outputs, again))
    assert all(map(torch.equal, grams, after))


@pytest.mark.parametrize("passing", [pass_together, pass_twice])
def test_batches_that_take_turns_among_copies_of_the_block_give_what_one_block_gives(
    passing: Any, tmp_path: Path
) -> None:
    # Two copies on one device stand for two devices: which batch goes where, and that all copies change alike, is told.
    decoder, tensors = _loaded("qwen3_moe", tmp_path)
    batches = _batches(decoder, tensors, 1)
    outputs: list[list[Tensor]] = []
    grams: list[list[Tensor]] = []
    for count in (1, 2):
        with decoder.loaded(1, _weights(tensors, decoder.names[1])) as block:
            blocks = [block, *(deepcopy(block) for _ in range(count - 1))]
            groups = groups_of(block, *batches[0])
            seen: list[Tensor] = []

            def halve(group: Group, statistics: InputStatistics, blocks: Any = blocks, seen: Any = seen) -> None:
                seen.append(statistics.gram)
                for one in blocks:
                    for name in group.names:
                        one.get_submodule(name).weight.data.mul_(0.5)

            outputs.append(list(passing(blocks, batches, groups, halve)))
            grams.append(seen)
    assert all(map(torch.equal, *outputs))
    assert all(map(torch.equal, *grams))


def test_an_error_in_the_midst_leaves_no_coroutine_behind_and_the_block_as_usable_as_before(tmp_path: Path) -> None:
    decoder, tensors = _loaded("llama", tmp_path)
    batches = _batches(decoder, tensors, 0)

    def fail(group: Group, statistics: InputStatistics) -> None:
        raise KeyboardInterrupt

    with decoder.loaded(0, _weights(tensors, decoder.names[0])) as block:
        groups = groups_of(block, *batches[0])
        with pytest.raises(KeyboardInterrupt):
            pass_together([block], batches, groups, fail)
        assert torch.equal(run(block, *batches[0]), run(block, *batches[0]))
        assert not any(module._forward_pre_hooks for module in block.modules())


def _batches(decoder: Decoder, tensors: dict[str, Tensor], number: int) -> list[tuple[Tensor, Any]]:
    """What goes into a block, one sample a batch."""
    rows, local = torch.unique(TOKENS, return_inverse=True)
    hidden, calls = decoder.embed(local, tensors[decoder.embedding_name][rows])
    for before in range(number):
        with decoder.loaded(before, _weights(tensors, decoder.names[before])) as block:
            hidden = run(block, hidden, calls[before])
    one = decoder.embed(local[:1], tensors[decoder.embedding_name][rows])[1][number]
    return [(sample, one) for sample in hidden.split(1)]


def _first_token(call: Any) -> Any:
    keywords = dict(call.keywords)
    keywords["position_embeddings"] = tuple(part[:, :1] for part in keywords["position_embeddings"])
    if keywords.get("attention_mask") is not None:
        keywords["attention_mask"] = keywords["attention_mask"][..., :1, :1]
    return type(call)(arguments=call.arguments, keywords=keywords)

"""Structured pruning: the right neurons and blocks go, least squares makes the rest good, and what comes out loads."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modelpress.calibrate.decoder import Decoder
from modelpress.calibrate.engine import Engine, Told
from modelpress.calibrate.structured import choose_blocks, choose_neurons, cosine_distance, lost, repair
from modelpress.calibrate.structured_method import measure_distance, prune_structure, staying_blocks
from modelpress.domain.method import Method, Strategy
from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import known_scheme
from modelpress.domain.sparsity import Sparsity
from modelpress.quality.verification import verify
from modelpress.tensors.assembly import assemble
from modelpress.tensors.checkpoint import open_checkpoint
from modelpress.tensors.compress import compress
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.plan import make_plan
from modelpress.tensors.structure import plan_structure
from tests.calibrate.layers import inputs, weight
from tests.calibrate.tiny import tiny_model

DAMPENING = 0.01


def gram_of(seen: Tensor) -> Tensor:
    return seen.T @ seen


def output_error(before: Tensor, after: Tensor, seen: Tensor) -> float:
    """The squared difference of outputs, in float64."""
    return float((seen.double() @ (before.double() - after.double()).T).square().sum())


def padded(after: Tensor, kept: Tensor, columns: int) -> Tensor:
    whole = torch.zeros(len(after), columns)
    whole[:, kept] = after
    return whole


def test_repair_is_what_least_squares_in_double_precision_gives() -> None:
    seen, before = inputs(300, 24, seed=1), weight(16, 24, seed=2)
    kept = torch.tensor([0, 3, 4, 9, 11, 17, 20, 23])
    after = repair(before, gram_of(seen), kept, dampening=DAMPENING)
    damped = gram_of(seen.double())
    damped += DAMPENING * damped.diagonal().mean() * torch.eye(24, dtype=torch.float64)
    expected = before.double() @ damped[:, kept] @ torch.linalg.inv(damped[kept][:, kept])
    torch.testing.assert_close(after.double(), expected, rtol=1e-3, atol=1e-6)


def test_repair_loses_less_than_cutting_alone() -> None:
    seen, before = inputs(300, 24, seed=3), weight(16, 24, seed=4)
    kept = torch.arange(12)
    after = repair(before, gram_of(seen), kept, dampening=DAMPENING)
    cut = output_error(before, padded(before[:, kept], kept, 24), seen)
    assert output_error(before, padded(after, kept, 24), seen) < 0.7 * cut


def test_what_is_told_to_be_lost_is_lost() -> None:
    seen, before = inputs(300, 24, seed=3), weight(16, 24, seed=4)
    kept = torch.arange(12)
    after = repair(before, gram_of(seen), kept, dampening=DAMPENING)
    told = lost(before, gram_of(seen), kept, after)
    assert told == pytest.approx(
        output_error(before, padded(after, kept, 24), seen) / output_error(before, 0 * before, seen), rel=1e-3
    )


def test_of_two_neurons_that_do_the_same_one_goes_first() -> None:
    seen, before = inputs(300, 8, seed=5), torch.ones(4, 8)
    seen = seen / seen.square().mean(dim=0).sqrt()
    seen[:, 5] = seen[:, 2]
    kept = choose_neurons(gram_of(seen), before, 7, dampening=DAMPENING)
    assert sorted({2, 5} - set(kept.tolist())) in ([2], [5])


def test_chosen_neurons_lose_less_than_those_of_a_score_of_each_alone() -> None:
    seen, before = inputs(600, 64, seed=6), weight(32, 64, seed=7)
    gram = gram_of(seen)
    scores = before.square().sum(dim=0) * gram.diagonal()
    alone = scores.argsort(descending=True)[:24].sort().values
    chosen = choose_neurons(gram, before, 24, dampening=DAMPENING)
    errors = [
        output_error(before, padded(repair(before, gram, kept, dampening=DAMPENING), kept, 64), seen)
        for kept in (chosen, alone)
    ]
    assert errors[0] < errors[1]
    assert chosen.tolist() == sorted(set(chosen.tolist()))


def test_dead_neurons_go_first_and_harm_nothing() -> None:
    seen, before = inputs(300, 16, seed=8), weight(8, 16, seed=9)
    seen = seen / seen.square().mean(dim=0).sqrt()
    seen[:, [1, 6, 7, 12]] = 0
    kept = choose_neurons(gram_of(seen), before, 12, dampening=DAMPENING)
    assert kept.tolist() == [0, 2, 3, 4, 5, 8, 9, 10, 11, 13, 14, 15]
    after = repair(before, gram_of(seen), kept, dampening=DAMPENING)
    torch.testing.assert_close(after, before[:, kept], rtol=1e-3, atol=1e-5)


def test_no_input_at_all_still_leaves_a_weight() -> None:
    before = weight(8, 16, seed=9)
    kept = choose_neurons(torch.zeros(16, 16), before, 8, dampening=DAMPENING)
    assert len(kept) == 8
    assert repair(before, torch.zeros(16, 16), kept, dampening=DAMPENING).isfinite().all()


def test_the_blocks_that_turn_their_input_least_go_but_for_the_first_and_the_last() -> None:
    distances = torch.tensor([0.0, 0.3, 0.1, 0.2, 0.1, 0.0])
    assert choose_blocks(distances, 1).tolist() == [0, 1, 3, 4, 5]
    assert choose_blocks(distances, 3).tolist() == [0, 1, 5]


def test_distance_is_nothing_for_what_only_grows_and_one_for_a_right_angle() -> None:
    hidden = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert cosine_distance(hidden, 3 * hidden) == pytest.approx(0, abs=1e-6)
    assert cosine_distance(hidden, hidden.flip(1)) == pytest.approx(1)


SIZES = {"num_hidden_layers": 4, "intermediate_size": 48, "max_position_embeddings": 64}
TOKENS = torch.randint(3, 64, (8, 24), generator=torch.Generator().manual_seed(0))


def saved(model_type: str, folder: Path, **sizes: Any) -> Any:
    model = tiny_model(model_type, sizes={**SIZES, **sizes}).to(torch.float32)
    model.save_pretrained(folder)
    return model


def untold(share: float, blocks: int) -> None:
    """Nobody hears of the progress."""


def pruned(
    source: Path, work: Path, *, ratio: float, scheme: str = "DENSE", told: Told = untold
) -> tuple[Path, list[dict[str, Any]]]:
    """The output's directory, and what is told of each block."""
    folder = LocalFolder(source)
    checkpoint = open_checkpoint(folder)
    recipe = Recipe(
        scheme=known_scheme(scheme),
        strategy=Strategy.SPARSITY,
        method=Method.STRUCTURED,
        sparsity=Sparsity(ratio=ratio),
    )
    plan, structure = make_plan(checkpoint, recipe), plan_structure(checkpoint, recipe)
    decoder = Decoder(checkpoint.config, dtype=torch.float32, device=torch.device("cpu"))

    def engine(method: Any, **keywords: Any) -> Engine:
        return Engine(checkpoint, plan, list(TOKENS.split(4)), method=method, decoder=decoder, **keywords)

    staying = None
    if structure.kept_blocks < structure.blocks:
        measured = engine(measure_distance).run(folder, work / "distances", told=told, say=lambda _: None)
        staying = staying_blocks(measured.facts, structure)
    finished = engine(prune_structure, structure=structure, staying=staying).run(
        folder, work / "blocks", told=told, say=lambda _: None
    )
    made = assemble(plan, folder, finished.files)
    compress(made.writing, made.folder, work / "out", report=lambda progress: None)
    verify(made.plan, work / "out")
    return work / "out", [dict(facts) for facts in finished.facts]


def loaded(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    model, problems = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(problems[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), problems
    return model.eval()


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3", "gemma2", "phi3"])
def test_a_narrower_model_loads_and_is_nearer_to_the_original_than_one_cut_at_random(
    model_type: str, tmp_path: Path
) -> None:
    model = saved(model_type, tmp_path / "source")
    out, facts = pruned(tmp_path / "source", tmp_path, ratio=0.25)
    config = json.loads((out / "config.json").read_text())
    assert config["intermediate_size"] < 48
    assert config["num_hidden_layers"] == 4
    narrow = loaded(out)
    assert sum(p.numel() for p in narrow.parameters()) < sum(p.numel() for p in model.parameters())
    with torch.no_grad():
        before, after = model(TOKENS).logits, narrow(TOKENS).logits
    assert after.isfinite().all()
    assert len(facts) == 4
    for block in facts:
        told = block["layers"]["mlp.down_proj"]
        assert told["neurons"] == config["intermediate_size"]
        assert 0 < told["error"] < 0.5
    assert (before - after).square().mean() < before.square().mean()


def test_blocks_go_where_neurons_are_not_enough(tmp_path: Path) -> None:
    model = saved("llama", tmp_path / "source")
    out, facts = pruned(tmp_path / "source", tmp_path, ratio=0.7)
    config = json.loads((out / "config.json").read_text())
    assert config["num_hidden_layers"] < 4
    names = [block["name"] for block in facts]
    assert names[0] == "model.layers.0"
    assert names[-1] == "model.layers.3"
    short = loaded(out)
    stored = dict(model.named_parameters())
    for number, name in enumerate(names):
        own = f"model.layers.{number}.self_attn.q_proj.weight"
        assert torch.equal(dict(short.named_parameters())[own], stored[f"{name}.self_attn.q_proj.weight"])


@pytest.mark.parametrize(
    ("model_type", "widths"),
    [
        ("qwen3_moe", {"mlp_only_layers": [], "moe_intermediate_size": 48}),
        ("mixtral", {"intermediate_size": 48}),
        ("qwen2_moe", {"moe_intermediate_size": 48, "shared_expert_intermediate_size": 64}),
    ],
)
def test_experts_lose_neurons_each_for_itself(model_type: str, widths: dict[str, Any], tmp_path: Path) -> None:
    saved(model_type, tmp_path / "source", **widths)
    out, facts = pruned(tmp_path / "source", tmp_path, ratio=0.3)
    config = json.loads((out / "config.json").read_text())
    for key, before in widths.items():
        assert key == "mlp_only_layers" or config[key] < before
    assert loaded(out)(TOKENS).logits.isfinite().all()
    layers = facts[0]["layers"]
    assert {name for name in layers if ".experts." in name} == {f"mlp.experts.{n}.down_proj" for n in range(3)}
    assert all(layer["neurons"] < layer["neurons_before"] for layer in layers.values())


@pytest.mark.parametrize("scheme", ["W8A16C16", "INT8-PTQ", "WNVFP4A16C16"])
def test_what_is_left_is_rounded_as_if_it_had_been_pruned_before(scheme: str, tmp_path: Path) -> None:
    sizes = {"intermediate_size": 64}
    saved("llama", tmp_path / "source", **sizes)
    dense, _ = pruned(tmp_path / "source", tmp_path / "dense", ratio=1 / 3)
    plan = make_plan(open_checkpoint(LocalFolder(dense)), Recipe(scheme=known_scheme(scheme)))
    compress(plan, LocalFolder(dense), tmp_path / "after", report=lambda progress: None)
    at_once, _ = pruned(tmp_path / "source", tmp_path / "once", ratio=1 / 3, scheme=scheme)
    assert (at_once / "model.safetensors").read_bytes() == (tmp_path / "after" / "model.safetensors").read_bytes()


class Stopped(Exception):
    """What stands for a kill."""


def test_a_run_that_ends_early_goes_on_at_its_block_to_the_same_bytes(tmp_path: Path) -> None:
    saved("llama", tmp_path / "source")
    whole, _ = pruned(tmp_path / "source", tmp_path / "whole", ratio=0.7)
    heard: list[int] = []

    def stop_now_and_then(share: float, blocks: int) -> None:
        heard.append(blocks)
        if len(heard) in (3, 8, 16):
            raise Stopped

    out = None
    while out is None:
        with suppress(Stopped):
            out, _ = pruned(tmp_path / "source", tmp_path / "again", ratio=0.7, told=stop_now_and_then)
    assert len(heard) > 16
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()

"""Whole calibrated runs: what they make of tiny models loads and is what was asked for; what cannot be is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from modelpress.calibrate import needs
from modelpress.domain.method import Method
from modelpress.domain.recipe import Override, Recipe
from modelpress.domain.scheme import known_scheme
from modelpress.domain.sparsity import Sparsity
from modelpress.domain.task import Progress
from modelpress.errors import BadSource, DiskFull, OutOfMemory, TaskError, Unsupported
from modelpress.tensors.folder import LocalFolder
from modelpress.worker.press import prepare
from tests.calibrate.whole_run import RECIPES, loaded, pruning, quantizing, run, tensors_of, write_source, write_text

TOKENS = torch.randint(3, 259, (2, 24), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source that no test changes."""
    return write_source(tmp_path_factory.mktemp("llama") / "source")


def logits_of(folder: Path) -> Tensor:
    with torch.no_grad():
        logits: Tensor = loaded(folder)(TOKENS).logits.float()
    return logits


def distance(folder: Path, source: Path) -> float:
    """How far the outputs are from the source's, of 1 for outputs that are all zero."""
    before = logits_of(source)
    return float((logits_of(folder) - before).square().sum() / before.square().sum())


def block_weights(folder: Path) -> dict[str, Tensor]:
    """The weights that the model computes with in the linear layers of its blocks, by layer."""
    model = loaded(folder)
    model(TOKENS)  # weights are unpacked when they are first computed with
    modules = model.named_modules()
    return {name: m.weight for name, m in modules if ".layers." in name and isinstance(m, torch.nn.Linear)}


@pytest.mark.parametrize("name", RECIPES)
def test_what_every_method_makes_loads_and_computes(name: str, llama: Path, tmp_path: Path) -> None:
    run(llama, tmp_path / "out", RECIPES[name])
    assert logits_of(tmp_path / "out").isfinite().all()


@pytest.mark.parametrize("method", ["gptq", "awq", "learned", "sparsegpt", "structured"])
@pytest.mark.parametrize("model_type", ["qwen3_moe", "phi3", "gemma2"])
def test_every_class_of_architecture_loads_and_computes(model_type: str, method: str, tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", model_type)
    recipe = RECIPES[method]
    if method == "structured":  # of gemma2 no blocks go, so not everything can
        recipe = pruning(Method.STRUCTURED, sparsity=Sparsity(ratio=0.25))
    run(source, tmp_path / "out", recipe)
    assert logits_of(tmp_path / "out").isfinite().all()


@pytest.mark.parametrize("method", ["gptq", "learned", "awq", "smoothquant"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_sources_of_other_precision_keep_it(dtype: torch.dtype, method: str, tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", dtype=dtype)
    run(source, tmp_path / "out", RECIPES[method])
    assert tensors_of(tmp_path / "out")["model.embed_tokens.weight"].dtype is dtype
    assert distance(tmp_path / "out", source) < 1


@pytest.mark.parametrize("name", ["gptq", "sparsegpt", "sparsegpt with integers", "wanda"])
def test_what_is_no_linear_weight_of_a_block_stays_bit_for_bit(name: str, llama: Path, tmp_path: Path) -> None:
    run(llama, tmp_path / "out", RECIPES[name])
    before, after = tensors_of(llama), tensors_of(tmp_path / "out")
    others = {name for name in before if "_proj.weight" not in name}
    assert len(others) == 4 * (2 + 7) + 3
    for name in others:
        assert torch.equal(before[name], after[name]), name


def test_weights_that_are_scaled_compute_what_they_did_but_for_the_rounding(llama: Path, tmp_path: Path) -> None:
    nearest = Recipe(scheme=known_scheme("W4A16C16"), group_size=32)
    run(llama, tmp_path / "nearest", nearest)
    for method in ("awq", "smoothquant"):
        run(llama, tmp_path / method, RECIPES[method])
        # Random weights have no columns that weigh more than others, so that there is little to gain.
        assert distance(tmp_path / method, llama) < 1.2 * distance(tmp_path / "nearest", llama), method


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.5, 0.9])
def test_sparsegpt_prunes_exactly_the_ratio_of_every_weight(ratio: float, llama: Path, tmp_path: Path) -> None:
    run(llama, tmp_path / "out", pruning(Method.SPARSEGPT, sparsity=Sparsity(ratio=ratio)))
    for name, weight in block_weights(tmp_path / "out").items():
        # Per panel of columns, what is left of the ratio goes to the next: the whole is within a weight of it.
        assert abs(int((weight == 0).sum()) - ratio * weight.numel()) < 1, name


@pytest.mark.parametrize("scheme", ["DENSE", "W4A16C16", "W8A16C16"])
@pytest.mark.parametrize("method", [Method.SPARSEGPT, Method.WANDA])
def test_two_of_four_neighbours_are_zero_and_stay_zero_as_integers(
    method: Method, scheme: str, llama: Path, tmp_path: Path
) -> None:
    run(llama, tmp_path / "out", pruning(method, scheme, sparsity=Sparsity(ratio=0.5, pattern="2:4")))
    weights = block_weights(tmp_path / "out")
    assert len(weights) == 28
    for name, weight in weights.items():
        assert ((weight.reshape(-1, 4) == 0).sum(dim=1) >= 2).all(), name


@pytest.mark.parametrize("name", ["gptq", "learned", "sparsegpt", "structured, fewer blocks"])
def test_a_run_takes_about_as_much_of_the_disk_as_was_said(name: str, llama: Path, tmp_path: Path) -> None:
    calibration = prepare(
        LocalFolder(llama), RECIPES[name], calibration_file=write_text(tmp_path / "text.txt")
    ).calibration
    assert calibration is not None
    sizes = [0]

    def look(progress: Progress) -> None:
        sizes.append(sum(file.stat().st_size for file in (tmp_path / "out").rglob("*") if file.is_file()))

    run(llama, tmp_path / "out", RECIPES[name], report=look)
    # Headers and reports, of which nothing is said, count for much with a model as small as this.
    assert 0.7 * calibration.disk_bytes < max(sizes) < calibration.disk_bytes + 50_000


def test_a_run_that_the_disk_has_no_room_for_is_refused_before_its_first_block(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=50_000))
    with pytest.raises(DiskFull, match=r"needs \d+ bytes more, and 50000 are free"):
        run(llama, tmp_path / "out", RECIPES["gptq"])
    assert not list((tmp_path / "out").rglob("block-*"))


def test_batches_that_do_not_fit_together_are_gone_through_one_by_one(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = write_text(tmp_path / "text.txt")
    monkeypatch.setattr("modelpress.calibrate.preparation.BATCH_TOKENS", 64)
    for name, recipe in RECIPES.items():
        monkeypatch.setattr(needs, "available_bytes", lambda device: None)
        plenty = prepare(LocalFolder(llama), recipe, calibration_file=text, threads=1).calibration
        assert plenty is not None
        assert plenty.together
        monkeypatch.setattr(needs, "available_bytes", lambda device, there=plenty.needs.apart_bytes: there)
        said: list[str] = []
        run(llama, tmp_path / name, recipe, say=said.append)
        assert any("batch after batch, twice" in line for line in said)
        assert logits_of(tmp_path / name).isfinite().all()


def test_what_is_ignored_or_kept_stays_and_other_schemes_hold_where_they_are_said(llama: Path, tmp_path: Path) -> None:
    recipe = quantizing(
        Method.GPTQ,
        ignore=("model.layers.0.*",),
        overrides=(
            Override(targets=("*.o_proj",), keep=True),
            Override(targets=("*.down_proj",), scheme=known_scheme("W8A16C16"), group_size="channel"),
        ),
    )
    run(llama, tmp_path / "out", recipe)
    before, after = tensors_of(llama), tensors_of(tmp_path / "out")
    for name, tensor in before.items():
        if name.startswith("model.layers.0.") or "o_proj" in name or "_proj.weight" not in name:
            assert torch.equal(tensor, after[name]), name
        else:
            scales = after[name.removesuffix("weight") + "weight_scale"]
            assert scales.shape[1] == (1 if "down_proj" in name else tensor.shape[1] // 32), name
    assert distance(tmp_path / "out", llama) < 0.2


TARGETS = ("model.layers.2.*.v_proj", "*.down_proj")


@pytest.mark.parametrize("method", ["gptq", "sparsegpt", "sparsegpt with integers"])
def test_targets_alone_are_treated(method: str, llama: Path, tmp_path: Path) -> None:
    run(llama, tmp_path / "out", replace(RECIPES[method], targets=TARGETS))
    before, after = tensors_of(llama), tensors_of(tmp_path / "out")
    for name, tensor in before.items():
        treated = name == "model.layers.2.self_attn.v_proj.weight" or name.endswith("down_proj.weight")
        assert treated == (name not in after or not torch.equal(tensor, after[name])), name
    assert logits_of(tmp_path / "out").isfinite().all()


def test_layers_beside_a_target_that_is_scaled_compute_what_they_did(llama: Path, tmp_path: Path) -> None:
    run(llama, tmp_path / "out", replace(RECIPES["awq"], targets=TARGETS))
    assert distance(tmp_path / "out", llama) < 0.2


def test_layers_of_a_scheme_that_is_no_integers_are_rounded_as_scaling_left_them(llama: Path, tmp_path: Path) -> None:
    eight_bits = Override(targets=("*.up_proj", "*.k_proj"), scheme=known_scheme("WFP8AFP8C16"))
    run(llama, tmp_path / "out", quantizing(Method.AWQ, overrides=(eight_bits,)))
    run(llama, tmp_path / "integers", quantizing(Method.AWQ))
    assert distance(tmp_path / "out", llama) < distance(tmp_path / "integers", llama)


def test_experts_that_few_tokens_reach_are_named(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", "qwen3_moe", num_experts=16, num_experts_per_tok=2)
    plan = run(source, tmp_path / "out", RECIPES["gptq"])
    told = json.loads((tmp_path / "out" / "modelpress.json").read_text())
    assert any("too few tokens" in note for note in plan.notes)
    assert any("too few tokens" in note for note in told["notes"])
    blocks = told["calibration"]["blocks"]
    starved = [name for block in blocks for name in block.get("starved", ())]
    assert starved
    assert all(".experts." in name for name in starved)
    assert all(tokens < 128 for block in blocks for tokens in block.get("starved", {}).values())
    assert [block["block"] for block in blocks] == [0, 1, 2, 3]
    assert logits_of(tmp_path / "out").isfinite().all()


@pytest.mark.parametrize("name", ["gptq", "structured, fewer blocks"])
def test_progress_grows_from_nothing_to_the_end_and_counts_blocks(name: str, llama: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    run(llama, tmp_path / "out", RECIPES[name], report=told.append)
    prepared = prepare(LocalFolder(llama), RECIPES[name], calibration_file=write_text(tmp_path / "text.txt"), threads=1)
    for figures in ([p.percent for p in told], [p.bytes_done for p in told], [p.shards_done for p in told]):
        assert figures == sorted(figures)
    assert (told[0].percent, told[0].shards_done) == (0, 0)
    assert (told[-1].percent, told[-1].shards_done) == (99, prepared.parts)
    calibrating = [progress for progress in told if progress.stage.startswith("calibrating block ")]
    assert prepared.calibration is not None
    assert {progress.shards_done for progress in calibrating} == set(range(prepared.calibration.blocks))
    assert all(0 <= progress.percent <= 95 for progress in calibrating)
    stages = dict.fromkeys(progress.stage.split()[0] for progress in told)
    assert list(stages) == ["calibrating", "compressing", "verify"]


@pytest.mark.parametrize("name", ["awq", "learned"])
def test_two_runs_write_the_same_bytes(name: str, llama: Path, tmp_path: Path) -> None:
    for out in ("first", "second"):
        run(llama, tmp_path / out, RECIPES[name])
    assert (tmp_path / "first/model.safetensors").read_bytes() == (tmp_path / "second/model.safetensors").read_bytes()


def refused(source: Path, recipe: Recipe, kind: type[TaskError], *, words: str, out: Path) -> None:
    with pytest.raises(kind, match=words):
        run(source, out, recipe, text=write_text(out.with_name("text.txt")))
    assert not out.exists()


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A source that is a test's own."""
    return write_source(tmp_path / "source")


def told_in_config(source: Path, **facts: Any) -> None:
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, **facts}))


def test_too_little_memory_is_refused_with_the_numbers(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "available_bytes", lambda device: 123_456_789)
    refused(llama, RECIPES["gptq"], OutOfMemory, words="needs about [0-9]{9} bytes.* 123456789 are", out=tmp_path / "o")


def test_a_type_that_transformers_does_not_know_is_refused(changed: Path, tmp_path: Path) -> None:
    told_in_config(changed, model_type="riddle")
    refused(changed, RECIPES["gptq"], Unsupported, words="'riddle'", out=tmp_path / "out")


def test_a_checkpoint_that_lacks_a_tensor_is_refused_by_its_name(changed: Path, tmp_path: Path) -> None:
    tensors = tensors_of(changed)
    tensors.pop("model.layers.3.mlp.up_proj.weight")
    save_file(tensors, changed / "model.safetensors")
    refused(changed, RECIPES["gptq"], Unsupported, words=r"layers\.3\.mlp\.up_proj\.weight", out=tmp_path / "out")


def test_a_tensor_of_another_shape_than_the_config_says_is_refused(changed: Path, tmp_path: Path) -> None:
    told_in_config(changed, intermediate_size=64)
    refused(changed, RECIPES["gptq"], Unsupported, words=r"\[64, 96\]; config.json .* \[64, 64\]", out=tmp_path / "out")


def test_a_tokenizer_of_another_model_is_refused(changed: Path, tmp_path: Path) -> None:
    tensors = tensors_of(changed)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:64].clone()
    save_file(tensors, changed / "model.safetensors")
    told_in_config(changed, vocab_size=64)
    refused(changed, RECIPES["gptq"], BadSource, words="vocabulary has 64", out=tmp_path / "out")

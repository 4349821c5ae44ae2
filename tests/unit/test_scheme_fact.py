"""What is told of the schemes is told of each, and ratios are what files have."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import FP8_BLOCK, SCHEMES
from modelpress.domain.scheme_fact import FACTS, Loading, SchemeFact
from modelpress.tensors.checkpoint import open_checkpoint
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.gguf_output.block_choice import choose_block_type
from modelpress.tensors.plan import make_plan
from tests.golden.synthetic import write_safetensors

ROWS, COLUMNS = 1024, 4096
IN_SAFETENSORS = [fact for fact in FACTS if fact.scheme.output_format == "compressed-tensors"]
IN_GGUF = [fact for fact in FACTS if fact.scheme.output_format == "gguf"]


def test_every_scheme_has_its_facts() -> None:
    assert sorted(fact.scheme.name for fact in FACTS) == sorted(scheme.name for scheme in SCHEMES)


def test_a_runtime_that_was_tried_has_a_version_and_its_name_reads_well() -> None:
    for runtime in (runtime for fact in FACTS for runtime in fact.runtimes):
        assert bool(runtime.version) is (runtime.loading is not Loading.NOT_SEEN)
    titles = {runtime.title for fact in FACTS for runtime in fact.runtimes}
    known = {"transformers 5.17", "vLLM 0.32 (CPU)", "vLLM (CPU)", "vLLM (GPU)", "llama.cpp 2026.10 (xllamacpp)"}
    assert titles <= known


@pytest.mark.parametrize("fact", IN_SAFETENSORS, ids=lambda fact: fact.scheme.name)
def test_the_computed_ratio_is_that_of_planned_files(fact: SchemeFact, tmp_path: Path) -> None:
    weight = ("BF16", (ROWS, COLUMNS), bytes(2 * ROWS * COLUMNS))
    write_safetensors(tmp_path / "model.safetensors", {"model.layers.0.mlp.up_proj.weight": weight})
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}')
    plan = make_plan(open_checkpoint(LocalFolder(tmp_path)), Recipe(scheme=fact.scheme))
    ratio = plan.output_bytes / plan.source_bytes
    assert ratio == pytest.approx(fact.ratio, abs=0.002)
    if fact.scheme is FP8_BLOCK:
        assert fact.measured_ratio is None
    else:
        assert fact.measured_ratio is not None
        assert fact.ratio < fact.measured_ratio < 1


@pytest.mark.parametrize("fact", IN_GGUF, ids=lambda fact: fact.scheme.name)
def test_the_computed_ratio_is_that_of_most_blocks(fact: SchemeFact) -> None:
    most = choose_block_type(fact.scheme, name="blk.0.ffn_up.weight", columns=COLUMNS, layers=32, tied=False)
    assert 8 * most.size_bytes / most.length == fact.stored_bits
    assert fact.measured_ratio is not None
    assert fact.ratio < fact.measured_ratio < 1

"""What calibrated compression's benchmark judges by is apart from what it calibrates on; peers run without us."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.calibrated import job, texts
from benchmarks.core.source import MODELS, make
from modelpress.cli.main import app

HERE = Path(job.__file__).parent


def test_nothing_is_judged_by_what_was_calibrated_on() -> None:
    judged = texts.domains()
    assert set(judged) == {"documentation", "licences", "Chinese"}
    for piece in texts.calibration_pieces(texts.SAMPLES):
        lines = [line for line in piece.splitlines() if len(line) > 60]
        assert sum(line in text for text in judged.values() for line in lines) < len(lines) / 20


def test_samples_are_apart_and_begin_a_line() -> None:
    pieces = texts.calibration_pieces(texts.SAMPLES)
    assert len({piece[:80] for piece in pieces}) == texts.SAMPLES
    # Three characters a token at the least.
    assert all(len(piece) >= 3 * texts.LENGTH for piece in pieces)
    with pytest.raises(ValueError, match="samples of"):
        texts.calibration_pieces(1000)


@pytest.mark.parametrize("script", sorted({method.script for method in job.METHODS}))
def test_peers_import_nothing_of_ours(script: str) -> None:
    tree = ast.parse((HERE / script).read_text(encoding="utf-8"))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert not any(name.startswith(("modelpress", "benchmarks")) for name in imported)


def test_every_method_is_held_to_a_baseline_that_needs_no_data() -> None:
    assert {method.baseline for method in job.METHODS} == set(job.BASELINES)
    timed = [method.name for method in job.METHODS if method.timed]
    assert timed == ["gptq", "sparsegpt"]


@pytest.mark.parametrize("method", job.METHODS, ids=lambda method: method.name)
def test_what_is_asked_of_our_command_is_understood(method: job.Method, tmp_path: Path) -> None:
    make(MODELS["tiny"], tmp_path / "tiny")
    (tmp_path / "calibration.jsonl").touch()
    for text in (job.calibrated_by(tmp_path), ("--calibration", "default")):
        asked = ["compress", str(tmp_path / "tiny"), "--plan", *method.options, *text]
        assert CliRunner().invoke(app, asked).exit_code == 0
    asked = ["compress", str(tmp_path / "tiny"), "--plan", *job.BASELINES[method.baseline]]
    assert CliRunner().invoke(app, asked).exit_code == 0

"""The same samples for everyone: ``python -m benchmarks.calibrated.samples MODEL DIRECTORY``.

Writes ``calibration.jsonl``, a text a line, for programs that read text, and ``samples.safetensors`` with
``input_ids``, int64 [samples, length], for those that take tokens: the first tokens of each text, so both are the same.
Needs torch and transformers.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from benchmarks.calibrated.texts import LENGTH, SAMPLES, calibration_pieces
from modelpress.calibrate.samples import load_samples
from modelpress.domain.calibration import Calibration, CalibrationSource


def windows_of(text: str, *, model: Path, length: int, most: int) -> torch.Tensor:
    """At most so many windows of ``length`` tokens, evenly spread over ``text``: int64 [windows, length]."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    ids = torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"])
    whole = ids[: len(ids) // length * length].reshape(-1, length)
    if len(whole) > most:
        whole = whole[[number * len(whole) // most for number in range(most)]]
    return whole


def write_samples(model: Path, directory: Path) -> None:
    """Both files, which say the same."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    pieces = calibration_pieces(SAMPLES)
    rows = [tokenizer(piece)["input_ids"][:LENGTH] for piece in pieces]
    if any(len(row) < LENGTH for row in rows):
        raise SystemExit(f"a sample has fewer than {LENGTH} tokens")
    directory.mkdir(parents=True, exist_ok=True)
    save_file({"input_ids": torch.tensor(rows)}, directory / "samples.safetensors")
    lines = (json.dumps({"text": piece}, ensure_ascii=False) + "\n" for piece in pieces)
    (directory / "calibration.jsonl").write_text("".join(lines), encoding="utf-8")
    _check_same(model, directory)


def _check_same(model: Path, directory: Path) -> None:
    """What modelpress makes of the text is what its peers get."""
    ours = load_samples(
        model,
        Calibration(source=CalibrationSource.OBJECT, num_samples=SAMPLES, max_length=LENGTH),
        file=directory / "calibration.jsonl",
    )
    if {tuple(ids.tolist()) for ids in ours.ids} != {tuple(row.tolist()) for row in read_samples(directory)}:
        raise SystemExit("modelpress reads other samples out of calibration.jsonl than samples.safetensors has")


def read_samples(directory: Path) -> torch.Tensor:
    """What ``write_samples`` wrote: int64 [samples, length]."""
    samples: torch.Tensor = load_file(directory / "samples.safetensors")["input_ids"]
    return samples


if __name__ == "__main__":
    write_samples(Path(sys.argv[1]), Path(sys.argv[2]))

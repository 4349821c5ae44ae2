"""Weights that servers fuse share a scale of all of them, wherever they lie, and it is found once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from modelpress.domain.task import Progress
from modelpress.errors import BadSource, Unsupported
from modelpress.tensors import output, piece
from modelpress.tensors.compress import compress
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.fusion import fused_with
from modelpress.tensors.staging import MANIFEST
from tests.unit.tensors.models import Tensors, encode, plan_of, weight, write_model

ATTENTION = "model.layers.0.self_attn."


def ignore(progress: Progress) -> None:
    """A report nobody reads."""


def projections(largest: dict[str, float]) -> Tensors:
    """A weight of 8 by 32 for each name, with one number of this size in its last row."""
    tensors: Tensors = {}
    for name, size in largest.items():
        numbers = np.full((8, 32), 0.01, np.float32)
        numbers[7, 31] = -size
        tensors[f"{ATTENTION}{name}.weight"] = ("BF16", (8, 32), encode(numbers, "BF16"))
    return tensors


def global_scales(directory: Path) -> dict[str, float]:
    """By the last word of a module's name."""
    found = {}
    for path in directory.glob("*.safetensors"):
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        for name, entry in json.loads(content[8 : 8 + length]).items():
            if name.endswith(".weight_global_scale"):
                start, end = (8 + length + offset for offset in entry["data_offsets"])
                found[name.split(".")[-2]] = float(np.frombuffer(content[start:end], "<f4")[0])
    return found


def test_all_of_a_set_are_fused_in_any_module_and_part_of_a_set_is_not() -> None:
    attention = ("layers.0.self_attn.q_proj", "layers.0.self_attn.k_proj", "layers.0.self_attn.v_proj")
    expert = ("layers.1.mlp.experts.7.gate_proj", "layers.1.mlp.experts.7.up_proj")
    alone = ("layers.0.self_attn.o_proj", "layers.1.self_attn.q_proj", "layers.1.self_attn.k_proj", "up_proj")
    sets = fused_with([*attention, *expert, *alone])
    assert sets == {
        **dict.fromkeys(attention, attention),
        **dict.fromkeys(expert, expert),
        **{module: (module,) for module in alone},
    }


@pytest.mark.parametrize("threads", [1, 4])
def test_a_set_over_two_files_has_one_global_scale_made_of_its_largest_weight(
    tmp_path: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(piece, "PIECE_BYTES", 64)
    first, second = projections({"q_proj": 0.5, "o_proj": 1.5}), projections({"k_proj": 6.0, "v_proj": 0.25})
    source = write_model(tmp_path / "source", first, second)
    compress(plan_of(source, "WNVFP4A16C16"), LocalFolder(source), tmp_path / "out", report=ignore, threads=threads)
    assert global_scales(tmp_path / "out") == {"q_proj": 448, "k_proj": 448, "v_proj": 448, "o_proj": 1792}


def test_measuring_is_not_counted_as_progress_and_a_finished_shard_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(piece, "PIECE_BYTES", 64)
    first, second = projections({"o_proj": 1.5}), projections({"q_proj": 0.5, "k_proj": 6.0, "v_proj": 0.25})
    source = write_model(tmp_path / "source", first, second)
    plan = plan_of(source, "WNVFP4A16C16")
    seen: list[Progress] = []
    compress(plan, LocalFolder(source), tmp_path / "out", report=seen.append)
    assert seen[-1].bytes_done == plan.tensor_bytes == 4 * 8 * 32 * 2
    before = (tmp_path / "out" / plan.shards[1].name).read_bytes()
    (tmp_path / "out" / plan.shards[1].name).unlink()
    # What was written of the first file is whole, so that nobody reads the file again.
    reads: list[str] = []
    read_into = LocalFolder.read_into

    def noted(folder: LocalFolder, name: str, offset: int, buffer: memoryview) -> None:
        reads.append(name)
        read_into(folder, name, offset, buffer)

    monkeypatch.setattr(LocalFolder, "read_into", noted)
    assert compress(plan, LocalFolder(source), tmp_path / "out", report=ignore) == 1
    assert set(reads) == {"model-00002-of-00002.safetensors"}
    assert (tmp_path / "out" / plan.shards[1].name).read_bytes() == before


@pytest.mark.parametrize("threads", [1, 4])
def test_a_weight_that_is_not_finite_is_told_before_another_is_rounded_by_it(tmp_path: Path, threads: int) -> None:
    tensors = projections({"q_proj": 0.5, "k_proj": 6.0, "v_proj": 0.25})
    name = f"{ATTENTION}v_proj.weight"
    data = np.frombuffer(tensors[name][2], np.uint16).copy()
    data[32 * 5 + 3] = 0x7FC0
    tensors[name] = ("BF16", (8, 32), data.tobytes())
    source = write_model(tmp_path / "source", tensors)
    with pytest.raises(BadSource, match=f"'{name}' holds a NaN or an infinity in row 5"):
        compress(plan_of(source, "WNVFP4A16C16"), LocalFolder(source), tmp_path / "out", report=ignore, threads=threads)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [MANIFEST]


def test_rows_that_are_too_long_to_be_rounded_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "LARGEST_ROW_BYTES", 128 * 256 * 2 - 1)
    source = write_model(tmp_path / "source", {"a.up_proj.weight": weight(200, 256)})
    with pytest.raises(Unsupported, match=r"128 rows of weight 'a\.up_proj\.weight', which are rounded together"):
        plan_of(source, "WFP8AFP8C16-BLOCK")
    plan_of(source, "WFP8AFP8C16")

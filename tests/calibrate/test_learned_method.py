"""The method "learned" on blocks of tiny models: nearer to what the source gives than GPTQ, experts and kept layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

from modelpress.calibrate.block_method import BlockMethod, BlockPass
from modelpress.calibrate.block_work import BlockWork
from modelpress.calibrate.decoder import Call, Decoder, run
from modelpress.calibrate.integers import IntegerFormat
from modelpress.calibrate.learned_method import _of_samples
from modelpress.calibrate.learned_rounding import relative_error
from modelpress.calibrate.lockstep import groups_of
from modelpress.calibrate.methods import METHODS
from modelpress.domain.calibration import CalibrationWish
from modelpress.domain.method import Method
from modelpress.domain.tuning import Tuning
from modelpress.domain.wish import Wish, make_recipe
from tests.calibrate.tiny import tiny_model, with_experts_apart


@dataclass
class Kept:
    """The source's way, in memory."""

    batches: list[tuple[Tensor, Call]]
    outputs: list[Tensor] = field(default_factory=list)

    def keep_outputs(self, outputs: Iterable[Tensor]) -> Sequence[Tensor]:
        self.outputs = list(outputs)
        return self.outputs


@dataclass
class Scene:
    """A method's work on the last block of a model, whose inputs are a little off the source's."""

    work: BlockWork
    outputs: list[Tensor]
    wanted: list[Tensor]

    @property
    def error(self) -> float:
        return sum(float(relative_error(*pair)) for pair in zip(self.outputs, self.wanted, strict=True))


def done(model_type: str, folder: Path, *, method: BlockMethod, kept: str = "", together: bool = True) -> Scene:
    model = tiny_model(model_type).float()
    decoder = Decoder(model.config.to_dict(), dtype=torch.float32, device=torch.device("cpu"))
    with_experts_apart(model, folder)
    tensors = dict(model.state_dict())
    random = torch.Generator().manual_seed(3)
    tokens = [torch.randint(3, 64, (4, 40), generator=random), torch.randint(3, 64, (2, 32), generator=random)]
    number = len(decoder.blocks) - 1
    untouched = []
    for batch in tokens:
        hidden, calls = decoder.embed(batch, tensors[decoder.embedding_name])
        untouched.append((hidden, calls[number]))
    batches = [(hidden + 0.01 * torch.randn(hidden.shape, generator=random), call) for hidden, call in untouched]
    prefix = f"{decoder.names[number]}."
    weights = {n.removeprefix(prefix): t.clone() for n, t in tensors.items() if n.startswith(prefix)}
    format = IntegerFormat(bits=3, group_size=4, symmetric=True, dtype=torch.float32)
    with torch.no_grad(), decoder.loaded(number, weights) as block:
        linears = [name for name, module in block.named_modules() if isinstance(module, torch.nn.Linear)]
        work = BlockWork(
            number=number,
            block=block,
            recipe=make_recipe(
                Wish(
                    strategy="Quantization",
                    weight="W4A16C16",
                    method="learned",
                    calibration=CalibrationWish(),
                    tuning=Tuning(iterations=40),
                )
            ),
            steps={},
            formats={name: format for name in linears if name != kept and "gate" not in name.split(".")},
            untouched=Kept(untouched),
        )
        wanted = [run(block, *batch) for batch in untouched]
        groups = [group for group in groups_of(block, *batches[0]) if not work.wanted.isdisjoint(group.names)]
        shares: list[float] = []
        outputs = list(method(work, BlockPass(batches=batches, groups=groups, together=together, tick=shares.append)))
        assert shares == sorted(shares)
        assert shares[-1] == pytest.approx(1)
        for name, rounded in work.rounded.items():
            assert torch.equal(block.get_submodule(name).weight, rounded.dense())
        assert all(torch.equal(run(block, *batch), output) for batch, output in zip(batches, outputs, strict=True))
    assert set(work.rounded) == set(work.formats)
    assert not any(tensor.requires_grad for tensor in outputs)
    return Scene(work=work, outputs=outputs, wanted=wanted)


@pytest.mark.parametrize("model_type", ["llama", "qwen3_moe", "gemma2", "phi3"])
def test_a_block_comes_nearer_to_the_source_than_by_gptq(model_type: str, tmp_path: Path) -> None:
    plain = done(model_type, tmp_path / "gptq", method=METHODS[Method.GPTQ])
    learned = done(model_type, tmp_path / "learned", method=METHODS[Method.LEARNED])
    assert learned.error < 0.9 * plain.error
    assert learned.work.told["error"] < 0.9 * learned.work.told["begun_error"]


def test_batch_after_batch_it_learns_as_well(tmp_path: Path) -> None:
    plain = done("llama", tmp_path / "gptq", method=METHODS[Method.GPTQ], together=False)
    learned = done("llama", tmp_path / "learned", method=METHODS[Method.LEARNED], together=False)
    assert learned.error < 0.9 * plain.error


def test_the_same_is_learned_each_time(tmp_path: Path) -> None:
    one, other = (done("qwen3_moe", tmp_path / name, method=METHODS[Method.LEARNED]) for name in ("one", "other"))
    assert all(
        torch.equal(one.work.rounded[name].dense(), other.work.rounded[name].dense()) for name in one.work.formats
    )


def test_kept_layers_stay_and_others_make_up_for_what_comes_in(tmp_path: Path) -> None:
    scene = done("llama", tmp_path, method=METHODS[Method.LEARNED], kept="self_attn.v_proj")
    assert "self_attn.v_proj" not in scene.work.rounded
    assert scene.work.told["error"] < scene.work.told["begun_error"]


def test_of_a_call_some_samples_get_their_own_part() -> None:
    shared, own = torch.zeros(1, 5), torch.arange(12.0).reshape(4, 3)
    call = Call(arguments=(own, None), keywords={"pair": (shared, own), "length": torch.zeros(4), "cache": False})
    some = _of_samples(call, slice(1, 3), count=4)
    assert torch.equal(some.arguments[0], own[1:3])
    assert some.arguments[1] is None
    assert some.keywords["pair"][0] is shared
    assert torch.equal(some.keywords["pair"][1], own[1:3])
    assert some.keywords["length"].shape == (4,)


def test_every_sample_comes_before_one_comes_again() -> None:
    from modelpress.calibrate.learned_method import LESSON_TOKENS, _parts

    call = Call(arguments=(), keywords={})
    batches = [(torch.zeros(3, LESSON_TOKENS // 2, 1), call), (torch.zeros(2, 2 * LESSON_TOKENS, 1), call)]
    parts: Iterator[tuple[int, slice]] = _parts(batches, seed=1)
    first = [next(parts) for _ in range(4)]
    second = [next(parts) for _ in range(4)]
    everything = [(0, slice(0, 2)), (0, slice(2, 4)), (1, slice(0, 1)), (1, slice(1, 2))]
    assert sorted(first, key=str) == everything
    assert sorted(second, key=str) == everything

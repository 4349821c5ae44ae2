"""Learned rounding: a block's weights move between their integers, by the sign of the gradient of the block's error.

A weight has a place on the scale of its integers, of which the nearest is what the block computes with. The gradient
is taken as if rounding changed nothing ("straight through"): what the error is in the rounded weight, it is in the
place. A step moves each place, and each group's scale, by the same small amount, up or down.

Source: Cheng et al.: Optimize Weight Rounding via Signed Gradient Descent for the Quantization of LLMs, 2023
(arXiv 2309.05516). Where we differ: places begin where GPTQ decided, which takes most of the way at a fraction of the
time; they may cross any number of integers; columns of large inputs move less; tokens count by their relative error;
what is learned of a scale does not move the places; and it is one backward pass through the block as it is, whose
weights' gradients are all that is needed: no graph of the rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modelpress.calibrate.curvature import Curvature
from modelpress.calibrate.integers import IntegerFormat, RoundedWeight, Scales


class Places:
    """One layer's weights while they are learned, in the order [rows, groups, columns of a group]."""

    def __init__(self, places: Tensor, scales: Scales, *, format: IntegerFormat, pace: Tensor | None = None) -> None:
        self._format = format
        #: float32 [1, groups, columns]: the part of a step that a column's places move: less where inputs are larger
        #: than most. All moving alike, the few columns through which a text's first tokens get their huge outputs are
        #: shaken loose (SmolLM2-135M, block 2, 60 steps: divergence 0.0117 instead of 0.0066; GPTQ's is 0.0078).
        self._pace = pace
        #: float32, in integers: the nearest is taken.
        self.places = places
        #: float32 [rows, groups, 1], as the layer began, and its factor since.
        self._scale = scales.scale.T[:, :, None].contiguous()
        self.stretch = torch.ones_like(self._scale)
        self._zero = None if scales.zero is None else scales.zero.T[:, :, None].contiguous()
        #: What was rounded last, less its zero: whole numbers below 256 in size, exact in any dtype.
        self._levels = torch.empty(0)

    @classmethod
    def as_decided(
        cls, weight: Tensor, rounded: RoundedWeight, known: Curvature | None, *, format: IntegerFormat
    ) -> Places:
        """Where each weight was when ``rounded`` was decided for it.

        With ``known``, that was by GPTQ: after it had made up for the columns before it. The errors E = weight -
        rounded and the factor U of the curvature tell how far it was from its integer: diag(U) * (E U^-1). Without,
        it was the weight itself.

        Shapes: weight float32 [rows, columns].
        """
        scales = Scales(scale=rounded.scales.float().T, zero=None if rounded.zeros is None else rounded.zeros.float().T)
        rows, columns = weight.shape
        away = weight - rounded.dense().float()
        pace = None
        if known is not None:
            pace = (known.importance.median() / known.importance).sqrt_().clamp_(max=1)
            order = torch.arange(columns, device=weight.device) if known.order is None else known.order
            solved = torch.linalg.solve_triangular(known.factor, away[:, order], upper=True, left=False)
            away[:, order] = solved * known.factor.diagonal()
        grouped = (rows, rounded.scales.shape[1], -1)
        places = rounded.integers.float().reshape(grouped)
        # Beyond a half it was out of the integers' reach; and it must not be rounded elsewhere than it was.
        places += (away.reshape(grouped) / scales.scale.T[:, :, None]).clamp_(-_NEAREST, _NEAREST)
        return cls(places, scales, format=format, pace=None if pace is None else pace.reshape(1, *places.shape[1:]))

    def put(self, parameter: Tensor) -> None:
        """Have a layer compute with the weight as it is now."""
        levels = self._integers()
        if self._zero is not None:
            levels -= self._zero
        dtype = self._format.dtype
        # The product of two such numbers is rounded once, in any of the dtypes.
        weight = levels.to(dtype) * self._scales().to(dtype)
        parameter.copy_(weight.reshape(parameter.shape))
        self._levels = levels.to(parameter.dtype)

    def step(self, gradient: Tensor, *, places: float, stretch: float) -> None:
        """Against the error's gradient, move each place by ``places`` integers at most, each scale by a part of itself.

        ``gradient`` [rows, columns] is that in the weight which was put last. Where it is 0, nothing moves.
        """
        gradient = gradient.reshape(self.places.shape)
        uphill = (gradient * self._levels).sum(dim=2, keepdim=True, dtype=torch.float32)
        self.stretch.sub_(uphill.sign_(), alpha=stretch)
        move = gradient.sign()
        self.places.sub_(move if self._pace is None else move * self._pace, alpha=places)

    def rounded(self) -> RoundedWeight:
        """The integers and scales as they are now."""
        integers = self._integers().to(torch.int8)
        rows = len(integers)
        return RoundedWeight(
            integers=integers.reshape(rows, -1),
            scales=self._scales()[:, :, 0].to(self._format.dtype),
            zeros=None if self._zero is None else self._zero[:, :, 0].to(torch.int8),
        )

    def _integers(self) -> Tensor:
        return self.places.round().clamp_(self._format.lowest, self._format.highest)

    def _scales(self) -> Tensor:
        return self._scale * self.stretch


#: Less than half, by what float32 loses of a place of three digits.
_NEAREST = 0.4999


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How much is learned of a block."""

    steps: int
    #: How far a place can come in all steps together, in integers.
    reach: float = 0.3
    #: How far a scale can, as a part of itself.
    stretch: float = 0.06

    def pace(self, step: int) -> float:
        """The part of the whole way that a step goes: evenly less, down to none after the last."""
        return 2 * (self.steps - step) / (self.steps * (self.steps + 1))


#: For a step, the block's outputs for some inputs, and those that are wanted: [samples, length, hidden].
Lesson = Callable[[int], tuple[Tensor, Tensor]]


def learn(
    block: nn.Module, learned: Mapping[str, Places], lesson: Lesson, *, course: Course, tick: Callable[[float], None]
) -> None:
    """Move the places of the layers ``learned``, by module, so that the block's outputs come nearer to what is wanted.

    The block then computes with them. Layers that a lesson does not reach (experts) are not moved by it. Memory: what
    one lesson's backward pass holds, the weights' gradients, and for each weight 4 bytes and another of its own.
    ``tick`` is told what share is done, and may raise to stop.
    """
    parameters = {name: block.get_submodule(name).weight for name in learned}
    with _asking_gradients(list(parameters.values())):
        for number in range(course.steps):
            with torch.no_grad():
                for name, parameter in parameters.items():
                    learned[name].put(parameter)
            outputs, wanted = lesson(number)
            relative_error(outputs, wanted).backward()  # type: ignore[no-untyped-call, unused-ignore]
            pace = course.pace(number)
            for name, parameter in parameters.items():
                if parameter.grad is not None:
                    learned[name].step(parameter.grad, places=course.reach * pace, stretch=course.stretch * pace)
                    parameter.grad = None
            tick((number + 1) / course.steps)
    for name, parameter in parameters.items():
        learned[name].put(parameter)


def relative_error(outputs: Tensor, wanted: Tensor) -> Tensor:
    """Each token's squared error over the square of what is wanted, the mean over tokens; in float32 at least.

    The norm that reads a block's outputs divides by their size. Without this, a few tokens of many times the size of
    all others (the first of a text) are what is learned: measured on SmolLM2-135M, the outputs then come nearer, and
    the model's predictions do not.

    Shapes: [..., hidden].
    """
    wide = torch.promote_types(outputs.dtype, torch.float32)
    target = wanted.to(wide)
    sizes = target.square().mean(dim=-1).clamp_min(torch.finfo(wide).tiny)
    return ((outputs.to(wide) - target).square().mean(dim=-1) / sizes).mean()


@contextmanager
def _asking_gradients(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Gradients are computed of these parameters; on CUDA with sums in the same order each time."""
    settled = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if any(parameter.is_cuda for parameter in parameters):
        torch.use_deterministic_algorithms(True, warn_only=True)
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.use_deterministic_algorithms(settled[0], warn_only=settled[1])
        for parameter in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None

"""One pass of all batches through a block, in which every layer is changed before the first batch goes through it.

Each batch's forward is a coroutine (a greenlet) that pauses where it reaches a group of linear layers which share an
input. When all batches have come so far, the group's statistics are complete: it is treated, and all go on with the
changed weights. So one pass gathers what each layer sees after all that come before it were changed (the "true
sequential" order of GPTQ), where recording first and changing then takes two passes and misses what happens within
the block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from greenlet import getcurrent, greenlet
from torch import Tensor, nn

from modelpress.calibrate.decoder import Call, run
from modelpress.calibrate.statistics import InputStatistics


class Batches(Protocol):
    """What goes into a block: of each batch the hidden states [samples, length, hidden] and the call."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[Tensor, Call]]: ...

    def __getitem__(self, index: int, /) -> tuple[Tensor, Call]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Linear layers of a block that are given the same input, by their names in it, in the order they are called."""

    names: tuple[str, ...]
    columns: int


def groups_of(block: nn.Module, hidden: Tensor, call: Call) -> list[Group]:
    """The groups of a block in the order they are reached, found by running ``hidden`` through it.

    Layers that this run does not reach are experts that no token was sent to: their groups are those of the experts
    that were reached, and all experts' groups come in the order of the experts.
    """
    linears = {name: module for name, module in block.named_modules() if isinstance(module, nn.Linear)}
    seen: list[tuple[Tensor, list[str]]] = []

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            # The tensor is held, so that no other takes its place in memory while they are compared.
            if seen and seen[-1][0] is arguments[0]:
                seen[-1][1].append(name)
            else:
                seen.append((arguments[0], [name]))

        return hook

    hooks = [module.register_forward_pre_hook(note(name)) for name, module in linears.items()]
    try:
        run(block, hidden, call)
    finally:
        for hook in hooks:
            hook.remove()
    found = [Group(names=tuple(names), columns=linears[names[0]].in_features) for _, names in seen]
    return _with_all_experts(found, list(linears))


def _with_all_experts(found: Sequence[Group], linears: Sequence[str]) -> list[Group]:
    """``found``, with the groups of one expert repeated for every expert there is, where the first expert's stood."""
    groups: list[Group] = []
    done: set[str] = set()
    for group in found:
        prefix, number, _ = _expert_of(group.names[0])
        if number is None:
            groups.append(group)
        elif prefix not in done:
            done.add(prefix)
            one = [other for other in found if _expert_of(other.names[0])[:2] == (prefix, number)]
            # A dict, since experts are numbered by their first appearance among the block's modules.
            numbers = dict.fromkeys(n for p, n, _ in map(_expert_of, linears) if p == prefix and n is not None)
            groups += [_renumbered(other, prefix, expert) for expert in numbers for other in one]
    return groups


def _expert_of(name: str) -> tuple[str, str | None, str]:
    """Of ``mlp.experts.7.up_proj``: what comes before the expert's number, the number, and what comes after."""
    before, found, after = name.partition("experts.")
    number, _, rest = after.partition(".")
    return (f"{before}{found}", number, rest) if found and number.isdigit() else (name, None, "")


def _renumbered(group: Group, prefix: str, number: str) -> Group:
    names = tuple(f"{prefix}{number}.{_expert_of(name)[2]}" for name in group.names)
    return Group(names=names, columns=group.columns)


#: Changes the weights of a group's modules, knowing the statistics of their input.
Treat = Callable[[Group, InputStatistics], None]


def pass_together(blocks: Sequence[nn.Module], batches: Batches, groups: Sequence[Group], treat: Treat) -> list[Tensor]:
    """The block's outputs for all batches, each group of ``groups`` treated before anything goes through it.

    ``blocks``: the block on each device, which ``treat`` changes alike; batches take turns among them, and what each
    device sees is summed on the first. Devices that work by themselves, as GPUs do, work at the same time.
    ``groups`` in the order they are reached; a group that nothing reaches is treated with the statistics of no tokens.
    Memory: what each batch's forward holds between its layers, for all batches at once, and one group's statistics.
    """
    return _Lockstep(blocks, groups).run(batches, treat)


@dataclass(slots=True, kw_only=True)
class _Paused:
    """A group, and the batches' coroutines that wait for it, with their inputs."""

    group: Group
    waiting: list[tuple[greenlet, Tensor]] = field(default_factory=list)
    treated: bool = False


class _Lockstep:
    def __init__(self, blocks: Sequence[nn.Module], groups: Sequence[Group]) -> None:
        self._blocks = blocks
        self._paused = [_Paused(group=group) for group in groups]
        self._of_leader = {name: paused for paused in self._paused for name in paused.group.names}

    def run(self, batches: Batches, treat: Treat) -> list[Tensor]:
        outputs: list[Tensor | None] = [None] * len(batches)

        def start(number: int) -> None:
            outputs[number] = _run(self._blocks, number, batches)

        hooks = [
            block.get_submodule(name).register_forward_pre_hook(self._hook(paused))
            for block in self._blocks
            for name, paused in self._of_leader.items()
        ]
        started: list[greenlet] = []
        try:
            for number in range(len(batches)):
                started.append(greenlet(start))
                started[-1].switch(number)
            for paused in self._paused:
                self._treat(paused, treat)
        finally:
            for hook in hooks:
                hook.remove()
            for coroutine in started:
                # Ends those that an error left paused, within their own frames.
                coroutine.throw()
        assert all(output is not None for output in outputs), "a batch waits for a group that is not among the groups"
        return [output for output in outputs if output is not None]

    def _hook(self, paused: _Paused) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def pause(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            if not paused.treated:
                paused.waiting.append((getcurrent(), arguments[0]))
                getcurrent().parent.switch()

        return pause

    def _treat(self, paused: _Paused, treat: Treat) -> None:
        statistics = _Statistics(self._blocks, paused.group)
        for _, inputs in paused.waiting:
            statistics.add(inputs)
        treat(paused.group, statistics.merged())
        paused.treated = True
        waiting, paused.waiting = paused.waiting, []
        for coroutine, _ in waiting:
            coroutine.switch()


def pass_twice(
    blocks: Sequence[nn.Module], batches: Batches, groups: Sequence[Group], treat: Treat
) -> Iterable[Tensor]:
    """:func:`pass_together` for batches too many to be within the block at once: all statistics, then all changes.

    Memory: one batch's forward, and all groups' statistics. Takes two passes, and layers are changed for inputs that
    come from unchanged layers of the same block.
    """
    statistics = {group: _Statistics(blocks, group) for group in groups}

    def note(group: Group) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda module, arguments: statistics[group].add(arguments[0])

    hooks = [
        block.get_submodule(group.names[0]).register_forward_pre_hook(note(group))
        for block in blocks
        for group in groups
    ]
    try:
        for number in range(len(batches)):
            _run(blocks, number, batches)
    finally:
        for hook in hooks:
            hook.remove()
    for group in groups:
        treat(group, statistics.pop(group).merged())
    return (_run(blocks, number, batches) for number in range(len(batches)))


def _run(blocks: Sequence[nn.Module], number: int, batches: Batches) -> Tensor:
    """A batch's output, of the block whose turn it is."""
    block = blocks[number % len(blocks)]
    device = next(block.parameters()).device
    hidden, call = batches[number]
    return run(block, hidden.to(device), call.to(device))


class _Statistics:
    """A group's statistics: of each device those of the batches that it had."""

    def __init__(self, blocks: Sequence[nn.Module], group: Group) -> None:
        devices = dict.fromkeys(block.get_submodule(group.names[0]).weight.device for block in blocks)
        self._parts = {device: InputStatistics(group.columns, device=device) for device in devices}

    def add(self, inputs: Tensor) -> None:
        self._parts[inputs.device].add(inputs)

    def merged(self) -> InputStatistics:
        first, *others = self._parts.values()
        for other in others:
            first.merge(other)
        return first

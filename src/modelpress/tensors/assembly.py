"""The output of a calibrated run: its plan's files, with what the blocks' files hold in the place of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modelpress.tensors.folder import Folder, LocalFolder
from modelpress.tensors.header import read_header
from modelpress.tensors.plan import Plan
from modelpress.tensors.rows import Rows, StoredRows
from modelpress.tensors.shard import PlannedShard, Step
from modelpress.tensors.spec import TensorSpec


class WithBlocks:
    """``folder``, and the blocks' files in ``blocks`` as if they lay in it."""

    def __init__(self, folder: Folder, blocks: Path, names: Sequence[str]) -> None:
        self._folder, self._blocks = folder, LocalFolder(blocks)
        self._names = frozenset(names)

    def names(self) -> list[str]:
        """See :class:`modelpress.tensors.folder.Folder`."""
        return sorted({*self._folder.names(), *self._names})

    def size(self, name: str) -> int:
        """See :class:`modelpress.tensors.folder.Folder`."""
        return self._of(name).size(name)

    def read_into(self, name: str, offset: int, buffer: memoryview) -> None:
        """See :class:`modelpress.tensors.folder.Folder`."""
        self._of(name).read_into(name, offset, buffer)

    def read_runs(self, name: str, offset: int, buffer: memoryview, *, run_bytes: int, stride_bytes: int) -> None:
        """See :class:`modelpress.tensors.folder.Folder`."""
        self._of(name).read_runs(name, offset, buffer, run_bytes=run_bytes, stride_bytes=stride_bytes)

    def fingerprint(self, name: str) -> str:
        """See :class:`modelpress.tensors.folder.Folder`."""
        return self._of(name).fingerprint(name)

    def _of(self, name: str) -> Folder:
        return self._blocks if name in self._names else self._folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """What the ordinary writer makes the output of: ``writing``, the steps of ``plan`` as they are taken."""

    plan: Plan
    writing: Plan
    folder: Folder


def assemble(plan: Plan, folder: Folder, blocks: Sequence[Path]) -> Assembly:
    """``plan``, with every tensor that one of the blocks' files holds copied from there; all else as it was.

    The files and the places of their tensors are the plan's own.
    """
    if not blocks:
        return Assembly(plan=plan, writing=plan, folder=folder)
    within = WithBlocks(folder, blocks[0].parent, [block.name for block in blocks])
    finished = {
        tensor.spec.name: _copied(
            tensor.spec, StoredRows(file=tensor.file, offset=tensor.offset, count=1, row_bytes=tensor.spec.size_bytes)
        )
        for block in blocks
        for tensor in read_header(within, block.name)
    }
    fingerprints = {block.name: within.fingerprint(block.name) for block in blocks}
    return Assembly(
        plan=plan,
        writing=replace(
            plan,
            shards=tuple(_with_finished(shard, finished) for shard in plan.shards),
            fingerprints={**plan.fingerprints, **fingerprints},
        ),
        folder=within,
    )


def _copied(spec: TensorSpec, rows: StoredRows) -> Step:
    return Step(source=spec, rows=rows)


def _read_from(finished: Mapping[str, Step], step: Step) -> Step:
    """``step``, which rounds a weight that was made anew."""
    peers = tuple(replace(peer, rows=_rows(finished, peer.name, peer.rows)) for peer in step.peers)
    return replace(step, rows=_rows(finished, step.source.name, step.rows), peers=peers)


def _rows(finished: Mapping[str, Step], name: str, rows: Rows) -> Rows:
    if name not in finished:
        return rows
    made = finished[name].rows
    assert isinstance(made, StoredRows), made
    return replace(made, count=rows.count, row_bytes=rows.row_bytes)


def _with_finished(shard: PlannedShard, finished: Mapping[str, Step]) -> PlannedShard:
    steps: list[Step] = []
    for step in shard.steps:
        outputs = [spec.name for spec in step.outputs]
        if all(name in finished for name in outputs):
            steps += [finished[name] for name in outputs]
        elif step.source.name in finished and finished[step.source.name].source == step.source:
            steps.append(_read_from(finished, step))
        else:
            steps.append(step)
    return replace(shard, steps=tuple(steps))

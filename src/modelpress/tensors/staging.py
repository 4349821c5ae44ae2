"""A staging directory: finished files of one plan, and a manifest that tells which plan.

The manifest has a dot name and stays until :func:`seal`, called on the published directory: were it taken away before,
a worker killed between the two would have to start over.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from modelpress.errors import DiskFull, Unsupported
from modelpress.tensors.shard import PlannedShard
from modelpress.tensors.writer import disk_errors, remove_partials, write_file

MANIFEST = ".modelpress-manifest.json"
#: A directory of blocks that are calibrated already, until they are in the output.
CALIBRATED = ".calibrated"
#: A directory of what was measured before the first of them.
MEASURED = ".measured"

_LARGEST_MANIFEST_BYTES = 10_000


def prepare(directory: Path, digest: str) -> None:
    """Make ``directory`` ready for the plan of this digest; finished files of the same plan stay.

    Raises: Unsupported if it holds files that are not ours to delete.
    """
    with disk_errors(directory, size_bytes=0):
        directory.mkdir(parents=True, exist_ok=True)
        _clear(directory, digest)


def _clear(directory: Path, digest: str) -> None:
    found = _digest_in(directory)
    # A run killed while it wrote its very first file leaves that file half-written: ours, if without a manifest.
    if found is None and not all(entry.name.startswith(MANIFEST) for entry in directory.iterdir()):
        raise Unsupported(
            f"{directory} is not empty, and nothing tells that its files are modelpress's own",
            hint="give a new or an empty directory",
        )
    if found != digest:
        for entry in directory.iterdir():
            if entry.name != MANIFEST:
                _remove(entry)
        # Last, so that a kill on the way leaves a directory that is known for ours.
        write_file(directory / MANIFEST, json.dumps({"digest": digest}).encode())
    remove_partials(directory)


def missing_shards(directory: Path, shards: tuple[PlannedShard, ...]) -> list[PlannedShard]:
    """The shards that are not there yet; one that is there is whole."""
    return [shard for shard in shards if not (directory / shard.name).exists()]


def check_space(directory: Path, needed_bytes: int) -> None:
    """Nothing, if ``needed_bytes`` are free now. Better refused at once than after an hour.

    Raises: DiskFull with both numbers.
    """
    free_bytes = shutil.disk_usage(directory).free
    if free_bytes < needed_bytes:
        raise DiskFull(f"{directory} needs {needed_bytes} bytes more, and {free_bytes} are free")


def seal(directory: Path) -> None:
    """Take away all but the product: manifest, calibrated blocks, what a run that was killed or fenced off left.

    May be repeated.
    """
    for name in (CALIBRATED, MEASURED):
        shutil.rmtree(directory / name, ignore_errors=True)
    (directory / MANIFEST).unlink(missing_ok=True)
    remove_partials(directory)


def holds(directory: Path, digest: str) -> bool:
    """Whether ``directory`` is of the plan of this digest, and not sealed yet."""
    return _digest_in(directory) == digest


def settle(directory: Path) -> None:
    """Keep what is whole, for a later run of the same plan; a directory without any is removed, if it is there.

    Blocks that are calibrated are kept with what goes into the next one; where none is, that is quickly made again.
    """
    if not directory.is_dir():
        return
    remove_partials(directory)
    for name in (CALIBRATED, MEASURED):
        blocks = directory / name
        for folder in (blocks, blocks / CALIBRATED):
            remove_partials(folder)
        if not any(blocks.rglob("*.safetensors")):
            shutil.rmtree(blocks, ignore_errors=True)
    if all(entry.name.startswith(MANIFEST) for entry in directory.iterdir()):
        shutil.rmtree(directory, ignore_errors=True)


def _digest_in(directory: Path) -> str | None:
    """The digest of the manifest; "" for a manifest that cannot be understood, None for no manifest."""
    try:
        with (directory / MANIFEST).open("rb") as file:
            manifest = json.loads(file.read(_LARGEST_MANIFEST_BYTES))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        return ""
    return str(manifest.get("digest", "")) if isinstance(manifest, dict) else ""


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)

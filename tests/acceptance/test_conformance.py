"""All checks over every way of calling a real server; the page that tells of them is made of what was met."""

from __future__ import annotations

import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelpress.conformance.channel import Channel, HttpChannel
from modelpress.conformance.check import Outcome
from modelpress.conformance.checks import CHECKS
from modelpress.conformance.field import places
from modelpress.conformance.run import run_checks
from modelpress.conformance.session import Options
from modelpress.conformance.tables import TABLES
from modelpress.conformance.verdict import Verdict
from tests.acceptance.checkpoint import write_checkpoint
from tests.acceptance.conformance_page import Coverage, page, summary, unmet
from tests.acceptance.conftest import Sample
from tests.acceptance.sdk_channel import node_channel, python_channel
from tests.acceptance.server import Server

pytestmark = pytest.mark.slow

README = Path(__file__).parents[2] / "README.md"
PAGE = README.parent / "docs" / "conformance.md"
VECTORS = Path(__file__).parents[1] / "vectors" / "sdk-vectors.json"
#: Set by `make conformance`: the page is written instead of compared.
WRITE = "MODELPRESS_TEST_WRITE_CONFORMANCE"


@contextmanager
def http_channel(server: Server) -> Iterator[HttpChannel]:
    """Plain HTTP with the server's first key."""
    keys = server.keys
    channel = HttpChannel(server.url, access_key=keys["accessKey"], secret_key=keys["secretKey"])
    yield channel
    channel.close()


def captured_fields(sdk: str) -> dict[str, frozenset[str]]:
    """The fields in requests of this SDK that are accepted, by action."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    by_target = {table.target: table.name for table in TABLES.values()}
    for vector in json.loads(VECTORS.read_text(encoding="utf-8"))["vectors"]:
        name = by_target.get(vector["request"]["target"])
        if vector["sdk"] == sdk and vector["expect"] == "accept" and name:
            found[name].update(places(json.loads(vector["request"]["body"] or "{}")))
    return {name: frozenset(fields) for name, fields in found.items()}


def run_all(channel: Channel, options: Options) -> list[Outcome]:
    return list(run_checks(CHECKS, channel, options, pause=lambda: time.sleep(0.05)))


def test_every_check_passes_over_every_channel_and_the_page_says_so(
    server: Server, small: Sample, sdk_python: Path, sdk_node: Path, tmp_path: Path
) -> None:
    server.place(small.directory, name="small")
    write_checkpoint(tmp_path / "broken", shards=2, rows=32, nan_in=1)
    server.await_status(server.create_task(server.register(tmp_path / "broken", name="broken")), "failed")
    for name in ("shared", "also shared"):
        server.share(server.register(small.directory, name=name))
    options = Options(write=True, bucket="local", path="small", ours=True)
    python_folder, node_folder = tmp_path / "python", tmp_path / "node"
    python_folder.mkdir()
    node_folder.mkdir()
    with (
        http_channel(server) as http,
        python_channel(sdk_python, server=server, folder=python_folder) as python,
        node_channel(sdk_node, server=server, folder=node_folder) as node,
    ):
        outcomes = {
            "HTTP": run_all(http, options),
            "Python": run_all(python, options),
            "Node": run_all(node, options),
        }
    failed = [
        f"{channel}: {outcome.check.action} {outcome.check.name}: {outcome.detail}"
        for channel, ended in outcomes.items()
        for outcome in ended
        if outcome.verdict is not (Verdict.NA if channel != "HTTP" and outcome.check.http_only else Verdict.PASS)
    ]
    assert not failed, "\n".join(failed)
    assert not server.call("DescribeModelCompTasks", {"sourceModelId": ""})["modelCompTaskList"][1:]
    assert len(server.call("DescribeCustomModelSets")["customModelSetList"]) == 3, "sets were left behind"

    coverage = Coverage(outcomes=outcomes, captured={"Go": captured_fields("go"), "Java": captured_fields("java")})
    assert not list(unmet(coverage))
    _compare(page(coverage), PAGE)
    read_me = README.read_text(encoding="utf-8")
    _compare(re.sub(r"^> \d.* checks.*$", summary(coverage), read_me, flags=re.MULTILINE), README)


def _compare(made: str, path: Path) -> None:
    if os.environ.get(WRITE):
        path.write_text(made, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == made, f"{path.name} is behind what was checked: run `make conformance`"

"""``modelpress schemes`` asks no server."""

from __future__ import annotations

import json
import re

from modelpress.domain.scheme import SCHEMES
from tests.unit.cli.conftest import Cli


def test_schemes_are_told_in_a_table_or_in_full(cli: Cli) -> None:
    table = [re.split(r"  +", line) for line in cli("schemes").plain.splitlines()]
    assert table[:4] == [
        ["SCHEME", "ALSO", "OF BF16", "CALIBRATION", "SEEN TO LOAD IN"],
        ["W4A16C16", "W4A16, wint4", "25.8%", "helps", "transformers 5.17, vLLM 0.32 (CPU)"],
        ["W8A16C16", "W8A16, wint8", "50.0%", "hardly helps", "transformers 5.17"],
        ["INT8-PTQ", "W8A8, W8A8C16, int8-ptq", "50.0%", "helps", "transformers 5.17, vLLM 0.32 (CPU)"],
    ]
    assert sorted(row[0] for row in table[1:]) == sorted(scheme.name for scheme in SCHEMES)
    told = json.loads(cli("schemes", "--json").out)
    assert [scheme["weight"] for scheme in told] == [row[0] for row in table[1:]]
    assert told[0]["ratio"] == 0.2578

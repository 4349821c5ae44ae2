"""Fixtures of the API's tests: one server that all share, each test with an account of its own; or a server alone."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from modelpress.settings import Settings
from tests.api.model_directory import write_all
from tests.api.server import Account, RunningServer, running_server
from tests.conformance.clock import SettableClock


@pytest.fixture(scope="session")
def log() -> Iterator[io.StringIO]:
    """All that is logged in this run, as a server that writes JSON lines logs it."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logging.getLogger().addHandler(handler)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(text),
    )
    yield text
    structlog.reset_defaults()
    logging.getLogger().removeHandler(handler)


@pytest.fixture(scope="session")
def server(log: io.StringIO, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The server that tests share; its clock stands still."""
    settings = Settings(data=tmp_path_factory.mktemp("data"))
    with running_server(settings, SettableClock()) as running:
        write_all(settings.data / "local")
        yield running


@pytest.fixture
def account(server: RunningServer) -> Account:
    """A new account of the shared server."""
    return server.account()


@pytest.fixture
def own_server(log: io.StringIO, tmp_path: Path, clock: SettableClock) -> Iterator[RunningServer]:
    """A server of the test's own, to move its clock or to break."""
    settings = Settings(data=tmp_path / "data")
    with running_server(settings, clock) as running:
        write_all(settings.data / "local")
        yield running

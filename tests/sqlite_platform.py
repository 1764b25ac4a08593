"""A platform in a process of its own, and other readers, for tests of the SQLite source."""

import contextlib
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exporter.source import Source

REPOSITORY = Path(__file__).parent.parent
MODES = ("wal", "delete")
SCHEMA = "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT)"
INSERT = "INSERT INTO t (v) VALUES ('x')"
COUNTING = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"

# Answers each line of SQL with a line of JSON: rows, or the error.
PLATFORM = """
import json, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
connection.execute("PRAGMA journal_mode = " + sys.argv[2])
connection.execute("PRAGMA synchronous = OFF")
connection.execute(sys.argv[3])
print("ready", flush=True)
for line in sys.stdin:
    try:
        print(json.dumps(connection.execute(line).fetchall()), flush=True)
    except sqlite3.Error as exc:
        print(json.dumps(str(exc)), flush=True)
connection.close()
"""

# The exporter as a process: one snapshot for each line it gets, answered by the number of rows or the error.
READER = """
import asyncio, sys
from exporter.source import SourceError
from exporter.source.sqlite import SqliteSource

async def read(source):
    try:
        async with source.snapshot() as snapshot:
            return (await snapshot.fetch("SELECT count(*) FROM t"))[0][0]
    except SourceError as exc:
        return exc

source = SqliteSource(sys.argv[1], busy_timeout_s=float(sys.argv[2]))
print("ready", flush=True)
for line in sys.stdin:
    print(asyncio.run(read(source)), flush=True)
"""


class Child:
    """A Python process that answers lines."""

    def __init__(self, code: str, *arguments: object, prefix: tuple[str, ...] = ()) -> None:
        command = [*prefix, sys.executable, "-c", code, *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        )
        assert self._answer() == "ready"

    def ask(self, line: str = "") -> str:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End it as a program ends: its connections are closed."""
        self.process.communicate(timeout=30)

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def _answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


class Platform(Child):
    """A platform with the database open, that runs the SQL it is told to."""

    def __init__(self, path: Path, mode: str = "wal") -> None:
        super().__init__(PLATFORM, path, mode, SCHEMA)

    def sql(self, statement: str) -> Any:
        return json.loads(self.ask(statement))


def background(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Start a Python process that ends by itself."""
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)])


@contextlib.contextmanager
def running(child: Any) -> Iterator[Any]:
    try:
        yield child
    finally:
        if child.process.returncode is None:
            child.close()


def made(path: Path, mode: str = "wal", rows: int = 10) -> Path:
    """Make a database that nobody has open, at rest for longer than a tick of the clock."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute(SCHEMA)
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO t (v) VALUES (?)", [("x" * 100,)] * rows)
        connection.execute("COMMIT")
    os.utime(path, (1e9, 1e9))
    return path


def files(path: Path) -> dict[str, tuple[int, str]]:
    """Owner and contents of the database and what stands beside it."""
    return {
        file.name: (file.stat().st_uid, hashlib.sha256(file.read_bytes()).hexdigest())
        for file in path.parent.glob(path.name + "*")
    }


def names(path: Path) -> set[str]:
    return {name.removeprefix(path.name) for name in files(path)}


async def count(source: Source) -> object:
    async with source.snapshot() as snapshot:
        return (await snapshot.fetch("SELECT count(*) FROM t"))[0][0]


def descriptors_of(path: Path, *, pid: int | str = "self") -> list[Path]:
    """The links to what a process has open there, or below it, those without a name included."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if str(link.readlink()).startswith(str(path)):
                found.append(link)
    return found

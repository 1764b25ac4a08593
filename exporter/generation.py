"""One generation of a checkpoint: an SQLite file of our own, of numbered records with their digests.

The first records are the snapshot, those after it deltas; how many are the snapshot's is in the file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

_APPLICATION_ID = 0x6F726368  # "orch"
_FORMAT = 2


class Generation:
    """One file, open for adding.

    Each method raises sqlite3.Error, or OSError if the file is no longer where a start would look for it.
    """

    def __init__(self, path: Path, number: int, snapshot: Sequence[int] = ()) -> None:
        """``snapshot``: the lengths of the snapshot's records, where they are known; ``read`` finds them out."""
        self.number = number
        self.records, self.deltas = len(snapshot), 0
        self.snapshot_bytes, self.delta_bytes = sum(snapshot), 0
        self.size_bytes = path.stat().st_size
        self._paths = (path, path.with_name(f"{path.name}-wal"))
        self._inodes: list[int] | None = None
        self._connection = _connect(path)

    def read(self, *, at_least: int) -> tuple[bytes, ...]:
        """Return its records, each compared with its digest; fewer than ``at_least`` are damage, too."""
        self._open()
        if self._connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("the pages do not fit together")
        rows = self._connection.execute("SELECT n, digest, body FROM record ORDER BY n").fetchall()
        for expected, (n, digest, body) in enumerate(rows, 1):
            if n != expected or not isinstance(body, bytes) or digest != _digest(n, body):
                raise sqlite3.DatabaseError(f"record {expected} is damaged or missing")
        ((snapshot,),) = self._connection.execute("SELECT records FROM snapshot").fetchall()
        if len(rows) < max(at_least, snapshot):
            raise sqlite3.DatabaseError(f"{max(at_least, snapshot)} records were acknowledged, {len(rows)} are there")
        lengths = [len(body) for _, _, body in rows]
        self.records, self.deltas = len(rows), len(rows) - snapshot
        self.snapshot_bytes, self.delta_bytes = sum(lengths[:snapshot]), sum(lengths[snapshot:])
        self.size_bytes = self._measure()
        return tuple(body for _, _, body in rows)

    def append(self, record: bytes) -> None:
        """Add a record. After an error other than a full disk it is not known what the next start finds."""
        if self._inodes is None:
            self._open()
        _insert(self._connection, self.records + 1, record)
        self.size_bytes = self._measure()
        self.records += 1
        self.deltas += 1
        self.delta_bytes += len(record)

    def close(self) -> None:
        """Close the file; SQLite moves what is in the ``-wal`` into it, if it can."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _open(self) -> None:
        for setting in ("locking_mode=EXCLUSIVE", "synchronous=FULL", "temp_store=MEMORY"):
            self._connection.execute(f"PRAGMA {setting}")
        names = ("application_id", "user_version", "journal_mode")
        found = [self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
        if found != [_APPLICATION_ID, _FORMAT, "wal"]:
            raise sqlite3.DatabaseError(f"not a checkpoint of format {_FORMAT}")
        self._connection.execute("SELECT 1 FROM record LIMIT 1").fetchone()  # makes the -wal
        self._inodes = [path.stat().st_ino for path in self._paths]

    def _measure(self) -> int:
        stats = [path.stat() for path in self._paths]
        if [stat.st_ino for stat in stats] != self._inodes:
            raise FileNotFoundError(errno.ENOENT, "replaced by another file")
        return sum(stat.st_size for stat in stats)


def _connect(path: Path) -> sqlite3.Connection:
    uri = f"{path.as_uri()}?mode=rw"  # never makes the file
    return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)


def _insert(connection: sqlite3.Connection, n: int, record: bytes) -> None:
    sql = "INSERT INTO record (n, digest, body) VALUES (:n, :digest, :body)"
    connection.execute(sql, {"n": n, "digest": _digest(n, record), "body": record})


def _digest(n: int, record: bytes) -> bytes:
    return blake2b(record, digest_size=8, salt=b"%d" % n).digest()


def write(path: Path, records: Iterable[bytes]) -> list[int]:
    """Write a new generation, and sync it; the records' lengths. It is not in its place yet: no journal is needed."""
    lengths = []
    with opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL) as descriptor:
        os.fchmod(descriptor, 0o600)
        with contextlib.closing(_connect(path)) as connection:
            for setting in ("journal_mode=OFF", "synchronous=OFF", "temp_store=MEMORY"):
                connection.execute(f"PRAGMA {setting}")
            connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={_FORMAT}")
            connection.execute("CREATE TABLE record (n INTEGER PRIMARY KEY, digest BLOB, body BLOB)")
            connection.execute("CREATE TABLE snapshot (records INTEGER NOT NULL)")
            for record in records:
                lengths.append(len(record))
                _insert(connection, len(lengths), record)
            connection.execute("INSERT INTO snapshot VALUES (?)", (len(lengths),))
            # it answers before it writes: what then fails is told only to who reads to the end
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
        os.fsync(descriptor)
    return lengths


@contextlib.contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    with opened(path, os.O_RDONLY) as descriptor:
        os.fsync(descriptor)

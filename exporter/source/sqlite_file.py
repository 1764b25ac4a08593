"""A SQLite database as a file: how it is looked at and opened so that its writer never notices.

How it opens depends on what stands beside it. Each rule was tried on SQLite 3.40, with another process as the
platform (tests/test_source_sqlite.py):

- Rollback journal: SQLite's shared lock is taken here, by its protocol, and the file is opened with
  `immutable=1` (no locks, no files beside it). Nobody may change it while that lock is held; a transaction
  that has begun is still in its writer's memory. Not `mode=ro` alone: while a backup is copied over the file,
  its header may say WAL by the time SQLite sees it, and SQLite would create a -wal, as our user.
- WAL header, neither -wal nor -shm: nobody has it open, and `mode=ro` would create both. `immutable=1`, too,
  but without a lock: the platform may open it meanwhile, and must be able to remove its files again.
- WAL with both: `mode=ro`, under the same shared lock, taken *before* looking for them. The last to close
  deletes both only if it gets that lock for itself, so they cannot vanish, and be created anew by us, between
  our look and SQLite's. `readonly_shm=1` (SQLite 3.22 on) maps -shm read-only whoever we are: after a crash
  SQLite then makes the index in memory, where it would truncate and rebuild the platform's file. When a
  connection opened for reading closes, it cannot check-point (its exclusive lock fails with EBADF), and it
  deletes nothing.
- WAL with one of the two: waited for (the platform is opening or closing), then refused.

What was read with `immutable=1` is discarded if the file changed, or a -wal appeared, meanwhile.

POSIX locks belong to the process: closing *any* descriptor of a file drops all its locks on it. So the
descriptor opened first is closed last, snapshots of one file take turns, and a look during one opens nothing.

Run by root, SQLite gives -wal and -shm the database's owner whenever it opens them (robustFchown, os_unix.c).
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import sqlite3
import stat
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote as percent_encoded
from weakref import WeakValueDictionary

from exporter.source import SourceDiscarded, SourceError, mounts

# https://www.sqlite.org/fileformat2.html, "The Database Header" and "The Lock-Byte Page"
_MAGIC = b"SQLite format 3\0"
_PENDING_BYTE = 0x40000000
_RESERVED_BYTE = _PENDING_BYTE + 1
_SHARED_FIRST, _SHARED_SIZE = _PENDING_BYTE + 2, 510
_LOCKS_SIZE = 512

_DEADLINE_STEPS = 10_000  # of SQLite's virtual machine between two looks at the clock: ~0.1 ms, 1% of the time
_RETRY_S = 0.0005
# A read-only -shm whose header a writer is just changing looks to SQLite like one to be recovered.
_PASSING = ("SQLITE_BUSY", "SQLITE_READONLY_RECOVERY")
_CLOCK_TICK_NS = 20_000_000  # two changes within one tick of the file system's clock (4 ms at 250 Hz): one mtime

_HOT = "a crash left an unfinished transaction in its -journal: the platform rolls it back when it next opens it"
_LOCKED = "locked by another process for too long: it is read at the next poll"
_NOT_A_DATABASE = "not a SQLite database (encrypted, or overwritten?)"
_CAUSES = {
    "BUSY": _LOCKED,
    "NOTADB": _NOT_A_DATABASE,
    "CORRUPT": "malformed: half copied or damaged (`PRAGMA integrity_check` tells)",
    "READONLY_ROLLBACK": _HOT,
    "READONLY_RECOVERY": "the platform is recovering it from a crash: it is read at the next poll",
    "CANTOPEN": "SQLite cannot open it: the exporter's user needs to read the file, its -wal and its -shm",
    "IOERR": "the disk failed, or the file was cut short",
}

_Kind = Literal["rollback", "rest", "wal"]
_turns: WeakValueDictionary[tuple[int, int], asyncio.Lock] = WeakValueDictionary()


class _NotYet(SourceError):  # noqa: N818 - waited for
    """What may be over in a moment."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What `check` tells of a database file, found without SQLite."""

    journal_mode: Literal["wal", "delete"]
    """`delete` means any kind of rollback journal."""
    filesystem: str
    refusal: str | None
    """Why a database on that file system is not read; None if it is."""
    owner_uid: int
    our_uid: int
    connected: bool
    """Another process holds a lock on the file: in WAL mode, has it open."""
    left_behind: tuple[str, ...]
    """Files beside it that its last user should have deleted, though nobody holds a lock.

    The platform was killed, or stopped inside one of our reads. -wal and -shm: a backup copied over the
    database would now be mixed with that -wal. -journal: a transaction to be rolled back.
    """


class DatabaseFile:
    """One snapshot's hold on a database file, from its first descriptor to its last.

    Not for two at a time on one file: see `turn`. `path` is resolved: SQLite's -wal is beside the real file.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float) -> None:
        """Open it. Raises: SourceError."""
        self.path = path
        self.deadline = float("inf")
        """By time.monotonic(); a query that runs later is cut off."""
        self._busy_timeout_s = busy_timeout_s
        self._connection: sqlite3.Connection | None = None
        self._kind: _Kind = "rest"
        self._fd = _open(path)
        self._seen = self._state()

    def close(self) -> None:
        """Let go of it, SQLite's descriptors first. Raises: nothing."""
        if self._connection is not None:
            self._connection.close()
        os.close(self._fd)

    def connect(self) -> sqlite3.Connection:
        """Return a connection whose read transaction has begun; blocks for up to the busy timeout.

        Any thread may use it, one at a time. Raises: SourceError, SourceDiscarded.
        """
        with _told(self.path):
            self._refuse_mount()
            self._kind = self._settled_kind()
            self._seen = self._state()
            mode = "readonly_shm=1" if self._kind == "wal" else "immutable=1"
            uri = f"file:{percent_encoded(os.fsencode(self.path))}?mode=ro&{mode}"
            try:
                self._connection = sqlite3.connect(
                    uri, uri=True, isolation_level=None, timeout=0, check_same_thread=False
                )
                self._pin(self._connection)
            except sqlite3.Error as exc:
                raise self.explained(exc) from exc
            return self._connection

    def explained(self, exc: sqlite3.Error, *, doing: str = "") -> SourceError:
        """Return what SQLite says as one line that names the file."""
        name = getattr(exc, "sqlite_errorname", "").removeprefix("SQLITE_")
        if name.startswith("CANTOPEN") and not self.path.exists():
            return SourceError(f"{self.path}: {os.strerror(errno.ENOENT).lower()}")
        known = _CAUSES.get(name) or _CAUSES.get(name.partition("_")[0])
        return SourceError(f"{self.path}: {known or doing + ' '.join(str(exc).split())}")

    def meddling(self) -> str | None:
        """Return what happened to the file, during the read, that no SQLite lock allows; None is the rule.

        It must be asked while the transaction is open.
        """
        if self._kind != "wal" and self._state() != self._seen:
            return f"{self.path}: was changed while it was being read"
        if self._kind == "rest" and self._has("-wal"):
            return f"{self.path}: was opened by the platform while it was being read"
        return None

    def _pin(self, connection: sqlite3.Connection) -> None:
        connection.set_progress_handler(lambda: time.monotonic() > self.deadline, _DEADLINE_STEPS)
        # Without mmap a file cut short under us is an error; with it, SIGBUS.
        for statement in ("PRAGMA query_only = ON", "PRAGMA mmap_size = 0", "BEGIN"):
            connection.execute(statement)
        self._read_first(connection)
        if _identity(self.path.stat()) != _identity(os.fstat(self._fd)):
            raise SourceDiscarded(f"{self.path}: was replaced while it was being opened")

    def _read_first(self, connection: sqlite3.Connection) -> None:
        # SQLite's own steps grow: it looks too seldom to find the gap between a busy writer's commits.
        until = time.monotonic() + self._busy_timeout_s
        while True:
            try:
                connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
                return
            except sqlite3.OperationalError as exc:
                if not exc.sqlite_errorname.startswith(_PASSING) or time.monotonic() > until:
                    raise
            time.sleep(_RETRY_S)

    def _refuse_mount(self) -> None:
        reason = mounts.refusal(_filesystem(self.path, self._fd))
        if reason:
            raise SourceError(
                f"{self.path}: {reason}, where SQLite's locks and shared memory are not to be relied on: "
                "run the exporter on the machine that holds the file"
            )

    def _settled_kind(self) -> _Kind:
        until = time.monotonic() + self._busy_timeout_s
        while True:
            try:
                return self._kind_now()
            except _NotYet:
                if time.monotonic() > until:
                    raise
            time.sleep(_RETRY_S)

    def _kind_now(self) -> _Kind:
        """Find out how to open the file, and take the lock under which that stays so."""
        _check_header(self.path, os.pread(self._fd, len(_MAGIC), 0))
        wal, shm = self._has("-wal"), self._has("-shm")
        if not wal and not _is_wal(self._fd):
            self._lock()
            if _is_hot(self.path, self._fd):
                self._unlock()
                raise _NotYet(f"{self.path}: {_HOT}")
            return "rollback"
        if not wal and not shm:
            if not self._is_at_rest():
                raise _NotYet(f"{self.path}: is being written, but has no -wal: it is read when that has ended")
            return "rest"
        if wal and shm:
            self._lock()
            if self._has("-wal") and self._has("-shm"):
                return "wal"
            self._unlock()
        there, missing = ("-wal", "-shm") if wal else ("-shm", "-wal")
        raise _NotYet(f"{self.path}: has a {there} but no {missing}: it is read when the platform has it open")

    def _lock(self) -> None:
        # A writer that waits for readers to leave holds the pending byte, and lets no new one in.
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, _PENDING_BYTE)
            fcntl.lockf(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_FIRST)
        except (BlockingIOError, PermissionError) as exc:  # EAGAIN or EACCES, as the system likes
            raise _NotYet(f"{self.path}: {_LOCKED}") from exc
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, _PENDING_BYTE)

    def _unlock(self) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN, _SHARED_SIZE, _SHARED_FIRST)

    def _has(self, end: str) -> bool:
        return _beside(self.path, end).exists()

    def _is_at_rest(self) -> bool:
        return abs(time.time_ns() - os.fstat(self._fd).st_mtime_ns) > _CLOCK_TICK_NS

    def _state(self) -> tuple[int, int, bytes]:
        status = os.fstat(self._fd)
        return status.st_size, status.st_mtime_ns, os.pread(self._fd, 4, 24)


def turn(path: Path) -> asyncio.Lock:
    """Return the lock under which alone this process connects to the file at `path`. Raises: SourceError."""
    with _told(path):
        return _turns.setdefault(_identity(path.stat()), asyncio.Lock())


def glance(path: Path) -> tuple[object, ...]:
    """Return what is another tuple after each commit to the file at `path`.

    Device, inode, size, mtime; then the change counter of the header (rollback mode), the start of -shm (WAL)
    and whether there is a -wal; these are left out during a snapshot of the file. Raises: SourceError.
    """
    with _told(path):
        status = path.stat()
        seen = (*_identity(status), status.st_size, status.st_mtime_ns)
        if _is_connected(status):
            return seen
        header = _header(path, status)
        real = path.resolve() if path.is_symlink() else path
        return (*seen, header[24:28], _wal_index(real), _beside(real, "-wal").exists())


def journal_mode(path: str | os.PathLike[str]) -> Literal["wal", "delete"]:
    """Return how the file is written, by its header.

    Raises: SourceError; RuntimeError if this process is connected to it.
    """
    with _unconnected(Path(path)) as fd:
        return "wal" if _is_wal(fd) else "delete"


def inspect(path: str | os.PathLike[str]) -> Inspection:
    """Return all about the file that decides how it is read.

    Raises: SourceError; RuntimeError if this process is connected to it.
    """
    with _unconnected(Path(path)) as fd:
        real = Path(path).resolve()
        fstype = _filesystem(real, fd)
        connected = _is_locked(fd, _PENDING_BYTE, _LOCKS_SIZE)
        return Inspection(
            journal_mode="wal" if _is_wal(fd) else "delete",
            filesystem=fstype,
            refusal=mounts.refusal(fstype),
            owner_uid=os.fstat(fd).st_uid,
            our_uid=os.geteuid(),
            connected=connected,
            left_behind=() if connected else _left_behind(real, fd),
        )


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_connected(status: os.stat_result) -> bool:
    lock = _turns.get(_identity(status))
    return lock is not None and lock.locked()


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn OSError into SourceError."""
    try:
        yield
    except OSError as exc:
        name = os.fsdecode(exc.filename) if exc.filename else path
        cause = (exc.strerror or str(exc)).lower()
        if exc.errno in (errno.EACCES, errno.EPERM):
            cause += f": the exporter's user (id {os.geteuid()}) must be able to read it, and to enter its folder"
        raise SourceError(f"{name}: {cause}") from exc


@contextlib.contextmanager
def _unconnected(path: Path) -> Iterator[int]:
    with _told(path):
        if _is_connected(path.stat()):
            raise RuntimeError(f"{path}: closing a descriptor now would drop the locks of an open snapshot")
    fd = _open(path)
    try:
        yield fd
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    with _told(path):
        fd = _open_regular(path, path.stat())
        try:
            _check_header(path, os.pread(fd, len(_MAGIC), 0))
        except BaseException:
            os.close(fd)
            raise
        return fd


def _header(path: Path, status: os.stat_result) -> bytes:
    fd = _open_regular(path, status)
    try:
        header = os.pread(fd, 28, 0)
    finally:
        os.close(fd)
    _check_header(path, header)
    return header


def _open_regular(path: Path, status: os.stat_result) -> int:
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(f"{path}: is a directory or a device, not a database file")
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def _check_header(path: Path, header: bytes) -> None:
    if not header:
        # Not for SQLite to see: it deletes a -wal beside an empty database, even with mode=ro.
        raise SourceError(f"{path}: is empty: it is read once the platform has made its tables")
    if not header.startswith(_MAGIC):
        raise SourceError(f"{path}: {_NOT_A_DATABASE}")


def _wal_index(path: Path) -> bytes | None:
    try:
        fd = os.open(_beside(path, "-shm"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return os.read(fd, 48)
    finally:
        os.close(fd)


def _is_wal(fd: int) -> bool:
    return os.pread(fd, 1, 19) == b"\2"  # the read version, by which SQLite decides


def _filesystem(path: Path, fd: int) -> str:
    try:
        return mounts.filesystem_of(fd, path)
    except OSError as exc:
        raise SourceError(f"{path}: cannot tell whether its file system is local: {exc}") from exc


def _is_locked(fd: int, first: int, length: int) -> bool:
    """Return whether another process holds a lock in that range of the file; asking takes none."""
    if os.uname().sysname == "Linux":
        question = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, first, length, 0)
        return bool(struct.unpack_from("h", fcntl.fcntl(fd, fcntl.F_GETLK, question))[0] != fcntl.F_UNLCK)
    question = struct.pack("qqihh", first, length, 0, fcntl.F_WRLCK, os.SEEK_SET)  # macOS, FreeBSD
    return bool(struct.unpack_from("qqih", fcntl.fcntl(fd, fcntl.F_GETLK, question))[3] != fcntl.F_UNLCK)


def _is_hot(path: Path, fd: int) -> bool:
    """Return whether -journal holds a transaction whose writer is gone: SQLite's hasHotJournal()."""
    journal = _beside(path, "-journal")
    if not journal.exists() or _is_locked(fd, _RESERVED_BYTE, 1):
        return False
    # Emptied or zeroed, it is the harmless rest of journal_mode=TRUNCATE or PERSIST.
    with _told(path), contextlib.suppress(FileNotFoundError), journal.open("rb") as start:
        return start.read(1) not in (b"", b"\0")
    return False


def _left_behind(path: Path, fd: int) -> tuple[str, ...]:
    ends = [end for end in ("-wal", "-shm") if _is_wal(fd) and _beside(path, end).exists()]
    return tuple(str(_beside(path, end)) for end in ends + ["-journal"] * _is_hot(path, fd))

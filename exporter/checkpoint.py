"""The durable store of one source's state: a snapshot followed by deltas, in two generations.

It knows nothing of what the state is: records are opaque bytes, and a snapshot is one or more of them. Each
generation is an SQLite file of our own, ``<source>-<generation>.sqlite``, in WAL mode with ``synchronous=FULL``: one
fdatasync a delta, where a rollback journal takes four [0.16 against 0.7 ms for 11 kB]. Its locking mode is exclusive:
no ``-shm``, and WAL holds on every file system. A record that a crash tore is undone by SQLite.

But SQLite also takes a damaged or missing ``-wal`` for a torn one, and drops its records without a word. So
``<source>.tip`` says how many records of which generation were acknowledged. It is written, unsynced, when
they are durable: it may lag behind, never be ahead, and a generation that ends before its tip has lost some.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from exporter.generation import Generation, opened, sync, write
from exporter.spill import Spill

_KEPT_GENERATIONS = 2
_COMPACT_BYTES = 1 << 20
_COMPACT_DELTAS = 1_000
_RETRY_DELTAS = 60  # after a snapshot that failed, deltas go on for so long before it is asked for again
# what SQLite says without having judged the content of a file
_NOT_DAMAGE = re.compile("SQLITE_(BUSY|CANTOPEN|FULL|IOERR|PERM|READONLY)")
_HELP = {
    errno.ENOSPC: "no space is left on its disk; free some",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "read-only file system; mount it writable, or name another --storage.path",
    errno.EACCES: "permission denied; let the exporter's user write it, or name another --storage.path",
    errno.ENOTDIR: "not a directory; name another --storage.path",
    errno.EEXIST: "not a directory; name another --storage.path",
    errno.ENOENT: "deleted or moved away; the next snapshot writes it anew",
}


class CheckpointError(Exception):
    """The state cannot be loaded or saved now: one line naming the file, what is wrong and what helps.

    ``reason`` is the line without the file: the same cause is met at one file after another.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason


class StateDirectory:
    """The folder of ``--storage.path``, held by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    def acquire(self) -> None:
        """Make the folder (0700) if it is not there and take its lock, until ``release`` or our end.

        One stat while the lock is held; taken anew when the folder was deleted under us.

        Raises:
            CheckpointError: another process has it, or it cannot be made or written. To be tried again.
        """
        if self._lock is not None and self._is_lock(self._lock):
            return
        self.release()
        with _explained(self.path):
            if not self.path.is_dir():
                self.path.mkdir(mode=0o700, parents=True)
                self.path.chmod(0o700)
                sync(self.path.parent)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._take(lock)
            except BaseException:
                os.close(lock)
                raise
        self._lock = lock

    def release(self) -> None:
        """Give the lock back. Its file stays: deleting it could let two processes in."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None

    def checkpoint(self, source: str) -> Checkpoint:
        """Return the checkpoint of the source of that name, not loaded yet."""
        return Checkpoint(self, source)

    def spill(self) -> Spill:
        """Return a place for what of a source need not be in memory; it lasts as long as somebody has it."""
        return Spill(self.path)

    def _take(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            pid = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
            help_ = f"in use by another process (pid {pid}); stop it, or name another --storage.path"
            raise CheckpointError(self.path, help_) from exc
        if not self._is_lock(lock):
            raise CheckpointError(self.path / "lock", "replaced at this moment; try again")
        os.fchmod(lock, 0o600)
        os.pwrite(lock, b"%-19d\n" % os.getpid(), 0)  # never shortened: rewriting it needs no free space

    def _is_lock(self, lock: int) -> bool:
        try:
            return os.path.samestat(os.fstat(lock), (self.path / "lock").stat())
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a checkpoint held: a snapshot and its deltas in order, or nothing.

    ``fell_back``: acknowledged records are missing; these are an older generation's, exact for its time.
    ``lost``: there was something, and none of it can be read. Either is said until a record is saved.
    ``set_aside``: the files that could not be read, renamed ``*.damaged-<n>``.
    """

    records: tuple[bytes, ...]
    fell_back: bool = False
    lost: bool = False
    set_aside: tuple[Path, ...] = ()


class Checkpoint:
    """The records of one source. Calls block, may come from any thread, and must come one at a time."""

    def __init__(self, directory: StateDirectory, source: str) -> None:
        self._directory = directory
        self._name = _file_name(source)
        self._pattern = re.compile(re.escape(self._name) + r"-(\d{8,})\.(.+)")
        self._tip = directory.path / f"{self._name}.tip"
        self._newest: Generation | None = None
        self._retry_from = 0

    @property
    def deltas_since_snapshot(self) -> int:
        """How many deltas follow the newest snapshot."""
        return self._newest.deltas if self._newest else 0

    @property
    def delta_bytes(self) -> int:
        """The length of these deltas together."""
        return self._newest.delta_bytes if self._newest else 0

    @property
    def size_bytes(self) -> int:
        """The size of the newest generation's files, after the last call."""
        return self._newest.size_bytes if self._newest else 0

    @property
    def wants_snapshot(self) -> bool:
        """Whether to save a snapshot next: there is none to add to, or its deltas have outgrown it."""
        if self._newest is None:
            return True
        many = self._newest.deltas >= _COMPACT_DELTAS
        long = self._newest.delta_bytes > max(self._newest.snapshot_bytes, _COMPACT_BYTES)
        return (many or long) and self._newest.deltas >= self._retry_from

    def load(self) -> Loaded:
        """Read the newest generation that is whole; saving goes on in it.

        Raises:
            CheckpointError: the folder is not to be had, or a file cannot be read for now. To be tried again.
        """
        self._directory.acquire()
        self.close()
        set_aside: list[Path] = []
        with _explained(self._directory.path):
            self._sweep(below=0)
            tip, numbers = self._read_tip(), self._numbers()
        for number in numbers:
            path = self._path(number)
            with _explained(path):
                generation = Generation(path, number)
                try:
                    records = generation.read(at_least=tip[1] if number == tip[0] else 1)
                except BaseException as exc:
                    with contextlib.closing(generation):
                        if not isinstance(exc, sqlite3.Error) or _NOT_DAMAGE.match(_code(exc)):
                            raise
                        set_aside.append(_set_aside(path))
                else:
                    self._newest = generation
                    return Loaded(records, bool(set_aside) or tip[0] > number, set_aside=tuple(set_aside))
        return Loaded((), lost=bool(set_aside) or tip[0] > 0, set_aside=tuple(set_aside))

    def save_delta(self, record: bytes) -> None:
        """Add a delta; it is on the disk when this returns.

        One that failed may yet be there, whole, should the process end now; else it will never be.

        Raises:
            CheckpointError: it was not saved, or ``wants_snapshot`` for want of one to add to.
        """
        self._directory.acquire()
        if self._newest is None:
            raise CheckpointError(self._directory.path, "nothing to add to; save a snapshot first")
        with _explained(self._path(self._newest.number)):
            try:
                self._newest.append(record)
            except (OSError, sqlite3.Error) as exc:
                # after a failed fsync nobody knows what is on the disk; a full one holds what it held
                if _code(exc) != "SQLITE_FULL":
                    self.close()
                raise
        self._write_tip(self._newest, sync=False)

    def save_snapshot(self, records: Iterable[bytes]) -> None:
        """Begin a new generation with one or more records; it is on the disk when this returns.

        Each record is written before the next is asked for. The generation before stays, older ones go.

        Raises:
            CheckpointError: it was not saved. Deltas can go on as before, unless ``wants_snapshot`` still.
        """
        self._directory.acquire()
        with _explained(self._directory.path):
            number = self._unused_number()
        path, aside = self._path(number), self._path(number).with_suffix(".tmp")
        with _explained(aside):
            try:
                lengths = write(aside, records)
            except BaseException:
                self._retry_from = _RETRY_DELTAS + self.deltas_since_snapshot
                with contextlib.suppress(OSError):
                    aside.unlink()
                raise
        self.close()  # once renamed it is what a start finds, even if the folder cannot be synced
        with _explained(path):
            aside.rename(path)
            sync(path.parent)
            self._newest = Generation(path, number, lengths)
        self._write_tip(self._newest, sync=True)
        with contextlib.suppress(OSError):  # what stays is deleted after the next one
            self._sweep(below=self._numbers()[:_KEPT_GENERATIONS][-1])

    def close(self) -> None:
        """Close the file. Then only ``load`` and ``save_snapshot`` go on."""
        if self._newest is not None:
            self._newest.close()
        self._newest, self._retry_from = None, 0

    def _path(self, number: int) -> Path:
        return self._directory.path / f"{self._name}-{number:08d}.sqlite"

    def _files(self) -> list[tuple[int, str, Path]]:
        found = ((self._pattern.fullmatch(path.name), path) for path in self._directory.path.iterdir())
        return [(int(match[1]), match[2], path) for match, path in found if match]

    def _numbers(self) -> list[int]:
        return sorted((number for number, kind, _ in self._files() if kind == "sqlite"), reverse=True)

    def _unused_number(self) -> int:
        """Return a number above all that left a trace: their tip or ``-wal`` is not the new one's."""
        numbers = [number for number, _, _ in self._files()]
        return max(0, *numbers, self._read_tip()[0], self._newest.number if self._newest else 0) + 1

    def _sweep(self, *, below: int) -> None:
        """Delete the generations below that number, and unfinished ones; never what was set aside."""
        for number, kind, path in self._files():
            if kind.startswith("tmp") or (number < below and kind in ("sqlite", "sqlite-wal")):
                with contextlib.suppress(OSError):  # tried again after the next snapshot
                    path.unlink()

    def _read_tip(self) -> tuple[int, int]:
        """Return the generation and its acknowledged records; (0, 0) without a tip: it is only a witness."""
        try:
            found = re.fullmatch(rb"(\d{19}) (\d{19})\n", self._tip.read_bytes())
        except FileNotFoundError:
            found = None
        return (int(found[1]), max(int(found[2]), 1)) if found else (0, 0)

    def _write_tip(self, newest: Generation, *, sync: bool) -> None:
        """Say what is acknowledged. If that fails, the older tip proves less, and harms nothing."""
        flags = os.O_WRONLY | os.O_CREAT
        with contextlib.suppress(OSError), opened(self._tip, flags) as descriptor:
            os.pwrite(descriptor, b"%019d %019d\n" % (newest.number, newest.records), 0)
            if sync:
                os.fchmod(descriptor, 0o600)
                os.fsync(descriptor)


def generations(folder: Path, source: str) -> list[Path]:
    """The files of a source's generations, the newest first; none where there is no such folder.

    For who only looks: no lock is taken, and they may be gone or grown the next moment.
    """
    pattern = re.compile(re.escape(_file_name(source)) + r"-\d{8,}\.sqlite")
    with _explained(folder):
        found = [path for path in folder.iterdir() if pattern.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=lambda path: (len(path.name), path.name), reverse=True)


def records_of(path: Path) -> tuple[bytes, ...]:
    """The records of a generation's file, a copy that nobody else has open.

    Raises:
        OSError, sqlite3.Error: they cannot be read, or are not whole.
    """
    with contextlib.closing(Generation(path, 0)) as generation:
        return generation.read(at_least=1)


def _set_aside(path: Path) -> Path:
    """Rename a damaged generation and its ``-wal``, so that SQLite's own tools still know them for one.

    To be done while it is open: closed in its place, SQLite would delete the ``-wal``.
    """
    count = 1
    while (aside := path.with_name(f"{path.name}.damaged-{count}")).exists():
        count += 1
    path.rename(aside)
    with contextlib.suppress(FileNotFoundError):
        path.with_name(f"{path.name}-wal").rename(f"{aside}-wal")
    sync(path.parent)
    return aside


def _file_name(source: str) -> str:
    """Encode a source's name: no two share a file, on systems that ignore case either."""
    raw = source.encode("utf-8", "surrogatepass")
    name = re.sub(rb"[^a-z0-9_-]", lambda found: b"%%%02X" % ord(found[0]), raw).decode()
    # SQLite opens no path of more than 512 bytes
    return name if len(name) <= 100 else f"{name[:80]}%{blake2b(raw, digest_size=8).hexdigest()}"


def _code(error: Exception) -> str:
    return str(getattr(error, "sqlite_errorname", ""))


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an OSError or sqlite3.Error about ``path`` into a CheckpointError of one line."""
    try:
        yield
    except OSError as exc:
        raise CheckpointError(path, _HELP.get(exc.errno or 0) or exc.strerror or str(exc)) from exc
    except sqlite3.Error as exc:
        reason = _HELP[errno.ENOSPC] if _code(exc) == "SQLITE_FULL" else f"{exc}; look after its disk"
        raise CheckpointError(path, reason) from exc

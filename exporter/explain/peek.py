"""A look at a checkpoint that another process may be writing: without its lock, and without a trace in its folder.

A generation is an SQLite file in WAL mode that its writer holds exclusively. So its two files are copied, and the copy
is opened. What was copied while SQLite moved the ``-wal`` into the file, or began it anew, may be of two moments: it is
copied again. A record that is being written is not in the copy, or torn, which SQLite drops.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from exporter.checkpoint import CheckpointError, generations, records_of
from exporter.spec import Schema
from exporter.state import State, StateError

_ATTEMPTS, _AGAIN_S = 20, 0.05
_WAL_HEADER_BYTES = 32


@dataclass(frozen=True, slots=True)
class Peeked:
    """The records of the newest generation that is whole; ``skipped`` are newer ones that are not."""

    path: Path
    records: tuple[bytes, ...]
    skipped: tuple[Path, ...] = ()


def peek(folder: Path, source: str) -> Peeked | None:
    """What the checkpoint of that source holds now; None where there is none.

    Raises:
        CheckpointError: there is one, and it cannot be read.
    """
    failed: CheckpointError | None = None
    for _ in range(_ATTEMPTS):
        paths = generations(folder, source)
        if not paths:
            return None
        for place, path in enumerate(paths):
            try:
                records = _read(path)
            except (OSError, sqlite3.Error) as exc:
                failed = failed or CheckpointError(path, str(exc))
                continue
            if records is None:
                break
            return Peeked(path, records, tuple(paths[:place]))
        time.sleep(_AGAIN_S)
    raise failed or CheckpointError(folder, "changed under every attempt to read it; try again")


def peek_state(folder: Path, source: str, schema: Schema) -> tuple[State, Peeked] | None:
    """The state of that source as its checkpoint has it now, and what it was loaded from; None where there is none.

    Raises:
        CheckpointError: there is one, and it cannot be read, or is of another format.
    """
    peeked = peek(folder, source)
    if peeked is None:
        return None
    state = State(schema.tables)
    try:
        state.load(peeked.records, {metric.name: metric for metric in schema.metrics})
    except StateError as exc:
        raise CheckpointError(peeked.path, str(exc)) from exc
    return state, peeked


def _read(path: Path) -> tuple[bytes, ...] | None:
    """Its records; None where it was changed otherwise than by adding to it while it was copied."""
    wal = path.with_name(f"{path.name}-wal")
    with tempfile.TemporaryDirectory(prefix="orchestration-exporter-") as folder:
        copy = Path(folder) / "copy.sqlite"
        before = _marks(path, wal)
        shutil.copyfile(path, copy)
        if wal.exists():
            shutil.copyfile(wal, f"{copy}-wal")
        if before != _marks(path, wal):
            return None
        return records_of(copy)


def _marks(path: Path, wal: Path) -> tuple[object, ...]:
    """What changes when SQLite does more than add to the ``-wal``."""
    stat = path.stat()
    try:
        with wal.open("rb") as file:
            header = file.read(_WAL_HEADER_BYTES)
    except FileNotFoundError:
        header = b""
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, header

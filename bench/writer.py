"""A writer that commits as fast as it can, with the exporter reading beside it and without."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.databases import Platform, database, folder
from bench.figure import Figure
from bench.processes import companion, exporter
from bench.scale import Scale

_SESSION_EVERY = 1_000


class Window(NamedTuple):
    """What a writer did: commits, how often it was told that the database is locked, and how long that took it.

    ``queued_s`` of that it waited for a CPU that something else had, the exporter or another process.
    """

    commits: int
    locked: int
    took_s: float
    queued_s: float

    @property
    def rate(self) -> float:
        """Commits a second."""
        return self.commits / self.took_s

    @property
    def rate_on_cpu(self) -> float:
        """Commits a second, if it had had a CPU whenever it wanted one."""
        return self.commits / (self.took_s - self.queued_s)


def measure(scale: Scale) -> Iterator[Figure]:
    """In each journal mode, windows in turns with the exporter and without, the order changing."""
    for mode in ("wal", "delete"):
        with TemporaryDirectory(dir=folder()) as name:
            path = Path(name) / "platform.db"
            shutil.copy(database(scale.few_rows, scale.few_sessions), path)
            with companion(write, path, mode) as writer:
                writer.recv()
                yield from _figures(mode, _windows(scale, path, Path(name) / "state", writer))


def _windows(scale: Scale, path: Path, state: Path, writer: Connection) -> list[tuple[Window, Window]]:
    """Pairs of windows: with the exporter, without."""
    _with(path, state, writer, 0.2)  # the first reads all there is
    pairs = []
    for number in range(scale.windows):
        if number % 2:
            without = _window(writer, scale.window_s)
            pairs.append((_with(path, state, writer, scale.window_s), without))
        else:
            pairs.append((_with(path, state, writer, scale.window_s), _window(writer, scale.window_s)))
    return pairs


def _with(path: Path, state: Path, writer: Connection, seconds: float) -> Window:
    with exporter(path, state):
        return _window(writer, seconds)


def _window(writer: Connection, seconds: float) -> Window:
    writer.send(seconds)
    found = writer.recv()
    assert isinstance(found, Window)
    return found


def _figures(mode: str, pairs: list[tuple[Window, Window]]) -> Iterator[Figure]:
    slowed = [1 - beside.rate / alone.rate for beside, alone in pairs]
    on_cpu = median(1 - beside.rate_on_cpu / alone.rate_on_cpu for beside, alone in pairs)
    rates = [median(pair[which].rate for pair in pairs) for which in (0, 1)]
    locked = sum(beside.locked for beside, _ in pairs)
    yield Figure(
        "writer",
        f"a writer slowed down by the exporter, journal mode {mode}",
        100 * median(slowed),
        5.0,
        unit="%",
        detail=f"{rates[0]:,.0f} / {rates[1]:,.0f} commits a second; "
        f"pairs from {100 * min(slowed):.1f} to {100 * max(slowed):.1f} %; with a CPU of its own {100 * on_cpu:.1f} %",
    )
    yield Figure("writer", f'times it saw "database is locked", journal mode {mode}', locked, 0.0, unit="")


def write(connection: Connection, path: Path, mode: str) -> None:
    """Answer each number of seconds with what could be committed in them; until the connection closes."""
    with closing(Platform(path, journal_mode=mode)) as platform:
        platform.begin_session()
        connection.send("ready")
        while True:
            try:
                seconds = connection.recv()
            except EOFError:
                return
            connection.send(_write(platform, seconds))


def _write(platform: Platform, seconds: float) -> Window:
    commits = locked = 0
    queued_s, began = _queued_s(), time.perf_counter()
    while (took_s := time.perf_counter() - began) < seconds:
        try:
            platform.commit(1, session=commits % _SESSION_EVERY == 0)
            commits += 1
        except sqlite3.OperationalError as exc:
            if "locked" not in str(exc):
                raise
            locked += 1
    return Window(commits, locked, took_s, _queued_s() - queued_s)


def _queued_s() -> float:
    """How long this thread was ready to run and did not."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9

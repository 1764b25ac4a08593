"""Thirty days of the past at a step of a minute, against a bare loop that writes as many prepared lines."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from bench.databases import folder
from bench.figure import Figure
from bench.processes import in_fresh_process
from bench.scale import FULL, Scale
from exporter import config, demo
from exporter.backfill.progress import Progress
from exporter.backfill.run import STDOUT, Wanted, Written, backfill
from exporter.catalogue import SCHEMA
from exporter.source.sqlite import SqliteSource

_DAY_S = 86_400.0
_END_S = 1_795_437_000.0
_WRITTEN_DAYS = 95.0
"""So long is the demo's past of 200,000 rows: its times are drawn together into the days that are measured."""
_MEASURED_DAYS = 30.0


class Took(NamedTuple):
    """What a backfill wrote, in how many seconds, of them how many on a processor, with how much memory at most."""

    written: Written
    wall_s: float
    cpu_s: float
    memory_mb: float


def measure(scale: Scale) -> Iterator[Figure]:
    """The backfill, then the bare loop with as many lines and bytes, each in a process of its own; to the null device.

    So that neither waits for a disk, nor for what else the machine does: the ratio is that of processor time.
    """
    days = _MEASURED_DAYS if scale == FULL else 1.0
    path = _platform(days)
    took: Took = in_fresh_process(_backfill, path, days)
    lines = took.written.samples
    steps = int(days * 1440) + 1
    bare = in_fresh_process(_bare, steps, lines // steps, took.written.size // lines)
    told = f"{took.written.rows:,} rows, {lines:,} samples, {took.written.size / 1e9:.2f} GB"
    yield Figure(
        "past",
        f"a backfill of {days:g} days at 1 m / a bare loop that writes as many prepared lines",
        took.cpu_s / bare,
        4.0,
        detail=f"{took.cpu_s:.1f} s (by the clock {took.wall_s:.1f} s) / {bare:.1f} s; {told}",
    )
    yield Figure("past", "its memory at most", took.memory_mb, 200.0, unit="MB")


def _platform(days: float) -> Path:
    """A past of so many days, of the platform as busy as makes 200,000 rows of thirty days; made if it is not kept."""
    path = folder() / f"past-of-{days:g}-days.db"
    if not path.exists():
        made = path.with_suffix(".part")
        made.unlink(missing_ok=True)
        connection = sqlite3.connect(made, isolation_level=None)
        demo.create_schema(connection)
        times = _WRITTEN_DAYS / _MEASURED_DAYS
        demo.write_history(connection, demo.Settings(history_s=times * days * _DAY_S), _END_S)
        _draw_together(connection, times)
        connection.close()
        made.rename(path)
    return path


def _draw_together(connection: sqlite3.Connection, times: float) -> None:
    """Let everything have happened so many times nearer to the end."""
    for table in SCHEMA.tables:
        for column in ("start_time", "end_time") if table.is_sessions else ("timestamp",):
            nearer = f"datetime(:end - (:end - strftime('%s', {column})) / :times, 'unixepoch')"
            sql = f'UPDATE "{table.name}" SET {column} = {nearer} WHERE {column} IS NOT NULL'
            connection.execute(sql, {"end": _END_S, "times": times})


def _backfill(path: Path, days: float) -> Took:
    flags = {("database",): str(path), ("storage", "path"): str(path.parent / "none")}
    settings = config.load(flags=flags, environ={}, metrics=SCHEMA.metrics, needs_source=True)
    began, worked = time.perf_counter(), time.process_time()
    with redirected():
        wanted = Wanted(output=STDOUT, start=_END_S - days * _DAY_S, to=_END_S)
        written = asyncio.run(
            backfill(
                settings=settings,
                of=settings.sources[0],
                schema=SCHEMA,
                source=SqliteSource(path),
                wanted=wanted,
                progress=Progress(StringIO()),
            )
        )
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Took(written, time.perf_counter() - began, time.process_time() - worked, peak_kb / 1000)


@contextmanager
def redirected() -> Iterator[None]:
    """What goes to stdout goes nowhere."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
        sys.stdout.flush()
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _bare(steps: int, lines: int, size: int) -> float:
    """Seconds of a processor to write prepared lines one by one."""
    line = b"x" * (size - 1) + b"\n"
    prepared = [line] * lines
    began = time.process_time()
    with Path("/dev/null").open("wb", buffering=1 << 20) as file:
        for _ in range(steps):
            for text in prepared:
                file.write(text)
    return time.process_time() - began

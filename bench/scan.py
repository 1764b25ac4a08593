"""The first scan of a million hand-offs, with all it remembers, against reading the same rows and dropping them."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.databases import database
from bench.figure import Figure, spread
from bench.processes import in_fresh_process
from bench.scale import Scale
from exporter.advance import Engine
from exporter.catalogue import SCHEMA
from exporter.context import Rules
from exporter.reader import Reader
from exporter.source import queries
from exporter.source.sqlite import SqliteSource
from exporter.state import State


class Took(NamedTuple):
    """Seconds by the clock, and of the CPU."""

    wall_s: float
    cpu_s: float


def measure(scale: Scale) -> Iterator[Figure]:
    """Take turns: bare, the scan, the scan without the garbage collector; each in a process of its own."""
    path = database(scale.some_rows, scale.many_sessions)
    read(path)  # so that the file is in memory for all of them
    bare: list[Took] = []
    whole: list[Took] = []
    uncollected: list[Took] = []
    for _ in range(scale.scans):
        bare.append(in_fresh_process(read, path))
        whole.append(in_fresh_process(scan, path))
        uncollected.append(in_fresh_process(scan, path, collect=False))
    yield Figure(
        "scan",
        f"first scan of {scale.some_rows:,} hand-offs, {scale.many_sessions:,} sessions / the bare SELECTs",
        median(took.wall_s for took in whole) / median(took.wall_s for took in bare),
        5.0,
        detail=_detail(bare, whole, uncollected),
    )


def _detail(bare: list[Took], whole: list[Took], uncollected: list[Took]) -> str:
    cpu = [median(took.cpu_s for took in tooks) for tooks in (bare, whole, uncollected)]
    return (
        f"{spread([took.wall_s for took in whole])} / {spread([took.wall_s for took in bare])}; "
        f"by CPU time {cpu[1] / cpu[0]:.2f} x: SQLite is {cpu[0] / cpu[1]:.0%} of it, "
        f"the garbage collector {(cpu[1] - cpu[2]) / cpu[1]:.0%}, counting and remembering the rest"
    )


def read(path: Path) -> Took:
    """Fetch every row of the SELECTs by which sessions and hand-offs are scanned, in one go."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        began = Took(time.perf_counter(), time.process_time())
        for table in SCHEMA.tables:
            found = connection.execute("SELECT name FROM pragma_table_info(?)", (table.name,))
            sql = queries.above(table, {name for (name,) in found}, cursor=None)
            for _row in connection.execute(sql.replace("LIMIT :limit", "")):
                pass
        return _since(began)


def scan(path: Path, *, collect: bool = True) -> Took:
    """Scan into a fresh state, as a start without a checkpoint does."""
    if not collect:
        gc.disable()
    rules = Rules()
    engine = Engine(State(SCHEMA.tables), SCHEMA, rules)
    reader = Reader(SqliteSource(path), engine, SCHEMA, rules, time.time)
    began = Took(time.perf_counter(), time.process_time())
    asyncio.run(reader.scan(SCHEMA.counted, first=True))
    return _since(began)


def _since(began: Took) -> Took:
    return Took(time.perf_counter() - began.wall_s, time.process_time() - began.cpu_s)

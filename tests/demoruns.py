"""Short runs of the demo on clocks of their own, and what they wrote."""

import sqlite3
import threading
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from exporter import demo
from exporter.demo import Settings

NOW_S = datetime(2026, 11, 23, 12, 30, tzinfo=UTC).timestamp()  # a Monday
TIMES = {
    "timestamp",
    "start_time",
    "end_time",
    "created_at",
    "updated_at",
    "last_updated",
    "period_start",
    "period_end",
}
SECOND = "CAST(strftime('%s', timestamp) AS INT)"  # unixepoch() is too new for some systems


def connect(path: Path | str) -> sqlite3.Connection:
    """A connection as the demo makes its own."""
    return sqlite3.connect(path, isolation_level=None)


def tables(conn: sqlite3.Connection) -> list[str]:
    """All tables of the platform, by name."""
    rows = conn.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return sorted(name for (name,) in rows)


def contents(conn: sqlite3.Connection, *, without_times: bool = True) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table by id; without what may differ between two runs of one seed."""
    found = {}
    for table in tables(conn):
        columns = [row[1] for row in conn.execute(f"PRAGMA table_info({table})")]
        chosen = [column for column in columns if not (without_times and column in TIMES)]
        found[table] = conn.execute(f"SELECT {', '.join(chosen)} FROM {table} ORDER BY id").fetchall()
    return found


def one(conn: sqlite3.Connection, sql: str) -> float:
    """The single number a query gives."""
    [value] = conn.execute(sql).fetchone()
    assert isinstance(value, int | float)
    return value


def written_history(path: Path, chosen: Settings, now_s: float = NOW_S) -> sqlite3.Connection:
    """A database with its past only."""
    conn = connect(path)
    demo.create_schema(conn)
    demo.write_history(conn, chosen, now_s)
    return conn


def lived(path: Path, chosen: Settings, start_s: float = NOW_S) -> sqlite3.Connection:
    """A database after a live run on a clock of its own: 0.1 s from one transaction to the next."""
    ticks = count(start_s, 0.1)
    demo.run(path, chosen, threading.Event(), lambda: next(ticks))
    return connect(path)


def fast(rows: int = 4_000, **options: object) -> Settings:
    """Live at once and without waiting, until so many rows."""
    return Settings(**{"history_s": 0, "speed": 1e9, "max_rows": rows, **options})  # type: ignore[arg-type]

"""The hand that writes streams into a SQLite file, in the platform's manner."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from exporter.demo.rows import Event
from exporter.demo.schema import INDEXES, TABLES
from exporter.demo.settings import Settings
from exporter.demo.streams import InFlight, Resume, events, history

APPLICATION_ID = 0x64656D6F  # "demo": tells its files from those of a real platform
_BEHIND_S = 1.0  # after a stall the writer catches up at most this much
_RECENT_ROWS = 50


class Written(NamedTuple):
    """Rows inserted by one run."""

    history_rows: int
    live_rows: int


def create_schema(conn: sqlite3.Connection, *, adopt: bool = False) -> None:
    """Make the platform's tables in an empty database; leave those of an earlier demo as they are.

    `conn` is in autocommit mode (`isolation_level=None`). The journal becomes WAL, `synchronous` NORMAL.

    Raises:
        ValueError: The database has tables, but no demo made them, and `adopt` is not set: invented rows
            among real ones cannot be told apart again.
        sqlite3.Error: It is no database, or cannot be written.
    """
    [tables] = conn.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()
    [mark] = conn.execute("PRAGMA application_id").fetchone()
    if tables and mark != APPLICATION_ID and not adopt:
        raise ValueError(f"the demo writes only into files it made: application_id is {mark}, not {APPLICATION_ID}")
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = NORMAL")
    if not tables:
        made = f"PRAGMA application_id = {APPLICATION_ID};"
        conn.executescript(f"BEGIN IMMEDIATE;{TABLES}{INDEXES}{made}COMMIT;")


def write_history(
    conn: sqlite3.Connection, settings: Settings, now_s: float, stop: threading.Event | None = None
) -> int:
    """Write the past in one transaction, which a reader sees whole or not at all; return the rows inserted.

    Nothing is written if a session or hand-off was ever written before, or when `stop` is set on the way.

    Raises:
        sqlite3.Error: The database cannot be written; it is as before.
    """
    if settings.history_s == 0 or resume_point(conn).rows:
        return 0
    ids: dict[str, int] = {}
    rows = 0
    with _transaction(conn):
        for event in history(settings, now_s):
            if stop is not None and stop.is_set():
                conn.rollback()
                return 0
            rows += _apply(conn, event, event.at_s, ids)
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return rows


def resume_point(conn: sqlite3.Connection) -> Resume:
    """Where the live stream goes on: what was ever written, and the newest hand-offs without a result.

    Raises:
        sqlite3.Error: A table is missing, or the database cannot be read.
    """
    written = dict(conn.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    [configured] = conn.execute("SELECT count(*) FROM model_capacity_thresholds").fetchone()
    in_flight = conn.execute(
        """SELECT id, session_id, task_type, target_model, tokens_used, cost FROM handoff_events
           WHERE id > :floor AND success IS NULL ORDER BY id""",
        {"floor": written.get("handoff_events", 0) - _RECENT_ROWS},
    )
    return Resume(
        rows=sum(written.values()),
        sessions=written.get("orchestration_sessions", 0),
        configured=configured > 0,
        in_flight=tuple(InFlight(*row) for row in in_flight),
    )


def run(
    path: Path,
    settings: Settings,
    stop: threading.Event,
    clock: Callable[[], float] = time.time,
    *,
    adopt: bool = False,
    ready: Callable[[int], None] = lambda rows: None,
) -> Written:
    """Write the past, say `ready` (with its rows), then live until `stop` is set or the settings say enough.

    Each live event is a transaction of its own, stamped with `clock()`, UTC. The file is closed when this
    returns or raises: unless somebody else has it open, its log is then checkpointed and gone.

    Raises:
        ValueError: The file is not the demo's (see `create_schema`).
        sqlite3.Error: The file cannot be written.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        create_schema(conn, adopt=adopt)
        history_rows = write_history(conn, settings, clock(), stop)
        if not stop.is_set():
            ready(history_rows)
        return Written(history_rows, _live(conn, settings, stop, clock))


def _live(conn: sqlite3.Connection, settings: Settings, stop: threading.Event, clock: Callable[[], float]) -> int:
    ids: dict[str, int] = {}
    rows = 0
    began_s = due_s = time.monotonic()
    end_s = began_s + settings.duration_s if settings.duration_s is not None else float("inf")
    previous_s = 0.0
    for event in events(settings, resume_point(conn)):
        due_s = max(due_s + (event.at_s - previous_s) / settings.speed, time.monotonic() - _BEHIND_S)
        previous_s = event.at_s
        if stop.wait(max(0.0, min(due_s, end_s) - time.monotonic())) or time.monotonic() >= end_s:
            break
        if event.statements:
            with _transaction(conn):
                rows += _apply(conn, event, clock(), ids)
        if settings.max_rows is not None and rows >= settings.max_rows:
            break
    return rows


@contextmanager
def _transaction(conn: sqlite3.Connection) -> Iterator[None]:
    conn.execute("BEGIN IMMEDIATE")
    with conn:
        yield


def _apply(conn: sqlite3.Connection, event: Event, now_s: float, ids: dict[str, int]) -> int:
    """Execute an event's statements at `now_s` (epoch); the number of rows inserted."""
    now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now_s))
    rows = 0
    for statement in event.statements:
        values = {**statement.values, "now": now}
        if statement.uses is not None:
            values["row"] = ids.pop(statement.uses)
        cursor = conn.execute(statement.sql, values)
        if statement.keeps is not None and cursor.lastrowid is not None:
            ids[statement.keeps] = cursor.lastrowid
        rows += statement.inserts
    return rows

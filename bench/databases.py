"""Databases of the platform's own schema, made once and kept: hand-offs of any number, in sessions of any number.

Rows are made by SQL from their number alone, so that two of one size are alike but for their times: the newest row is
a day old when the database is made. The label sets are the same at every size from 10 thousand rows on.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from exporter.demo.cast import DESCRIPTIONS, ROUTES, UNAVAILABLE
from exporter.demo.schema import INDEXES, TABLES

PROJECTS = 84
MODELS = 20
_VERSION = 3
"""Raised when the rows change: what was kept is then made anew."""
_CHUNK = 500_000
_ROW_BYTES = 650  # with its share of the indexes
_DAY_S = 86_400
_GAP_S = 3
"""Seconds between two hand-offs: 10 million in a year."""

_SESSIONS = """
WITH RECURSIVE numbers(s) AS (SELECT :first UNION ALL SELECT s + 1 FROM numbers WHERE s < :last),
     times(s, start, h) AS (
        SELECT s, :start + (s - 1) * :span / :sessions, (s * 2654435761) % 4294967296 FROM numbers)
INSERT INTO orchestration_sessions (session_id, start_time, end_time, project_name, task_description, total_tasks,
                                    completed_tasks, failed_tasks, total_cost, total_savings, metadata)
SELECT printf('claude_realtime_%d_%06x', start, s), datetime(start, 'unixepoch'),
       CASE WHEN h % 10 = 0 THEN datetime(start + 60 + (h >> 8) % 3600, 'unixepoch') END,
       printf('project-%03d', s % :projects),
       (SELECT text FROM descriptions WHERE n = (h >> 4) % :descriptions), 9, 7 + (h >> 12) % 3, (h >> 12) % 3,
       0.01 * ((h >> 10) % 100), 0.003 * ((h >> 9) % 100), '{"v": 1}'
FROM times
"""
_HANDOFFS = """
WITH RECURSIVE numbers(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n < :last),
     hashed(n, h, g) AS (
        SELECT n, (n * 2654435761) % 4294967296, (n * 2246822519 + 374761393) % 4294967296 FROM numbers),
     drawn(n, at, s, model, route, description, fate, u, v) AS (
        SELECT n, :start + n * :span / :rows,
               -- of the eight sessions that run at a time one
               max(1, min(:sessions, 1 + (n - 1) * :sessions / :rows - (g >> 13) % 8)),
               (h >> 11) % :models, (g >> 7) % :routes, (h >> 5) % :descriptions, (h + g) % 1000,
               (h >> 8) / 16777216.0, (g >> 8) / 16777216.0
        FROM hashed)
INSERT INTO handoff_events (session_id, timestamp, task_type, task_description, source_model, target_model,
                            handoff_reason, confidence_score, tokens_used, cost, savings, success, response_time,
                            metadata)
SELECT printf('claude_realtime_%d_%06x', :start + (s - 1) * :span / :sessions, s), datetime(at, 'unixepoch'),
       routes.task, descriptions.text, 'claude_orchestrator', printf('model-%02d', model), routes.phrase,
       0.5 + round(v * 8) / 16, 100 + CAST(u * u * 9000 AS INTEGER),
       CASE WHEN model % 2 THEN 0.0 ELSE u * u * 0.08 END, CASE WHEN model % 2 THEN 0.003 ELSE 0.0 END,
       CASE WHEN fate < 940 THEN 1 WHEN fate < 998 THEN 0 END, 0.2 + v * v * v * v * 60,
       '{"route_reason": "' || routes.reason || '", "deepseek_available": true, "decision_factors": '
       || '{"estimated_tokens": 200, "confidence": ' || (0.5 + round(v * 8) / 16) || '}}'
FROM drawn JOIN routes ON routes.n = route JOIN descriptions ON descriptions.n = description
"""


def folder() -> Path:
    """Where what the bench makes is kept: below ``XDG_CACHE_HOME``."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    found = Path(cache) / "orchestration-exporter" / "bench"
    found.mkdir(parents=True, exist_ok=True)
    return found


def database(rows: int, sessions: int) -> Path:
    """The kept database with so many hand-offs in so many sessions, in WAL mode; made if there is none.

    Raises:
        OSError: the disk has no room for it.
    """
    path = folder() / f"v{_VERSION}-{rows}-handoffs-{sessions}-sessions.db"
    if not path.exists():
        for older in set(folder().glob("v*-sessions.*")) - set(folder().glob(f"v{_VERSION}-*")):
            older.unlink()
        _check_room(path, rows * _ROW_BYTES)
        print(f"making {path}: {rows:,} hand-offs in {sessions:,} sessions", flush=True)
        aside = path.with_suffix(".tmp")
        aside.unlink(missing_ok=True)
        make(aside, rows, sessions)
        aside.rename(path)
    return path


def make(path: Path, rows: int, sessions: int) -> None:
    """Write such a database at a path where there is none."""
    span = rows * _GAP_S
    common = {"span": span, "start": int(time.time()) - _DAY_S - span, "sessions": sessions, "rows": rows}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(TABLES)
        _fill_texts(connection)
        _insert(connection, _SESSIONS, sessions, {**common, "projects": PROJECTS})
        _insert(connection, _HANDOFFS, rows, {**common, "models": MODELS})
        connection.executescript(INDEXES)
        connection.execute("PRAGMA journal_mode = WAL")


def _fill_texts(connection: sqlite3.Connection) -> None:
    """Texts by number, in tables that end with the connection."""
    connection.execute("CREATE TEMP TABLE descriptions (n INTEGER PRIMARY KEY, text TEXT)")
    connection.executemany("INSERT INTO descriptions VALUES (?, ?)", enumerate(DESCRIPTIONS))
    connection.execute("CREATE TEMP TABLE routes (n INTEGER PRIMARY KEY, reason TEXT, phrase TEXT, task TEXT)")
    connection.executemany("INSERT INTO routes VALUES (?, ?, ?, ?)", _routes())


def _routes() -> Sequence[tuple[int, str, str, str]]:
    pairs = [(route.reason, route.phrase, task) for route in ROUTES for task in route.task_types]
    pairs.append((UNAVAILABLE, "DeepSeek unavailable - fallback to Claude", "general"))
    return [(number, *pair) for number, pair in enumerate(pairs)]


def _insert(connection: sqlite3.Connection, sql: str, rows: int, values: Mapping[str, int]) -> None:
    texts = {"descriptions": len(DESCRIPTIONS), "routes": len(_routes())}
    given = {name: value for name, value in {**values, **texts}.items() if f":{name}" in sql}
    for first in range(1, rows + 1, _CHUNK):
        last = min(first + _CHUNK - 1, rows)
        connection.execute(sql, {**given, "first": first, "last": last})
        if rows > _CHUNK:
            print(f"  {last:,} rows", flush=True)


def _check_room(path: Path, size_bytes: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < 1.5 * size_bytes:
        wanted = f"{1.5 * size_bytes / 1e9:.1f} GB for {path.name}, {free / 1e9:.1f} are free"
        raise OSError(f"{path.parent}: needs {wanted}; another folder: XDG_CACHE_HOME")


# ── the platform at work ─────────────────────────────────────────────────────────────────────────────────────

_NEW_SESSION = "INSERT INTO orchestration_sessions (session_id, project_name, start_time) VALUES (?, ?, ?)"
_NEW_HANDOFF = """
INSERT INTO handoff_events (session_id, timestamp, task_type, task_description, source_model, target_model,
                            handoff_reason, confidence_score, tokens_used, cost, savings, success, response_time,
                            metadata)
VALUES (?, ?, 'debugging', 'Fix bug in payment webhook handler', 'claude_orchestrator', ?,
        'Implementation task detected (1 indicators)', 0.875, 3128, 0.01, 0.003, 1, 4.2,
        '{"route_reason": "simple_coding_task", "deepseek_available": true, "decision_factors": {"confidence": 0.875}}')
"""


class Platform:
    """Who writes such a database, and has it open all the time."""

    def __init__(self, path: Path, *, journal_mode: str = "wal") -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute(f"PRAGMA journal_mode = {journal_mode}")
        if journal_mode == "wal":
            self._connection.execute("PRAGMA synchronous = NORMAL")
        self._sessions: list[str] = []
        self._written = 0

    def close(self) -> None:
        """Leave."""
        self._connection.close()

    def begin_everywhere(self) -> None:
        """Commit a session of every project, with a hand-off to every model: no later one makes a new series."""
        self._connection.execute("BEGIN IMMEDIATE")
        for project in range(PROJECTS):
            name = self.begin_session(project)
            rows = [(name, _now(), f"model-{model:02d}") for model in range(MODELS)]
            self._connection.executemany(_NEW_HANDOFF, rows)
        self._connection.execute("COMMIT")

    def begin_session(self, project: int = 0) -> str:
        """Commit a session; hand-offs go to the last eight."""
        name = f"claude_realtime_{time.time_ns()}"
        self._connection.execute(_NEW_SESSION, (name, f"project-{project:03d}", _now()))
        self._sessions = [*self._sessions[-7:], name]
        return name

    def commit(self, rows: int, *, session: bool = False) -> None:
        """Commit so many hand-offs, and before them a session, in one transaction.

        Raises:
            sqlite3.OperationalError: the database is locked; nothing is committed.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if session:
                self.begin_session()
            self._connection.executemany(_NEW_HANDOFF, [self._handoff() for _ in range(rows)])
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            self._connection.execute("ROLLBACK")
            raise

    def _handoff(self) -> tuple[str, str, str]:
        self._written += 1
        number = self._written * 2654435761 % 2**32
        session = self._sessions[(number >> 9) % len(self._sessions)]
        return session, _now(), f"model-{(number >> 13) % MODELS:02d}"

    def forget(self, rows: int, sessions: int) -> None:
        """Take back what was written above the first so many rows, as if it had never been."""
        for table, last in (("handoff_events", rows), ("orchestration_sessions", sessions)):
            self._connection.execute(f"DELETE FROM {table} WHERE id > ?", (last,))
            self._connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (last, table))
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())

"""What a large ledger takes of memory."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.databases import folder
from bench.figure import Figure
from bench.live import PROMETHEUS
from bench.processes import Running, exporter, in_fresh_process, memory_mb
from bench.scale import Scale
from exporter.catalogue import SCHEMA
from exporter.demo.schema import INDEXES, TABLES
from exporter.state import State

_PROJECTS, _MODELS = 20, 4

_ROWS = """
WITH RECURSIVE number(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < :rows)
INSERT INTO handoff_events (session_id, timestamp, target_model, success, cost, savings, tokens_used, response_time)
SELECT 'session-' || (n % :projects), datetime(:now - 60 - n / (:projects * :models) * 3600, 'unixepoch'),
       'model-' || (n / :projects % :models), 1, 0.01, 0.003, 100, 1.5
FROM number
"""


def measure(scale: Scale) -> Iterator[Figure]:
    """One hand-off for each project, model and hour: each is an entry of the ledger, and so is each day of it."""
    with TemporaryDirectory(dir=folder()) as name:
        path = Path(name) / "books.db"
        _write(path, scale.ledger_entries)
        with exporter(path, Path(name) / "state") as running:
            _scrape(running)
            memory = memory_mb(running.pid)
        entries = in_fresh_process(count, Path(name) / "state")
    yield Figure("books", f"resident memory with {entries:,} entries in the ledger", memory, 160.0, unit="MB")


def _write(path: Path, rows: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(TABLES)
        connection.execute("BEGIN")
        for project in range(_PROJECTS):
            connection.execute(
                "INSERT INTO orchestration_sessions (session_id, project_name) VALUES (?, ?)",
                (f"session-{project}", f"project-{project}"),
            )
        values = {"rows": rows, "now": int(time.time()), "projects": _PROJECTS, "models": _MODELS}
        connection.execute(_ROWS, values)
        connection.commit()
        connection.executescript(INDEXES)


def _scrape(running: Running) -> None:
    with running.client() as client:
        for encoding in ("gzip", "identity"):
            client.get("/metrics", PROMETHEUS, encoding)


def count(storage: Path) -> int:
    """The entries of the ledger that an exporter kept in that folder."""
    from exporter.checkpoint import StateDirectory

    directory = StateDirectory(storage)
    state = State(SCHEMA.tables)
    checkpoint = directory.checkpoint("default")
    state.load(checkpoint.load().records, {metric.name: metric for metric in SCHEMA.metrics})
    checkpoint.close()
    directory.release()
    return len(state.ledger)

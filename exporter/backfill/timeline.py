"""All rows of a source in the order of their event times, sorted on disk: the platform's tables have no index on time.

Rows are copied in short transactions, as the exporter reads them, into an SQLite file of our own that is clustered by
time. What is held in memory is one batch, and that file's page cache (16 MB).
"""

from __future__ import annotations

import marshal
import sqlite3
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.context import Context
from exporter.layout import Layout
from exporter.reader import ROWS
from exporter.source import Source, queries
from exporter.spec import Table
from exporter.state import Row
from exporter.values import parse_time, times

_DAY_S = 86400.0
_CREATE = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000; PRAGMA locking_mode = EXCLUSIVE;
CREATE TABLE happened (time REAL, place INT, again INT, id INT, row BLOB,
    PRIMARY KEY (time, place, again, id)) WITHOUT ROWID;
CREATE TABLE session (key, time REAL, id INT, row BLOB);
"""
_IN_ORDER = "SELECT time, place, again, row FROM happened ORDER BY time, place, again, id"
_OF_KEY = "SELECT time, row FROM session WHERE key = ? ORDER BY id DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class Happening:
    """A row at its event time; ``again`` where it is a session's that was there before, whose end is near enough."""

    time: float
    table: Table
    again: bool
    row: Row


class Timeline:
    """The rows with event times up to ``to``. Times ahead of ``now`` are ``now``, as the exporter takes them."""

    def __init__(self, path: Path, context: Context, *, to: float, now: float) -> None:
        self.path = path
        self.to = to
        self.now = now
        self._context = context
        self._tables = context.schema.tables
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(_CREATE)
        self.rows = 0
        self.beyond = 0
        """Rows that are left out, because their time is after ``to``."""

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    # ── filling ──────────────────────────────────────────────────────────────────────────────────────────────

    async def fill(
        self, source: Source, layout: Layout, wanted: Container[str], progress: Callable[[int], None]
    ) -> None:
        """Copy all rows of the tables ``wanted``; ``progress`` is told how many there are so far.

        Raises:
            SourceError: the source cannot be read.
            sqlite3.Error: the copy cannot be written.
        """
        for place, table in enumerate(self._tables):
            if table.name not in layout.present or table.name not in wanted:
                continue
            cursor: int | None = None
            last: float | None = None
            while True:
                sql = queries.above(table, layout.present[table.name], cursor=cursor)
                values = {"limit": ROWS} if cursor is None else {"limit": ROWS, "cursor": cursor}
                async with source.snapshot() as snapshot:
                    rows = await snapshot.fetch(sql, values, label=table.label)
                if not rows:
                    break
                cursor = int(rows[-1][0])  # type: ignore[call-overload]
                last = self._put(place, table, rows, last)
                progress(self.rows)
        self._database.execute("CREATE INDEX by_key ON session (key)")

    def _put(self, place: int, table: Table, rows: Sequence[Row], last: float | None) -> float | None:
        """Take up rows; of one without a usable time, that of the nearest lower id which has one. The last time."""
        found = times(self._context.column(table, rows, table.time), now=self.now, zone=self._context.rules.zone)
        first = next((time for time in found if time is not None), self.to)
        happened: list[tuple[float, int, int, object, bytes]] = []
        for row, usable in zip(rows, found, strict=True):
            last = usable if usable is not None else first if last is None else last
            if last <= self.to:
                happened.append((last, place, 0, row[0], _packed(row)))
            elif usable is None:
                happened.append((self.to, place, 0, row[0], _packed(row)))
        self.beyond += len(rows) - len(happened)
        self.rows += len(happened)
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO happened VALUES (?, ?, ?, ?, ?)", happened)
        if table.is_sessions:
            self._put_sessions(place, table, happened)
        self._database.execute("COMMIT")
        return last

    def _put_sessions(
        self, place: int, table: Table, happened: Sequence[tuple[float, int, int, object, bytes]]
    ) -> None:
        """Sessions are found by their ids, too, and come again when an end that lay too far ahead can be believed."""
        rows: list[Row] = [marshal.loads(found[4]) for found in happened]  # noqa: S302 - written above
        keys = self._context.column(table, rows, table.session)
        ends = self._context.column(table, rows, "end_time")
        self._database.executemany(
            "INSERT INTO session VALUES (?, ?, ?, ?)",
            [(key, time, id_, data) for key, (time, _, _, id_, data) in zip(keys, happened, strict=True) if key],
        )
        for end, (time, _, _, id_, data) in zip(ends, happened, strict=True):
            known = parse_time(end, now=self.now, zone=self._context.rules.zone)
            if known is not None and time < known - _DAY_S <= self.to:
                values = (known - _DAY_S, place, 1, id_, data)
                self._database.execute("INSERT INTO happened VALUES (?, ?, ?, ?, ?)", values)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

    def __iter__(self) -> Iterator[Happening]:
        """What happened, in order."""
        for time, place, again, data in self._database.execute(_IN_ORDER):
            yield Happening(time, self._tables[place], bool(again), marshal.loads(data))  # noqa: S302 - our own

    def session(self, key: object) -> tuple[float, Row] | None:
        """The row of the session with that id, and when it comes; None where there is none."""
        found = self._database.execute(_OF_KEY, (key,)).fetchone()
        return None if found is None else (found[0], marshal.loads(found[1]))  # noqa: S302 - our own


def _packed(row: Row) -> bytes:
    return marshal.dumps(row)  # type: ignore[arg-type]

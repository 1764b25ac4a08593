"""Rows out of a SQLite file, with a deadline on every query; `sqlite_file` says how the file is opened."""

import asyncio
import contextlib
import json
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, cast

import aiosqlite

from exporter.source import (
    NO_PARAMETERS,
    ColumnInfo,
    Look,
    Row,
    SourceDiscarded,
    SourceError,
    TableInfo,
    Timing,
)
from exporter.source.sqlite_file import DatabaseFile, Inspection, glance, inspect, journal_mode, turn

__all__ = ["Inspection", "SqliteSnapshot", "SqliteSource", "inspect", "journal_mode", "quote"]

_T = TypeVar("_T")
_CREATED = "SELECT name, type, sql FROM sqlite_master WHERE type IN ('table', 'view')"


def quote(identifier: str) -> str:
    """Return `identifier` as SQL writes any name, in double quotes."""
    return '"' + identifier.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class _Known:
    """What was found of a table, and its name and CREATE TABLE then; None where there was none."""

    info: TableInfo | None
    created: tuple[str, str] | None


class SqliteSource:
    """One SQLite file that a platform writes, on this machine (an `exporter.source.Source`)."""

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        name: str = "default",
        query_timeout_s: float = 10.0,
        busy_timeout_s: float = 2.0,
    ) -> None:
        self.name = name
        self.path = Path(path)
        self._query_timeout_s = query_timeout_s
        self._busy_timeout_s = busy_timeout_s
        self._known: Mapping[str, _Known] = {}
        """What the snapshots so far found of tables, by the name asked for; of those that were left whole."""

    def look(self) -> Look:
        """Return a token that is another one after every commit, without connecting.

        While a snapshot of the same file is open anywhere in this process the token is poorer, and equal to
        no full one: what is committed meanwhile shows when the snapshot was left. Raises: SourceError.
        """
        return glance(self.path)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator["SqliteSnapshot"]:
        """Connect, hold one moment for the body, and disconnect, cancelled or not.

        Snapshots of one file take turns: one begun inside another waits for ever. Raises: SourceError; on
        leaving, SourceDiscarded if what the body read may not be of one moment.
        """
        async with turn(self.path):
            file = DatabaseFile(self.path.resolve(), busy_timeout_s=self._busy_timeout_s)
            try:
                async with _connected(file) as connection:
                    snapshot = SqliteSnapshot(connection, file, self._known, query_timeout_s=self._query_timeout_s)
                    yield snapshot
                self._known = {**self._known, **snapshot.found}  # only what was of one moment
            finally:
                file.close()


class SqliteSnapshot:
    """One read transaction (an `exporter.source.Snapshot`), made by SqliteSource.snapshot()."""

    def __init__(
        self,
        connection: aiosqlite.Connection,
        file: DatabaseFile,
        known: Mapping[str, _Known],
        *,
        query_timeout_s: float,
    ) -> None:
        self.timings: list[Timing] = []
        self.found: dict[str, _Known] = {}
        """What is for later snapshots to know, as far as this one had to look for it."""
        self._known = known
        self._connection = connection
        self._file = file
        self._query_timeout_s = query_timeout_s
        self._tables: dict[str, TableInfo | None] = {}

    async def table(self, name: str) -> TableInfo | None:
        """Return the table or view called `name` in any case, None if there is none. Raises: SourceError."""
        if not self._tables and self._known:
            await self._recall()
        if name not in self._tables:
            self._tables[name] = await self._read_table(name)
        return self._tables[name]

    async def stable_max(self, table: str) -> int | None:
        """Return the id at or below which no row can still appear; None if the table never had a row.

        With AUTOINCREMENT it is the newest id ever given, which deleting rows does not lower; without, the
        highest present. (SQLite has one writer, so ids are committed in their order.) Raises: SourceError.
        """
        info = await self.table(table)
        if info is None:
            return None
        sql = f"SELECT max(rowid) AS id FROM {quote(info.name)}"  # noqa: S608 - quoted
        if info.autoincrement:
            # Together with the rows' own: the next id is above both, whatever was done to sqlite_sequence.
            sql += " UNION ALL SELECT CAST(seq AS INTEGER) FROM sqlite_sequence WHERE name = :name"
        rows = await self.fetch(f"SELECT max(id) FROM ({sql})", {"name": info.name})  # noqa: S608
        return cast("int | None", rows[0][0])

    async def fetch(self, sql: str, parameters: Mapping[str, object] = NO_PARAMETERS, *, label: str = "") -> list[Row]:
        """Return all rows of one SELECT with named parameters; it is cut off after `query_timeout_s`.

        Of text that is not UTF-8, the bytes that are none come as lone surrogates (`surrogateescape`). A label
        puts the query among `timings`. Raises: SourceError.
        """
        started = time.monotonic()
        failed = False
        self._file.deadline = started + self._query_timeout_s
        try:
            return await self._rows(sql, dict(parameters))
        except sqlite3.Error as exc:
            failed = True
            raise self._explained(exc, f"the query on {label}" if label else "a query") from exc
        finally:
            if label:
                self.timings.append(Timing(label, time.monotonic() - started, failed))

    async def _rows(self, sql: str, parameters: dict[str, object]) -> list[Row]:
        try:
            return cast("list[Row]", await self._connection.execute_fetchall(sql, parameters))
        except sqlite3.OperationalError as exc:
            if not str(exc).startswith("Could not decode to UTF-8"):
                raise
        self._connection.text_factory = _tolerant
        try:
            return cast("list[Row]", await self._connection.execute_fetchall(sql, parameters))
        finally:
            self._connection.text_factory = str

    def _explained(self, exc: sqlite3.Error, query: str) -> SourceError:
        if getattr(exc, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
            return SourceError(f"{self._file.path}: {query} exceeded {self._query_timeout_s:g} s")
        return self._file.explained(exc, doing=f"{query}: ")

    async def _recall(self) -> None:
        """Take over what is known of the tables that are as they were [asking for each is a third of a look]."""
        sql = f"{_CREATED} AND name COLLATE NOCASE IN (SELECT value FROM json_each(:names))"  # noqa: S608 - constant
        found = await self.fetch(sql, {"names": json.dumps(list(self._known))})
        created = {str(name).lower(): (str(name), str(create)) for name, _, create in found}
        for name, known in self._known.items():
            if created.get(name.lower()) == known.created:
                self._tables[name] = known.info

    async def _read_table(self, name: str) -> TableInfo | None:
        found = await self.fetch(f"{_CREATED} AND name = :name COLLATE NOCASE", {"name": name})
        if not found:
            self.found[name] = _Known(None, None)
            return None
        columns = await self.fetch(
            # hidden: 1 is a column only a virtual table knows; 2 and 3 are generated ones
            # a key that is no INTEGER PRIMARY KEY, or of a table WITHOUT ROWID, has an index of its own
            "SELECT name, type, pk, EXISTS (SELECT 1 FROM pragma_index_list(:name) WHERE origin = 'pk') "
            "FROM pragma_table_xinfo(:name) WHERE hidden <> 1 ORDER BY cid",
            {"name": name},
        )
        table, kind, sql = (str(value) for value in found[0])
        info = TableInfo(
            name=table,
            columns=tuple(ColumnInfo(str(column), str(declared)) for column, declared, _, _ in columns),
            autoincrement=_has_autoincrement(sql),
            primary_key=tuple(str(column) for column, _, key, _ in columns if key),
            kind=kind,
            integer_key=[indexed for _, _, key, indexed in columns if key] == [0],
        )
        if sql.startswith("CREATE TABLE"):  # what a view or a virtual table is, others decide
            self.found[name] = _Known(info, (table, sql))
        return info


@contextlib.asynccontextmanager
async def _connected(file: DatabaseFile) -> AsyncIterator[aiosqlite.Connection]:
    # Not opened in aiosqlite's own thread: if that fails, nothing waits for the thread to end.
    opened = await _to_the_end(asyncio.to_thread(file.connect))
    connection = aiosqlite.Connection(lambda: opened, iter_chunk_size=1)
    try:
        await _to_the_end(_start(connection))
        with _unmeddled(file):
            yield connection
    finally:
        file.deadline = 0.0  # where we were cancelled, a query may still run
        await _to_the_end(_stop(connection))


@contextlib.contextmanager
def _unmeddled(file: DatabaseFile) -> Iterator[None]:
    try:
        yield
    except SourceError as exc:
        if meddling := file.meddling():
            raise SourceDiscarded(meddling) from exc
        raise
    if meddling := file.meddling():
        raise SourceDiscarded(meddling)


async def _start(connection: aiosqlite.Connection) -> None:
    await connection


async def _stop(connection: aiosqlite.Connection) -> None:
    with contextlib.suppress(sqlite3.Error, ValueError):  # ValueError: it never started
        await connection.rollback()
    await connection.close()


async def _to_the_end(work: Coroutine[Any, Any, _T]) -> _T:
    """Await `work` to its end, cancelled or not, and only then be cancelled. Raises: what `work` raises."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is not None:
        task.exception()  # looked at, or asyncio reports that nobody did
        raise cancelled
    return task.result()


def _tolerant(text: bytes) -> str:
    return text.decode(errors="surrogateescape")


_QUOTED_OR_COMMENT = re.compile(
    r"""--[^\n]* | /\*.*?(?:\*/|$) | '(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\]""",
    re.VERBOSE | re.DOTALL,
)


def _has_autoincrement(create: str) -> bool:
    words = _QUOTED_OR_COMMENT.sub(" ", create)
    return re.search(r"(?<![\w$])AUTOINCREMENT(?![\w$])", words, re.IGNORECASE) is not None

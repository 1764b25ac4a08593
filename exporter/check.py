"""What `check` says of a source before anything is served from it.

It reads as the exporter reads: nothing is written, no state is loaded, no transaction is long.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from exporter.config import Settings, SourceSettings
from exporter.indexes import may_write, missing_indexes
from exporter.layout import none_of, unusable
from exporter.memory import COMPARED, NEWEST
from exporter.reader import NEWEST_ROWS, ROWS
from exporter.reference import tables_of
from exporter.rules import schema_of, zone_of
from exporter.source import Row, Snapshot, Source, SourceError, TableInfo, queries
from exporter.source.again import reading
from exporter.source.sqlite import Inspection, inspect, quote
from exporter.spec import Current, Gauge, Metric, Plus, Project, Schema, Table, columns_of, stored_in
from exporter.values import parse_time

_COUNTED_ROWS = 50_000
"""Rows counted in one transaction: ~5 ms, as long as the reader's take."""

# what the sessions table's columns are needed for beside labels and values of metrics
_SESSION_COLUMNS: Mapping[str, str] = {
    "end_time": "sessions end by idleness only",
    "completed_tasks": "no session that ends is partial",
    "failed_tasks": "all sessions that end are completed",
}


@dataclass(slots=True)
class _Report:
    """Lines, each with its weight; one error makes it a failure."""

    lines: list[str] = field(default_factory=list)
    errors: int = 0
    warnings: int = 0

    def add(self, weight: Literal["ok", "note", "warning", "error"], text: str) -> None:
        """A line more; whatever ``text`` is made of, it stays one."""
        self.lines.append(f"{weight:<7} {' '.join(text.split())}")
        self.errors += weight == "error"
        self.warnings += weight == "warning"


async def check(*, settings: Settings, of: SourceSettings, schema: Schema, source: Source) -> tuple[list[str], bool]:
    """Look at one source's file, connect, run every query on every table: what there is, a line for each problem.

    The second value is False if something keeps the exporter from reading all that is there. Raises: nothing of
    what a source can be like.
    """
    schema = schema_of(settings, schema, of.name)
    report = _Report()
    try:
        _check_file(report, inspect(of.database), of.database)
        await _check_tables(report, settings, schema, source)
    except SourceError as exc:
        report.add("error", str(exc))
    verdict = "failed" if report.errors else "passed"
    report.lines.append(f"check {verdict}: {_counted(report.errors, 'error')}, {_counted(report.warnings, 'warning')}")
    return report.lines, not report.errors


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' if number != 1 else ''}"


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────


def _check_file(report: _Report, file: Inspection, path: Path) -> None:
    use = "in use by another process" if file.connected else "in use by nobody now"
    report.add("ok", f"{path}: journal mode {file.journal_mode}, on {file.filesystem}, {use}")
    if file.our_uid != file.owner_uid and may_write(path):
        report.add(
            "warning",
            f"{path}: belongs to user {file.owner_uid}; user {file.our_uid}, as whom the exporter runs, may write "
            "it and never does: better is a user who may only read it",
        )
    for left in file.left_behind:
        report.add("warning", f"{left}: {_why_left(left)}")


def _why_left(path: str) -> str:
    if path.endswith("-journal"):
        return "a crash left an unfinished transaction, which the platform rolls back when it next opens the database"
    return (
        "left behind though nobody has the database open (its last user was killed, or stopped inside one of our "
        "reads): before a backup is copied over the database, let the platform open and close it"
    )


# ── the tables ───────────────────────────────────────────────────────────────────────────────────────────────


async def _check_tables(report: _Report, settings: Settings, schema: Schema, source: Source) -> None:
    found = await reading(source, lambda snapshot: _infos(snapshot, schema.declared))
    left_out = {table.name: reason for table in schema.declared if (reason := unusable(table, found[table.name]))}
    if len(left_out) == len(schema.declared):
        raise SourceError(f"{source.name}: {none_of(schema.declared, left_out)}")
    for table in schema.declared:
        info = found[table.name]
        if table.name in left_out or info is None:
            effect = _without_table(table, schema.metrics, left_out)
            weight: Literal["error", "warning"] = "error" if info or table.own else "warning"
            report.add(weight, f"{table.name}: left out: {left_out[table.name]}{effect}")
        else:
            await _check_table(report, settings, schema, source, table, info)
    await _check_mutable(report, settings, schema, source)
    missing = await reading(source, missing_indexes)
    for index in missing.wanted:
        report.add("note", f"{index.table}: {index.why}: {index.statement}")


async def _check_mutable(report: _Report, settings: Settings, schema: Schema, source: Source) -> None:
    """The tables whose rows are read as they are now. One that is left out harms no other."""
    tables = [table for table in (*schema.newest, *schema.of_sessions) if not table.own]
    found = await reading(source, lambda snapshot: _infos(snapshot, tables))
    for table in tables:
        info = found[table.name]
        needed = ("id", *([table.session] if table in schema.of_sessions and table.session else []))
        columns = {column.name.lower() for column in info.columns} if info else set()
        lacking = [name for name in needed if name not in columns]
        if info is not None and not lacking:
            await _check_table(report, settings, schema, source, table, info)
            continue
        reason = f"no column {', '.join(lacking)}, by which rows are read" if info else "no such table"
        effect = _without_table(table, schema.metrics, [table.name])
        report.add("error" if info else "warning", f"{table.name}: left out: {reason}{effect}")


async def _infos(snapshot: Snapshot, tables: Iterable[Table]) -> dict[str, TableInfo | None]:
    return {table.name: await snapshot.table(table.name) for table in tables}


async def _check_table(
    report: _Report, settings: Settings, schema: Schema, source: Source, table: Table, info: TableInfo
) -> None:
    mutable = table not in schema.tables
    columns = frozenset(column.name.lower() for column in info.columns)
    tried = _Tried(table, columns, by_session=table in schema.of_sessions)
    try:
        await reading(source, tried.run_mutable if mutable else tried.run)
        rows = await _count(source, table)
    except SourceError as exc:
        report.add("error", f"{table.name}: {exc}")
        return
    newest = _time(tried.newest, settings) if rows else "no row"
    took = ", ".join(f"{name} {1e3 * duration_s:.1f} ms" for name, duration_s in tried.took.items())
    report.add("ok", f"{table.name}: {_counted(rows, 'row')}, newest {newest}; queries: {took or 'none'}")
    for name, error in tried.failed.items():
        report.add("error", f"{table.name}: the query for {name} failed: {error}")
    for name in dict.fromkeys(stored_in(column) for column in table.columns):
        if name not in columns:
            effects = "; ".join(_without_column(table, name, schema))
            report.add("warning", f"{table.name}: no column {name}, read as NULL{f': {effects}' if effects else ''}")


@dataclass(slots=True)
class _Tried:
    """The reader's queries on one table, each with the time it took or why it failed."""

    table: Table
    columns: Collection[str]
    by_session: bool = False
    took: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    newest: object = None
    """The event time of the row with the highest id, as the database has it."""

    async def run(self, snapshot: Snapshot) -> None:
        """Run them all. Raises: SourceDiscarded."""
        self.took, self.failed = {}, {}
        table, columns = self.table, self.columns
        start = queries.above(table, columns, cursor=None)
        first = await self._try(snapshot, "the first rows", start, limit=ROWS)
        ids = json.dumps([row[0] for row in first[-COMPARED:]])
        await self._try(snapshot, "rows again", queries.by_ids(table, columns), ids=ids)
        await self._try(snapshot, "identities", queries.identities(table, columns), ids=ids)
        newest = await self._try(snapshot, "the newest id", queries.newest_id_but(table), skipped=0)
        await self._try(snapshot, "the oldest remembered id", queries.newest_id_but(table), skipped=NEWEST - 1)
        last = newest[0][0] if newest else 0
        cursor = last - 1 if isinstance(last, int) else 0
        above = queries.above(table, columns, cursor=cursor, upto=True)
        await self._try(snapshot, "a scan's rows", above, limit=ROWS, cursor=cursor, upto=last)
        above = queries.above(table, columns, cursor=cursor)
        rows = await self._try(snapshot, "new rows", above, limit=ROWS, cursor=cursor)
        self.newest = rows[0][self._place(table.time)] if rows and table.time else None
        if table.is_sessions:
            place = self._place(table.session or "session_id")
            keys = [row[place] for row in first[-COMPARED:] if isinstance(row[place], str)]
            sql = queries.by_sessions(table, columns)
            await self._try(snapshot, "rows by session", sql, keys=json.dumps(keys))

    async def run_mutable(self, snapshot: Snapshot) -> None:
        """Run those of a mutable table. Raises: SourceDiscarded."""
        self.took, self.failed = {}, {}
        sql = queries.newest(self.table, self.columns)
        rows = await self._try(snapshot, "the newest rows", sql, limit=NEWEST_ROWS)
        self.newest = rows[0][self._place(self.table.time)] if rows and self.table.time else None
        if self.by_session:
            place = self._place(self.table.session or "")
            keys = [row[place] for row in rows[:COMPARED] if isinstance(row[place], str)]
            sql = queries.by_sessions(self.table, self.columns)
            await self._try(snapshot, "rows by session", sql, keys=json.dumps(keys))

    async def _try(self, snapshot: Snapshot, name: str, sql: str, **parameters: object) -> list[Row]:
        began = time.perf_counter()
        try:
            rows = await snapshot.fetch(sql, parameters)
        except SourceError as exc:
            self.failed[name] = str(exc)
            return []
        self.took[name] = time.perf_counter() - began
        return rows

    def _place(self, name: str) -> int:
        return next(1 + place for place, column in enumerate(self.table.columns) if column.name == name)


async def _count(source: Source, table: Table) -> int:
    """How many rows there are, counted in short transactions."""
    total, cursor = 0, None
    while True:
        key = quote(table.cursor)
        where = "" if cursor is None else f" WHERE {key} > :cursor"
        some = f"SELECT {key} AS id FROM {quote(table.name)}{where} ORDER BY {key} LIMIT :limit"  # noqa: S608 - quoted
        sql = f"SELECT count(*), max(id) FROM ({some})"  # noqa: S608
        values = {"limit": _COUNTED_ROWS, **({} if cursor is None else {"cursor": cursor})}
        ((rows, cursor),) = await reading(source, _fetching(sql, values))
        total += rows  # type: ignore[operator]
        if rows != _COUNTED_ROWS:
            return total


def _fetching(sql: str, values: Mapping[str, object]) -> Callable[[Snapshot], Awaitable[list[Row]]]:
    return lambda snapshot: snapshot.fetch(sql, values)


def _time(value: object, settings: Settings) -> str:
    at = parse_time(value, now=time.time(), zone=zone_of(settings.naive_time_zone))
    return "without a usable time" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


# ── what is left out ─────────────────────────────────────────────────────────────────────────────────────────


def _without_table(table: Table, metrics: Iterable[Metric], left_out: Collection[str]) -> str:
    """What the metrics lose with a table."""
    made = {metric.name: {*tables_of(metric), *_tables_read(metric)} for metric in metrics}
    hit = {name: tables for name, tables in made.items() if table.name in tables}
    gone = [name for name, tables in hit.items() if tables <= set(left_out)]
    less = [name for name in hit if name not in gone]
    effects = [f"left out with it: {', '.join(gone)}"] * bool(gone) + [f"less in: {', '.join(less)}"] * bool(less)
    if table.is_sessions:
        effects.append("every project is unknown")
    return "".join(f"; {effect}" for effect in effects)


def _without_column(table: Table, stored: str, schema: Schema) -> Iterator[str]:
    """What reading a column as NULL does to the metrics."""
    names = {column.name for column in table.columns if stored_in(column) == stored}
    uses = [(metric, feed) for metric in schema.metrics for feed in metric.feeds if feed.table.name == table.name]
    empty = [metric for metric, feed in uses if set(feed.value_columns()[:1]) & names]
    plus = [metric for metric, feed in uses if isinstance(feed.value, Plus) and feed.value.plus in names]
    unknown = [metric for metric, feed in uses if set(feed.key_columns()) & names]
    for metric, current in _currents(schema, table):
        empty += [metric] if set(current.value) <= names else []
        plus += [metric] if set(current.value) & names and not set(current.value) <= names else []
        unknown += [metric] if {name for value in current.labels.values() for name in columns_of(value)} & names else []
    unknown += [metric for metric in schema.metrics if set(_gauge_columns(metric, table)) & names]
    if table.is_sessions and stored == "project_name":
        unknown += [metric for metric in schema.metrics if _has_project(metric)]
    for text, metrics in (("no values in", empty), ("adds nothing to", plus), ("unknown in", unknown)):
        if metrics:
            yield f"{text} {', '.join(dict.fromkeys(metric.name for metric in metrics))}"
    if table.final_when in names:
        yield "rows count as unknown, and only at in_flight_timeout"
    if table.is_sessions and stored in _SESSION_COLUMNS:
        yield _SESSION_COLUMNS[stored]


def _currents(schema: Schema, table: Table) -> Iterator[tuple[Metric, Current]]:
    """The gauges that read the rows of a mutable table, and how."""
    for metric in schema.metrics:
        for current in metric.of if isinstance(metric, Gauge) else ():
            if current.table.name == table.name:
                yield metric, current


def _tables_read(metric: Metric) -> Iterator[str]:
    """The mutable tables that a gauge reads."""
    for current in metric.of if isinstance(metric, Gauge) else ():
        yield current.table.name


def _gauge_columns(metric: Metric, table: Table) -> Iterator[str]:
    if isinstance(metric, Gauge) and metric.table is not None and metric.table.name == table.name:
        for value in metric.values.values():
            yield from columns_of(value)


def _has_project(metric: Metric) -> bool:
    values = [value for feed in metric.feeds for value in feed.labels.values()]
    values += metric.values.values() if isinstance(metric, Gauge) else []
    return Project() in values

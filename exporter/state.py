"""Everything that is known of one source, and how it is written down.

The state is what a checkpoint holds: totals, cursors, rows in flight, open sessions, remembered rows, admitted label
values. One task changes it (through ``advance`` and ``scan``), and what it changed is noted, so that a save writes
only that. Nothing here reads a database, a file or a clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from sys import intern
from typing import Any, TypeVar

from exporter.ledger import Ledger
from exporter.ledgerpage import PutAside, kept
from exporter.memory import Digests, Memory, dump_rows, load_rows
from exporter.series import Buckets, Cell, Labels, Series, dump_series
from exporter.sessions import Sessions
from exporter.spec import OTHER, UNKNOWN, Counter, Histogram, Metric, Table

Row = tuple[object, ...]
Item = TypeVar("Item")
FORMAT = 3
"""The version of the written form; another one is not read, but rebuilt from the tables."""

_PART = 5_000
"""So many series, sessions, or entries of the ledger are one record of a snapshot."""


class StateError(Exception):
    """A written state that cannot be taken up: says which part and why."""


@dataclass(slots=True)
class Flight:
    """A row that was read but is not counted yet: it has no result, or waits for its session's row."""

    row: Row
    time: float
    first_read: float
    project: str | None
    waiting: bool


@dataclass(slots=True)
class Rewind:
    """Where the past was found changed: rows between ``known`` and ``next`` are judged by ``newest_time``."""

    known: int | None
    next: int | None
    newest_time: float


@dataclass(slots=True)
class TableState:
    """What was read of one table: up to ``cursor``; ``top`` and ``newest_time`` are the highest ever read."""

    memory: Memory
    cursor: int | None = None
    top: int | None = None
    newest_time: float | None = None
    rewind: Rewind | None = None
    flights: dict[int, Flight] = field(default_factory=dict)


class State:
    """All of one source. What changes is noted in the ``changed_*`` sets until ``delta`` writes it down.

    ``put_aside`` takes what of the ledger need not be in memory.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        *,
        newest: int | None = None,
        every: int | None = None,
        put_aside: PutAside = kept,
    ) -> None:
        given = {"newest": newest, "every": every}
        sizes = {name: size for name, size in given.items() if size is not None}
        self.tables = {table.name: TableState(Memory(len(table.identity), **sizes)) for table in tables}
        self.forgotten: set[str] = set()
        """The user's own tables that were known by other columns when the state was written: read from the start."""
        self._shapes = {table.name: _shape(table) for table in tables}
        self._own = {table.name for table in tables if table.own}
        self._columns: dict[str, list[str]] = {}
        """Of each table the columns that rows in flight were written with."""
        self.sessions = Sessions()
        self.series: dict[str, dict[Labels, Series]] = {}
        self.admitted: dict[str, dict[str, None]] = {}
        self.fingerprints: dict[str, str] = {}
        """Of each metric that was scanned: its series are complete up to the cursors."""
        self.published: set[str] = set()
        """Metrics that have been shown: a series of theirs that is new from now on is held at 0 first."""
        self.held: set[Series] = set()
        """Series that are shown as 0 until somebody has seen that 0."""
        self.ledger = Ledger(put_aside=put_aside)
        self.vendors: dict[str, tuple[float, str]] = {}
        """Of each model the time of the newest row that names its vendor, and the vendor."""
        self.current: dict[str, Sequence[Row]] = {}
        """The rows of mutable tables as they were last read, by table; not written down."""
        self.of_sessions: dict[str, dict[object, list[Row]]] = {}
        """The rows of mutable tables of open sessions, by table and session id; not written down."""
        self.counting_since: float | None = None
        self.first_publish: float | None = None
        self.at: float | None = None
        """The Unix time up to which it is complete; written with what changed, and no change by itself."""
        self.changed_series: set[Series] = set()
        self.changed_flights: set[tuple[str, int]] = set()
        self.changed_sessions: set[int] = set()
        self.removed_series: set[tuple[str, Labels]] = set()
        self.changed_current = False
        self.whole = True
        """Nothing is written down yet: the first record is a snapshot, and what it will hold need not be noted."""
        self._memories: list[tuple[str, list[int], list[Digests], bool]] = []
        self._written: dict[str, Any] = {}

    # ── series ───────────────────────────────────────────────────────────────────────────────────────────────

    def cell(self, metric: Metric, labels: Labels) -> Series:
        """The metric's series of those labels, made if it is new: held at 0 where its metric was shown before."""
        series = self.series.setdefault(metric.name, {})
        found = series.get(labels)
        if found is None:
            found = series[labels] = self._new(metric, labels, released=metric.name not in self.published)
            self.changed_series.add(found)
            if not found.released:
                self.held.add(found)
        return found

    @staticmethod
    def _new(metric: Metric, labels: Labels, *, released: bool) -> Series:
        if not isinstance(metric, Histogram):
            return Cell(metric.name, labels, released)
        size = len(metric.buckets) + 1
        return Buckets(metric.name, labels, released, [0] * size, 0.0, [None] * size if metric.exemplars else [])

    def add(self, metric: Counter, labels: Labels, amount: float = 1.0) -> None:
        """Add to one of the exporter's own counters, which are born at 0 and never held."""
        found = self.cell(metric, labels)
        assert isinstance(found, Cell)  # noqa: S101 - narrows the type
        self.release([found])
        found.value += amount
        self.changed_series.add(found)

    def drop(self, metric: str) -> None:
        """Forget a metric and its series."""
        for labels in self.series.pop(metric, {}):
            self.removed_series.add((metric, labels))
        self.changed_series = {found for found in self.changed_series if found.metric != metric}
        self.held = {found for found in self.held if found.metric != metric}
        self.fingerprints.pop(metric, None)
        self.published.discard(metric)

    def remove(self, series: Series) -> None:
        """Forget a series."""
        del self.series[series.metric][series.labels]
        self.removed_series.add((series.metric, series.labels))
        self.changed_series.discard(series)
        self.held.discard(series)

    def release(self, series: Iterable[Series]) -> None:
        """Show these series' values from now on."""
        for found in series:
            if found in self.held:
                self.held.discard(found)
                found.released = True
                self.changed_series.add(found)

    def publish(self, at: float) -> None:
        """Its metrics are shown from Unix time ``at`` on; where counting began anew, it counts since then."""
        if self.counting_since is None:
            self.counting_since = at
        if self.first_publish is None:
            self.first_publish = at
        self.published.update(self.fingerprints)

    def admit(self, pool: str, value: str, most: int) -> str:
        """``value`` where the vocabulary has it or room for it, else ``__other__``."""
        values = self.admitted.setdefault(pool, {})
        if value in values or value in (UNKNOWN, OTHER):
            return value
        if len(values) >= most:
            return OTHER
        values[value] = None
        return value

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────

    def remember(self, table: str, ids: list[int], digests: list[Digests], *, sparse: bool = False) -> None:
        """Remember rows as read."""
        if ids:
            self.tables[table].memory.add(ids, digests, sparse=sparse)
            if not self.whole:
                self._memories.append((table, ids, digests, sparse))

    def set_flight(self, table: str, id_: int, flight: Flight) -> None:
        self.tables[table].flights[id_] = flight
        self.changed_flights.add((table, id_))

    def end_flight(self, table: str, id_: int) -> Flight:
        self.changed_flights.add((table, id_))
        return self.tables[table].flights.pop(id_)

    # ── written form ─────────────────────────────────────────────────────────────────────────────────────────

    def snapshot(self) -> Iterator[bytes]:
        """All of it, as records of about a megabyte at most: as one it would be there three times while it is written.

        They are made as they are asked for: the state must not change until the last one. What changed counts as
        written down at once.
        """
        self._clear()
        return map(_encode, self._parts())

    def _parts(self) -> Iterator[dict[str, Any]]:
        flights = (
            [name, id_, _dump_flight(flight)]
            for name, table in self.tables.items()
            for id_, flight in table.flights.items()
        )
        yield {
            "format": FORMAT,
            "at": self.at,
            "meta": self._meta(),
            "memory": {name: table.memory.dump() for name, table in self.tables.items()},
        }
        series = (found for of_metric in self.series.values() for found in of_metric.values())
        yield from ({"series": [dump_series(found) for found in some]} for some in _in_parts(series))
        yield from ({"flights": some} for some in _in_parts(flights))
        for slots in _in_parts(self.sessions.slots()):
            yield {"sessions": {str(self.sessions.id[slot]): self.sessions.dump(slot) for slot in slots}}
        yield from ({"ledger": some} for some in self.ledger.dump(_PART))

    def delta(self) -> bytes | None:
        """What changed since the last ``delta`` or ``snapshot``; None where nothing did.

        The caller keeps what it was given until it is saved: the notes of what changed are gone.
        """
        meta = {key: value for key, value in self._meta().items() if value != self._written.get(key)}
        record = {
            "meta": meta,
            "read": [[name, *dump_rows(ids, rows), sparse] for name, ids, rows, sparse in self._memories],
            "series": [dump_series(found) for found in self.changed_series],
            "removed": [[metric, list(labels)] for metric, labels in self.removed_series],
            "flights": [[name, id_, self._dump_flight(name, id_)] for name, id_ in self.changed_flights],
            "sessions": {str(id_): self._dump_session(id_) for id_ in self.changed_sessions},
            "booked": self.ledger.delta(),
        }
        self._clear()
        return _encode({"at": self.at, **record}) if any(record.values()) else None

    def forget_changes(self) -> None:
        """Note anew what changes from now on."""
        for changed in (self.changed_series, self.changed_flights, self.changed_sessions, self.removed_series):
            changed.clear()
        self.ledger.changed.clear()
        self.changed_current = False

    def _clear(self) -> None:
        self.whole = False
        self.forget_changes()
        self._memories = []
        self._written = self._meta()

    def _meta(self) -> dict[str, Any]:
        return {
            "tables": {name: _dump_table(table) for name, table in self.tables.items()},
            "admitted": {pool: list(values) for pool, values in self.admitted.items()},
            "fingerprints": dict(self.fingerprints),
            "published": sorted(self.published),
            "counting_since": self.counting_since,
            "first_publish": self.first_publish,
            "vendors": {model: list(found) for model, found in self.vendors.items()},
            "zone": self.ledger.zone,
            "shapes": self._shapes,
        }

    def _dump_flight(self, table: str, id_: int) -> object:
        flight = self.tables[table].flights.get(id_)
        return None if flight is None else _dump_flight(flight)

    def _dump_session(self, id_: int) -> object:
        slot = self.sessions.slot_of_row(id_)
        return None if slot < 0 else self.sessions.dump(slot)

    def load(self, records: Iterable[bytes], metrics: Mapping[str, Metric]) -> None:
        """Take up a snapshot and the deltas after it. Series of metrics that are no more are left out.

        Raises:
            StateError: a record is of another format or does not hold together.
        """
        for number, record in enumerate(records):
            try:
                content = json.loads(record)
                if number == 0 and content.get("format") != FORMAT:
                    raise StateError(f"state format {content.get('format')!r}: only {FORMAT} can be read")
                self._apply(content, metrics)
            except (ValueError, KeyError, TypeError, IndexError, AttributeError) as exc:
                raise StateError(f"record {number} of the state cannot be read: {exc!r}") from exc
        self.held = {found for series in self.series.values() for found in series.values() if not found.released}
        self._clear()
        if self._columns != {name: columns for name, (_, columns) in self._shapes.items()}:
            self._written.pop("shapes")  # the next delta says by which columns its rows are written

    def _apply(self, content: Mapping[str, Any], metrics: Mapping[str, Metric]) -> None:
        self._apply_shapes(content.get("meta", {}).get("shapes", {}))
        for name, written in content.get("memory", {}).items():
            if self._takes(name):
                self.tables[name].memory.load(written)
        for name, ids, rows, sparse in content.get("read", ()):
            if self._takes(name):
                memory = self.tables[name].memory
                memory.add(*load_rows(ids, rows, memory.width), sparse=sparse)
        self._apply_meta(content.get("meta", {}))
        self.at = content.get("at", self.at)
        for metric, labels in content.get("removed", ()):
            self.series.get(metric, {}).pop(tuple(labels), None)
        for metric, labels, released, value in content.get("series", ()):
            if metric in metrics and len(labels) == len(metrics[metric].labels):
                # thousands of series have the same few texts: each is to be there once
                found = self.cell(metrics[metric], tuple(map(intern, labels)))
                found.released = released
                found.load(value)
        for name, id_, written in content.get("flights", ()):
            self._apply_flight(name, id_, written)
        for id_text, written in content.get("sessions", {}).items():
            if written is not None:
                self.sessions.load(written)
            elif (slot := self.sessions.slot_of_row(int(id_text))) >= 0:
                self.sessions.remove(slot)
        if "ledger" in content:
            self.ledger.load(content["ledger"])
        self.ledger.apply(content.get("booked", ()))

    def _takes(self, table: str) -> bool:
        """Whether what was written of the table is taken up."""
        return table in self.tables and table not in self.forgotten

    def _apply_shapes(self, written: Mapping[str, Any]) -> None:
        """Go by the columns that what follows was written with."""
        for name, (known_by, columns) in written.items():
            self.forgotten.discard(name)
            if name in self._shapes and known_by != self._shapes[name][0]:
                if name not in self._own:
                    raise StateError(f"the rows of {name} are known by other columns: {known_by}")
                self.forgotten.add(name)
            if name in self._shapes:
                self._columns[name] = columns

    def _fitted(self, table: str, row: Sequence[object]) -> Row:
        """A row in flight with the columns that the table has now; None in those it was not read with."""
        wanted = self._shapes[table][1]
        columns = self._columns.get(table, wanted)
        if columns == wanted:
            return tuple(row)
        found = dict(zip(columns, row[1:], strict=True))
        return (row[0], *(found.get(name) for name in wanted))

    def _apply_flight(self, table: str, id_: int, written: Any) -> None:
        if not self._takes(table):
            return
        flights = self.tables[table].flights
        if written is None:
            flights.pop(id_, None)
            return
        row, *rest = written
        flights[id_] = Flight(self._fitted(table, [_unjson(value) for value in row]), *rest)

    def _apply_meta(self, meta: Mapping[str, Any]) -> None:
        for name, (cursor, top, newest_time, rewind) in meta.get("tables", {}).items():
            if self._takes(name):
                table = self.tables[name]
                table.cursor, table.top, table.newest_time = cursor, top, newest_time
                table.rewind = None if rewind is None else Rewind(*rewind)
                if table.rewind is None:
                    table.memory.thin()
        for pool, values in meta.get("admitted", {}).items():
            self.admitted[pool] = dict.fromkeys(values)
        self.fingerprints = meta.get("fingerprints", self.fingerprints)
        self.published = set(meta.get("published", self.published))
        self.counting_since = meta.get("counting_since", self.counting_since)
        self.first_publish = meta.get("first_publish", self.first_publish)
        self.vendors |= {model: (time, vendor) for model, (time, vendor) in meta.get("vendors", {}).items()}
        self.ledger.zone = meta.get("zone", self.ledger.zone)


def _in_parts(items: Iterable[Item]) -> Iterator[list[Item]]:
    """As many at a time as make a record of a snapshot."""
    rest = iter(items)
    while some := list(islice(rest, _PART)):
        yield some


def _encode(record: Mapping[str, object]) -> bytes:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _shape(table: Table) -> list[list[Any]]:
    """What rows of the table are known, timed and final by, and the columns they are read with."""
    known_by = [table.cursor, table.time, table.final_when, *table.identity]
    return [known_by, [column.name for column in table.columns]]


def _dump_flight(flight: Flight) -> list[object]:
    row = [_json(value) for value in flight.row]
    return [row, flight.time, flight.first_read, flight.project, flight.waiting]


def _dump_table(table: TableState) -> list[object]:
    rewind = table.rewind and [table.rewind.known, table.rewind.next, table.rewind.newest_time]
    return [table.cursor, table.top, table.newest_time, rewind]


def _json(value: object) -> object:
    return {"b": value.hex()} if isinstance(value, bytes) else value


def _unjson(value: Any) -> object:
    return bytes.fromhex(value["b"]) if isinstance(value, dict) else value

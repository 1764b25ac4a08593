"""The past, played to the exporter's own engine: at each tick, what is known of all rows up to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import floor

from exporter.advance import Batch, Engine, TableRead
from exporter.backfill.timeline import Happening, Timeline
from exporter.spec import Table
from exporter.state import Row


def ticks(start: float, to: float, step: float) -> Iterator[float]:
    """``start``, and every step after it, and ``to`` exactly."""
    number = 0
    while (at := start + number * step) < to:
        yield at
        number += 1
    yield to


class Replay:
    """Brings an engine's state from tick to tick; ``advance`` is to be called with rising times."""

    def __init__(self, engine: Engine, timeline: Timeline) -> None:
        self.engine = engine
        self.timeline = timeline
        self.rows = 0
        self._sessions = engine.schema.sessions
        self._coming = iter(timeline)
        self._next: Happening | None = next(self._coming, None)
        self._early: set[object] = set()
        """Sessions of which an event came before their own start: they are taken up with it."""

    @property
    def first(self) -> float | None:
        """When the next thing happens; None where nothing does."""
        return None if self._next is None else self._next.time

    def until(self, start: float, step: float) -> None:
        """Apply what happened before ``start``, in steps that end there."""
        while self._next is not None and self._next.time <= start - step:
            at = start - step * floor((start - self._next.time) / step)  # the first tick at or after it
            self.engine.end(at - step)
            self.advance(at)

    def advance(self, at: float) -> bool:
        """Apply what happened up to Unix time ``at``, and end what is due; whether rows came."""
        found: dict[str, tuple[list[Row], list[Row]]] = {}
        came = False
        while self._next is not None and self._next.time <= at:
            rows, again = found.setdefault(self._next.table.name, ([], []))
            self._add(self._next, rows, again)
            self._next, came = next(self._coming, None), True
        if came:
            self._apply(found, at)
        self.engine.end(at)
        return came

    def _add(self, happening: Happening, rows: list[Row], again: list[Row]) -> None:
        if happening.again:
            again.append(happening.row)
        elif not (happening.table.is_sessions and happening.row[0] in self._early):
            rows.append(happening.row)
            self.rows += 1

    def _apply(self, found: dict[str, tuple[list[Row], list[Row]]], at: float) -> None:
        reads = [
            TableRead(table, sorted(rows, key=_id), sorted(again, key=_id))
            for table in self.engine.schema.tables
            for rows, again in [found.get(table.name, ([], []))]
            if rows or again
        ]
        first = [read for read in reads if read.table.is_sessions]
        if first:
            self.engine.replay(Batch(at, first))
        events = [read for read in reads if not read.table.is_sessions]
        if events:
            self.engine.replay(Batch(at, events, self._over(events, at)))

    def _over(self, reads: list[TableRead], at: float) -> dict[object, Row] | None:
        """The rows of sessions that are over and named by events; one that has yet to start is taken up first."""
        if self._sessions is None:
            return None
        keys = dict.fromkeys(key for read in reads for key in self._keys(read.table, read.rows))
        slots = self.engine.book.sessions.find(list(keys))
        over: dict[object, Row] = {}
        for key, slot in zip(keys, slots, strict=True):
            known = self.timeline.session(key) if slot < 0 and key else None
            if known is None:
                continue
            time, row = known
            if time <= at or row[0] in self._early:
                over[key] = row
            else:
                self._early.add(row[0])
                # as of its own start, not clipped to now: what it lasts is then what the live exporter says it did
                self.engine.replay(Batch(time, [TableRead(self._sessions, [row])]))
        return over

    def _keys(self, table: Table, rows: Sequence[Row]) -> list[object]:
        return self.engine.context.column(table, rows, table.session)


def _id(row: Row) -> int:
    return row[0]  # type: ignore[return-value]

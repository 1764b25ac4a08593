"""Which rows are new, which are to be read again, and whether the past is still what it was.

Reads a source in short transactions and hands batches to the engine; decides nothing about what counts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.advance import Batch, Engine, TableRead
from exporter.context import Rules
from exporter.layout import Layout, none_of, unusable
from exporter.memory import NEWEST, Digests, Verdict, digest
from exporter.scan import Scan, uncollected
from exporter.source import Snapshot, Source, SourceError, queries
from exporter.spec import Metric, Schema, Table, stored_in
from exporter.state import Row, State

ROWS = 2_500
"""Rows of one transaction. A long one holds up a writer in rollback-journal mode, and lets a WAL grow (5,000 rows were
no trouble); twice as many cost 2 MB more of memory and make a scan a twentieth quicker."""
NEWEST_ROWS = 1_000
"""Rows of a mutable table that are looked at, the newest."""
YOUNG_S = 600.0
PATIENT_S = 60.0
"""Rows in flight, and sessions without activity, for more than ten minutes are read again once a minute."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A past that looks changed: per table what it seems to be, and the remembered rows as they are now."""

    verdicts: Mapping[str, Verdict]
    present: Mapping[str, Mapping[int, Digests]]

    def agrees(self, other: Suspicion) -> bool:
        """True when another reading says the same."""
        mine = {name: (verdict.kind, verdict.known) for name, verdict in self.verdicts.items()}
        return mine == {name: (verdict.kind, verdict.known) for name, verdict in other.verdicts.items()}


@dataclass(frozen=True, slots=True)
class Look:
    """One transaction's worth: a batch to apply, or a suspicion to confirm; ``more`` when rows were left unread."""

    layout: Layout
    batch: Batch | None = None
    suspicion: Suspicion | None = None
    more: bool = False
    lag: int = 0


@dataclass(slots=True)
class Reader:
    """Reads one source for its engine."""

    source: Source
    engine: Engine
    schema: Schema
    rules: Rules
    clock: Callable[[], float]
    monotonic: Callable[[], float] = time.monotonic
    last_patient: float = float("-inf")
    asked_all: bool = False
    """Whether the last look read again all that is in flight or open."""
    progress: Callable[[str], None] = field(default=lambda line: None)
    timings: list[tuple[str, float, bool]] = field(default_factory=list)

    @property
    def state(self) -> State:
        """The state that is read for."""
        return self.engine.state

    # ── what there is ────────────────────────────────────────────────────────────────────────────────────────

    async def layout(self, snapshot: Snapshot) -> Layout:
        """What of the declared tables the source has now.

        Raises:
            SourceError: there is none of them, or one that was read before has vanished.
        """
        present: dict[str, frozenset[str]] = {}
        left_out: dict[str, str] = {}
        missing: dict[str, tuple[str, ...]] = {}
        tables = self.schema.declared
        for table in tables:
            info = await snapshot.table(table.name)
            reason = unusable(table, info)
            if reason or info is None:
                left_out[table.name] = reason
                continue
            columns = present[table.name] = frozenset(column.name.lower() for column in info.columns)
            missing[table.name] = tuple(
                dict.fromkeys(stored_in(c) for c in table.columns if stored_in(c) not in columns)
            )
        if not present:
            raise SourceError(f"{self.source.name}: {none_of(tables, left_out)}")
        for name, reason in left_out.items():
            if name in self.state.tables and self.state.tables[name].cursor is not None:
                raise SourceError(f"{self.source.name}: table {name} was read before and cannot be now: {reason}")
        own = {table.name: left_out[table.name] for table in tables if table.own and table.name in left_out}
        return Layout(present, left_out, missing, own)

    async def seen(self) -> Layout:
        """What the source has now. Raises: SourceError, as ``layout`` does."""
        async with self.source.snapshot() as snapshot:
            return await self.layout(snapshot)

    # ── a poll ───────────────────────────────────────────────────────────────────────────────────────────────

    async def look(self, *, again: bool = True) -> Look:
        """Read what is new in one short transaction; ``again`` also what is in flight, and whether the past holds.

        Raises:
            SourceError: the source cannot be read now; nothing was read.
        """
        at, now = self.clock(), self.monotonic()
        patient = again and now - self.last_patient >= PATIENT_S
        async with self.source.snapshot() as snapshot:
            try:
                look = await self._look(snapshot, again, patient, at)
            finally:
                self.timings += [(t.label, t.duration_s, t.failed) for t in snapshot.timings]
        if again and look.batch is not None:
            self.asked_all = patient
            self.last_patient = now if patient else self.last_patient
        return look

    async def _look(self, snapshot: Snapshot, again: bool, patient: bool, at: float) -> Look:
        layout = await self.layout(snapshot)
        tables = [table for table in self.schema.tables if table.name in layout.present]
        newest = {table.name: await snapshot.stable_max(table.name) for table in tables}
        suspicion = await self._suspicion(snapshot, tables, layout, newest)
        if suspicion is not None:
            return Look(layout, suspicion=suspicion)
        rereads = await self._again(snapshot, tables, layout, patient, at) if again else {}
        room, lag = ROWS, 0
        reads: list[TableRead] = []
        for table in tables:
            rows = await self._above(snapshot, table, layout, room)
            room -= len(rows)
            asked, found = rereads.get(table.name, ((), ()))
            reads.append(TableRead(table, rows, found, asked))
            last = rows[-1][0] if rows else self.state.tables[table.name].cursor
            lag += max(0, (newest[table.name] or 0) - (last or 0))  # type: ignore[operator]
            if room <= 0:
                break
        over = await self._over(snapshot, reads, layout)
        current = await self._newest(snapshot) if again else {}
        of_sessions = await self._of_sessions(snapshot, reads)
        return Look(layout, Batch(at, reads, over, current, of_sessions), more=room <= 0, lag=lag)

    async def _newest(self, snapshot: Snapshot) -> dict[str, list[Row]]:
        """The newest rows of the mutable tables; of one that is not there, none."""
        found: dict[str, list[Row]] = {}
        for table in self.schema.newest:
            present = await self._present(snapshot, table)
            sql = queries.newest(table, present)
            rows = await snapshot.fetch(sql, {"limit": NEWEST_ROWS}, label=table.label) if present else []
            found[table.name] = rows
        return found

    async def _of_sessions(self, snapshot: Snapshot, reads: Sequence[TableRead]) -> dict[str, dict[object, list[Row]]]:
        """The rows, in mutable tables, of the open sessions that were read now, by session id."""
        keys = self._sessions_read(reads)
        found: dict[str, dict[object, list[Row]]] = {}
        for table in self.schema.of_sessions if keys else ():
            rows = found[table.name] = {key: [] for key in keys}
            present = await self._present(snapshot, table)
            if (table.session or "") in present:
                sql = queries.by_sessions(table, present)
                place = 1 + [column.name for column in table.columns].index(table.session or "")
                for row in await snapshot.fetch(sql, {"keys": json.dumps(keys)}, label=table.label):
                    rows.setdefault(row[place], []).append(row)
        return found

    def _sessions_read(self, reads: Sequence[TableRead]) -> list[str]:
        """The ids of the sessions whose rows were read, new ones and open ones."""
        rows = [row for read in reads if read.table.is_sessions for row in (*read.rows, *read.again)]
        sessions = self.schema.sessions
        if sessions is None or not rows:
            return []
        place = self.engine.context.place(sessions, sessions.session)
        return list(dict.fromkeys(key for row in rows if isinstance(key := row[place], str) and key))

    async def _present(self, snapshot: Snapshot, table: Table) -> frozenset[str]:
        """The columns that a mutable table has; none where it is not there, or has no id, or is left out."""
        info = await snapshot.table(table.name)
        columns = frozenset(column.name.lower() for column in info.columns) if info else frozenset()
        return columns if table.cursor in columns and not (table.own and unusable(table, info)) else frozenset()

    async def _above(self, snapshot: Snapshot, table: Table, layout: Layout, limit: int) -> list[Row]:
        cursor = self.state.tables[table.name].cursor
        sql = queries.above(table, layout.present[table.name], cursor=cursor)
        values = {"limit": limit} if cursor is None else {"limit": limit, "cursor": cursor}
        return await snapshot.fetch(sql, values, label=table.label)

    async def _over(
        self, snapshot: Snapshot, reads: Sequence[TableRead], layout: Layout
    ) -> Mapping[object, Row] | None:
        """The rows of sessions that new or waiting events name and that are not open; None without their table."""
        sessions = self.schema.sessions
        if sessions is None or sessions.name not in layout.present:
            return None
        place = self.engine.context.place
        keys: set[object] = set()
        for read in reads:
            if read.table.is_sessions or read.table.session is None:
                continue
            at = place(read.table, read.table.session)
            flights = self.state.tables[read.table.name].flights
            keys.update(row[at] for row in read.rows)
            keys.update(row[at] for row in read.again if (flight := flights.get(row[0])) and flight.waiting)  # type: ignore[call-overload]
        wanted = [key for key in keys if isinstance(key, str) and key]
        texts = [key for key, slot in zip(wanted, self.engine.book.sessions.find(wanted), strict=True) if slot < 0]
        if not texts:
            return {}
        sql = queries.by_sessions(sessions, layout.present[sessions.name])
        rows = await snapshot.fetch(sql, {"keys": json.dumps(texts)}, label=sessions.label)
        return {row[place(sessions, sessions.session)]: row for row in rows}

    # ── what is read again ───────────────────────────────────────────────────────────────────────────────────

    async def _again(
        self, snapshot: Snapshot, tables: Sequence[Table], layout: Layout, patient: bool, at: float
    ) -> dict[str, tuple[list[int], list[Row]]]:
        """Per table the ids of rows in flight, and those rows as they are now."""
        rereads: dict[str, tuple[list[int], list[Row]]] = {}
        for table in tables:
            asked = self._asked(table, patient, at)
            rereads[table.name] = (asked, await self._by_ids(snapshot, table, layout, asked))
        return rereads

    def _asked(self, table: Table, patient: bool, at: float) -> list[int]:
        """The ids to read again: of what is young or due, and once a minute of all."""
        if table.is_sessions:
            book, idle = self.state.sessions, self.rules.idle_timeout_s
            return [
                book.id[slot]
                for slot in book.slots()
                if patient or at - book.activity[slot] < YOUNG_S or book.final_at(slot, idle)[0] <= at
            ]
        return [
            id_
            for id_, flight in self.state.tables[table.name].flights.items()
            if patient or at - flight.first_read < YOUNG_S or self.engine.deadline(flight) <= at
        ]

    async def _by_ids(self, snapshot: Snapshot, table: Table, layout: Layout, ids: Sequence[int]) -> list[Row]:
        if not ids:
            return []
        sql = queries.by_ids(table, layout.present[table.name])
        return await snapshot.fetch(sql, {"ids": json.dumps(list(ids))}, label=table.label)

    async def _identities(
        self, snapshot: Snapshot, table: Table, layout: Layout, ids: Iterable[int]
    ) -> dict[int, Digests]:
        sql = queries.identities(table, layout.present[table.name])
        rows = await snapshot.fetch(sql, {"ids": json.dumps(list(ids))}, label=table.label)
        return {row[0]: tuple(digest(value) for value in row[1:]) for row in rows}  # type: ignore[misc]

    async def _suspicion(
        self, snapshot: Snapshot, tables: Sequence[Table], layout: Layout, newest: Mapping[str, int | None]
    ) -> Suspicion | None:
        """What happened where the newest remembered rows differ, or ids were given back; None where nothing did."""
        verdicts: dict[str, Verdict] = {}
        present: dict[str, Mapping[int, Digests]] = {}
        for table in tables:
            memory, cursor = self.state.tables[table.name].memory, self.state.tables[table.name].cursor
            if cursor is None:
                continue
            highest = newest[table.name]
            sequence = -(2**63) if highest is None else highest
            if sequence >= cursor:
                last = memory.last(cursor)
                if not last or not memory.differs(await self._identities(snapshot, table, layout, last)):
                    continue
            found = await self._identities(snapshot, table, layout, dict.fromkeys(memory.ids))
            verdict = memory.judge(found, cursor=cursor, sequence=sequence)
            if verdict is not None:
                verdicts[table.name], present[table.name] = verdict, found
        return Suspicion(verdicts, present) if verdicts else None

    def revise(self, suspicion: Suspicion) -> None:
        """Act on a suspicion that was confirmed."""
        for table in self.schema.tables:
            if table.name in suspicion.verdicts:
                verdict = suspicion.verdicts[table.name]
                self.engine.revise(table, verdict, suspicion.present[table.name], self.clock())

    # ── scans ────────────────────────────────────────────────────────────────────────────────────────────────

    async def scan(self, metrics: Sequence[Metric], *, first: bool) -> None:
        """Make ``metrics`` from all rows up to the present; what comes later is the next look's.

        Raises:
            SourceError: the source cannot be read now; the scan is to be begun anew with a fresh state.
        """
        fresh = self._fresh(metrics)
        scan = Scan(self.engine, self.schema.only(metrics), self.rules, first=first, fresh=fresh)
        at = self.clock()
        bounds = {name: table.cursor for name, table in self.state.tables.items()}
        if scan.fresh:
            async with self.source.snapshot() as snapshot:
                present = (await self.layout(snapshot)).present
                bounds |= {name: await snapshot.stable_max(name) for name in scan.fresh.intersection(present)}
        needed = scan.fresh.union(self._needed(metrics))
        with uncollected():
            for table in self.schema.tables:
                upto = bounds.get(table.name)
                if table.name in needed and upto is not None:
                    await self._scan_table(scan, table, upto)
            await self._finish(scan, at)

    def _fresh(self, metrics: Iterable[Metric]) -> list[str]:
        """The user's own tables that were never read, and from which nothing is made but these metrics."""
        names = {metric.name for metric in metrics}
        made = {feed.table.name for m in self.schema.counted if m.name not in names for feed in m.feeds}
        never = {name for name, table in self.state.tables.items() if table.cursor is None}
        return [table.name for table in self.schema.tables if table.own and table.name in never - made]

    def _needed(self, metrics: Sequence[Metric]) -> Iterable[str]:
        """The tables a scan of ``metrics`` reads: their own, and for sessions all that make up a session."""
        feeds = [feed for metric in metrics for feed in metric.feeds]
        whole = any(feed.table.virtual for feed in feeds)
        named = whole or any(feed.table.session for feed in feeds)
        of_sessions = [t.name for t in self.schema.tables if (named and t.is_sessions) or (whole and t.session)]
        return [*of_sessions, *(feed.table.name for feed in feeds)]

    async def _scan_table(self, scan: Scan, table: Table, upto: int) -> None:
        cursor: int | None = None
        dense_from = await self._dense_from(table) if table.name in scan.fresh else None
        read, some = 0, ROWS
        while some == ROWS:
            some, cursor = await self._scan_some(scan, table, cursor, upto, dense_from)
            read += some
            self.progress(f"{table.name}: {read} rows read")

    async def _scan_some(
        self, scan: Scan, table: Table, cursor: int | None, upto: int, dense_from: int | None
    ) -> tuple[int, int | None]:
        """Take in the next rows; how many, and the last one's id. They are gone when the next are asked for."""
        async with self.source.snapshot() as snapshot:
            present = await self._columns(snapshot, table)
            if present is None:
                return 0, cursor
            sql = queries.above(table, present, cursor=cursor, upto=True)
            values = {"limit": ROWS, "cursor": cursor, "upto": upto}
            used = {name: value for name, value in values.items() if f":{name}" in sql}
            rows = await snapshot.fetch(sql, used, label=table.label)
        scan.take(table, rows, self.clock(), dense_from=dense_from)
        return len(rows), rows[-1][0] if rows else cursor  # type: ignore[return-value]

    async def _columns(self, snapshot: Snapshot, table: Table) -> frozenset[str] | None:
        """The table's columns; None where it is left out."""
        info = await snapshot.table(table.name)
        if info is None or unusable(table, info):
            return None
        return frozenset(column.name.lower() for column in info.columns)

    async def _dense_from(self, table: Table) -> int | None:
        async with self.source.snapshot() as snapshot:
            if await self._columns(snapshot, table) is None:
                return None
            found = await snapshot.fetch(queries.newest_id_but(table), {"skipped": NEWEST - 1})
        return found[0][0] if found else None  # type: ignore[return-value]

    async def _finish(self, scan: Scan, at: float) -> None:
        """End what was over when the scan began: what happened since then is the next look's."""
        open_ = scan.finish(at)
        sessions = self.schema.sessions
        if open_ and sessions is not None:
            rows: list[Row] = []
            async with self.source.snapshot() as snapshot:
                layout = await self.layout(snapshot)
                for start in range(0, len(open_), ROWS):
                    rows += await self._by_ids(snapshot, sessions, layout, open_[start : start + ROWS])
            scan.adopt(open_, rows, self.clock())
        scan.settle()

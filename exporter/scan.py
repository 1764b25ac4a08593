"""A scan: metrics made from all rows there are, at the first start, after a rebuild, or when a metric is new.

The first scan also finds out where reading goes on from: cursors, remembered rows, rows in flight, open sessions. A
scan of single metrics leaves those alone and ends at the cursors. Rows come a table at a time, sessions first.
"""

from __future__ import annotations

import gc
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from exporter.advance import WAIT_S, Engine, Events
from exporter.context import Context, Rules
from exporter.escalations import Finder, ScannedEscalations
from exporter.fold import Columns
from exporter.labels import Candidates, folded
from exporter.ledger import Account, Ledger
from exporter.memory import EVERY
from exporter.series import Buckets, Cell, Labels
from exporter.sessionbook import SessionBook
from exporter.sessions import Sessions
from exporter.spec import OTHER, UNKNOWN, Label, Metric, Schema, Table
from exporter.state import Flight, Row, State


class Scan:
    """Takes in all rows, then settles what only all rows together can tell.

    ``first`` scans set up the state; others fill the metrics of their schema only, but for the tables that are
    ``fresh``, which they set up. Call ``take`` for every batch of every table, then ``finish``, then ``adopt`` with the
    rows that ``finish`` asks for.
    """

    def __init__(
        self, engine: Engine, schema: Schema, rules: Rules, *, first: bool, fresh: Collection[str] = ()
    ) -> None:
        self.engine = engine
        self.state: State = engine.state
        self.schema = schema
        self.rules = rules
        self.first = first
        self.fresh = frozenset(table.name for table in schema.tables) if first else frozenset(fresh)
        """The tables of which every row is new."""
        self.candidates = Candidates()
        self.ledger = Ledger(noted=False, put_aside=self.state.ledger.put_aside)
        counted = () if first else {table.name for table in (*schema.tables, *schema.virtual)} - self.fresh
        self.context = Context(self.state, schema, rules, self.candidates, again=counted, ledger=self.ledger)
        self.book = SessionBook(self.context, Sessions(bulk=True))
        finder = Finder(self.context, schema.escalation)
        self.escalations = ScannedEscalations(finder, self.book.sessions, rules.in_flight_timeout_s)
        self._last_time: dict[str, float] = {}
        """Of each table the newest row's event time, where it had a usable one."""
        self._begun: dict[str, tuple[int, float]] = {}
        """Of each table the id of the first row, and the time by which it is booked."""
        self._sealed = False
        self._ordinals = dict.fromkeys((table.name for table in schema.tables), 0)
        self._late_slots = array("q")
        self._late_deadlines = array("d")
        self._late_costs = array("d")
        self._late_tables: list[tuple[Table, int]] = []

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, table: Table, rows: Sequence[Row], at: float, *, dense_from: int | None = None) -> None:
        """Take in the next rows of a table. From the id ``dense_from`` on, every row is remembered."""
        if not rows:
            return
        self.context.keeper.begin(at)
        if table.name in self.fresh:
            self._remember(table, rows, dense_from)
            self.state.add(self.engine.own.rows_read, (table.label,), len(rows))
        if table.is_sessions:
            if self.first:
                self._reach(table, rows, self.context.event_times(table, rows, at), at)
            self.book.start(table, rows, at)
        else:
            self._take_events(table, rows, at)

    def _remember(self, table: Table, rows: Sequence[Row], dense_from: int | None) -> None:
        before = self._ordinals[table.name]
        self._ordinals[table.name] += len(rows)
        dense = [row for row in rows if dense_from is None or row[0] >= dense_from]  # type: ignore[operator]
        old = rows[: len(rows) - len(dense)]
        sparse = [row for n, row in enumerate(old) if (before + n) % EVERY == 0]
        for kept, is_sparse in ((sparse, True), (dense, False)):
            ids: list[int] = [row[0] for row in kept]  # type: ignore[misc]
            self.state.remember(table.name, ids, self.context.digests(table, kept), sparse=is_sparse)

    def _reach(self, table: Table, rows: Sequence[Row], found: Sequence[float], at: float) -> None:
        self.engine.reach(table, rows[-1][0], found, at, historic=True)  # type: ignore[arg-type]

    def _take_events(self, table: Table, rows: Sequence[Row], at: float) -> None:
        if not self._sealed:
            self.book.sessions.seal()
            self._sealed = True
        found = self.context.event_times(table, rows, at, reject=True)
        booked = self._booked(table, rows, found, at)
        self._begun.setdefault(table.name, (rows[0][0], booked[0]))  # type: ignore[arg-type]
        if table.name in self.fresh:
            self._reach(table, rows, found, at)
        keys = self.context.column(table, rows, table.session)
        slots = self.book.sessions.find(keys)
        self.book.touch(slots, found)
        projects = self._projects(table, keys, slots, found, at)
        self.context.note_vendors(table, rows, found)
        known = [project or UNKNOWN for project in projects]
        self.context.folds[table.name, "first"].count(Columns(rows, known, found))
        self._sort_out(table, Events(list(rows), found, projects, slots), booked, at)

    def _booked(self, table: Table, rows: Sequence[Row], found: Sequence[float], at: float) -> Sequence[float]:
        """The times by which the ledger books the rows: of one without a usable time, that of the row before."""
        if at not in found:
            self._last_time[table.name] = found[-1]
            return found
        last = self._last_time.get(table.name, at)
        booked: list[float] = []
        for time, usable in zip(found, self.context.has_time(table, rows, at), strict=True):
            last = time if usable else last
            booked.append(last)
        self._last_time[table.name] = last
        return booked

    def _projects(
        self, table: Table, keys: Sequence[object], slots: Sequence[int], found: Sequence[float], at: float
    ) -> list[str | None]:
        """Each event's project. Only what happened just now waits for its session's row (None), nothing historic."""
        book = self.book.sessions.project
        names: list[str | None] = [book[slot] if slot >= 0 else UNKNOWN for slot in slots]
        if self.first and table.session and self.rules.patient and found and max(found) > at - WAIT_S:
            for n, (slot, key, time) in enumerate(zip(slots, keys, found, strict=True)):
                if slot < 0 and key and time > at - WAIT_S:
                    names[n] = None
        return names

    def _sort_out(self, table: Table, events: Events, booked: Sequence[float], at: float) -> None:
        """Count what is final or was due before now; keep the rest in flight."""
        flags = self.context.column(table, events.rows, table.final_when)
        no_result = set() if table.final_when is None else {n for n, flag in enumerate(flags) if flag is None}
        kept = self._in_flight(table, events, no_result, at)
        if self.escalations.finder.concerns(table):
            self.escalations.take(events.rows, events.slots, events.projects, events.times, kept=kept)
        if not kept and not no_result:
            self._count(table, events, booked)
            return
        final = [n for n in range(len(events.rows)) if n not in kept and n not in no_result]
        timed_out = sorted(no_result - kept)
        self._count(table, events.only(final), [booked[n] for n in final])
        self._count(table, events.only(timed_out), [booked[n] for n in timed_out], counted_late=True)
        self._keep(table, events.only(sorted(kept)), at)

    def _in_flight(self, table: Table, events: Events, no_result: set[int], at: float) -> set[int]:
        """The positions of the rows that do not count yet: those that the state has in flight, or will have."""
        if table.name not in self.fresh:
            flights = self.state.tables[table.name].flights
            return {n for n, row in enumerate(events.rows) if row[0] in flights} if flights else set()
        timeout = self.rules.in_flight_timeout_s
        waiting = {n for n, project in enumerate(events.projects) if project is None}
        return waiting | {n for n in no_result if events.times[n] + timeout > at}

    def _keep(self, table: Table, events: Events, at: float) -> None:
        """Let the counters of rows in flight be born; rows that are new go into the state."""
        if table.name in self.fresh:
            for row, time, project in zip(events.rows, events.times, events.projects, strict=True):
                self.state.set_flight(table.name, row[0], Flight(row, time, at, project, project is None))  # type: ignore[arg-type]
        known = [
            (project, row) for project, row in zip(events.projects, events.rows, strict=True) if project is not None
        ]
        fold = self.context.folds[table.name, "final"]
        fold.touch([project for project, _ in known], [row for _, row in known])

    def _count(self, table: Table, events: Events, booked: Sequence[float], *, counted_late: bool = False) -> None:
        """Count rows. What timed out belongs to its session only if that was not over yet: ``finish`` knows."""
        if not events.rows:
            return
        projects = [project or UNKNOWN for project in events.projects]
        batch = Columns(events.rows, projects, events.times, booked)
        values = self.context.folds[table.name, "final"].count(batch)
        costs = values.get(table.tally.cost) if table.tally else None
        if not counted_late:
            self.book.tally(table, events.rows, events.slots, events.times, costs)
        elif table.tally is not None:
            self._late_slots.extend(events.slots)
            self._late_deadlines.extend(time + self.rules.in_flight_timeout_s for time in events.times)
            costs = costs or self.context.amounts(table, events.rows, table.tally.cost)
            self._late_costs.extend(cost or 0.0 for cost in costs)
            self._late_tables.append((table, len(events.rows)))

    # ── the end of it ────────────────────────────────────────────────────────────────────────────────────────

    def finish(self, at: float) -> list[int]:
        """End the sessions that are over; the row ids of those that are open, to be read again for ``adopt``."""
        self._tally_late()
        book, idle = self.book.sessions, self.rules.idle_timeout_s
        self.escalations.finish(lambda slot: book.final_at(slot, idle)[0])
        return self._end_sessions(at)

    def _tally_late(self) -> None:
        book, place = self.book.sessions, 0
        for table, rows in self._late_tables:
            counts = book.handoffs if table.tally and table.tally.counts == "handoffs" else book.subagents
            for n in range(place, place + rows):
                slot = self._late_slots[n]
                if slot >= 0 and self._late_deadlines[n] <= book.final_at(slot, self.rules.idle_timeout_s)[0]:
                    counts[slot] += 1
                    book.cost[slot] += self._late_costs[n]
            place += rows

    def _end_sessions(self, at: float) -> list[int]:
        book, known = self.book.sessions, self.state.sessions
        over = {known.id[slot] for slot in known.slots() if known.ended[slot]}
        still = set(known.row_ids()) - over
        open_: list[int] = []
        for slot in book.slots():
            deadline, how = book.final_at(slot, self.rules.idle_timeout_s)
            if book.id[slot] in over or (deadline <= at and book.id[slot] not in still):
                self.book.end(slot, how)
            else:
                open_.append(book.id[slot])
        self.book.count_ends()
        return open_ if self.first else []

    def settle(self) -> None:
        """Admit the label values with the newest events; fold the others, and label sets beyond the cap."""
        for fold in self.context.folds.values():
            fold.flush()
        refused = {pool: self._refused(pool) for pool in self.candidates.newest}
        for metric in self.schema.metrics:
            if metric.feeds:
                self._settle_metric(metric, refused)
        if self.schema.ledger is not None:
            self._settle_ledger(self.schema.ledger.labels, refused)

    def _settle_ledger(self, labels: Sequence[Label], refused: Mapping[str, set[str]]) -> None:
        """Take the books over, with the label values that were admitted."""
        pools = [label.pool for label in labels]

        def admitted(account: Account) -> Account:
            project, component, model = (
                OTHER if text in refused.get(pool, ()) else text for pool, text in zip(pools, account, strict=False)
            )
            return project, component, model

        self.ledger.rename(admitted)
        self.state.ledger.replace(self.ledger, after=None if self.first else self._kept_until())
        self.state.ledger.zone = self.rules.calendar.name

    def _kept_until(self) -> int | None:
        """The last day that the ledger keeps as it was: rows of it are gone. None where nothing is gone."""
        kept: list[int] = []
        ledger = self.schema.ledger
        for name in {feed.table.name for feed in ledger.feeds} if ledger else ():
            remembered = self.state.tables[name].memory.ids
            id_, time = self._begun.get(name, (None, 0.0))
            if id_ is None and remembered:
                kept.append(self.context.keeper.today)
            elif id_ is not None and remembered and remembered[0] < id_:
                kept.append(self.rules.calendar.day(time))
        return max(kept, default=None)

    def adopt(self, asked: Sequence[int], rows: Sequence[Row], at: float) -> None:
        """Take the open sessions, read again for their ids, into the state; those that are gone are lost."""
        table = self.schema.sessions
        if table is None:
            return
        bulk, open_ = self.book.sessions, set(asked)
        slots = {bulk.id[slot]: slot for slot in bulk.slots() if bulk.id[slot] in open_}
        of_state: dict[int, int] = {}
        for session in self.book.parse(table, rows, at):
            old = slots[session.id]
            sessions = self.state.sessions
            slot = sessions.add(session)
            sessions.activity[slot] = bulk.activity[old]
            sessions.cost[slot] = bulk.cost[old]
            sessions.handoffs[slot] = bulk.handoffs[old]
            sessions.subagents[slot] = bulk.subagents[old]
            self.state.changed_sessions.add(sessions.id[slot])
            of_state[old] = slot
            del slots[session.id]
        for slot, task, links in self.escalations.remembered(of_state):
            self.state.sessions.chains.setdefault(slot, {})[task] = links
        for id_ in slots:
            self.book.end(slots[id_], "lost")
        self.book.count_ends()

    # ── label values ─────────────────────────────────────────────────────────────────────────────────────────

    def _refused(self, pool: str) -> set[str]:
        most = self.rules.caps.label_values
        return {text for text in self.candidates.order(pool) if self.state.admit(pool, text, most) == OTHER}

    def _settle_metric(self, metric: Metric, refused: Mapping[str, set[str]]) -> None:
        series = self.state.series.get(metric.name, {})
        for labels in list(series):
            wanted = tuple(
                OTHER if not label.closed and text in refused.get(label.pool, ()) else text
                for label, text in zip(metric.labels, labels, strict=True)
            )
            self._fold(metric, labels, wanted)
        for labels in sorted(series)[self.rules.caps.series :]:
            self._fold(metric, labels, folded(metric, labels))

    def _fold(self, metric: Metric, labels: Labels, into: Labels) -> None:
        """Add one series to another, and count its rows as overflow."""
        if into == labels:
            return
        found = self.state.series[metric.name].pop(labels)
        self.state.changed_series.discard(found)
        target = self.state.cell(metric, into)
        rows = found.rows if isinstance(found, Cell) else sum(found.counts)
        for label, before, after in zip(metric.labels, labels, into, strict=True):
            if before != after and rows:
                self.state.add(self.engine.own.overflow, (metric.name, label.name), rows)
        if isinstance(found, Cell) and isinstance(target, Cell):
            target.value += found.value
            target.rows += found.rows
        elif isinstance(found, Buckets) and isinstance(target, Buckets):
            _merge(found, target)


def _merge(found: Buckets, target: Buckets) -> None:
    target.counts[:] = [one + other for one, other in zip(found.counts, target.counts, strict=True)]
    target.sum += found.sum
    for bucket, exemplar in enumerate(found.exemplars):
        before = target.exemplars[bucket]
        if exemplar is not None and (before is None or exemplar > before):
            target.exemplars[bucket] = exemplar


@contextmanager
def uncollected() -> Iterator[None]:
    """Hold the garbage collector off: what a scan makes stays, and has no cycles [a seventh of a scan's time].

    Of two at once, the first to end lets it go on.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()

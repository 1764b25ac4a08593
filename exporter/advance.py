"""What was read, applied to the state: which rows are new, which are final, what ends when.

No database, no file, no clock: the time of reading comes with the batch. ``counting.md`` is the source of the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.context import Context, Rules
from exporter.escalations import Escalations, Finder
from exporter.fold import Columns
from exporter.gauges import admit_current
from exporter.memory import Digests, Verdict
from exporter.models import POOL
from exporter.sessionbook import SessionBook
from exporter.spec import UNKNOWN, Schema, Table
from exporter.state import Flight, Rewind, Row, State, TableState

LATE_S = 600.0
"""A row first read later than this after its event time is late."""
WAIT_S = 60.0
"""How long an event waits for its session's row."""


@dataclass(frozen=True, slots=True)
class TableRead:
    """What one look brought of one table: rows above the cursor, and the rows asked for again by id."""

    table: Table
    rows: Sequence[Row]
    again: Sequence[Row] = ()
    asked: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """One look at the source, all tables as of one moment.

    ``over`` are the rows of sessions that are not open, by session id, as far as new events or waiting ones name them;
    None where there is no table of sessions, for whose rows nothing then waits. ``current`` are the newest rows of
    mutable tables, ``of_sessions`` by table those of the sessions asked for, by session id.
    """

    at: float
    reads: Sequence[TableRead]
    over: Mapping[object, Row] | None = field(default_factory=dict)
    current: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    of_sessions: Mapping[str, Mapping[object, list[Row]]] = field(default_factory=dict)


@dataclass(slots=True)
class Events:
    """Event rows with their times, projects (None: not known yet) and sessions' slots (-1: none)."""

    rows: list[Row] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    projects: list[str | None] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)

    def append(self, row: Row, time: float, project: str, slot: int) -> None:
        """One event more."""
        self.rows.append(row)
        self.times.append(time)
        self.projects.append(project)
        self.slots.append(slot)

    def only(self, positions: Sequence[int]) -> Events:
        """The events at these positions."""
        return Events(
            [self.rows[n] for n in positions],
            [self.times[n] for n in positions],
            [self.projects[n] for n in positions],
            [self.slots[n] for n in positions],
        )


class Engine:
    """Applies looks at the source to its state."""

    def __init__(self, state: State, schema: Schema, rules: Rules) -> None:
        self.context = Context(state, schema, rules)
        self.schema = schema
        self.state = state
        self.rules = rules
        self.own = schema.own
        self.tables = {table.name: table for table in schema.tables}
        self.book = SessionBook(self.context, state.sessions)
        self.escalations = Escalations(Finder(self.context, schema.escalation), state.sessions)
        state.ledger.zone = state.ledger.zone or rules.calendar.name
        known = state.admitted.get(POOL, {})
        for name in [name for name in known if rules.models.name(name) != name]:
            del known[name]  # became a spelling of another: what had it as a label is made anew
        for pool, name in rules.named:
            state.admit(pool, name, rules.caps.label_values)

    # ── one look ─────────────────────────────────────────────────────────────────────────────────────────────

    def advance(self, batch: Batch) -> None:
        """Apply what was read: count what is final, keep what is not."""
        self.context.keeper.begin(batch.at)
        for read in batch.reads:
            rows = self._unread(read, batch.at)
            if read.table.is_sessions:
                self.book.read_again(read.table, read.again, batch.at)
                self.book.start(read.table, rows, batch.at)
                self.book.lose(read.asked, read.again)
            else:
                self._read_flights_again(read, batch)
                self._events(read.table, rows, batch)
        self.book.count_ends()
        self._take_current(batch)

    def replay(self, batch: Batch) -> None:
        """Apply rows of the past in the order of their times: nothing is remembered, late or lost.

        Of sessions, ``again`` are those whose end can be known by now.
        """
        self.context.keeper.begin(batch.at)
        for read in batch.reads:
            table, state = read.table, self.state.tables[read.table.name]
            if read.rows:
                newest = max(self.context.event_times(table, read.rows, batch.at))
                state.newest_time = newest if state.newest_time is None else max(newest, state.newest_time)
                self.state.add(self.own.rows_read, (table.label,), len(read.rows))
            if table.is_sessions:
                self.book.start(table, read.rows, batch.at)
                self.book.read_again(table, read.again, batch.at)
            else:
                self._events(table, read.rows, batch)

    def _take_current(self, batch: Batch) -> None:
        """Take over the rows of mutable tables as they are now."""
        before = (dict(self.state.current), {name: dict(rows) for name, rows in self.state.of_sessions.items()})
        self.state.current.update(batch.current)
        for name, found in batch.of_sessions.items():
            kept = {**self.state.of_sessions.get(name, {}), **found}
            open_ = self.book.sessions.find(list(kept))
            slots = zip(kept.items(), open_, strict=True)
            self.state.of_sessions[name] = {key: rows for (key, rows), slot in slots if slot >= 0 and rows}
        if before != (self.state.current, self.state.of_sessions):
            self.state.changed_current = True
            admit_current(self.state, self.schema, self.rules)

    def _unread(self, read: TableRead, at: float) -> Sequence[Row]:
        """The rows that were never read before; all of them are remembered."""
        if not read.rows:
            return read.rows
        table, state = read.table, self.state.tables[read.table.name]
        prints = self.context.digests(table, read.rows)
        rows = read.rows if state.rewind is None else self._judged(table, state, read.rows, prints, at)
        self.state.add(self.own.rows_read, (table.label,), len(rows))
        if table.is_sessions:
            rows = self._not_replaced(table, state, rows)
        ids: list[int] = [row[0] for row in read.rows]  # type: ignore[misc]
        self.state.remember(table.name, ids, prints)
        self.reach(table, ids[-1], self.context.event_times(table, rows, at), at)
        return rows

    def _judged(
        self, table: Table, state: TableState, rows: Sequence[Row], prints: Sequence[Digests], at: float
    ) -> list[Row]:
        """After a rewind: the rows that were not counted before."""
        found = self.context.event_times(table, rows, at)
        return [
            row
            for row, row_prints, time in zip(rows, prints, found, strict=True)
            if not self._was_counted(state, row[0], row_prints, time)  # type: ignore[arg-type]
        ]

    def _was_counted(self, state: TableState, id_: int, prints: Digests, time: float) -> bool:
        known = state.memory.known(id_)
        rewind = state.rewind
        if known or rewind is None or state.top is None or id_ > state.top:
            return prints in known
        low = rewind.known is None or id_ > rewind.known
        high = rewind.next is None or id_ < rewind.next
        if not (low and high):
            return False
        self.state.add(self.own.uncertain, ())
        return time <= rewind.newest_time

    def _not_replaced(self, table: Table, state: TableState, rows: Sequence[Row]) -> list[Row]:
        """Sessions never seen, and open ones that came back under a new row id; not those that are over."""
        prints = self.context.digests(table, rows)
        known = {row_prints[0] for row_prints in prints}.intersection(state.memory.values(0)) - {0}
        open_ = self.book.sessions.find(self.context.column(table, rows, table.session))
        return [
            row
            for row, row_prints, slot in zip(rows, prints, open_, strict=True)
            if row_prints[0] not in known or slot >= 0
        ]

    def reach(self, table: Table, last: int, found: Sequence[float], at: float, *, historic: bool = False) -> None:
        """Note how far the table was read, and which of the events found are late."""
        state = self.state.tables[table.name]
        if found:
            newest = max(found)
            state.newest_time = newest if state.newest_time is None else max(newest, state.newest_time)
            late = 0 if historic else sum(time < at - LATE_S for time in found)
            if late:
                self.state.add(self.own.late_rows, (), late)
        state.cursor = last
        state.top = last if state.top is None else max(last, state.top)
        if last >= state.top:
            state.rewind = None
            state.memory.thin()

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────

    def _events(self, table: Table, rows: Sequence[Row], batch: Batch) -> None:
        """Take up event rows that were never read: their session's activity, then count or keep them."""
        if not rows:
            return
        found = self.context.event_times(table, rows, batch.at, reject=True)
        keys = self.context.column(table, rows, table.session)
        slots = self.book.sessions.find(keys)
        self.book.reopen(keys, slots, found, batch.over, batch.at)
        self.book.touch(slots, found)
        self.context.note_vendors(table, rows, found)
        if self.escalations.finder.concerns(table):
            self.escalations.enter(rows, slots)
        events = Events(list(rows), found, self.book.projects(keys, slots, batch.over), slots)
        projects = [project or UNKNOWN for project in events.projects]
        self.context.folds[table.name, "first"].count(Columns(rows, projects, found))
        self._sort_out(table, events, batch.at)

    def _sort_out(self, table: Table, events: Events, at: float) -> None:
        """Count the rows that are final and whose project is known; keep the rest in flight."""
        positions = range(len(events.rows))
        done = {n for n in positions if events.projects[n] is not None and self._is_final(table, events.rows[n])}
        if len(done) == len(positions):
            self._count(table, events)
            return
        self._count(table, events.only(sorted(done)))
        kept = events.only([n for n in positions if n not in done])
        for row, time, project in zip(kept.rows, kept.times, kept.projects, strict=True):
            self.state.set_flight(table.name, row[0], Flight(row, time, at, project, project is None))  # type: ignore[arg-type]
        self.born(table, kept)

    def born(self, table: Table, events: Events) -> None:
        """Let the counters of rows in flight be born, those whose project is known."""
        known = [
            (project, row) for project, row in zip(events.projects, events.rows, strict=True) if project is not None
        ]
        fold = self.context.folds[table.name, "final"]
        fold.touch([project for project, _ in known], [row for _, row in known])
        if self.escalations.finder.concerns(table):
            self.escalations.finder.touch(project for project, _ in known)

    def _is_final(self, table: Table, row: Row) -> bool:
        place = self.context.place(table, table.final_when)
        return not place or row[place] is not None

    def _count(self, table: Table, events: Events, *, deadlines: Sequence[float] | None = None) -> None:
        """Count final rows, and add them to their sessions where they are not past those's ends.

        ``deadlines`` are the times at which rows timed out: where given, they decide that, not the event times.
        """
        if not events.rows:
            return
        projects = [project or UNKNOWN for project in events.projects]
        values = self.context.folds[table.name, "final"].count(Columns(events.rows, projects, events.times))
        costs = values.get(table.tally.cost) if table.tally else None
        self.book.tally(table, events.rows, events.slots, deadlines or events.times, costs)
        if self.escalations.finder.concerns(table):
            self.escalations.settle(events.rows, projects, events.slots, deadlines or events.times)

    # ── rows in flight ───────────────────────────────────────────────────────────────────────────────────────

    def _read_flights_again(self, read: TableRead, batch: Batch) -> None:
        table, flights = read.table, self.state.tables[read.table.name].flights
        done = Events()
        present = {row[0]: row for row in read.again}
        for id_ in read.asked:
            flight = flights.get(id_)
            if flight is None:
                continue
            row = present.get(id_)
            if row is None or not self._same_row(table, flight.row, row):
                self._settle(table, id_, done, without_result=True)
            elif self._refresh(table, id_, flight, row, batch):
                self._settle(table, id_, done)
        self._count(table, done)

    def _same_row(self, table: Table, before: Row, now: Row) -> bool:
        """False where another row has taken the id: not one identity column is what it was."""
        places = [self.context.place(table, name) for name in table.identity]
        return not places or any(before[place] == now[place] for place in places)

    def _refresh(self, table: Table, id_: int, flight: Flight, row: Row, batch: Batch) -> bool:
        """Take over what the row says now; True when it can be counted."""
        before = (flight.row, flight.project, flight.waiting)
        flight.row = row
        keys = self.context.column(table, [row], table.session)
        slots = self.book.sessions.find(keys)
        if flight.waiting:
            self.book.reopen(keys, slots, [flight.time], batch.over, batch.at)
            self.book.touch(slots, [flight.time])
            if self.escalations.finder.concerns(table) and slots[0] >= 0:
                self.escalations.enter([row], slots)
        project = self.book.projects(keys, slots, batch.over)[0]
        if project is not None:
            flight.project, flight.waiting = project, False
        if before != (flight.row, flight.project, flight.waiting):
            self.state.changed_flights.add((table.name, id_))
        return self._is_final(table, row) and not flight.waiting

    def _settle(self, table: Table, id_: int, done: Events, *, without_result: bool = False) -> None:
        """End a row's flight with the values it has.

        ``without_result`` takes its result away, if it has one: what vanished is unknown. A row that only waited for
        its session keeps it.
        """
        flight = self.state.end_flight(table.name, id_)
        slot = self.book.sessions.find(self.context.column(table, [flight.row], table.session))[0]
        row = flight.row
        place = self.context.place(table, table.final_when)
        if without_result and place and not flight.waiting:
            row = (*row[:place], None, *row[place + 1 :])
        done.append(row, flight.time, flight.project or UNKNOWN, slot)

    # ── what ends by time ────────────────────────────────────────────────────────────────────────────────────

    def end(self, at: float, *, suspended_from: float | None = None) -> None:
        """End what is due, in the order of the deadlines.

        What was first read before ``suspended_from`` does not end by time, nor does a session by idleness.
        """
        self.state.at = at
        self.context.keeper.begin(at)
        self._drop_excess()
        for deadline, order, name, key in sorted(self._due(at, suspended_from)):
            if order:
                self.book.end(key, name)
            else:
                self._time_out(self.tables[name], key, deadline, at)
        self.book.count_ends()

    def is_due(self, at: float, *, suspended_from: float | None) -> bool:
        """Whether something would end by time now."""
        return next(iter(self._due(at, suspended_from)), None) is not None

    def _due(self, at: float, suspended_from: float | None) -> Iterable[tuple[float, int, str, int]]:
        later: list[object] = []
        for name, state in self.state.tables.items():
            for id_, flight in state.flights.items():
                deadline = self.deadline(flight)
                if deadline > at:
                    continue
                if suspended_from is None or flight.first_read >= suspended_from:
                    yield deadline, 0, name, id_
                else:
                    later += self.context.column(self.tables[name], [flight.row], self.tables[name].session)
        yield from self._due_sessions(at, suspended_from is not None, set(self.book.sessions.find(later)))

    def _due_sessions(self, at: float, suspended: bool, later: set[int]) -> Iterable[tuple[float, int, str, int]]:
        """Sessions that are over; not before a suspended row of theirs, whose deadline may lie before their end."""
        sessions = self.book.sessions
        for slot in sessions.slots():
            deadline, how = sessions.final_at(slot, self.rules.idle_timeout_s)
            if deadline <= at and slot not in later and not (suspended and how == "idle"):
                yield deadline, 1, how, slot

    def deadline(self, flight: Flight) -> float:
        """When a row stops waiting: for its session's row, then for its result."""
        if flight.waiting:
            return flight.first_read + (WAIT_S if self.rules.patient else 0.0)
        return flight.time + self.rules.in_flight_timeout_s

    def _time_out(self, table: Table, id_: int, deadline: float, at: float) -> None:
        flight = self.state.tables[table.name].flights[id_]
        waited = flight.waiting
        if waited and not self._is_final(table, flight.row):
            flight.waiting, flight.project = False, UNKNOWN
            self.state.changed_flights.add((table.name, id_))
            deadline = self.deadline(flight)
            if deadline > at:
                return
            waited = False
        done = Events()
        self._settle(table, id_, done)
        slot = done.slots[0]
        if not waited and slot >= 0 and deadline > self.book.sessions.final_at(slot, self.rules.idle_timeout_s)[0]:
            done.slots[0] = -1  # its session is over by then, though its end is suspended
        self._count(table, done, deadlines=None if waited else [deadline])

    def _drop_excess(self) -> None:
        """Beyond ``max_in_flight``, the oldest rows of a table are final as they are, and counted as dropped."""
        for name, state in self.state.tables.items():
            table, excess = self.tables[name], len(state.flights) - self.rules.max_in_flight
            if table.is_sessions:
                excess = self.book.drop_excess(self.rules.max_in_flight)
            elif excess > 0:
                done = Events()
                for id_ in sorted(state.flights, key=lambda id_: (state.flights[id_].time, id_))[:excess]:
                    self._settle(table, id_, done)
                self._count(table, done)
            if excess > 0:
                self.state.add(self.own.dropped, (table.label,), excess)

    # ── a changed past ───────────────────────────────────────────────────────────────────────────────────────

    def revise(self, table: Table, verdict: Verdict, present: Mapping[int, Digests], at: float) -> None:
        """Act on a past that has changed: learn what edited rows look like, or go back to the last known row."""
        state = self.state.tables[table.name]
        if verdict.kind == "edited":
            ids = sorted(id_ for id_ in present if state.cursor is not None and id_ <= state.cursor)
            self.state.remember(table.name, ids, [present[id_] for id_ in ids])
            return
        state.rewind = Rewind(verdict.known, verdict.next, at if state.newest_time is None else state.newest_time)
        state.cursor = verdict.known
        self.state.add(self.own.rewinds, ())
        self._end_above(table, verdict.known)
        self.book.count_ends()

    def _end_above(self, table: Table, known: int | None) -> None:
        """Rows in flight above the last known row end like rows that vanished."""
        if table.is_sessions:
            for id_ in self.book.sessions.row_ids():
                if known is None or id_ > known:
                    self.book.end(self.book.sessions.slot_of_row(id_), "lost")
            return
        done = Events()
        for id_ in [id_ for id_ in self.state.tables[table.name].flights if known is None or id_ > known]:
            self._settle(table, id_, done, without_result=True)
        self._count(table, done)

"""Sessions as they start, go on, end and come back; what their events add to them.

Works on the open sessions of a state, or on a scan's ``bulk`` of all sessions there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from exporter.context import Context
from exporter.fold import Columns
from exporter.sessions import GRACE_S, SessionRow, Sessions
from exporter.spec import UNKNOWN, Number, Table
from exporter.state import Row
from exporter.values import label_text, numbers, parse_time, times

_REASONS = ("", "not_a_number", "negative", "out_of_range")
_CHUNK = 5_000
_NO_END: Row = (0, "completed", "closed", None, None, None, None)


class SessionBook:
    """The sessions table's rows, applied to ``sessions``."""

    def __init__(self, context: Context, sessions: Sessions) -> None:
        self.context = context
        self.sessions = sessions
        self.ends = context.folds[context.schema.ends.name, "final"]
        self._over: list[tuple[Row, str, float]] = []

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────

    def parse(self, table: Table, rows: Sequence[Row], at: float) -> list[SessionRow]:
        """Rows of the sessions table, checked."""
        column, zone = self.context.column, self.context.rules.zone
        raw_ends = column(table, rows, "end_time")
        ends = [parse_time(value, now=at, zone=zone) for value in raw_ends]
        completed, completed_faults = self._counts(table, rows, "completed_tasks")
        failed, failed_faults = self._counts(table, rows, "failed_tasks")
        starts = times(column(table, rows, "start_time"), now=at, zone=zone)
        keys = column(table, rows, table.session)
        names = column(table, rows, "project_name")
        return [
            SessionRow(
                id=row[0],
                key=key or None,
                project=label_text(name)[0],
                start=start,
                end=end,
                completed=completed[n] or 0.0,
                failed=failed[n] or 0.0,
                time=at if start is None else start,
                faults=(end is None and raw_end is not None)
                | completed_faults.get(n, 0) << 1
                | failed_faults.get(n, 0) << 3,
            )
            for n, (row, key, name, start, end, raw_end) in enumerate(
                zip(rows, keys, names, starts, ends, raw_ends, strict=True)
            )
        ]

    def _counts(self, table: Table, rows: Sequence[Row], name: str) -> tuple[Sequence[float | None], dict[int, int]]:
        declared = table.column(name)
        assert isinstance(declared, Number)  # noqa: S101 - held by the catalogue
        raw = self.context.column(table, rows, name)
        found, rejected = numbers(raw, minimum=declared.minimum, maximum=declared.maximum)
        return found, {position: _REASONS.index(reason) for position, reason in rejected}

    def start(self, table: Table, rows: Sequence[Row], at: float) -> None:
        """Sessions whose row is new: counted, but for one that is open and came back under a new row id."""
        found = self.parse(table, rows, at)
        slots = [-1] * len(rows) if self.sessions.bulk else self.sessions.find([session.key for session in found])
        fresh: list[tuple[Row, SessionRow]] = []
        for row, session, slot in zip(rows, found, slots, strict=True):
            if slot >= 0:
                self._update(slot, session)
            else:
                self.change(self.sessions.add(session))
                fresh.append((row, session))
        started = [row for row, _ in fresh]
        projects = [session.project for _, session in fresh]
        self.context.event_times(table, started, at, reject=True)
        self.context.folds[table.name, "first"].count(Columns(started, projects, [s.time for _, s in fresh]))
        damaged = sum(label_text(name)[1] for name in self.context.column(table, started, "project_name"))
        self.context.reject(table, "bad_text", damaged)
        kinds = list(dict.fromkeys(projects))
        self.ends.touch(kinds, [_NO_END] * len(kinds))

    def read_again(self, table: Table, rows: Sequence[Row], at: float) -> None:
        """What the rows of open sessions say now; one whose id another session has taken is lost."""
        for session in self.parse(table, rows, at):
            slot = self.sessions.slot_of_row(session.id)
            if slot >= 0 and self.sessions.is_same(slot, session):
                self._update(slot, session)
            elif slot >= 0:
                self.end(slot, "lost")

    def lose(self, asked: Iterable[int], present: Iterable[Row]) -> None:
        """End the open sessions whose rows were asked for and are gone."""
        there = {row[0] for row in present}
        for id_ in asked:
            slot = self.sessions.slot_of_row(id_)
            if slot >= 0 and id_ not in there:
                self.end(slot, "lost")

    def _update(self, slot: int, session: SessionRow) -> None:
        before = self.sessions.id[slot]
        if self.sessions.update(slot, session):
            self.context.state.changed_sessions.add(before)
            self.change(slot)

    def change(self, slot: int) -> None:
        """Note that the slot's session is to be written down."""
        if not self.sessions.bulk:
            self.context.state.changed_sessions.add(self.sessions.id[slot])

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────

    def touch(self, slots: Sequence[int], found: Sequence[float]) -> None:
        """Events at these times are their sessions' activity."""
        activity = self.sessions.activity
        touched = set()
        for slot, time in zip(slots, found, strict=True):
            if slot >= 0 and time > activity[slot]:
                activity[slot] = time
                touched.add(slot)
        if not self.sessions.bulk:
            for slot in touched:
                self.change(slot)

    def reopen(
        self,
        keys: Sequence[object],
        slots: list[int],
        found: Sequence[float],
        over: Mapping[object, Row] | None,
        at: float,
    ) -> None:
        """A session that had ended and is active again is taken up, as ended; ``slots`` then names it."""
        table = self.context.schema.sessions
        for position, (key, slot) in enumerate(zip(keys, slots, strict=True)):
            row = over.get(key) if over and slot < 0 else None
            if row is None or table is None or found[position] + self.context.rules.idle_timeout_s <= at:
                continue
            slots[position] = self.sessions.find([key])[0]
            (session,) = self.parse(table, [row], at)
            if slots[position] < 0 and (session.end is None or session.end + GRACE_S > at):
                slots[position] = self.sessions.add(session, ended=True)
                self.change(slots[position])

    def projects(
        self, keys: Sequence[object], slots: Sequence[int], over: Mapping[object, Row] | None
    ) -> list[str | None]:
        """Each event's project; None while its session has no row."""
        book = self.sessions.project
        return [book[slot] if slot >= 0 else self._absent(key, over) for slot, key in zip(slots, keys, strict=True)]

    def _absent(self, key: object, over: Mapping[object, Row] | None) -> str | None:
        table = self.context.schema.sessions
        if not key or over is None or table is None:
            return UNKNOWN
        row = over.get(key)
        return None if row is None else label_text(row[self.context.place(table, "project_name")])[0]

    def tally(
        self, table: Table, rows: Sequence[Row], slots: Sequence[int], found: Sequence[float],
        costs: Sequence[float | None] | None,
    ) -> None:  # fmt: skip
        """Add counted events to their sessions, those up to the session's end."""
        if table.tally is None:
            return
        book = self.sessions
        counts = book.handoffs if table.tally.counts == "handoffs" else book.subagents
        if costs is None:
            costs = self.context.amounts(table, rows, table.tally.cost)
        until, money = book.until, book.cost
        for slot, time, cost, one in zip(slots, found, costs, self._ones(table, rows), strict=True):
            if slot >= 0 and time <= until[slot]:
                counts[slot] += one
                if cost:
                    money[slot] += cost
        if not book.bulk:
            for slot in set(slots) - {-1}:
                self.change(slot)

    def _ones(self, table: Table, rows: Sequence[Row]) -> Sequence[int]:
        """1 for each row that its session counts, 0 for the others."""
        where = table.tally.where if table.tally else None
        if where is None:
            return [1] * len(rows)
        column = self.context.column(table, rows, where.column)
        return [int((value == where.value) is not where.negate) for value in column]

    # ── ends ─────────────────────────────────────────────────────────────────────────────────────────────────

    def end(self, slot: int, how: str) -> None:
        """Count the session as ended, unless that was done before, and forget it."""
        book = self.sessions
        if not book.ended[slot]:
            end, _ = book.final_at(slot, self.context.rules.idle_timeout_s)
            self._over.append((book.ended_row(slot, how), book.project[slot], end))
            if book.faults[slot]:
                self._reject(book.faults[slot])
        self.change(slot)
        if not book.bulk:
            book.remove(slot)
        if len(self._over) >= _CHUNK:
            self.count_ends()

    def _reject(self, faults: int) -> None:
        table = self.context.schema.sessions
        if table is not None:
            reasons = ("bad_time" if faults & 1 else "", _REASONS[faults >> 1 & 3], _REASONS[faults >> 3 & 3])
            for reason in filter(None, reasons):
                self.context.reject(table, reason)

    def count_ends(self) -> None:
        """Count the sessions that ended since the last call."""
        if self._over:
            rows, projects, ends = zip(*self._over, strict=True)
            self.ends.count(Columns(rows, projects, ends))
            self._over = []

    def drop_excess(self, most: int) -> int:
        """End the sessions longest without activity, where there are more than ``most``; how many."""
        excess = len(self.sessions) - most
        if excess > 0:
            for slot in sorted(self.sessions.slots(), key=self.sessions.activity.__getitem__)[:excess]:
                self.end(slot, "idle")
        return max(excess, 0)

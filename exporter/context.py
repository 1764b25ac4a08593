"""What every part of the counting needs at hand: the state, the declarations, the rules, the own counters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo

from exporter.booking import Bookkeeper
from exporter.budgets import Budget
from exporter.fold import Books, Fold
from exporter.groups import Caps, Naming, feeds_by_table
from exporter.labels import Candidates
from exporter.ledger import Ledger
from exporter.localtime import Calendar
from exporter.memory import Digests, digest
from exporter.models import Models
from exporter.spec import UNKNOWN, Number, Schema, Table
from exporter.state import Row, State
from exporter.values import label_text, numbers, times

_MOST_MODELS = 10_000


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that decide what counts when."""

    idle_timeout_s: float = 3600.0
    in_flight_timeout_s: float = 21600.0
    max_in_flight: int = 100_000
    zone: tzinfo = UTC
    caps: Caps = field(default_factory=Caps)
    models: Models = field(default_factory=Models, hash=False)
    calendar: Calendar = field(default_factory=Calendar, compare=False)
    budgets: tuple[Budget, ...] = ()
    named: tuple[tuple[str, str], ...] = ()
    """Vocabularies and values that the configuration names: they are admitted first."""
    patient: bool = True
    """False for ``once``: nothing waits for a session's row."""


class Context:
    """Folds by table and moment, places of columns, times and numbers of rows, and who writes what was rejected."""

    def __init__(
        self,
        state: State,
        schema: Schema,
        rules: Rules,
        candidates: Candidates | None = None,
        *,
        again: Collection[str] = (),
        ledger: Ledger | None = None,
    ) -> None:
        """``again``: tables whose rows were counted before, for other metrics; what they reject is counted already.

        With a ``ledger`` of its own a scan books there, and against no budget.
        """
        self.state = state
        self.schema = schema
        self.own = schema.own
        self.rules = rules
        self.again = again
        spend = None if ledger is not None else schema.own.budget_spend
        self.keeper = Bookkeeper(
            state, state.ledger if ledger is None else ledger, rules.calendar, rules.budgets, spend
        )
        books = Books(schema.own.rejected, schema.own.overflow, self.keeper)
        counted = Books(None, schema.own.overflow, self.keeper)
        naming = Naming(rules.caps, rules.models)
        feeds = feeds_by_table(schema.counted)
        self.folds = {
            (table.name, at): Fold(
                table,
                feeds.get(table.name, ()),
                at,
                state=state,
                naming=naming,
                books=counted if table.name in again else books,
                candidates=candidates,
            )
            for table in (*schema.tables, *schema.virtual)
            for at in ("final", "first")
        }
        self._places = {table.name: {c.name: 1 + n for n, c in enumerate(table.columns)} for table in schema.tables}

    def place(self, table: Table, column: str | None) -> int:
        """Where in the table's rows the column stands; 0, the id, where the table does not declare it."""
        return self._places[table.name].get(column or "", 0)

    def column(self, table: Table, rows: Sequence[Row], name: str | None) -> list[object]:
        """One column of the rows; None for each where there is no such column."""
        place = self.place(table, name)
        return [row[place] for row in rows] if place else [None] * len(rows)

    def digests(self, table: Table, rows: Sequence[Row]) -> list[Digests]:
        """The identity of each row."""
        places = [self.place(table, name) for name in table.identity]
        return [tuple(digest(row[place]) for place in places) for row in rows]

    def event_times(self, table: Table, rows: Sequence[Row], at: float, *, reject: bool = False) -> list[float]:
        """The rows' event times; the time of reading where one is unusable, which ``reject`` counts."""
        raw = self.column(table, rows, table.time)
        found = times(raw, now=at, zone=self.rules.zone)
        if None not in found:
            return found  # type: ignore[return-value]
        if reject:
            unusable = sum(time is None and value is not None for time, value in zip(found, raw, strict=True))
            self.reject(table, "bad_time", unusable)
        return [at if time is None else time for time in found]

    def has_time(self, table: Table, rows: Sequence[Row], at: float) -> list[bool]:
        """Whether each row has a usable event time."""
        return [time is not None for time in times(self.column(table, rows, table.time), now=at, zone=self.rules.zone)]

    def note_vendors(self, table: Table, rows: Sequence[Row], found: Sequence[float]) -> None:
        """Note who made the models that these rows name."""
        if table.vendor is None:
            return
        models, vendors = (self.column(table, rows, name) for name in table.vendor)
        newest: dict[tuple[object, object], float] = {}
        for model, vendor, time in zip(models, vendors, found, strict=True):
            if vendor and time >= newest.get((model, vendor), time):
                newest[model, vendor] = time
        known = self.state.vendors
        for (model, vendor), time in newest.items():
            name, maker = self.rules.models.name(label_text(model or None)[0]), label_text(vendor)[0]
            before = known.get(name)
            if maker != UNKNOWN and (time >= before[0] if before else len(known) < _MOST_MODELS):
                known[name] = (time, maker)

    def amounts(self, table: Table, rows: Sequence[Row], name: str) -> Sequence[float | None]:
        """The usable numbers of a column."""
        declared = table.column(name)
        assert isinstance(declared, Number)  # noqa: S101 - a Tally names a number
        return numbers(self.column(table, rows, name), minimum=declared.minimum, maximum=declared.maximum)[0]

    def reject(self, table: Table, reason: str, rows: int = 1) -> None:
        """Count values that could not be used."""
        if rows and table.name not in self.again:
            self.state.add(self.own.rejected, (table.label, reason), rows)

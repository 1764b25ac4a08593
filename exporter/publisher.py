"""From the state to the exposition: which series changed, what is held, what gauges read.

``note`` collects what changed, ``show`` hands it to the exposition once it is saved, ``publish`` makes the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from exporter import gauges
from exporter.advance import Engine
from exporter.budgets import Standing, standing
from exporter.context import Rules
from exporter.exposition import Distribution, Exemplar, Exposition, Publication, Value
from exporter.gauges import Health, Readings
from exporter.series import Buckets, Labels, Series
from exporter.spec import Counter, Gauge, Schema
from exporter.spending import lines, spending
from exporter.state import State
from exporter.view import BudgetLine, Spending

_MINUTE_S = 60.0


class Publisher:
    """What of one source is shown."""

    def __init__(self, schema: Schema, rules: Rules, source: str, constants: Mapping[str, str]) -> None:
        self.schema = schema
        self.rules = rules
        self.source = source
        self.exposition = Exposition(schema.metrics, {source: {"source": source, **constants}})
        self._changed: set[Series] = set()
        self._removed: set[tuple[str, Labels]] = set()
        self._held: set[Series] = set()
        self._readings: Readings = {}
        self._calendar: Readings = {}
        self._booked: tuple[int, int] = (-1, -1)
        """Of what the calendar's gauges were read: the ledger's version, and the minute."""
        self.standings: dict[str, Standing] = {}
        """How the budgets stand, by name, as far as it is saved."""
        self.spending: Spending | None = None
        """What was spent, for the pages, as far as it is saved; None where there is no ledger."""
        self.budgets: tuple[BudgetLine, ...] = ()
        self.shared_spend: dict[str, float] = {}
        """What was booked against budgets that are shared with other sources, by name, as far as it is saved."""
        self._shared = {budget.name for budget in rules.budgets if budget.shared}
        self._stale = True
        self._shown: Readings = {}
        self._state: State | None = None

    def note(self, state: State) -> None:
        """Remember what changed since the last time; to be called before the state forgets it by being saved."""
        if self._state is not state:
            self._changed = {found for series in state.series.values() for found in series.values()}
            self._state = state
            self._stale = True
            self._booked = (-1, -1)
        self._changed |= state.changed_series
        self._removed |= state.removed_series
        changed = (self._changed, self._removed, state.changed_flights, state.changed_sessions, state.changed_current)
        self._stale |= any(changed)

    def show(self, state: State, now: float) -> None:
        """What was noted is saved: it may be seen from the next publish on, gauges as of Unix time ``now``."""
        for metric, labels in self._removed:
            self.exposition.remove(self.source, metric, labels)
        for found in self._changed:
            if self._is_shared(found):
                self.shared_spend[found.labels[0]] = found.value  # type: ignore[union-attr]
            else:
                self.exposition.set(self.source, found.metric, found.labels, shown_value(found))
        self._held = set(state.held)
        self._changed, self._removed = set(), set()
        if self._stale:
            self._readings = gauges.read_state(state, self.schema, self.rules)
            self._stale = False
        booked = (state.ledger.version, int(now // _MINUTE_S))
        if booked != self._booked:
            budgets, calendar = self.rules.budgets, self.rules.calendar
            self.standings = {budget.name: standing(budget, state.ledger, calendar, now) for budget in budgets}
            own = {name: found for name, found in self.standings.items() if name not in self._shared}
            self._calendar = gauges.read_calendar(state, self.schema, self.rules, own, now)
            self.spending = None if self.schema.ledger is None else spending(state.ledger, calendar, now)
            self.budgets = lines(budgets, self.standings)
            self._booked = booked

    def _is_shared(self, found: Series) -> bool:
        return found.metric == self.schema.own.budget_spend.name and found.labels[0] in self._shared

    def drop(self, metric: str) -> None:
        """A metric's series are to be made anew: stop showing the old ones when the new ones are shown."""
        self._changed = {found for found in self._changed if found.metric != metric}

    def held(self) -> Iterable[Series]:
        """The series that the last publication shows as 0 although they have a value."""
        return self._held

    def publish(self, health: Health) -> Publication:
        """The bytes of what may be seen, with how the source is doing now."""
        readings = self._readings | self._calendar | gauges.read_health(self.schema.metrics, health)
        for name, values in readings.items():
            before = self._shown.get(name, {})
            for labels in before.keys() - values.keys():
                self.exposition.remove(self.source, name, labels)
            for labels, value in values.items():
                if before.get(labels) != value:
                    self.exposition.set(self.source, name, labels, value)
        self._shown = readings
        return self.exposition.publish()

    # ── for the page ─────────────────────────────────────────────────────────────────────────────────────────

    def rows_read(self) -> dict[str, int]:
        """Rows read so far, by table."""
        series = self._state.series.get(self.schema.own.rows_read.name, {}) if self._state else {}
        found = list(series.items())  # at one stroke: a long batch is counted in another thread
        return {labels[0]: int(total.value) for labels, total in found if not isinstance(total, Buckets)}

    def last_event(self) -> dict[str, float]:
        """The newest event's time, by table."""
        tables = self._state.tables if self._state else {}
        return {name: table.newest_time for name, table in tables.items() if table.newest_time is not None}

    def headlines(self) -> tuple[tuple[str, str], ...]:
        """The totals a person asks for first."""
        if self._state is None:
            return ()
        found = ((title, self._total(metric.name)) for title, metric in self.schema.headlines.items())
        return tuple((title, f"{total:,.2f}" if "USD" in title else f"{total:,.0f}") for title, total in found)

    def active_sessions(self) -> int | None:
        """Sessions that run now; None while nothing is known of them."""
        return self._now(lambda gauge: gauge.reading == "sessions")

    def handoffs_in_flight(self) -> int | None:
        """Hand-offs that wait for their result now; None while nothing is known of them."""
        return self._now(
            lambda gauge: (
                gauge.reading == "in_flight"
                and gauge.table is not None
                and gauge.table.tally is not None
                and gauge.table.tally.counts == "handoffs"
            )
        )

    def _now(self, wanted: Callable[[Gauge], bool]) -> int | None:
        """The sum of the first such gauge."""
        gauges_ = (metric for metric in self.schema.metrics if isinstance(metric, Gauge) and wanted(metric))
        metric = next(gauges_, None)
        readings = None if metric is None else self._shown.get(metric.name)
        return None if readings is None else int(sum(readings.values()))

    def _total(self, metric: str) -> float:
        series = self._state.series.get(metric, {}) if self._state else {}
        return sum(found.value for found in list(series.values()) if not isinstance(found, Buckets))


def shown_value(found: Series) -> Value:
    """A series' value, or 0 while it is held."""
    if not isinstance(found, Buckets):
        return found.value if found.released else 0.0
    if not found.released:
        return Distribution((0,) * len(found.counts), 0.0)
    exemplars = [
        None if exemplar is None else Exemplar((("session_id", exemplar[2]),), exemplar[1], exemplar[0])
        for exemplar in found.exemplars
    ]
    return Distribution(tuple(found.counts), found.sum, tuple(exemplars))


def forget_removed(state: State, schema: Schema, fingerprints: Mapping[str, str]) -> None:
    """Metrics that are declared no more leave the state; so does what was counted of them, and of tables no more read
    or read from the start.
    """
    for name in state.fingerprints.keys() - fingerprints.keys():
        state.drop(name)
    there = {
        "metric": {metric.name for metric in schema.metrics},
        "table": {table.label for table in schema.tables if table.name not in state.forgotten},
    }
    for counter in (schema.own.rows_read, schema.own.rejected, schema.own.dropped, schema.own.overflow):
        place = counter.label_names[0]
        for labels, found in list(state.series.get(counter.name, {}).items()):
            if labels[0] not in there[place]:
                state.remove(found)


def be_born(state: State, schema: Schema, engine: Engine) -> None:
    """The exporter's own counters on this source, at 0 where nothing was counted yet."""
    own, tables = schema.own, [table for table in schema.tables if table.name in state.tables]
    wanted: list[tuple[Counter, Labels]] = [(counter, ()) for counter in (own.late_rows, own.rewinds, own.uncertain)]
    wanted += [(counter, (table.label,)) for counter in (own.rows_read, own.dropped) for table in tables]
    reasons = own.rejected.labels[1].closed
    wanted += [(own.rejected, (table.label, reason)) for table in tables for reason in reasons]
    wanted += [(own.budget_spend, (budget.name,)) for budget in engine.rules.budgets]
    wanted += [
        (own.overflow, (metric.name, label.name))
        for metric in schema.metrics
        if metric.feeds
        for label in metric.labels
        if not label.closed
    ]
    for counter, labels in wanted:
        state.add(counter, labels, 0.0)

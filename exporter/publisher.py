"""From the state to the exposition: which series changed, what is held, what gauges read.

``note`` collects what changed, ``show`` hands it to the exposition once it is saved, ``publish`` makes the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from exporter import gauges
from exporter.advance import Engine
from exporter.exposition import Distribution, Exemplar, Exposition, Publication, Value
from exporter.gauges import Health, Readings
from exporter.spec import Counter, Gauge, Schema
from exporter.state import Buckets, Labels, Series, State


class Publisher:
    """What of one source is shown."""

    def __init__(self, schema: Schema, source: str, constants: Mapping[str, str]) -> None:
        self.schema = schema
        self.source = source
        self.exposition = Exposition(schema.metrics, {source: {"source": source, **constants}})
        self._changed: set[Series] = set()
        self._removed: set[tuple[str, Labels]] = set()
        self._held: set[Series] = set()
        self._readings: Readings = {}
        self._stale = True
        self._shown: Readings = {}
        self._state: State | None = None

    def note(self, state: State) -> None:
        """Remember what changed since the last time; to be called before the state forgets it by being saved."""
        if self._state is not state:
            self._changed = {found for series in state.series.values() for found in series.values()}
            self._state = state
            self._stale = True
        self._changed |= state.changed_series
        self._removed |= state.removed_series
        self._stale |= bool(self._changed or self._removed or state.changed_flights or state.changed_sessions)

    def show(self, state: State) -> None:
        """What was noted is saved: it may be seen from the next publish on."""
        for metric, labels in self._removed:
            self.exposition.remove(self.source, metric, labels)
        for found in self._changed:
            self.exposition.set(self.source, found.metric, found.labels, shown_value(found))
        self._held = set(state.held)
        self._changed, self._removed = set(), set()
        if self._stale:
            self._readings = gauges.read(state, self.schema.metrics, Health(True))
            self._stale = False

    def drop(self, metric: str) -> None:
        """A metric's series are to be made anew: stop showing the old ones when the new ones are shown."""
        self._changed = {found for found in self._changed if found.metric != metric}

    def held(self) -> Iterable[Series]:
        """The series that the last publication shows as 0 although they have a value."""
        return self._held

    def publish(self, health: Health) -> Publication:
        """The bytes of what may be seen, with how the source is doing now."""
        readings = dict(self._readings)
        fresh = gauges.read(State(()), self.schema.metrics, health)
        for name, values in fresh.items():
            if values:
                readings[name] = values
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


def be_born(state: State, schema: Schema, engine: Engine) -> None:
    """The exporter's own counters on this source, at 0 where nothing was counted yet."""
    own, tables = schema.own, [table for table in schema.tables if table.name in state.tables]
    wanted: list[tuple[Counter, Labels]] = [(counter, ()) for counter in (own.late_rows, own.rewinds, own.uncertain)]
    wanted += [(counter, (table.label,)) for counter in (own.rows_read, own.dropped) for table in tables]
    reasons = own.rejected.labels[1].closed
    wanted += [(own.rejected, (table.label, reason)) for table in tables for reason in reasons]
    wanted += [
        (own.overflow, (metric.name, label.name))
        for metric in schema.metrics
        if metric.feeds
        for label in metric.labels
        if not label.closed
    ]
    for counter, labels in wanted:
        state.add(counter, labels, 0.0)

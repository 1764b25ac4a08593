"""Gauges read off the state: what is open, in flight, and how current it all is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from exporter.labels import gauge_labels
from exporter.spec import OTHER, UNKNOWN, Gauge, Metric
from exporter.state import Flight, Labels, State

Readings = dict[str, dict[Labels, float]]
"""Values by metric and labels."""

_MAXIMA = ("session_subagents_max", "session_cost_max", "in_flight_oldest")


@dataclass(frozen=True, slots=True)
class Health:
    """What the poller knows of the source; None where it is not known yet."""

    up: bool
    last_success: float | None = None
    lag_rows: int | None = None


def read(state: State, metrics: Iterable[Metric], health: Health) -> Readings:
    """The gauges' values now; a gauge without a value is not in it."""
    return {metric.name: _read(state, metric, health) for metric in metrics if isinstance(metric, Gauge)}


def _read(state: State, metric: Gauge, health: Health) -> dict[Labels, float]:
    single = {
        "up": float(health.up),
        "counting_since": state.counting_since,
        "last_success": health.last_success,
        "lag": health.lag_rows,
    }
    if metric.reading in single:
        value = single[metric.reading]
        return {} if value is None else {(): float(value)}
    if metric.reading == "last_event":
        times = ((name, table.newest_time) for name, table in state.tables.items())
        return {(name,): time for name, time in times if time is not None}
    return _of_rows(state, metric)


def _of_rows(state: State, metric: Gauge) -> dict[Labels, float]:
    found = _known(state, metric)
    for labels, value in _items(state, metric):
        admitted = _admitted(state, metric, labels)
        if metric.reading in ("sessions", "in_flight"):
            found[admitted] = found.get(admitted, 0.0) + value
        elif OTHER not in admitted:
            found[admitted] = _further(metric, found.get(admitted), value)
    return found


def _further(metric: Gauge, before: float | None, value: float) -> float:
    if before is None:
        return value
    return min(before, value) if metric.reading == "in_flight_oldest" else max(before, value)


def _known(state: State, metric: Gauge) -> dict[Labels, float]:
    """0 under the labels that the counter ``known_by`` has; a maximum does not speak for ``__other__``."""
    if metric.known_by is None:
        return {}
    places = [metric.known_by.label_names.index(name) for name in metric.label_names]
    known = {tuple(labels[place] for place in places) for labels in state.series.get(metric.known_by.name, {})}
    return {labels: 0.0 for labels in known if metric.reading not in _MAXIMA or OTHER not in labels}


def _items(state: State, metric: Gauge) -> Iterator[tuple[Labels, float]]:
    """One value for each open session, or for each row in flight."""
    if not metric.reading.startswith("in_flight"):
        yield from _sessions(state, metric)
    elif metric.table is not None and metric.table.name in state.tables:
        for flight in state.tables[metric.table.name].flights.values():
            if _has_no_result(metric, flight):
                value = flight.time if metric.reading == "in_flight_oldest" else 1.0
                yield gauge_labels(metric, flight.project or UNKNOWN, flight.row), value


def _sessions(state: State, metric: Gauge) -> Iterator[tuple[Labels, float]]:
    book = state.sessions
    for slot in book.slots():
        values: Mapping[str, float] = {
            "sessions": 1.0,
            "session_subagents_max": book.subagents[slot],
            "session_cost_max": book.cost[slot],
        }
        yield gauge_labels(metric, book.project[slot], None), float(values[metric.reading])


def _has_no_result(metric: Gauge, flight: Flight) -> bool:
    """False for a row that only waits for its session's row."""
    table = metric.table
    if table is None or table.final_when is None:
        return True
    place = next(1 + n for n, column in enumerate(table.columns) if column.name == table.final_when)
    return flight.row[place] is None


def _admitted(state: State, metric: Gauge, labels: Labels) -> Labels:
    return tuple(
        text if label.closed or text == UNKNOWN or text in state.admitted.get(label.pool, ()) else OTHER
        for label, text in zip(metric.labels, labels, strict=True)
    )

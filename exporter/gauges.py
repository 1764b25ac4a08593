"""Gauges read off the state: what is open, in flight, in mutable tables, in the ledger, and how current it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.budgets import Standing
from exporter.context import Rules
from exporter.labels import row_labels
from exporter.ledger import READ, Sums
from exporter.models import POOL
from exporter.series import Labels
from exporter.spec import OTHER, UNKNOWN, Current, Flag, Gauge, Label, Metric, Number, Schema, Table
from exporter.state import Flight, Row, State
from exporter.values import label_text, numbers, parse_time

Readings = dict[str, dict[Labels, float]]
"""Values by metric and labels."""

_MAXIMA = ("session_subagents_max", "session_cost_max", "in_flight_oldest")
_COUNTS = ("sessions", "in_flight")
_OF_TIME = ("ledger", "ledger_median", "period_start", "period_end")
OF_BUDGETS = {
    "budget_limit": "limit",
    "budget_spent": "spent",
    "budget_projected": "projected",
    "budget_start": "start",
    "budget_end": "end",
}
"""What of a budget's standing each reading shows."""


@dataclass(frozen=True, slots=True)
class Health:
    """What the poller knows of the source; None where it is not known yet."""

    up: bool
    last_success: float | None = None
    lag_rows: int | None = None


def read_health(metrics: Iterable[Metric], health: Health) -> Readings:
    """The gauges that say how the source is doing; one without a value is not in it."""
    single = {"up": float(health.up), "last_success": health.last_success, "lag": health.lag_rows}
    return {
        metric.name: {(): float(value)}
        for metric in metrics
        if isinstance(metric, Gauge) and (value := single.get(metric.reading)) is not None
    }


def read_state(state: State, schema: Schema, rules: Rules) -> Readings:
    """The gauges' values as the state has them; a gauge without a value is empty."""
    return {
        metric.name: _read(state, schema, metric, rules)
        for metric in schema.metrics
        if isinstance(metric, Gauge) and not _is_of_calendar(metric)
    }


def _is_of_calendar(metric: Gauge) -> bool:
    return metric.reading in _OF_TIME or metric.reading in OF_BUDGETS


def _read(state: State, schema: Schema, metric: Gauge, rules: Rules) -> dict[Labels, float]:
    match metric.reading:
        case "up" | "last_success" | "lag":
            return {}
        case "counting_since":
            return {} if state.counting_since is None else {(): state.counting_since}
        case "last_event":
            times = ((name, table.newest_time) for name, table in state.tables.items())
            return {(name,): time for name, time in times if time is not None}
        case "model_info":
            return _model_info(state, schema, rules)
        case "current":
            return _of_current(state, metric, rules)
    return _of_rows(state, metric, rules)


# ── sessions and rows in flight ──────────────────────────────────────────────────────────────────────────────


def _of_rows(state: State, metric: Gauge, rules: Rules) -> dict[Labels, float]:
    found = _known(state, metric)
    for labels, value in _items(state, metric, rules):
        admitted = _admitted(state, metric, labels)
        if metric.reading in _COUNTS:
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


def _items(state: State, metric: Gauge, rules: Rules) -> Iterator[tuple[Labels, float]]:
    """One value for each open session, or for each row in flight."""
    if not metric.reading.startswith("in_flight"):
        yield from _sessions(state, metric, rules)
    elif metric.table is not None and metric.table.name in state.tables:
        for flight in state.tables[metric.table.name].flights.values():
            if _has_no_result(metric, flight):
                raw = _raw(metric.table, flight.row)
                value = flight.time if metric.reading == "in_flight_oldest" else _counted_as(metric, raw)
                yield row_labels(metric.values, metric.labels, rules.models, flight.project or UNKNOWN, raw), value


def _counted_as(metric: Gauge, raw: Mapping[str, object]) -> float:
    """What a row in flight adds to a gauge: 1, or its column's value, 0 where that cannot be used."""
    if metric.table is None or not metric.column:
        return 1.0
    return _amount(metric.table, raw, metric.column, 0.0)


def _sessions(state: State, metric: Gauge, rules: Rules) -> Iterator[tuple[Labels, float]]:
    book = state.sessions
    for slot in book.slots():
        values: Mapping[str, float] = {
            "sessions": 1.0,
            "session_subagents_max": book.subagents[slot],
            "session_cost_max": book.cost[slot],
        }
        labels = row_labels(metric.values, metric.labels, rules.models, book.project[slot], {})
        yield labels, float(values[metric.reading])


def _has_no_result(metric: Gauge, flight: Flight) -> bool:
    """False for a row that only waits for its session's row."""
    table = metric.table
    if table is None or table.final_when is None:
        return True
    place = next(1 + n for n, column in enumerate(table.columns) if column.name == table.final_when)
    return flight.row[place] is None


def _raw(table: Table, row: Row) -> dict[str, object]:
    return {column.name: row[1 + n] for n, column in enumerate(table.columns)}


def _admitted(state: State, metric: Gauge, labels: Labels) -> Labels:
    return tuple(
        text if label.closed or text == UNKNOWN or text in state.admitted.get(label.pool, ()) else OTHER
        for label, text in zip(metric.labels, labels, strict=True)
    )


# ── mutable tables ───────────────────────────────────────────────────────────────────────────────────────────


def admit_current(state: State, schema: Schema, rules: Rules) -> None:
    """Admit the label values of what gauges read of mutable tables now."""
    for metric in schema.metrics:
        if isinstance(metric, Gauge):
            for current in metric.of:
                for labels, _ in _current(state, metric, current, rules):
                    _admit(state, metric.labels, labels, rules)


def _admit(state: State, of: Iterable[Label], labels: Labels, rules: Rules) -> None:
    for label, text in zip(of, labels, strict=True):
        if not label.closed:
            state.admit(label.pool, text, rules.caps.label_values)


def _of_current(state: State, metric: Gauge, rules: Rules) -> dict[Labels, float]:
    found: dict[Labels, float] = {}
    for current in metric.of:
        for labels, value in _current(state, metric, current, rules):
            admitted = _admitted(state, metric, labels)
            if current.newest_per is None:
                found[admitted] = found.get(admitted, 0.0) + (value or 0.0)
            elif value is not None and OTHER not in admitted:
                found[admitted] = value
    return found


def _current(state: State, metric: Gauge, current: Current, rules: Rules) -> Iterator[tuple[Labels, float | None]]:
    """Labels and value of the rows that count; None where no column has a usable value."""
    rows = [
        (row_labels(current.labels, metric.labels, rules.models, project, raw), raw)
        for project, raw in _current_rows(state, current.table)
    ]
    if current.newest_per is not None:
        rows = _newest(rows, [metric.label_names.index(name) for name in current.newest_per])
    if current.most is not None:
        rows = _highest(current, metric, rows)
    for labels, raw in rows:
        values = [_number(current.table, raw, name) for name in current.value]
        usable = [value for value in values if value is not None]
        yield labels, sum(usable) if usable else None


def _highest(
    current: Current, metric: Gauge, rows: list[tuple[Labels, dict[str, object]]]
) -> list[tuple[Labels, dict[str, object]]]:
    """The rows with the highest values, those without one last; equal ones by the labels that tell rows apart."""
    column, most = current.most or ("", 0)
    places = [metric.label_names.index(name) for name in current.newest_per or metric.label_names]

    def order(item: tuple[Labels, dict[str, object]]) -> tuple[float, Labels]:
        labels, raw = item
        return -_amount(current.table, raw, column, -float("inf")), tuple(labels[place] for place in places)

    return sorted(rows, key=order)[:most]


def _current_rows(state: State, table: Table) -> Iterator[tuple[str, dict[str, object]]]:
    """The rows of a table, the newest first, or those of open sessions, each with its project."""
    for row in state.current.get(table.name, ()):
        yield UNKNOWN, _raw(table, row)
    found = state.of_sessions.get(table.name, {})
    for slot, rows in zip(state.sessions.find(list(found)), found.values(), strict=True):
        if slot >= 0:
            for row in rows:
                yield state.sessions.project[slot], _raw(table, row)


def _newest(
    rows: Iterable[tuple[Labels, dict[str, object]]], places: Sequence[int]
) -> list[tuple[Labels, dict[str, object]]]:
    """The first of the rows that agree in the labels at these places."""
    first: dict[Labels, tuple[Labels, dict[str, object]]] = {}
    for labels, raw in rows:
        first.setdefault(tuple(labels[place] for place in places), (labels, raw))
    return list(first.values())


def _number(table: Table, raw: Mapping[str, object], name: str) -> float | None:
    """A column's usable number; a flag is 1 or 0."""
    declared, value = table.column(name), raw[name]
    if isinstance(declared, Flag):
        return float(value) if isinstance(value, int | float) and value in (0, 1) else None
    assert isinstance(declared, Number)  # noqa: S101 - held by the declarations
    return numbers([value], minimum=declared.minimum, maximum=declared.maximum)[0][0]


def _amount(table: Table, raw: Mapping[str, object], name: str, otherwise: float) -> float:
    value = _number(table, raw, name)
    return otherwise if value is None else value


def _model_info(state: State, schema: Schema, rules: Rules) -> dict[Labels, float]:
    vendors = dict(state.vendors)
    for model, time, vendor in _vendor_rows(state, schema, rules):
        if vendor != UNKNOWN and (model not in vendors or time >= vendors[model][0]):
            vendors[model] = (time, vendor)
    models = [model for model in state.admitted.get(POOL, ()) if model not in (UNKNOWN, OTHER)]
    configured = rules.models.vendors
    return {
        (model, configured.get(model) or vendors.get(model, (0.0, UNKNOWN))[1], rules.models.tier(model)): 1.0
        for model in models
    }


def _vendor_rows(state: State, schema: Schema, rules: Rules) -> Iterator[tuple[str, float, str]]:
    """Model, time and vendor of the rows of mutable tables that name one, the oldest first."""
    for table in schema.newest:
        for _, raw in reversed(list(_current_rows(state, table) if table.vendor else ())):
            model, vendor = (label_text(raw[name] or None)[0] for name in table.vendor or ())
            time = parse_time(raw[table.time], now=float("inf"), zone=rules.zone)
            yield rules.models.name(model), 0.0 if time is None else time, vendor


# ── the ledger and budgets ───────────────────────────────────────────────────────────────────────────────────


def read_calendar(state: State, schema: Schema, rules: Rules, budgets: Mapping[str, Standing], now: float) -> Readings:
    """The gauges of the ledger and of ``budgets``, by name, as of Unix time ``now``."""
    gauges = [metric for metric in schema.metrics if isinstance(metric, Gauge) and _is_of_calendar(metric)]
    if not gauges:
        return {}
    spans = rules.calendar.periods(now)
    of_ledger = any(metric.reading == "ledger" for metric in gauges)
    sums = {period: state.ledger.sums(span) for period, span in spans.items()} if of_ledger else {}
    found: Readings = {}
    for metric in gauges:
        match metric.reading:
            case "ledger":
                found[metric.name] = _of_ledger(state, sums, READ.index(metric.column))
            case "ledger_median":
                medians = state.ledger.daily_medians(rules.calendar.day(now))
                found[metric.name] = {(project,): value for project, value in medians.items()}
            case "period_start":
                found[metric.name] = {(period,): span.start for period, span in spans.items()}
            case "period_end":
                found[metric.name] = {(period,): span.end for period, span in spans.items()}
            case reading:
                found[metric.name] = _of_budgets(budgets, OF_BUDGETS[reading])
    return found


def _of_ledger(state: State, sums: Mapping[str, Sums], column: int) -> dict[Labels, float]:
    nothing = [0.0] * len(READ)
    return {
        (project, period): found.get(project, nothing)[column]
        for project in state.ledger.projects()
        for period, found in sums.items()
    }


def _of_budgets(budgets: Mapping[str, Standing], what: str) -> dict[Labels, float]:
    values = ((name, getattr(found, what)) for name, found in budgets.items())
    return {(name,): value for name, value in values if value is not None}

"""What of the declarations is needed to make the numbers of some metrics: the rest is neither read nor counted."""

from __future__ import annotations

from dataclasses import replace

from exporter.gauges import OF_BUDGETS
from exporter.spec import Gauge, Histogram, Metric, Schema

_OF_LEDGER = {"ledger", "ledger_median", *OF_BUDGETS}
_OF_ALL_TABLES = {"sessions", "session_subagents_max", "session_cost_max", "last_event", "model_info"}
"""What any table's rows may change: they are their sessions' activity."""


def needed(schema: Schema, metrics: tuple[Metric, ...]) -> Schema:
    """The declarations by which these metrics come out the same; histograms are without exemplars: blocks have none.

    What is rejected or folded depends on everything that is counted, so with those counters it is all of them.
    """
    names = {metric.name for metric in metrics}
    if names & {schema.own.rejected.name, schema.own.overflow.name}:
        return replace(schema, metrics=_plain(schema.metrics))
    gauges = [metric for metric in metrics if isinstance(metric, Gauge)]
    names |= {metric.known_by.name for metric in gauges if metric.known_by is not None}
    ledger = schema.ledger if any(metric.reading in _OF_LEDGER for metric in gauges) else None
    chosen = tuple(metric for metric in schema.metrics if metric.name in names)
    return replace(schema, metrics=_plain(chosen), ledger=ledger)


def _plain(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    return tuple(replace(metric, exemplars=False) if isinstance(metric, Histogram) else metric for metric in metrics)


def tables(schema: Schema) -> frozenset[str]:
    """The names of the tables that the metrics are made of, and of that of the sessions, whose projects they have."""
    own, escalation = schema.own, schema.escalation
    counters = {own.rows_read.name, own.late_rows.name, own.rewinds.name, own.uncertain.name, own.dropped.name}
    names = {feed.table.name for metric in schema.counted for feed in metric.feeds}
    gauges = [metric for metric in schema.metrics if isinstance(metric, Gauge)]
    of_sessions = {schema.ends.name, *(table.name for table in schema.tables if table.is_sessions)}
    if (
        counters.intersection(metric.name for metric in schema.metrics)
        or any(metric.reading in _OF_ALL_TABLES for metric in gauges)
        or names & of_sessions
    ):
        return frozenset(table.name for table in schema.tables)
    names |= {metric.table.name for metric in gauges if metric.table is not None}
    if escalation.found.name in names:
        names.add(escalation.table.name)
    return frozenset(table.name for table in schema.tables if table.name in names or table.is_sessions)

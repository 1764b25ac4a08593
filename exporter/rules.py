"""From settings to what the counting is done by: the schema with dropped labels, and the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from exporter.config import Settings
from exporter.context import Rules
from exporter.groups import Caps
from exporter.labels import without_label
from exporter.spec import Counter, Gauge, Metric, Schema, Table


def schema_of(settings: Settings, schema: Schema) -> Schema:
    """The schema without the labels that the settings drop.

    Raises:
        SpecError: a metric or label to drop is not there, or cannot be dropped.
    """
    dropped = settings.labels.drop
    metrics = {metric.name: _without(metric, dropped.get(metric.name, ())) for metric in schema.metrics}
    return schema.only(_knowing(metric, metrics) for metric in metrics.values())


def _knowing(metric: Metric, metrics: Mapping[str, Metric]) -> Metric:
    """A gauge that shows 0 under a counter's label sets goes by those it has left, if they tell."""
    if not isinstance(metric, Gauge) or metric.known_by is None:
        return metric
    known_by = metrics[metric.known_by.name]
    if not isinstance(known_by, Counter) or not set(metric.label_names) <= set(known_by.label_names):
        return replace(metric, known_by=None)
    return replace(metric, known_by=known_by)


def _without(metric: Metric, labels: tuple[str, ...]) -> Metric:
    for label in labels:
        metric = without_label(metric, label)
    return metric


def rules_of(settings: Settings, *, patient: bool = True) -> Rules:
    """The rules of counting that the settings make."""
    return Rules(
        idle_timeout_s=settings.session_idle_timeout,
        in_flight_timeout_s=settings.in_flight_timeout,
        max_in_flight=settings.max_in_flight,
        zone=zone_of(settings.naive_time_zone),
        caps=Caps(settings.max_label_values, settings.max_series_per_metric),
        patient=patient,
    )


def zone_of(name: str) -> tzinfo:
    """The time zone of that name; UTC as Python's own, which is quicker."""
    return UTC if name == "UTC" else ZoneInfo(name)


def fingerprint(metric: Metric, rules: Rules, tables: Sequence[Table]) -> str:
    """The digest of all that makes the metric's numbers: its declaration and, where it counts rows, the rules.

    What sessions add up from their events makes the metrics of their ends.
    """
    if not metric.feeds:
        return metric.fingerprint()
    of_ends = any(feed.table.virtual for feed in metric.feeds)
    tallies = [table.tally for table in tables] if of_ends else []
    timeouts = (rules.idle_timeout_s, rules.in_flight_timeout_s)
    made_by = (timeouts, str(rules.zone), repr(rules.caps), repr(tallies))
    return metric.fingerprint(made_by=made_by)

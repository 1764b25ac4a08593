"""How many series and samples there would be: the forecast of `check --cardinality`, from the data there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from exporter.config import Settings, SourceSettings
from exporter.gauges import Health
from exporter.once import FullRead, read_all
from exporter.publisher import Publisher
from exporter.series import Buckets
from exporter.source import Source
from exporter.spec import OTHER, Histogram, Metric, Schema


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one metric comes to: label sets, samples (the lines of a scrape), and what was capped."""

    metric: str
    label_sets: int
    samples: int
    capped: str = ""


async def forecast(*, settings: Settings, of: SourceSettings, schema: Schema, source: Source) -> list[str]:
    """A table of one source's metrics, those of most samples first, and their sum. Nothing is kept.

    Raises:
        SourceError: the source cannot be read.
    """
    read = await read_all(settings=settings, of=of, schema=schema, source=source, now=None)
    publisher = Publisher(read.schema, read.rules, source.name, of.labels)
    publisher.note(read.state)
    publisher.show(read.state, read.at)
    samples = publisher.publish(Health(True, read.at, read.lag)).samples
    found = list(_forecasts(read, samples))
    return list(_table(sorted(found, key=lambda one: (-one.samples, one.metric)), source.name))


def _forecasts(read: FullRead, samples: Mapping[str, int]) -> Iterator[Forecast]:
    overflown = _overflown(read)
    for metric in read.schema.metrics:
        if count := samples.get(metric.name, 0):
            sets = count // _height(metric)
            yield Forecast(metric.name, sets, count, _capped(read, metric, sets, overflown.get(metric.name, {})))


def _height(metric: Metric) -> int:
    """Samples of one label set."""
    if not isinstance(metric, Histogram):
        return 1
    return len(metric.buckets) + (3 if metric.buckets[0] >= 0 else 1)


def _overflown(read: FullRead) -> dict[str, dict[str, int]]:
    """By metric and label the rows whose value was folded."""
    found: dict[str, dict[str, int]] = {}
    for (metric, label), cell in read.state.series.get(read.schema.own.overflow.name, {}).items():
        if not isinstance(cell, Buckets) and cell.value:
            found.setdefault(metric, {})[label] = int(cell.value)
    return found


def _capped(read: FullRead, metric: Metric, sets: int, overflown: Mapping[str, int]) -> str:
    """Which caps the metric has reached."""
    caps = read.rules.caps
    lines = [f"max_series_per_metric {caps.series:,} reached"] if overflown and sets >= caps.series else []
    for label in metric.labels:
        values = len([text for text in read.state.admitted.get(label.pool, ()) if text != OTHER])
        if label.name in overflown:
            lines.append(f"{label.name}: more than its {values:,} values, {overflown[label.name]:,} rows as {OTHER}")
        elif not label.closed and values >= caps.label_values:
            lines.append(f"{label.name}: has the {values:,} values it may have")
    return "; ".join(lines)


def _table(found: list[Forecast], source: str) -> Iterator[str]:
    sets, samples = sum(one.label_sets for one in found), sum(one.samples for one in found)
    yield f"{'samples':>10} {'label sets':>10}  metric"
    for one in found:
        yield f"{one.samples:>10,} {one.label_sets:>10,}  {one.metric}{f' ({one.capped})' if one.capped else ''}"
    yield f"{samples:>10,} {sets:>10,}  all of source {source}"

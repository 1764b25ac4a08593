"""The user's own tables: from settings to declarations, and the rules that hold between their values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from math import prod

from exporter.models import POOL
from exporter.options import NOTHING, did_you_mean
from exporter.spec import (
    UNKNOWN,
    Col,
    Column,
    Counter,
    Current,
    Feed,
    Gauge,
    Histogram,
    Json,
    Label,
    LabelValue,
    Metric,
    Number,
    OneOf,
    Schema,
    Table,
    Text,
    Time,
)
from exporter.tablesettings import (
    OwnCounterSettings,
    OwnGaugeSettings,
    OwnHistogramSettings,
    OwnLabelSettings,
    TableSettings,
)
from exporter.values import label_text
from exporter.yamlfile import Path as KeyPath

MetricSettings = OwnCounterSettings | OwnHistogramSettings | OwnGaugeSettings

RESERVED = frozenset(("source", "le", "quantile", "job", "instance"))
"""Labels that the exporter, the formats or Prometheus give."""
_MAX_BORN = 1_000
"""Counters that one row makes, for all the values of closed labels together."""
_PREFIXES = ("orchestration_", "process_", "python_", "scrape_", "go_")
# what promlint says of names: https://github.com/prometheus/client_golang/tree/main/prometheus/testutil/promlint
_TYPES = ("counter", "gauge", "histogram", "summary")
_SUFFIXES = ("_total", "_count", "_sum", "_bucket", "_created", "_info")
_BASE_UNITS = {
    **dict.fromkeys(("milliseconds", "microseconds", "nanoseconds", "minutes", "hours", "days", "weeks"), "seconds"),
    **dict.fromkeys(("s", "ms", "us", "ns", "sec", "secs", "m", "h", "d"), "seconds"),
    **dict.fromkeys(("kilobytes", "megabytes", "gigabytes", "terabytes", "kibibytes", "mebibytes"), "bytes"),
    **dict.fromkeys(("b", "kb", "mb", "gb", "tb", "kib", "mib", "gib", "bits"), "bytes"),
    **dict.fromkeys(("percent", "percents", "percentage", "pct"), "ratio"),
    **dict.fromkeys(("cents", "dollars"), "usd"),
}


# ── declarations ─────────────────────────────────────────────────────────────────────────────────────────────


def extended(schema: Schema, tables: Iterable[TableSettings], source: str | None) -> Schema:
    """The schema with the user's own tables that the source has; with those of all sources where it is None."""
    own = [_Declared(settings) for settings in tables if source is None or settings.source in (None, source)]
    if not own:
        return schema
    counted = tuple(found.table for found in own if found.settings.is_counted)
    newest = tuple(found.table for found in own if found.reads_newest)
    named = tuple(dict.fromkeys(table.label for table in counted))
    health = {metric.name: _with_tables(metric, named) for metric in schema.metrics if not metric.feeds}
    return replace(
        schema,
        tables=(*schema.tables, *counted),
        newest=(*schema.newest, *newest),
        metrics=(*(health.get(metric.name, metric) for metric in schema.metrics), *metrics_of(own)),
    )


def own_metrics(tables: Iterable[TableSettings]) -> tuple[Metric, ...]:
    """The metrics of these tables."""
    return metrics_of(_Declared(settings) for settings in tables)


def metrics_of(own: Iterable[_Declared]) -> tuple[Metric, ...]:
    """The metrics of these tables, in the order of the configuration."""
    return tuple(chain.from_iterable(found.metrics() for found in own))


def _with_tables(metric: Metric, names: Sequence[str]) -> Metric:
    """A metric of the exporter on its tables, with these among them."""
    labels = tuple(
        replace(label, closed=(*label.closed, *names)) if label.name == "table" and label.closed else label
        for label in metric.labels
    )
    return metric if labels == metric.labels else replace(metric, labels=labels)


class _Declared:
    """One table of the settings as it is declared, with the metrics made from it."""

    def __init__(self, settings: TableSettings) -> None:
        self.settings = settings
        self.labels = {name: _label(settings.table, name, of) for name, of in settings.labels.items()}
        self.values = {name: _label_value(of) for name, of in settings.labels.items()}
        self.table = Table(
            settings.table,
            tuple(_columns(settings)),
            time=settings.time or "",
            identity=settings.identity if settings.is_counted else (),
            session=None,
            final_when=settings.final_when,
            cursor=settings.cursor,
            append_only=settings.append_only,
            own=True,
            given=_given(settings),
        )

    @property
    def reads_newest(self) -> bool:
        """Whether a gauge reads its newest rows."""
        return any(gauge.reading == "newest" for gauge in self.settings.gauges)

    def metrics(self) -> Iterator[Metric]:
        """Its metrics."""
        settings = self.settings
        counters = [
            Counter(of.name, of.help, self._labels(of), (self._feed(of, _value(of)),)) for of in settings.counters
        ]
        yield from counters
        for histogram in settings.histograms:
            feed = self._feed(histogram, _value(histogram))
            yield Histogram(histogram.name, histogram.help, self._labels(histogram), (feed,), buckets=histogram.buckets)
        for gauge in settings.gauges:
            yield self._newest(gauge) if gauge.reading == "newest" else self._open(gauge, counters)

    def _labels(self, of: MetricSettings) -> tuple[Label, ...]:
        return tuple(self.labels[name] for name in of.labels)

    def _feed(self, of: MetricSettings, value: str | None) -> Feed:
        return Feed(self.table, self._values(of), value)

    def _values(self, of: MetricSettings) -> dict[str, LabelValue]:
        return {name: self.values[name] for name in of.labels}

    def _newest(self, of: OwnGaugeSettings) -> Gauge:
        current = Current(self.table, self._values(of), (_value(of) or "",), newest_per=of.labels)
        return Gauge(of.name, of.help, self._labels(of), reading="current", of=(current,))

    def _open(self, of: OwnGaugeSettings, counters: Iterable[Counter]) -> Gauge:
        known_by = next(counter for counter in counters if set(of.labels) <= set(counter.label_names))
        return Gauge(
            of.name,
            of.help,
            self._labels(of),
            reading="in_flight",
            table=self.table,
            values=self._values(of),
            known_by=known_by,
            column=_value(of) or "",
        )


def _label(table: str, name: str, of: OwnLabelSettings) -> Label:
    """Its vocabulary is the table's own, but that of models is everybody's."""
    closed = tuple(dict.fromkeys((*(label_text(value)[0] for value in of.values), UNKNOWN))) if of.values else ()
    return Label(name, "" if name == POOL and not closed else f"{table}.{name}", closed)


def _label_value(of: OwnLabelSettings) -> LabelValue:
    column = f"{of.column} at {of.path}" if of.path else of.column
    return OneOf(column, tuple(label_text(value)[0] for value in of.values)) if of.values else Col(column)


def _value(of: MetricSettings) -> str | None:
    """The name under which the metric's column is declared; another metric may want other limits of it."""
    return None if of.value is None else f"{of.value} from {of.minimum!r} to {of.maximum!r} by {of.scale!r}"


def _columns(settings: TableSettings) -> Iterator[Column]:
    """The columns that are read, each kind of reading once."""
    texts = [*settings.identity, *([settings.final_when] if settings.final_when else [])]
    texts += [of.column for of in settings.labels.values() if of.path is None]
    if settings.time:
        yield Time(settings.time)
    for name in dict.fromkeys(texts):
        if name != settings.time:
            yield Text(name)
    found: dict[str, Column] = {}
    for of in settings.labels.values():
        if of.path is not None:
            name = f"{of.column} at {of.path}"
            found[name] = Json(name, of.column, of.path)
    for _, metric in _metrics(settings):
        name = _value(metric) or ""
        if metric.value is not None:
            found[name] = Number(name, metric.maximum, metric.minimum, metric.value, metric.scale)
    yield from found.values()


def _given(settings: TableSettings) -> dict[str, str]:
    """Where the configuration names a column first; under the empty string, the table."""
    uses: list[tuple[KeyPath, str | None]] = [(("table",), ""), (("cursor",), settings.cursor)]
    uses += [(("time",), settings.time), (("final_when",), settings.final_when)]
    uses += [(("identity", at), name) for at, name in enumerate(settings.identity)]
    uses += [(("labels", name, "column"), of.column) for name, of in settings.labels.items()]
    uses += [((*path, "value"), metric.value) for path, metric in _metrics(settings)]
    found: dict[str, str] = {}
    for path, name in uses:
        if name is not None and path in settings.given:
            found.setdefault(name, settings.given[path])
    return found


def _metrics(settings: TableSettings) -> Iterator[tuple[KeyPath, MetricSettings]]:
    """Its metrics, each with the path of its keys."""
    for kind in ("counters", "histograms", "gauges"):
        for at, metric in enumerate(getattr(settings, kind)):
            yield (kind, at), metric


# ── rules ────────────────────────────────────────────────────────────────────────────────────────────────────


class TableRuleError(Exception):
    """What a rule refuses: the path of the key, its value and the rule."""

    def __init__(self, path: KeyPath, value: object, rule: str) -> None:
        super().__init__(rule)
        self.path, self.value, self.rule = path, value, rule


def check(
    tables: Sequence[TableSettings], metrics: Iterable[Metric], *, sources: Collection[str], constants: Collection[str]
) -> None:
    """Hold the tables to the rules, beside the catalogue's ``metrics``.

    ``sources`` are the names there are, ``constants`` the labels that their series carry.

    Raises:
        TableRuleError: one breaks a rule; its path begins at the top of the configuration.
    """
    catalogue = tuple(metrics)
    platform = {name.lower() for name in _tables_of(catalogue)}
    families = {_family(metric.name): "a metric of the exporter" for metric in catalogue}
    seen: dict[str, int] = {}
    for at, settings in enumerate(tables):
        try:
            _check_table(settings, platform, seen, at)
            _check_source(settings, sources)
            _check_labels(settings, constants)
            for path, metric in _metrics(settings):
                _check_name((*path, "name"), metric, families)
                _check_metric(path, metric, settings)
            _check_all_used(settings)
        except TableRuleError as wrong:
            raise TableRuleError(("tables", at, *wrong.path), wrong.value, wrong.rule) from None


def _tables_of(metrics: Iterable[Metric]) -> Iterator[str]:
    for metric in metrics:
        yield from (feed.table.name for feed in metric.feeds)
        if isinstance(metric, Gauge):
            yield from (current.table.name for current in metric.of)
            yield from [metric.table.name] if metric.table else []


def _check_table(settings: TableSettings, platform: Collection[str], seen: dict[str, int], at: int) -> None:
    name = settings.table.lower()
    if name in platform:
        raise TableRuleError(("table",), settings.table, "is one of the platform's tables, which are read as they are")
    if name.startswith("sqlite_"):
        raise TableRuleError(("table",), settings.table, "must not be one of SQLite's own tables")
    if (other := seen.setdefault(name, at)) != at:
        raise TableRuleError(("table",), settings.table, f"is the table of tables[{other}] already")
    if not list(_metrics(settings)):
        raise TableRuleError((), settings.table, "needs at least one of counters, histograms and gauges")
    for key in ("time", "identity") if settings.is_counted else ():
        if not getattr(settings, key):
            raise TableRuleError((key,), NOTHING, "is required where rows are counted")
    if len(set(settings.identity)) < len(settings.identity):
        raise TableRuleError(("identity",), settings.identity, "must not name a column twice")


def _check_source(settings: TableSettings, sources: Collection[str]) -> None:
    if settings.source is not None and sources and settings.source not in sources:
        raise TableRuleError(("source",), settings.source, f"no such source{did_you_mean(settings.source, sources)}")


def _check_labels(settings: TableSettings, constants: Collection[str]) -> None:
    for name, of in settings.labels.items():
        if name in RESERVED:
            raise TableRuleError(("labels", name), name, "is taken: give the label another name")
        if name in constants:
            raise TableRuleError(
                ("labels", name), name, "is a constant label of the sources: give the label another name"
            )
        if len(set(of.values)) < len(of.values):
            raise TableRuleError(("labels", name, "values"), of.values, "must not have a value twice")


def _check_name(path: KeyPath, metric: MetricSettings, families: dict[str, str]) -> None:
    """Hold a metric's name to what Prometheus and promlint ask for, and to be nobody else's."""
    name, family = metric.name, _family(metric.name)
    if isinstance(metric, OwnCounterSettings) is not name.endswith("_total"):
        rule = "must end in _total, for it is a counter's" if family == name else "must not end in _total: no counter"
        raise TableRuleError(path, name, rule)
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            raise TableRuleError(path, name, f"must not begin with {prefix}")
    for suffix in _SUFFIXES:
        if family.endswith(suffix):
            raise TableRuleError(path, name, f"must not have {suffix} at its end")
    for part in name.split("_")[1:]:
        if part in _TYPES:
            raise TableRuleError(path, name, f"must not name its type: {part}")
        if part in _BASE_UNITS:
            rule = f"must be in base units: {_BASE_UNITS[part]} rather than {part} (scale converts)"
            raise TableRuleError(path, name, rule)
    if family in families:
        raise TableRuleError(path, name, f"is {families[family]} already")
    families[family] = "the name of another metric"


def _family(name: str) -> str:
    """What OpenMetrics calls a metric's family."""
    return name.removesuffix("_total")


def _check_metric(path: KeyPath, metric: MetricSettings, settings: TableSettings) -> None:
    for at, name in enumerate(metric.labels):
        if name not in settings.labels:
            hint = did_you_mean(name, settings.labels) or f": it has {', '.join(settings.labels) or 'none'}"
            raise TableRuleError((*path, "labels", at), name, f"no such label of the table{hint}")
        if name in metric.labels[:at]:
            raise TableRuleError((*path, "labels", at), name, "must not be given twice")
    if metric.minimum >= metric.maximum:
        raise TableRuleError((*path, "minimum"), metric.minimum, f"must be less than maximum: {metric.maximum:g}")
    if isinstance(metric, OwnCounterSettings):
        _check_counter(path, metric, settings)
    if isinstance(metric, OwnHistogramSettings) and metric.minimum < 0 <= metric.buckets[0]:
        rule = "must be at least 0 where no bucket is below: else the sum of the values could fall"
        raise TableRuleError((*path, "minimum"), metric.minimum, rule)
    if isinstance(metric, OwnGaugeSettings):
        _check_gauge(path, metric, settings)


def _check_counter(path: KeyPath, metric: OwnCounterSettings, settings: TableSettings) -> None:
    if metric.minimum < 0:
        raise TableRuleError((*path, "minimum"), metric.minimum, "must be at least 0: a counter never falls")
    born = prod(len(settings.labels[name].values) + 1 for name in metric.labels)
    if born > _MAX_BORN:
        rule = f"must not have over {_MAX_BORN:,} combinations of values that are given: {born:,}"
        raise TableRuleError((*path, "labels"), metric.labels, rule)


def _check_gauge(path: KeyPath, metric: OwnGaugeSettings, settings: TableSettings) -> None:
    if metric.reading == "newest":
        if metric.value is None:
            raise TableRuleError((*path, "value"), NOTHING, "is required where the newest row is read")
        return
    if settings.final_when is None:
        raise TableRuleError((*path, "reading"), metric.reading, "needs final_when in the table: else no row is open")
    if not any(set(metric.labels) <= set(counter.labels) for counter in settings.counters):
        rule = "needs a counter of the table that has these labels, too: it says where 0 is open"
        raise TableRuleError((*path, "labels"), metric.labels, rule)


def _check_all_used(settings: TableSettings) -> None:
    used = {name for _, metric in _metrics(settings) for name in metric.labels}
    for name in settings.labels:
        if name not in used:
            raise TableRuleError(("labels", name), name, "is a label of none of the table's metrics")

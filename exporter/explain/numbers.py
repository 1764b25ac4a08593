"""The exporter's number: the series that a selector matches, in its checkpoint or in one full read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from exporter import gauges
from exporter.budgets import standing
from exporter.config import ConfigError
from exporter.explain.selector import Selector, SelectorError, parse
from exporter.explain.sql import Facts
from exporter.options import NOTHING, OperationError, did_you_mean
from exporter.series import Buckets, Labels, Series
from exporter.spec import Counter, Gauge, Histogram, Metric, Schema
from exporter.state import State
from exporter.telemetry import DECLARATIONS

ARGUMENT = "METRIC"
MOST_SHOWN = 20
_PARTS = ("bucket", "sum", "count")
_PROCESS = ("process_", "python_")


class ExplainError(OperationError):
    """A number that is there and has no SQL, or cannot be had: one line."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A metric, and the labels that its series must have; of a histogram one of its lines.

    ``outer`` are the labels that say which source it is: ``source`` and the constant ones.
    """

    metric: Metric
    labels: Mapping[str, str]
    outer: Mapping[str, str] = field(default_factory=dict)
    part: str = ""
    bound: float = float("inf")


def understood(text: str, schema: Schema, constants: Iterable[str]) -> Wanted:
    """What a person's selector asks for.

    Raises:
        ConfigError: it is no selector, or there is no such metric or label.
        ExplainError: the metric is not made from a source.
    """
    try:
        selector = parse(text)
    except SelectorError as exc:
        raise ConfigError(ARGUMENT, text, str(exc)) from None
    metric, part = _metric(selector, schema)
    outer = {name: value for name, value in selector.labels.items() if name in ("source", *constants)}
    labels = {name: value for name, value in selector.labels.items() if name not in outer}
    known = (*metric.label_names, *(["le"] if part == "bucket" else []))
    for name in labels:
        if name not in known:
            hint = did_you_mean(name, known) or f": it has {', '.join(known) or 'none'}"
            raise ConfigError(f"label of {metric.name}", name, f"no such label{hint}")
    bound = _bound(metric, labels.pop("le", None)) if part == "bucket" else float("inf")
    for declared in metric.labels:
        if declared.closed and labels.get(declared.name, declared.closed[0]) not in declared.closed:
            rule = f"must be one of {', '.join(declared.closed)}"
            raise ConfigError(f"label {declared.name} of {metric.name}", labels[declared.name], rule)
    return Wanted(metric, labels, outer, part, bound)


def _metric(selector: Selector, schema: Schema) -> tuple[Metric, str]:
    metrics = {metric.name: metric for metric in schema.metrics}
    if selector.name in metrics:
        metric = metrics[selector.name]
        if isinstance(metric, Histogram):
            lines = ", ".join(f"{metric.name}_{part}" for part in _PARTS)
            raise ConfigError(ARGUMENT, selector.name, f"is a histogram: name one of its lines, {lines}")
        return metric, ""
    stem, _, part = selector.name.rpartition("_")
    if part in _PARTS and isinstance(metrics.get(stem), Histogram):
        return metrics[stem], part
    if selector.name.startswith(_PROCESS) or any(d.name in (selector.name, stem) for d in DECLARATIONS):
        raise ExplainError(f"{selector.name}: is of the exporter's process, and no SQL tells it")
    names = [f"{name}_{part}" for name, m in metrics.items() if isinstance(m, Histogram) for part in _PARTS]
    raise ConfigError(ARGUMENT, selector.name, f"no such metric{did_you_mean(selector.name, [*metrics, *names])}")


def _bound(metric: Metric, text: str | None) -> float:
    bounds = (*metric.buckets, float("inf")) if isinstance(metric, Histogram) else ()
    try:
        bound = float(text or "")
    except ValueError:
        bound = float("nan")
    if bound not in bounds:
        listed = ", ".join(repr(float(one)) for one in bounds[:-1])
        raise ConfigError(
            f"label le of {metric.name}", NOTHING if text is None else text, f"must be one of {listed}, +Inf"
        )
    return bound


# ── series ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Found:
    """The series that match, and what they come to; ``held`` of them are shown as 0 still."""

    series: tuple[Labels, ...]
    value: float
    held: int = 0


def found(facts: Facts, wanted: Wanted) -> Found:
    """The exporter's number.

    Raises:
        ConfigError: no series has those labels, or several of a gauge.
    """
    metric = wanted.metric
    values, held = _values(facts, wanted)
    if not values:
        raise ConfigError(ARGUMENT, shown(metric, wanted.labels), f"no such series{_hint(facts, wanted)}")
    if len(values) > 1 and isinstance(metric, Gauge):
        listed = "; ".join(
            shown(metric, dict(zip(metric.label_names, one, strict=True))) for one in sorted(values)[:MOST_SHOWN]
        )
        more = f"; and {len(values) - MOST_SHOWN} more" if len(values) > MOST_SHOWN else ""
        rule = f"must name one series, and {len(values)} match: {listed}{more}"
        raise ConfigError(ARGUMENT, shown(metric, wanted.labels), rule)
    return Found(tuple(sorted(values)), float(sum(values.values())), held)


def _values(facts: Facts, wanted: Wanted) -> tuple[dict[Labels, float], int]:
    metric, state = wanted.metric, facts.state
    if isinstance(metric, Gauge):
        return {labels: one for labels, one in _read(facts, metric).items() if _matches(metric, labels, wanted)}, 0
    series = {
        labels: one for labels, one in state.series.get(metric.name, {}).items() if _matches(metric, labels, wanted)
    }
    return {labels: _value(one, wanted) for labels, one in series.items()}, sum(not s.released for s in series.values())


def _matches(metric: Metric, labels: Labels, wanted: Wanted) -> bool:
    return all(wanted.labels.get(name, text) == text for name, text in zip(metric.label_names, labels, strict=True))


def _value(series: Series, wanted: Wanted) -> float:
    if not isinstance(series, Buckets):
        return series.value
    if wanted.part == "sum":
        return series.sum
    bounds = (*wanted.metric.buckets, float("inf")) if isinstance(wanted.metric, Histogram) else ()
    return float(sum(count for count, bound in zip(series.counts, bounds, strict=True) if bound <= wanted.bound))


def _read(facts: Facts, metric: Gauge) -> Mapping[Labels, float]:
    only = facts.schema.only([metric])
    budgets = {
        budget.name: standing(budget, facts.state.ledger, facts.rules.calendar, facts.now)
        for budget in facts.rules.budgets
        if not budget.shared
    }
    readings = gauges.read_state(facts.state, only, facts.rules)
    readings |= gauges.read_calendar(facts.state, only, facts.rules, budgets, facts.now)
    return readings.get(metric.name, {})


def _hint(facts: Facts, wanted: Wanted) -> str:
    """What may be meant by a label's value that no series has."""
    state: State = facts.state
    for declared in wanted.metric.labels:
        text = wanted.labels.get(declared.name)
        known = state.admitted.get(declared.pool, {})
        if text is None or declared.closed or text in known:
            continue
        if near := did_you_mean(text, known):
            return f" ({declared.name}{near.removeprefix(';')})"
        if len(known) >= facts.rules.caps.label_values:
            return f": {declared.name} has its {len(known)} values, others are counted as __other__"
    return ""


def shown(metric: Metric, labels: Mapping[str, str], suffix: str = "") -> str:
    """A series as PromQL writes it."""
    pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in sorted(labels.items()))
    return f"{metric.name}{suffix}{{{pairs}}}" if pairs else f"{metric.name}{suffix}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def is_explained(metric: Metric) -> bool:
    """Whether a number of the metric can be proved by SQL at all."""
    if isinstance(metric, Gauge):
        return metric.reading not in ("up", "counting_since", "last_success", "lag")
    return isinstance(metric, Counter | Histogram) and bool(metric.feeds)

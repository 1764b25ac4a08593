"""From a row's raw columns to label values: resolved, admitted, folded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from exporter.models import POOL, Models
from exporter.spec import (
    OTHER,
    UNKNOWN,
    Col,
    Const,
    Counter,
    FirstOf,
    Histogram,
    Is,
    Label,
    LabelValue,
    Metric,
    OneOf,
    Outcome,
    Part,
    Project,
    Schema,
    SpecError,
)
from exporter.values import label_text

Labels = tuple[str, ...]


class Candidates:
    """Label values that ask for admission during a scan, each with its newest event; the newest will be admitted."""

    MOST = 10_000

    def __init__(self) -> None:
        self.newest: dict[str, dict[str, float]] = {}

    def ask(self, pool: str, text: str) -> str:
        """``text``, or ``__other__`` where too many ask already."""
        values = self.newest.setdefault(pool, {})
        if text in values or text in (UNKNOWN, OTHER):
            return text
        if len(values) >= self.MOST:
            return OTHER
        values[text] = 0.0
        return text

    def seen(self, pool: str, text: str, time: float) -> None:
        """Note an event under that value."""
        values = self.newest.get(pool, {})
        if text in values and time > values[text]:
            values[text] = time

    def order(self, pool: str) -> list[str]:
        """The values of a vocabulary, the one with the newest last event first, then by name."""
        values = self.newest.get(pool, {})
        return sorted(values, key=lambda text: (-values[text], text))


def holds(where: Iterable[Is], raw: Mapping[str, object]) -> bool:
    """Whether a row's raw columns meet all conditions."""
    return all((raw[condition.column] == condition.value) is not condition.negate for condition in where)


def folded(metric: Metric, labels: Labels) -> Labels:
    """The labels with every open one ``__other__``."""
    return tuple(value if label.closed else OTHER for label, value in zip(metric.labels, labels, strict=True))


def label_value(value: LabelValue, project: str, raw: Mapping[str, object]) -> str:
    """The label's text for a row with these raw columns, normalised."""
    match value:
        case Project():
            return project
        case Const(text):
            return text
        case Outcome(flag):
            return {1: "success", 0: "failure"}.get(_whole(raw[flag]), UNKNOWN)
        case Col(column):
            return label_text(raw[column] or None)[0]
        case OneOf(column, values):
            text = label_text(raw[column])[0]
            return text if text in values else UNKNOWN
        case Part(column, index):
            parts = label_text(raw[column])[0].split(".", 1)
            return parts[index].strip() or UNKNOWN if index < len(parts) else UNKNOWN
        case FirstOf(choices):
            found = (label_value(choice, project, raw) for choice in choices)
            return next((text for text in found if text != UNKNOWN), UNKNOWN)


def _whole(flag: object) -> int:
    return int(flag) if isinstance(flag, int | float) and flag in (0, 1) else -1


def row_labels(
    values: Mapping[str, LabelValue], labels: Iterable[Label], models: Models, project: str, raw: Mapping[str, object]
) -> Labels:
    """The label values of one row, by its raw columns and the project of its session; not admitted yet."""
    return tuple(
        named(label, label_value(value, project, raw), models)
        for label, value in zip(labels, values.values(), strict=True)
    )


def named(label: Label, text: str, models: Models) -> str:
    """The label's value with spellings of models joined."""
    return models.name(text) if label.pool == POOL else text


def pools_of_only(metrics: Iterable[Metric], schema: Schema) -> set[str]:
    """The vocabularies that are made by these metrics alone: those that count rows or, of no such, gauges."""
    names = {metric.name for metric in metrics}
    users: dict[str, list[Metric]] = {}
    for metric in schema.counted:
        for label in metric.labels:
            users.setdefault(label.pool, []).append(metric)
    counting = {pool: [metric for metric in found if metric.feeds] or found for pool, found in users.items()}
    return {pool for pool, found in counting.items() if names.issuperset(metric.name for metric in found)}


def without_label(metric: Metric, label: str) -> Metric:
    """``metric`` with an open label removed: its series are then sums over that label.

    Raises:
        SpecError: the metric has no such label, or its label is closed, or it is a gauge.
    """
    found = next((item for item in metric.labels if item.name == label), None)
    if found is None:
        raise SpecError(f"{metric.name} has no label {label!r}; it has {', '.join(metric.label_names) or 'none'}")
    if found.closed or not isinstance(metric, Counter | Histogram) or not metric.feeds:
        raise SpecError(
            f"label {label!r} of {metric.name} cannot be dropped: only open labels of counters and histograms can"
        )
    feeds = tuple(
        replace(feed, labels={name: value for name, value in feed.labels.items() if name != label})
        for feed in metric.feeds
    )
    return replace(metric, labels=tuple(item for item in metric.labels if item != found), of=feeds)

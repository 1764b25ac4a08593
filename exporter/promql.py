"""PromQL made from the catalogue's objects, so that what cannot mean anything cannot be written.

A selector is made of a metric, not of a name: a misspelt metric is a Python error, and a label that the metric has
not, or a value that a closed label never takes, is a `PromqlError`. What a selector may become depends on its type:

>>> str(select(HANDOFFS_TOTAL, outcome="failure").increase("1h").sum("source", "project"))
'sum by (source, project) (increase(orchestration_handoffs_total{outcome="failure"}[1h]))'

Counters and histograms are only reached through `rate` and `increase`, gauges only as they are; the ledger's gauges
need one period.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from exporter.spec import Histogram, Metric
from exporter.telemetry import Declaration

Asked = Metric | Declaration
"""A metric of the catalogue, or one of the process's own."""
Part = Literal["", "_bucket", "_count", "_sum"]
TARGET_LABELS = ("job", "instance")
"""What Prometheus adds to every series."""
_WINDOW = re.compile(r"(?:[1-9][0-9]*(?:ms|[smhdwy]))+|\$__(?:rate_interval|range|interval)")
_RECORDED = re.compile(r"[a-z][a-z0-9_]*:[a-z][a-z0-9_]*:[a-z][a-z0-9_]*")
_SIGNS = {"!~": "!~", "!": "!=", "~": "=~"}
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ONE = re.compile(r"[\w:]+(?:\{[^{}]*\}|(?: (?:by|without) \([^()]*\) )?\(.*\))?")
_GROUPED = re.compile(r" (?:by|without) \([^()]*\) ")
_OVER_TIME = ("avg", "min", "max", "sum", "count", "last", "stddev", "present")


class PromqlError(ValueError):
    """An expression that could not mean anything; it names the metric, the value and the rule."""


@dataclass(frozen=True, slots=True)
class Expr:
    """An instant vector's expression; its text is `str(expr)`.

    ``+ - * /`` and comparisons are not overloaded: join texts with `binary`, which brackets both sides.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    def sum(self, *by: str, without: Iterable[str] = ()) -> Expr:
        """The sum by these labels, or without those (which keeps constant labels that only a site knows)."""
        return self.aggregate("sum", *by, without=without)

    def aggregate(self, how: str, *by: str, without: Iterable[str] = ()) -> Expr:
        """An aggregation (`sum`, `max`, `min`, `avg`, `count`) by some labels, without others, or of all.

        Raises:
            PromqlError: ``how`` is another, or both kinds of labels are given, or one is no label's name.
        """
        dropped = tuple(without)
        if how not in ("sum", "max", "min", "avg", "count"):
            raise PromqlError(f"{how} is no aggregation without a parameter")
        if by and dropped:
            raise PromqlError(f"{how} takes labels to keep ({', '.join(by)}) or to drop ({', '.join(dropped)})")
        if strangers := [name for name in (*by, *dropped) if not _LABEL.fullmatch(name)]:
            raise PromqlError(f"{how}: {strangers[0]!r} is no label's name")
        names = f" {'by' if by else 'without'} ({', '.join(by or dropped)}) " if by or dropped else ""
        return Expr(f"{how}{names}({self.text})")

    def top(self, count: int) -> Expr:
        """The ``count`` series with the highest values."""
        return Expr(f"topk({count:d}, {self.text})")

    def rounded(self) -> Expr:
        """The nearest whole numbers: an increase is extrapolated, and hardly ever whole."""
        return Expr(f"round({self.text})")

    def count_values(self, label: str, *by: str) -> Expr:
        """How many series have each value, which becomes a label; by some other labels."""
        names = f" by ({', '.join(by)}) " if by else ""
        return Expr(f'count_values{names}("{label}", {self.text})')

    def labelled(self, name: str, value: str) -> Expr:
        """The same with a label of that value, which it had not."""
        return Expr(f'label_replace({self.text}, "{name}", "{value}", "", "")')

    def copied(self, label: str, to: str) -> Expr:
        """The same with a label's value in another label, too."""
        return Expr(f'label_replace({self.text}, "{to}", "$1", "{label}", "(.*)")')

    def joined(self, to: str, between: str, *labels: str) -> Expr:
        """The same with the values of some labels, with a text between them, in another one."""
        names = ", ".join(f'"{label}"' for label in labels)
        return Expr(f'label_join({self.text}, "{to}", "{between}", {names})')

    def over(self, how: str | float, window: str, step: str, offset: str = "") -> Expr:
        """The expression's own course (a subquery, evaluated each ``step``) as one number: see `over_time`."""
        return over_time(how, f"({self.text})[{_window(window)}:{_window(step)}]", offset)


NOW = Expr("time()")
"""The time of the evaluation, in Unix seconds."""


@dataclass(frozen=True, slots=True)
class Selector:
    """The series of one metric; made by `select`, and turned into an `Expr` by what its type allows."""

    metric: Asked
    part: Part
    text: str

    def rate(self, window: str, offset: str = "") -> Expr:
        """The increase per second over a window that ended ``offset`` ago.

        Raises:
            PromqlError: the metric is a gauge, or the window or the offset is none.
        """
        return self._over("rate", window, offset)

    def increase(self, window: str, offset: str = "") -> Expr:
        """The increase over a window that ended ``offset`` ago.

        Raises:
            PromqlError: the metric is a gauge, or the window or the offset is none.
        """
        return self._over("increase", window, offset)

    def changes(self, window: str) -> Expr:
        """How often the value changed: for gauges that are times, and for guards.

        Raises:
            PromqlError: the window is none.
        """
        return Expr(f"changes({self.text}[{_window(window)}])")

    def value(self, offset: str = "") -> Expr:
        """The gauge as it is, or was ``offset`` ago.

        Raises:
            PromqlError: the metric is no gauge: its value is an accident of when counting began; or the offset is none.
        """
        if _kind(self.metric) != "gauge":
            raise PromqlError(f"{self.metric.name} is a {_kind(self.metric)}: only its rate or increase means anything")
        return Expr(_moved(self.text, offset))

    def over(self, how: str | float, window: str, offset: str = "") -> Expr:
        """The gauge's course over a window as one number: see `over_time`.

        Raises:
            PromqlError: the metric is no gauge, or the window is none.
        """
        return over_time(how, f"{self.value()}[{_window(window)}]", offset)

    def _over(self, function: str, window: str, offset: str) -> Expr:
        if _kind(self.metric) == "gauge":
            raise PromqlError(f"{self.metric.name} is a gauge: it has no {function}")
        return Expr(f"{function}({_moved(f'{self.text}[{_window(window)}]', offset)})")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording rule: its name (`level:metric:operations`), what it records, and the labels it is known to have."""

    name: str
    expr: Expr
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _RECORDED.fullmatch(self.name):
            raise PromqlError(f"recording rule {self.name!r} must be called level:metric:operations")

    def select(self, **where: str) -> Expr:
        """The recorded series.

        Raises:
            PromqlError: a matcher is on a label that the rule has not.
        """
        for name in where:
            if name not in (*TARGET_LABELS, *self.labels):
                raise PromqlError(f"{self.name} has no label {name}; it has {', '.join(self.labels) or 'none'}")
        return Expr(f"{self.name}{_matchers(where)}")

    def over(self, how: str | float, window: str, offset: str = "", **where: str) -> Expr:
        """What was recorded in a window as one number: see `over_time`.

        Raises:
            PromqlError: a matcher is on a label that the rule has not, or the window is none.
        """
        return over_time(how, f"{self.select(**where)}[{_window(window)}]", offset)


def over_time(how: str | float, series: str, offset: str = "") -> Expr:
    """A range vector's course as one number: by name (`avg`, `min`, `max`, …), or a quantile by its level.

    Raises:
        PromqlError: there is no such function, the level is not between 0 and 1, or the offset is no window.
    """
    moved = _moved(series, offset)
    if isinstance(how, str):
        if how not in _OVER_TIME:
            raise PromqlError(f"there is no {how}_over_time; there are {', '.join(_OVER_TIME)}")
        return Expr(f"{how}_over_time({moved})")
    if not 0 < how < 1:
        raise PromqlError(f"a quantile over time lies between 0 and 1: {how}")
    return Expr(f"quantile_over_time({how:g}, {moved})")


def select(metric: Asked, part: Part = "", **where: str) -> Selector:
    """The series of ``metric`` that match: a value, or behind `~` a regular expression, behind `!` or `!~` neither.

    ``part`` is needed for histograms only.

    Raises:
        PromqlError: the metric has no such label or part, its closed label never has that value, or it is of the
            ledger and not exactly one period is given.
    """
    if (part != "") is not (_kind(metric) == "histogram"):
        raise PromqlError(f"{metric.name} is a {_kind(metric)}: part {part!r} does not go with that")
    text = matching(metric, part, where)
    if _is_of_ledger(metric) and where.get("period", "~")[:1] in ("~", "!", ""):
        raise PromqlError(f"{metric.name} needs one period: added up over several it counts the same money twice")
    return Selector(metric, part, text)


def matching(metric: Asked, part: str, where: Mapping[str, str]) -> str:
    """The text of a selector, for who makes something else of it than `select` allows: a table by period.

    Raises:
        PromqlError: the metric has no such label, or its closed label never has that value.
    """
    for name, value in where.items():
        _check_matcher(metric, part, name, value)
    return f"{metric.name}{part}{_matchers(where)}"


def quantile(level: float, histogram: Asked, window: str, *by: str, **where: str) -> Expr:
    """A quantile of what was observed in the window; NaN where nothing was.

    Raises:
        PromqlError: ``level`` is not between 0 and 1, or the metric is no histogram or has no such label.
    """
    if not 0 < level < 1:
        raise PromqlError(f"a quantile of {histogram.name} lies between 0 and 1: {level}")
    for name in by:
        _check_label(histogram, "_bucket", name)
    buckets = select(histogram, "_bucket", **where).rate(window).sum("le", *(name for name in by if name != "le"))
    return bucket_quantile(level, buckets)


def bucket_quantile(level: float, buckets: Expr) -> Expr:
    """A quantile of rates or increases of a histogram's buckets, by their `le`; NaN where nothing was observed."""
    return Expr(f"histogram_quantile({level:g}, {buckets})")


def vector(value: float) -> Expr:
    """One series without labels that always has this value."""
    return Expr(f"vector({value:g})")


def binary(left: Expr | float, operator: str, right: Expr | float) -> Expr:
    """Two expressions joined, each in brackets unless it is one selector or call: no precedence is to be known."""
    return Expr(" ".join((_side(left), operator, _side(right))))


def labels_of(metric: Asked) -> tuple[str, ...]:
    """The labels that the metric always has: constant labels of a source differ from site to site."""
    return metric.labels if isinstance(metric, Declaration) else ("source", *metric.label_names)


def _kind(metric: Asked) -> Literal["counter", "gauge", "histogram"]:
    return metric.kind if isinstance(metric, Declaration) else metric.type


def _is_of_ledger(metric: Asked) -> bool:
    return metric.name.startswith("orchestration_ledger_") and "period" in labels_of(metric)


def _check_label(metric: Asked, part: str, name: str) -> None:
    known = (*labels_of(metric), *TARGET_LABELS, *(("le",) if part == "_bucket" else ()))
    if name not in known:
        raise PromqlError(f"{metric.name} has no label {name}; it has {', '.join(labels_of(metric)) or 'none'}")


def _check_matcher(metric: Asked, part: str, name: str, value: str) -> None:
    _check_label(metric, part, name)
    text = value.lstrip("!")
    if text[:1] == "~":
        return
    if name == "le" and isinstance(metric, Histogram) and text not in (*map(str, metric.buckets), "+Inf"):
        raise PromqlError(f"{metric.name} has no bucket {text}")
    label = next((each for each in getattr(metric, "labels", ()) if getattr(each, "name", "") == name), None)
    closed = getattr(label, "closed", ())
    if closed and text not in closed:
        raise PromqlError(f"{name} of {metric.name} is never {text!r}; it is one of {', '.join(closed)}")


def _matchers(where: Mapping[str, str]) -> str:
    found = []
    for name, value in where.items():
        sign = next((each for each in _SIGNS if value.startswith(each)), "")
        escaped = value.removeprefix(sign).replace("\\", "\\\\").replace('"', '\\"')
        found.append(f'{name}{_SIGNS.get(sign, "=")}"{escaped}"')
    return "{" + ", ".join(found) + "}" if found else ""


def _window(window: str) -> str:
    if not _WINDOW.fullmatch(window):
        raise PromqlError(f"{window!r} is no window: 5m, 1h30m, 30d or $__rate_interval")
    return window


def _moved(series: str, offset: str) -> str:
    return f"{series} offset {_window(offset)}" if offset else series


def _side(side: Expr | float) -> str:
    if not isinstance(side, Expr):
        return f"{side:.12g}"
    return side.text if _ONE.fullmatch(side.text) and _is_closed(side.text) else f"({side})"


def _is_closed(text: str) -> bool:
    """Whether a text that begins with a selector or a call is no more: its last bracket closes the first call's."""
    bare = _GROUPED.sub("", re.sub(r'"(?:[^"\\]|\\.)*"', '""', text))
    depth = 0
    for place, sign in enumerate(bare):
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign == ")" and depth == 0:
            return place == len(bare) - 1
    return True

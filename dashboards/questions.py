"""The idioms of the dashboards' queries: rates an hour, totals over the range, shares, quantiles, calibration.

Events of a platform are seconds to hours apart. So rates are over `$__rate_interval` at the dashboard's resolution and
shown by the hour; shares and quantiles of fewer than `FEW` events are left out, for they say nothing.

`ask` asks of what is chosen in the dashboard's variables, `everywhere` of all there is. A label that a metric has not,
a value that a closed label never takes, or a ledger's gauge added up over several periods is a `PromqlError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alerting import foreign
from alerting.guards import KNOWN
from exporter import promql
from exporter.promql import Asked, Expr, Part, Recorded, Selector, binary, bucket_quantile
from exporter.spec import Histogram

FEW = 5
"""A share or a quantile of fewer events is left out."""
RATE, RANGE, STEP = "$__rate_interval", "$__range", "$__interval"
"""The windows of a rate, of the dashboard's whole range, and from one point drawn to the next."""
LONG = "6h"
"""What is told of all events in the hours before each moment, where they are too few for a step."""
VARIABLES = ("job", "instance", "source", "project", "model")


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions of what is chosen in some variables: each metric is narrowed by those whose label it has.

    ``by`` are the labels that an answer keeps, ``where`` further matchers: a value, or a regular expression behind `~`.
    """

    variables: tuple[str, ...]

    def total(
        self, metric: Asked, *by: str, over: str = RANGE, ends: Part = "", offset: str = "", **where: str
    ) -> Expr:
        """Events, or what they add up to, over the dashboard's range or another window."""
        return _summed(metric, self._select(metric, ends, where).increase(over, offset), by, ends)

    def per_second(self, metric: Asked, *by: str, offset: str = "", **where: str) -> Expr:
        """Events, or what they add up to, by the second."""
        return _summed(metric, self._select(metric, "", where).rate(RATE, offset), by)

    def per_hour(self, metric: Asked, *by: str, offset: str = "", **where: str) -> Expr:
        """Events, or what they add up to, by the hour."""
        return binary(self.per_second(metric, *by, offset=offset, **where), "*", 3600)

    def now(self, metric: Asked, *by: str, how: str = "sum", offset: str = "", **where: str) -> Expr:
        """A gauge as it is, or was, added up (or otherwise aggregated) over all other labels."""
        if "period" in by:  # a row for each: the periods are not added up
            return _summed(metric, Expr(promql.matching(metric, "", self._chosen(metric, where))), by, how=how)
        return _summed(metric, self.gauge(metric, offset, **where), by, how=how)

    def gauge(self, metric: Asked, offset: str = "", **where: str) -> Expr:
        """A gauge as it is, or was, series by series."""
        return self._select(metric, "", where).value(offset)

    def success(self, metric: Asked, *by: str, over: str = RATE, **where: str) -> Expr:
        """The share of successes among the outcomes that are known, where there were enough."""
        part = self.total(metric, *by, over=over, ends="", outcome="success", **where)
        of = self.total(metric, *by, over=over, ends="", outcome=KNOWN, **where)
        return share(part, of, FEW)

    def quantile(self, level: float, histogram: Asked, *by: str, over: str = RATE, **where: str) -> Expr:
        """A quantile of what a histogram observed, where it observed enough."""
        buckets = self.total(histogram, "le", *by, over=over, ends="_bucket", **where)
        enough = binary(self.total(histogram, *by, over=over, ends="_count", **where), ">=", FEW)
        return binary(bucket_quantile(level, buckets), "and", enough)

    def mean(self, histogram: Asked, *by: str, over: str = RANGE, **where: str) -> Expr:
        """The mean of what a histogram observed, where it observed anything."""
        added = self.total(histogram, *by, over=over, ends="_sum", **where)
        return share(added, self.total(histogram, *by, over=over, ends="_count", **where))

    def buckets(self, histogram: Asked, over: str = RATE, **where: str) -> Expr:
        """A histogram's buckets, for a heatmap."""
        return self.total(histogram, "le", over=over, ends="_bucket", **where)

    def in_bin(self, histogram: Asked, lower: float | None, upper: float, over: str = RANGE, **where: str) -> Expr:
        """How many observations fell between two neighbouring bounds: buckets are cumulative, so their difference."""
        below = self.total(histogram, over=over, ends="_bucket", le=str(upper), **where)
        if lower is None:
            return below
        return binary(below, "-", self.total(histogram, over=over, ends="_bucket", le=str(lower), **where))

    def calibration(self, histogram: Asked, lower: float | None, upper: float) -> Expr:
        """The success of what was decided with a confidence between two bounds, where there was enough of it."""
        part, of = (self.in_bin(histogram, lower, upper, outcome=outcome) for outcome in ("success", KNOWN))
        return share(part, of, FEW)

    def changes(self, metric: Asked, over: str) -> Expr:
        """How often a value changed, series by series."""
        return self._select(metric, "", {}).changes(over)

    def values(self, metric: Asked, label: str, narrowed: Sequence[str]) -> str:
        """What a variable may be: a label's values, of what is chosen in some of the other variables.

        Raises: PromqlError for a label that the metric has not.
        """
        promql.matching(metric, "", {label: "~.*"})
        return f"label_values({promql.matching(metric, '', self._variables(narrowed))}, {label})"

    def recorded(self, rule: Recorded) -> Expr:
        """What an alerts' rule recorded."""
        return rule.select(**self._variables(rule.labels))

    def recorded_over(self, rule: Recorded, how: str) -> Expr:
        """What an alerts' rule recorded within each step, as one number: its `max`, `min`, `avg`."""
        return rule.over(how, STEP, **self._variables(rule.labels))

    def _select(self, metric: Asked, part: Part, where: dict[str, str]) -> Selector:
        return promql.select(metric, part, **self._chosen(metric, where))

    def _chosen(self, metric: Asked, where: dict[str, str]) -> dict[str, str]:
        return self._variables((*promql.TARGET_LABELS, *promql.labels_of(metric))) | where

    def _variables(self, names: Iterable[str]) -> dict[str, str]:
        return {name: f"~${name}" for name in names if name in self.variables}


ask, everywhere = Questions(VARIABLES), Questions(())


def share(part: Expr, of: Expr, least: float | None = None) -> Expr:
    """One sum over another, left out where the other is 0, or below ``least``."""
    return binary(part, "/", some(of) if least is None else binary(of, ">=", least))


def savings_rate(baseline: Expr, cost: Expr) -> Expr:
    """The share of the baseline that was saved."""
    return share(binary(baseline, "-", cost), baseline)


def some(expr: Expr) -> Expr:
    """What is above 0, without the rest."""
    return binary(expr, ">", 0)


def since(moment: Expr) -> Expr:
    """How many seconds ago a Unix time was."""
    return binary(promql.NOW, "-", moment)


def as_date(moment: Expr) -> Expr:
    """A Unix time as Grafana's units of date take it: in milliseconds."""
    return binary(moment, "*", 1000)


def or_none(expr: Expr) -> Expr:
    """A number that is 0 where there is none."""
    return binary(expr, "or", promql.vector(0))


def bins(histogram: Histogram, bounds: Sequence[float]) -> list[tuple[str, float | None, float]]:
    """(name, lower, upper) of the bins between ``bounds``, the first of them without a lower one.

    Raises: ValueError if a bound is none of the histogram's, for then it has no bucket.
    """
    if strangers := [bound for bound in bounds if bound not in histogram.buckets]:
        raise ValueError(f"{histogram.name} has no bucket for {strangers}")
    lowers: list[float | None] = [None, *bounds]
    return [
        (f"up to {upper:.0%}" if lower is None else f"{lower:.0%} – {upper:.0%}", lower, upper)
        for lower, upper in zip(lowers, bounds, strict=False)
    ]


def _firing(name: str, offset: str = "") -> Expr:
    return promql.select(foreign.FIRING, "", alertstate="firing", alertname=name).value(offset)


_ALERTS = binary(_firing("~Orchestration.+"), "unless", _firing("OrchestrationWatchdog"))
"""Our alerts that fire, without the one that always does; Prometheus's own series, without job and instance."""
FIRING = or_none(_ALERTS.aggregate("count"))
"""How many alerts of ours fire."""
BEGUN = binary(_ALERTS, "unless", _firing("~Orchestration.+", "5m"))
"""Those that began to fire within five minutes: a mark each, where all that fire would shade whole days."""


def _summed(metric: Asked, expr: Expr, by: Sequence[str], part: Part = "", how: str = "sum") -> Expr:
    """A vector of a metric's, aggregated by labels that it has."""
    promql.matching(metric, part, dict.fromkeys(by, "~.*"))  # refuses a label that the metric has not
    return expr.aggregate(how, *by)

"""The idioms of the dashboards' queries: rates an hour, totals over the range, shares, quantiles, calibration.

Events of a platform are seconds to hours apart. So rates are over `$__rate_interval` at the dashboard's resolution and
shown by the hour; shares and quantiles of fewer than `FEW` events are left out, for they say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from exporter import promql
from exporter.promql import Asked, Expr, Recorded
from exporter.spec import Histogram

FEW = 5
"""A share or a quantile of fewer events is left out."""
RATE = "$__rate_interval"
RANGE = "$__range"
STEP = "$__interval"
ALERTS = 'ALERTS{alertstate="firing", alertname=~"Orchestration.+", alertname!="OrchestrationWatchdog"}'
"""Our alerts that fire, without the one that always does."""
FIRING = f"count({ALERTS})"
"""How many alerts of ours fire, without the one that always does; Prometheus's own series, without job and instance."""
KNOWN = "success|failure"
"""Outcomes that are known: what became of the others nobody recorded."""


def rate_per_hour(metric: Asked, *by: str, **where: str) -> str:
    """Events, or what they add up to, by the hour."""
    return f"{_of(metric, f'rate({select(metric, **where)}[{RATE}])', by)} * 3600"


def total(metric: Asked, *by: str, over: str = RANGE, ends: str = "", **where: str) -> str:
    """Events, or what they add up to, over the dashboard's range."""
    return _of(metric, f"increase({select(metric, ends, **where)}[{over}])", by)


def now(metric: Asked, *by: str, how: str = "sum", **where: str) -> str:
    """A gauge as it is, added up (or otherwise aggregated) over all other labels."""
    return _of(metric, select(metric, **where), by, how)


def share(part: str, of: str, least: float | None = None) -> str:
    """One sum over another, left out where the other is 0, or below ``least``."""
    return f"{part} / ({of} {'> 0' if least is None else f'>= {least:g}'})"


def success(metric: Asked, *by: str, over: str = RATE, outcome: str = "success", **where: str) -> str:
    """The share of one outcome among those known, where there were enough."""
    return share(
        total(metric, *by, over=over, outcome=outcome, **where),
        total(metric, *by, over=over, outcome=f"~{KNOWN}", **where),
        FEW,
    )


def quantile(level: float, histogram: Asked, *by: str, over: str = RATE, **where: str) -> str:
    """A quantile of what a histogram observed, where it observed enough."""
    buckets = _of(histogram, f"increase({select(histogram, '_bucket', **where)}[{over}])", ("le", *by))
    enough = total(histogram, *by, over=over, ends="_count", **where)
    return f"histogram_quantile({level:g}, {buckets}) and {enough} >= {FEW}"


def mean(histogram: Asked, *by: str, over: str = RANGE, **where: str) -> str:
    """The mean of what a histogram observed, where it observed anything."""
    added, counted = (total(histogram, *by, over=over, ends=ends, **where) for ends in ("_sum", "_count"))
    return share(added, counted)


def buckets(histogram: Asked, over: str = RATE, **where: str) -> str:
    """A histogram's buckets, for a heatmap."""
    return total(histogram, "le", over=over, ends="_bucket", **where)


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


def in_bin(histogram: Asked, lower: float | None, upper: float, over: str = RANGE, **where: str) -> str:
    """How many observations fell between two neighbouring bounds: buckets are cumulative, so their difference."""
    below = [
        total(histogram, over=over, ends="_bucket", le=str(le), **where) for le in (upper, lower) if le is not None
    ]
    return f"({' - '.join(below)})"


def calibration(histogram: Asked, lower: float | None, upper: float) -> str:
    """The success of what was decided with a confidence between two bounds, where there was enough of it."""
    part, of = (in_bin(histogram, lower, upper, outcome=outcome) for outcome in ("success", f"~{KNOWN}"))
    return share(part, of, FEW)


def savings_rate(baseline: str, cost: str) -> str:
    """The share of the baseline that was saved."""
    return f"({baseline} - {cost}) / ({baseline} > 0)"


def nodes(edges: str, source: str, target: str) -> str:
    """The nodes of a graph: every source and target of ``edges``, with what reached it."""
    reached = f'sum by (id) (label_replace({edges}, "id", "$1", "{target}", "(.*)"))'
    reaching = f'sum by (id) (0 * label_replace({edges}, "id", "$1", "{source}", "(.*)"))'
    return f'label_replace({reached} or {reaching}, "title", "$1", "id", "(.*)")'


def links(edges: str, source: str, target: str) -> str:
    """The edges of a graph, named by their ends."""
    ends = (
        f'label_replace(label_replace({edges}, "source", "$1", "{source}", "(.*)"), "target", "$1", "{target}", "(.*)")'
    )
    return f'sum by (id, source, target) (label_join({ends}, "id", " → ", "source", "target"))'


def summed(vector: str, by: Sequence[str], how: str = "sum") -> str:
    """A vector aggregated by labels, or into one number."""
    return f"{how} by ({', '.join(by)}) ({vector})" if by else f"{how}({vector})"


def _of(metric: Asked, vector: str, by: Sequence[str], how: str = "sum") -> str:
    """A vector of a metric's, aggregated by labels that it has."""
    _known(metric, by)
    return summed(vector, by, how)


def _known(metric: Asked, names: Iterable[str]) -> None:
    if strangers := {*names} - {*promql.labels_of(metric), "le", *promql.TARGET_LABELS}:
        raise ValueError(f"{metric.name} has no label {', '.join(sorted(strangers))}")


def select(metric: Asked, ends: str = "", **where: str) -> str:
    """A selector of the dashboard's job, instance and source, and of its project and model where the metric has them.

    ``where`` are further matchers: a value, or a regular expression behind `~`.

    Raises: PromqlError for a label that the metric has not, or a value that a closed label never takes.
    """
    return promql.matching(metric, ends, _chosen((*promql.TARGET_LABELS, *promql.labels_of(metric))) | where)


def _chosen(names: Iterable[str]) -> dict[str, str]:
    """Matchers of the dashboard's variables, of those among a metric's labels."""
    return {name: f"~${name}" for name in names if name in VARIABLES}


def recorded(rule: Recorded) -> Expr:
    """What a rule recorded of the dashboard's sources."""
    return rule.select(**_chosen(rule.labels))


def recorded_over(rule: Recorded, how: str) -> Expr:
    """What a rule recorded within each step, as one number: its `max`, `min`, `avg`."""
    return rule.over(how, STEP, **_chosen(rule.labels))


VARIABLES = ("job", "instance", "source", "project", "model")


def without_variables(expr: str) -> str:
    """The same query of all jobs, instances, sources, projects and models."""
    names = "|".join(VARIABLES)
    bare = re.sub(rf'(?:{names})=~"\$(?:{names})"(?:, )?', "", expr)
    return bare.replace(", }", "}").replace("{}", "")

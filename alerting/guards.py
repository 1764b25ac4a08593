"""What rules on the tables' events and gauges have in common: sums, ratios, and guards against what never happened.

A site gives its sources constant labels (`tenant`) that no rule knows. So sums are `without (…)` what is not asked for,
and guards join `on (job, instance, source)`: one tenant's restored database silences no other's alerts.
"""

from __future__ import annotations

from collections.abc import Callable

from alerting import thresholds
from exporter.catalogue import handoffs, models, own
from exporter.promql import Asked, Expr, Part, Recorded, binary, bucket_quantile, labels_of, matching, select

_HANDOFFS = thresholds.load().handoffs
JOIN = ("job", "instance", "source")
ON = f"on ({', '.join(JOIN)})"
KNOWN = "~success|failure"
"""Outcomes that are known; what became of the others nobody recorded."""


def total(metric: Asked, window: str, *keep: str, part: Part = "", **where: str) -> Expr:
    """The increase of a counter over a window, summed up over all of its labels but ``keep`` (and the source's own).

    Raises: PromqlError, for a label that the metric has not, or a metric that is a gauge.
    """
    return _summed(metric, select(metric, part, **where).increase(window), keep, part)


def rate(metric: Asked, window: str, *keep: str, part: Part = "", **where: str) -> Expr:
    """As `total`, per second."""
    return _summed(metric, select(metric, part, **where).rate(window), keep, part)


def quantile(level: float, histogram: Asked, window: str, *keep: str, **where: str) -> Expr:
    """A quantile of what was observed over a window, summed up as by `total`; NaN where nothing was.

    Raises: PromqlError, for a label that the histogram has not.
    """
    buckets = rate(histogram, window, *keep, "le", part="_bucket", **where)
    return bucket_quantile(level, buckets)


def ratio(bad: Expr, every: Expr, least: float = 0) -> Expr:
    """The bad share of all; 0 where none is bad, and absent where there were no events, or fewer than ``least``."""
    enough = binary(every, ">=", least) if least else binary(every, ">", 0)
    return binary(binary(bad, "or", binary(0, "*", every)), "/", enough)


def usual(at: Callable[[str], Expr], quantile: float = 0.5) -> Expr:
    """The median of what was so many weeks ago, of three; absent where fewer than two of them are known.

    ``at`` gives the expression at an offset. So what happens at one hour of the week only is expected then. The
    ``quantile`` 0 is what there was at least in each of these weeks.
    """
    weeks = " or ".join(str(at(week).labelled("week", week)) for week in ("1w", "2w", "3w"))
    known = binary(Expr(f"count without (week) ({weeks})"), ">=", 2)
    return binary(Expr(f"quantile without (week) ({quantile:g}, {weeks})"), "and", known)


def steady(alert: Expr, window: str) -> Expr:
    """An alert on an increase, unless counting was disturbed within the window.

    A rescan, a restored database, or rows that were read late (a source that was down for hours gives all of them in
    one poll) are increases of events that did not happen now.
    """
    return binary(alert, f"unless {ON}", disturbed(window))


def disturbed(window: str) -> Expr:
    """The sources whose counting was disturbed within the window: where `steady` alerts are silent."""
    moved = [
        select(own.COUNTING_SINCE).changes(window),
        select(own.SOURCE_REWINDS).increase(window),
        select(own.LATE_ROWS).increase(window),
    ]
    return Expr(" or ".join(f"{each} > 0" for each in moved))


def current(alert: Expr) -> Expr:
    """An alert on a gauge, where what is served is current."""
    return binary(alert, f"and {ON}", binary(select(own.UP).value(), "==", 1))


def also(alert: Expr, condition: Expr, *on: str) -> Expr:
    """An alert where a condition holds of the same source, and of the same other labels ``on``."""
    return binary(alert, f"and on ({', '.join((*JOIN, *on))})", condition)


LOCAL = binary(select(models.MODEL_INFO, tier="local").value(), "==", 1)
"""The models that run locally."""


def past_local_model(name: str) -> Recorded:
    """The share of an hour's routes for which the local model was unavailable; each file of rules records its own."""
    past = total(handoffs.HANDOFF_ROUTES, "1h", reason=handoffs.ESCALATION.unavailable)
    return Recorded(name, ratio(past, total(handoffs.HANDOFF_ROUTES, "1h"), _HANDOFFS.unavailable_routes), JOIN)


def but_while_down(found: Expr, past: Recorded, window: str) -> Expr:
    """What was found of models, but of a local one in whose window the local model was down: that is told already.

    ``past`` is the share that went past it (`past_local_model`).
    """
    was_down = binary(past.over("max", window), ">", _HANDOFFS.unavailable_ratio)
    return binary(found, f"unless on ({', '.join(JOIN)}, model)", also(LOCAL, was_down))


def over(left: Expr, right: Expr, *on: str, operator: str = "/") -> Expr:
    """Two vectors of the same source, and of the same other labels ``on``, joined by an arithmetic operator."""
    return binary(left, f"{operator} on ({', '.join((*JOIN, *on))}) group_left ()", right)


def _summed(metric: Asked, expr: Expr, keep: tuple[str, ...], part: Part) -> Expr:
    own_labels = (*labels_of(metric), *(("le",) if part == "_bucket" else ()))
    matching(metric, part, dict.fromkeys(keep, "~.*"))  # refuses a label that the metric has not
    dropped = [name for name in own_labels if name not in (*keep, *JOIN)]
    return expr.sum(without=dropped) if dropped else expr

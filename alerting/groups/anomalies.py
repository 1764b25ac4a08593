"""What differs from a source's own past: more, dearer, slower or worse than usual, or all but nothing.

Four signals of each source are recorded, one series each, whatever its labels: the cardinality is bounded by the number
of sources. A signal is an anomaly where it leaves two bands at once, and is above a floor:

- the adaptive band: the median of 24 hours that ended 2 hours ago (so that what happens now does not raise its own
  band), and so many standard deviations more;
- the seasonal band: so many times the median of the same hour of the three weeks before, of which two must be known,
  and must not be empty where hand-offs or dollars are counted.

So each alert warms up for two weeks of data, and for 26 hours of its recording rule; until then it is silent.
"""

from __future__ import annotations

from alerting import thresholds
from alerting.guards import JOIN, KNOWN, current, steady, total, usual
from alerting.rules import COUNT, SHARE, SOURCE, Alert, Group
from exporter.catalogue import handoffs, money, own
from exporter.promql import Asked, Expr, Part, Recorded, binary, bucket_quantile, labels_of, select

_OF = thresholds.load().anomalies
_BANDS = (
    f"Usual is at most {_OF.growth:g} times the same hour of the weeks before, and {_OF.deviations:g} standard "
    "deviations above the last day."
)


def _hour(metric: Asked, ended: str, part: Part = "", **where: str) -> Expr:
    """The increase over an hour that ended so long ago, by source, and by `le` where there is one."""
    dropped = [name for name in labels_of(metric) if name not in JOIN]
    return select(metric, part, **where).increase("1h", ended).sum(without=dropped)


def _handoffs(ended: str) -> Expr:
    return _hour(handoffs.HANDOFFS_TOTAL, ended)


def _cost(ended: str) -> Expr:
    return _hour(money.COST, ended)


def _seconds(ended: str) -> Expr:
    buckets = _hour(handoffs.HANDOFF_DURATION, ended, "_bucket", outcome="success")
    counted = _hour(handoffs.HANDOFF_DURATION, ended, "_count", outcome="success")
    return binary(bucket_quantile(0.5, buckets), "and", binary(counted, ">=", _OF.few_events))


def _failures(ended: str) -> Expr:
    failed, known = (_hour(handoffs.HANDOFFS_TOTAL, ended, outcome=outcome) for outcome in ("failure", KNOWN))
    return binary(failed, "/", binary(known, ">=", _OF.few_events))


HANDOFFS = Recorded("source:handoffs:increase1h", _handoffs(""), JOIN)
COST = Recorded("source:cost_usd:increase1h", _cost(""), JOIN)
SECONDS = Recorded("source:handoff_success_seconds:p50_1h", _seconds(""), JOIN)
FAILURES = Recorded("source:handoff_failures:ratio_1h", _failures(""), JOIN)
_PAST, _AGO = "24h", "2h"


def anomalous(signal: Recorded, usually: Expr, floor: float) -> Expr:
    """The signal where it is above its floor and both bands; ``usually`` is what it is at this hour of the week."""
    spread = signal.over("stddev", _PAST, _AGO)
    adaptive = binary(signal.over(0.5, _PAST, _AGO), "+", binary(_OF.deviations, "*", spread))
    above = binary(binary(signal.select(), ">", floor), ">", adaptive)
    return steady(binary(above, ">", binary(_OF.growth, "*", usually)), "1h")


SURGE = Alert(
    name="OrchestrationHandoffSurge",
    expr=anomalous(HANDOFFS, binary(usual(_handoffs), ">", 0), _OF.handoffs),
    for_="10m",
    keep_firing_for="30m",
    severity="info",
    group="anomalies",
    summary="A source has far more hand-offs than usual at this hour.",
    description=f"{SOURCE}: {COUNT} hand-offs in the last hour (more than {_OF.handoffs}). {_BANDS}",
    dashboard="orchestration-handoffs",
    of=JOIN,
)
_LEAST = usual(_handoffs, 0)
"""What there was in each of the weeks before, and not in their median: work comes in lumps."""
DROP = Alert(
    name="OrchestrationHandoffsDropped",
    expr=steady(
        current(
            binary(
                binary(
                    binary(_LEAST, ">=", _OF.expected),
                    "and",
                    binary(_handoffs(""), "<=", binary(_OF.dropped_to, "*", _LEAST)),
                ),
                "and",
                binary(total(own.ROWS_READ, "1h"), ">", 0),
            )
        ),
        "1h",
    ),
    for_="15m",
    severity="warning",
    group="anomalies",
    summary="Hand-offs have all but ended at an hour at which there usually are some, while other work goes on.",
    description=f"{SOURCE}: in the same hour of each of the weeks before there were {COUNT} hand-offs or more, in the "
    f"last one at most {_OF.dropped_to:.0%} of that.",
    dashboard="orchestration-handoffs",
    of=JOIN,
)
COST_SURGE = Alert(
    name="OrchestrationCostSurge",
    expr=anomalous(COST, binary(usual(_cost), ">", 0), _OF.cost_usd),
    for_="10m",
    keep_firing_for="30m",
    severity="warning",
    group="anomalies",
    summary="An hour of a source costs far more than usual.",
    description=f'{SOURCE}: ${{{{ $value | printf "%.2f" }}}} were spent in the last hour (more than '
    f"${_OF.cost_usd:g}). {_BANDS}",
    dashboard="orchestration-cost",
    of=JOIN,
)
SLOWER = Alert(
    name="OrchestrationLatencyAnomaly",
    expr=anomalous(SECONDS, usual(_seconds), _OF.latency_seconds),
    for_="10m",
    keep_firing_for="30m",
    severity="info",
    group="anomalies",
    summary="Successful hand-offs of a source take far longer than usual at this hour.",
    description=f"{SOURCE}: half of the hand-offs of the last hour took more than {{{{ $value | humanizeDuration }}}} "
    f"(limit {_OF.latency_seconds:g} s). {_BANDS}",
    dashboard="orchestration-handoffs",
    of=JOIN,
)
WORSE = Alert(
    name="OrchestrationFailureAnomaly",
    expr=anomalous(FAILURES, usual(_failures), _OF.failure_ratio),
    for_="10m",
    keep_firing_for="30m",
    severity="info",
    group="anomalies",
    summary="Far more hand-offs of a source fail than usual at this hour.",
    description=f"{SOURCE}: {SHARE} of the hand-offs of the last hour failed (more than "
    f"{_OF.failure_ratio:.0%}). {_BANDS}",
    dashboard="orchestration-handoffs",
    of=JOIN,
)

GROUP = Group("anomalies", (SURGE, DROP, COST_SURGE, SLOWER, WORSE), (HANDOFFS, COST, SECONDS, FAILURES))

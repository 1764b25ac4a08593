"""Metrics of routing decisions: what was chosen, and what came of it."""

from __future__ import annotations

from typing import Literal

from exporter.catalogue.tables import ROUTING
from exporter.catalogue.vocabulary import COMPLEXITY, CONFIDENCE_BUCKETS, DURATION_BUCKETS, MODEL, OUTCOME
from exporter.spec import Col, Counter, Feed, Histogram, Is, LabelValue, Metric, Outcome, Value

_SUCCESS = Outcome("execution_success")
_HAS_RESULT = (Is("execution_success", None, negate=True),)


def _routing(
    value: Value = None, *, at: Literal["final", "first"] = "final", where: tuple[Is, ...] = (), **labels: LabelValue
) -> tuple[Feed, ...]:
    return (Feed(ROUTING, {"model": Col("selected_model"), **labels}, value, where=where, at=at),)


ROUTING_DECISIONS = Counter(
    "orchestration_routing_decisions_total",
    "Routing decisions, by the model that was selected; counted when their row is first read.",
    (MODEL, COMPLEXITY),
    _routing(complexity=Col("task_complexity"), at="first"),
)
ROUTING_RESULTS = Counter(
    "orchestration_routing_results_total",
    "Routing decisions whose result is known (routing_decisions.execution_success), or that had none within "
    "in_flight_timeout (unknown). The decisions of orchestration_routing_decisions_total, later: do not add the two.",
    (MODEL, COMPLEXITY, OUTCOME),
    _routing(complexity=Col("task_complexity"), outcome=_SUCCESS),
)
ROUTING_CONFIDENCE = Histogram(
    "orchestration_routing_confidence_ratio",
    "Confidence of routing decisions (routing_decisions.confidence_score), observed when their row is first read.",
    (MODEL,),
    _routing("confidence_score", at="first"),
    buckets=CONFIDENCE_BUCKETS,
)
ROUTING_RESULT_CONFIDENCE = Histogram(
    "orchestration_routing_result_confidence_ratio",
    "Confidence of the routing decisions that have a result, by outcome: how well the confidence is calibrated.",
    (MODEL, OUTCOME),
    _routing("confidence_score", where=_HAS_RESULT, outcome=_SUCCESS),
    buckets=CONFIDENCE_BUCKETS,
)
ROUTING_DURATION = Histogram(
    "orchestration_routing_duration_seconds",
    "Duration of what was routed (routing_decisions.actual_duration).",
    (MODEL,),
    _routing("actual_duration"),
    buckets=DURATION_BUCKETS,
)
ROUTING_COST = Counter(
    "orchestration_routing_cost_usd_total",
    "Cost of what was routed (routing_decisions.actual_cost). A second view of money that "
    "orchestration_cost_usd_total counts as the hand-off that did the work: never add the two.",
    (MODEL,),
    _routing("actual_cost"),
)
ROUTING_TOKENS = Counter(
    "orchestration_routing_tokens_total",
    "Tokens used by what was routed (routing_decisions.actual_tokens). A second view of "
    "orchestration_handoff_tokens_total: never add the two.",
    (MODEL,),
    _routing("actual_tokens"),
)

METRICS: tuple[Metric, ...] = (
    ROUTING_DECISIONS,
    ROUTING_RESULTS,
    ROUTING_CONFIDENCE,
    ROUTING_RESULT_CONFIDENCE,
    ROUTING_DURATION,
    ROUTING_COST,
    ROUTING_TOKENS,
)

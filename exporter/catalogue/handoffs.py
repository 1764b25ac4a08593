"""Metrics of hand-offs from model to model."""

from __future__ import annotations

from exporter.catalogue.tables import ESCALATIONS, HANDOFFS
from exporter.catalogue.vocabulary import (
    CONFIDENCE_BUCKETS,
    DURATION_BUCKETS,
    ESCALATION_REASON,
    MODEL,
    OUTCOME,
    PROJECT,
    REASON,
    SOURCE_MODEL,
    TASK_TYPE,
)
from exporter.spec import Col, Counter, Escalation, Feed, Gauge, Histogram, LabelValue, Metric, Outcome, Project, Value

_SUCCESS = Outcome("success")


def _handoffs(value: Value = None, **labels: LabelValue) -> tuple[Feed, ...]:
    return (Feed(HANDOFFS, labels, value),)


HANDOFFS_TOTAL = Counter(
    "orchestration_handoffs_total",
    "Hand-offs with a result, by the model that did the work (handoff_events.target_model); unknown where no "
    "result came within in_flight_timeout.",
    (PROJECT, MODEL, OUTCOME),
    _handoffs(project=Project(), model=Col("target_model"), outcome=_SUCCESS),
)
HANDOFF_ROUTES = Counter(
    "orchestration_handoff_routes_total",
    "Hand-offs from one model to another by the reason of the route (metadata.route_reason). The same hand-offs "
    "as orchestration_handoffs_total: do not add the two.",
    (SOURCE_MODEL, MODEL, REASON, OUTCOME),
    _handoffs(
        source_model=Col("source_model"), model=Col("target_model"), reason=Col("route_reason"), outcome=_SUCCESS
    ),
)
HANDOFF_TASK_TYPES = Counter(
    "orchestration_handoff_task_types_total",
    "Hand-offs by type of task. The same hand-offs as orchestration_handoffs_total: do not add the two.",
    (TASK_TYPE, MODEL, OUTCOME),
    _handoffs(task_type=Col("task_type"), model=Col("target_model"), outcome=_SUCCESS),
)
HANDOFF_ESCALATIONS = Counter(
    "orchestration_handoff_escalations_total",
    "Hand-offs to a paid model that a local one should have done: retry after a failed local hand-off of the same "
    "session and type of task, unavailable where the route's reason is deepseek_unavailable. They are among "
    "orchestration_handoffs_total: do not add the two.",
    (PROJECT, ESCALATION_REASON),
    (Feed(ESCALATIONS, {"project": Project(), "reason": Col("reason")}),),
)
ESCALATION = Escalation(
    HANDOFFS,
    found=ESCALATIONS,
    model="target_model",
    task="task_type",
    reason="route_reason",
    unavailable="deepseek_unavailable",
)
HANDOFFS_IN_FLIGHT = Gauge(
    "orchestration_handoffs_in_flight",
    "Hand-offs whose result is not there yet (handoff_events.success is NULL).",
    (MODEL,),
    reading="in_flight",
    table=HANDOFFS,
    values={"model": Col("target_model")},
    known_by=HANDOFFS_TOTAL,
)
HANDOFF_OLDEST = Gauge(
    "orchestration_handoff_in_flight_oldest_timestamp_seconds",
    "Unix time of the oldest hand-off in flight; absent when none is. A minimum: do not add it up.",
    (MODEL,),
    reading="in_flight_oldest",
    table=HANDOFFS,
    values={"model": Col("target_model")},
)
HANDOFF_DURATION = Histogram(
    "orchestration_handoff_duration_seconds",
    "Response time of hand-offs (handoff_events.response_time); exemplars name the session.",
    (MODEL, OUTCOME),
    _handoffs("response_time", model=Col("target_model"), outcome=_SUCCESS),
    buckets=DURATION_BUCKETS,
    exemplars=True,
)
HANDOFF_CONFIDENCE = Histogram(
    "orchestration_handoff_confidence_ratio",
    "Confidence with which hand-offs were decided (handoff_events.confidence_score), by their outcome: the two "
    "together show how well the confidence is calibrated.",
    (MODEL, OUTCOME),
    _handoffs("confidence_score", model=Col("target_model"), outcome=_SUCCESS),
    buckets=CONFIDENCE_BUCKETS,
)
HANDOFF_TOKENS = Counter(
    "orchestration_handoff_tokens_total",
    "Tokens used by hand-offs (handoff_events.tokens_used).",
    (PROJECT, MODEL),
    _handoffs("tokens_used", project=Project(), model=Col("target_model")),
)

METRICS: tuple[Metric, ...] = (
    HANDOFFS_TOTAL,
    HANDOFF_ROUTES,
    HANDOFF_TASK_TYPES,
    HANDOFF_ESCALATIONS,
    HANDOFFS_IN_FLIGHT,
    HANDOFF_OLDEST,
    HANDOFF_DURATION,
    HANDOFF_CONFIDENCE,
    HANDOFF_TOKENS,
)

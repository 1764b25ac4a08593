"""Metrics of models: their calls, what they are, what they can take."""

from __future__ import annotations

from exporter.catalogue.tables import CALLS, CAPACITIES
from exporter.catalogue.vocabulary import CONFIDENCE_BUCKETS, DURATION_BUCKETS, MODEL, TASK_TYPE, TIER, VENDOR
from exporter.spec import Col, Counter, Current, Feed, Gauge, Histogram, LabelValue, Metric, Value

_MODEL = Col("model_name")


def _calls(value: Value = None, **labels: LabelValue) -> tuple[Feed, ...]:
    return (Feed(CALLS, {"model": _MODEL, **labels}, value),)


def _capacity(column: str) -> tuple[Current, ...]:
    return (Current(CAPACITIES, {"model": _MODEL}, (column,), newest_per=("model",)),)


MODEL_CALLS = Counter(
    "orchestration_model_calls_total",
    "Calls of models (model_performance).",
    (MODEL, TASK_TYPE),
    _calls(task_type=Col("task_type")),
)
MODEL_CALL_ERRORS = Counter(
    "orchestration_model_call_errors_total",
    "Errors of model calls (model_performance.error_count); one call can have several.",
    (MODEL, TASK_TYPE),
    _calls("error_count", task_type=Col("task_type")),
)
MODEL_CALL_RETRIES = Counter(
    "orchestration_model_call_retries_total",
    "Retries of model calls (model_performance.retry_count); one call can have several.",
    (MODEL, TASK_TYPE),
    _calls("retry_count", task_type=Col("task_type")),
)
MODEL_CALL_DURATION = Histogram(
    "orchestration_model_call_duration_seconds",
    "Response time of model calls (model_performance.response_time).",
    (MODEL,),
    _calls("response_time"),
    buckets=DURATION_BUCKETS,
)
MODEL_QUALITY = Histogram(
    "orchestration_model_quality_ratio",
    "Quality of model calls on the platform's scale of 0 to 1 (model_performance.quality_score).",
    (MODEL,),
    _calls("quality_score"),
    buckets=CONFIDENCE_BUCKETS,
)
MODEL_INFO = Gauge(
    "orchestration_model_info",
    "1, for each model known, under its vendor and tier (paid, local): from the configuration, else the vendor from "
    "the newest row that names one, the tier from the model's name.",
    (MODEL, VENDOR, TIER),
    reading="model_info",
)
MODEL_CAPACITY = Gauge(
    "orchestration_model_capacity_threshold_ratio",
    "Share of a model's capacity up to which the platform uses it (model_capacity_thresholds.capacity_threshold).",
    (MODEL,),
    reading="current",
    of=_capacity("capacity_threshold"),
)
MODEL_TOKEN_COST = Gauge(
    "orchestration_model_cost_per_token_usd",
    "Price of a model's token, as the platform has it (model_capacity_thresholds.cost_per_token).",
    (MODEL,),
    reading="current",
    of=_capacity("cost_per_token"),
)
MODEL_AVAILABILITY = Gauge(
    "orchestration_model_availability_ratio",
    "How available a model is, as the platform has it (model_capacity_thresholds.availability_score).",
    (MODEL,),
    reading="current",
    of=_capacity("availability_score"),
)

METRICS: tuple[Metric, ...] = (
    MODEL_CALLS,
    MODEL_CALL_ERRORS,
    MODEL_CALL_RETRIES,
    MODEL_CALL_DURATION,
    MODEL_QUALITY,
    MODEL_INFO,
    MODEL_CAPACITY,
    MODEL_TOKEN_COST,
    MODEL_AVAILABILITY,
)

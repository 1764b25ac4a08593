"""Routing and models: what the router decides, whether its confidence is deserved, and how the models are."""

from __future__ import annotations

from alerting.guards import KNOWN
from dashboards.board import Board, Row
from dashboards.limits import LIMITS
from dashboards.panels import COUNT, PER_HOUR, Column, Look, Query, bars, stat, table, timeseries
from dashboards.questions import FEW, LONG, RANGE, RATE, ask, bins, share
from exporter.catalogue import models, platform, routing
from exporter.promql import Expr, binary
from exporter.spec import Metric

CONFIDENCE_BINS = (0.5, 0.7, 0.8, 0.9, 1.0)

headline = (
    stat(
        "Decisions",
        "Routing decisions in the time range, counted when first seen.",
        Query(ask.total(routing.ROUTING_DECISIONS)),
        Look(COUNT, decimals=0),
    ),
    stat(
        "Success",
        "The share of decisions that turned out well, of those whose result is known.",
        Query(ask.success(routing.ROUTING_RESULTS, over=RANGE)),
        Look("percentunit", LIMITS.handoff_success, decimals=1),
    ),
    stat(
        "Result known",
        "The share of results that were recorded. Some platforms record none: then everything about results here is of "
        "no use.",
        Query(share(ask.total(routing.ROUTING_RESULTS, outcome=KNOWN), ask.total(routing.ROUTING_RESULTS), FEW)),
        Look("percentunit", decimals=0),
    ),
    stat(
        "Mean confidence",
        "Mean confidence of the decisions in the time range.",
        Query(ask.mean(routing.ROUTING_CONFIDENCE)),
        Look("percentunit", decimals=1),
    ),
    stat(
        "Model calls",
        "Calls of models in the time range.",
        Query(ask.total(models.MODEL_CALLS)),
        Look(COUNT, decimals=0),
    ),
    stat(
        "Errors per call",
        "Errors of model calls over calls in the time range; one call can have several.",
        Query(share(ask.total(models.MODEL_CALL_ERRORS), ask.total(models.MODEL_CALLS), FEW)),
        Look("percentunit", LIMITS.call_errors, decimals=1),
    ),
)

decisions = (
    timeseries(
        "Decisions per hour, by model",
        "Which model the router selects.",
        [Query(ask.per_hour(routing.ROUTING_DECISIONS, "model"), "{{model}}")],
        Look(PER_HOUR, low=0),
        stacked=True,
    ),
    timeseries(
        "Decisions per hour, by complexity",
        "How hard the router takes the work to be.",
        [Query(ask.per_hour(routing.ROUTING_DECISIONS, "complexity"), "{{complexity}}")],
        Look(PER_HOUR, low=0),
        stacked=True,
    ),
    timeseries(
        "Success by model",
        "The share of decisions that turned out well, where at least five had a known result in a step.",
        [Query(ask.success(routing.ROUTING_RESULTS, "model"), "{{model}}")],
        Look("percentunit", LIMITS.handoff_success, high=1),
        limits=True,
    ),
    timeseries(
        "Duration, 95th percentile",
        "95 of 100 of what was routed took at most so long, by model.",
        [Query(ask.quantile(0.95, routing.ROUTING_DURATION, "model"), "{{model}}")],
        Look("s", low=0),
    ),
    timeseries(
        "Cost per hour",
        "What the routed work cost by the router's own record: a second view of the hand-offs' money, never to be "
        "added to it.",
        [Query(ask.per_hour(routing.ROUTING_COST, "model"), "{{model}}")],
        Look("currencyUSD", low=0),
        stacked=True,
    ),
    timeseries(
        "Tokens per hour",
        "Tokens of the routed work by the router's own record: a second view of the hand-offs'.",
        [Query(ask.per_hour(routing.ROUTING_TOKENS, "model"), "{{model}}")],
        Look("short", low=0),
        stacked=True,
    ),
    bars(
        "Calibration",
        "How decisions turned out by the confidence they were made with. Well calibrated, a bar's length agrees with "
        "its name. Bins of fewer than five known results are left out.",
        [
            Query(ask.calibration(routing.ROUTING_RESULT_CONFIDENCE, lower, upper), name)
            for name, lower, upper in bins(routing.ROUTING_RESULT_CONFIDENCE, CONFIDENCE_BINS)
        ],
        Look("percentunit", LIMITS.handoff_success, low=0, high=1, decimals=0),
    ),
    timeseries(
        "Confidence",
        "Median confidence of the decisions, by model. A fall is work that the router does not know.",
        [Query(ask.quantile(0.5, routing.ROUTING_CONFIDENCE, "model"), "{{model}}")],
        Look("percentunit", high=1),
    ),
)


def _of_model(metric: Metric) -> Expr:
    """A value of each model, with the vendor and tier that the platform names."""
    value = ask.total(metric, "model") if metric.type == "counter" else ask.now(metric, "model", how="max")
    known = ask.now(models.MODEL_INFO, "model", "vendor", "tier", how="max")
    return binary(known, "* on (model) group_left", value)


calls = (
    timeseries(
        "Model calls per hour",
        "Calls by model.",
        [Query(ask.per_hour(models.MODEL_CALLS, "model"), "{{model}}")],
        Look(PER_HOUR, low=0),
        stacked=True,
    ),
    timeseries(
        "Errors and retries per hour",
        "Of model calls; one call can have several.",
        [
            Query(ask.per_hour(models.MODEL_CALL_ERRORS, "model"), "{{model}} errors"),
            Query(ask.per_hour(models.MODEL_CALL_RETRIES, "model"), "{{model}} retries"),
        ],
        Look(PER_HOUR, low=0),
        dashed="retries",
    ),
    timeseries(
        "Duration of calls, 95th percentile",
        "95 of 100 calls of the six hours before took at most so long, by model.",
        [Query(ask.quantile(0.95, models.MODEL_CALL_DURATION, "model", over=LONG), "{{model}}")],
        Look("s", low=0),
    ),
    timeseries(
        "Quality of calls",
        "Mean quality by the platform's own judgement, by model.",
        [Query(ask.mean(models.MODEL_QUALITY, "model", over=RATE), "{{model}}")],
        Look("percentunit", high=1),
    ),
    table(
        "Models",
        "Each model with its vendor and tier, and what the platform's own table says of it: up to what share of its "
        "capacity it is used, how available it is, what a token costs.",
        ("model", "vendor", "tier"),
        (
            Column("Capacity used up to", _of_model(models.MODEL_CAPACITY), "percentunit", decimals=0),
            Column("Availability", _of_model(models.MODEL_AVAILABILITY), "percentunit", decimals=0),
            Column(
                "Price of a million tokens",
                binary(_of_model(models.MODEL_TOKEN_COST), "*", 1e6),
                "currencyUSD",
                decimals=2,
            ),
            Column("Calls", _of_model(models.MODEL_CALLS), COUNT, decimals=0),
        ),
        Look(),
    ).sized(24, 8),
)

patterns = (
    table(
        "Patterns",
        "What the platform found in its own history, the highest impact first.",
        ("pattern", "kind"),
        (
            Column("Impact", ask.now(platform.PATTERN_IMPACT, "pattern", "kind", how="max"), decimals=2),
            Column("Seen", ask.now(platform.PATTERN_FREQUENCY, "pattern", "kind"), COUNT, decimals=0),
        ),
        Look(),
    ).sized(24, 8),
)

ROUTING = Board(
    "routing",
    "Platform",
    "Orchestration / Routing and models",
    "What the router decides, whether its confidence is deserved, and how the models are.",
    (
        Row("In the time range", headline),
        Row("Decisions", decisions),
        Row("Model calls", calls),
        Row("Patterns", patterns),
    ),
    filters=("model",),
)

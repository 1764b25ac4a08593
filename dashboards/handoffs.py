"""Hand-offs: which model gets what work, how well and how fast it does it, and whether the confidence is deserved."""

from __future__ import annotations

from dashboards.board import Board, Row
from dashboards.graphs import graph
from dashboards.limits import LIMITS
from dashboards.panels import COUNT, PER_HOUR, Column, Look, Query, bars, heatmap, stat, table, timeseries
from dashboards.questions import FEW, RANGE, ask, bins, or_none, share, since
from exporter.catalogue import handoffs, tasks

CONFIDENCE_BINS = (0.5, 0.7, 0.8, 0.9, 1.0)

headline = (
    stat(
        "Hand-offs",
        "Hand-offs with a result in the time range.",
        Query(ask.total(handoffs.HANDOFFS_TOTAL)),
        Look(COUNT, decimals=0),
    ),
    stat(
        "Success",
        "The share of hand-offs that succeeded in the time range, of those whose result is known.",
        Query(ask.success(handoffs.HANDOFFS_TOTAL, over=RANGE)),
        Look("percentunit", LIMITS.handoff_success, decimals=1),
    ),
    stat(
        "Success of tasks",
        "The same of tasks: the judge of hand-offs on platforms that call every hand-off a success.",
        Query(ask.success(tasks.TASKS_TOTAL, over=RANGE)),
        Look("percentunit", LIMITS.task_success, decimals=1, explains="orchestration-agents"),
    ),
    stat(
        "Escalated",
        "The share of hand-offs that went to a paid model although a local one should have done them: after its "
        "failure (retry), or because it could not be reached (unavailable).",
        Query(share(ask.total(handoffs.HANDOFF_ESCALATIONS), ask.total(handoffs.HANDOFFS_TOTAL), FEW)),
        Look("percentunit", LIMITS.escalated, decimals=1),
    ),
    stat(
        "In flight",
        "Hand-offs whose result is not there yet.",
        Query(ask.now(handoffs.HANDOFFS_IN_FLIGHT)),
        Look(COUNT, decimals=0),
    ),
    stat(
        "Oldest in flight",
        "How long the oldest hand-off without a result has been waiting; 0 when none is.",
        Query(or_none(since(ask.now(handoffs.HANDOFF_OLDEST, how="min")))),
        Look("s", LIMITS.waiting),
    ),
)

rates = (
    timeseries(
        "Hand-offs per hour",
        "Hand-offs with a result, by the model that did the work.",
        [Query(ask.per_hour(handoffs.HANDOFFS_TOTAL, "model"), "{{model}}")],
        Look(PER_HOUR, low=0),
        stacked=True,
    ),
    timeseries(
        "Routes per hour",
        "Why work was handed over: the reason that the router gave.",
        [Query(ask.per_hour(handoffs.HANDOFF_ROUTES, "reason"), "{{reason}}")],
        Look(PER_HOUR, low=0),
        stacked=True,
    ),
    graph(
        "Who hands work to whom",
        "Models as circles, hand-offs as arrows, with how many there were in the time range.",
        handoffs.HANDOFF_ROUTES,
        "source_model",
        "model",
    ),
    table(
        "Types of task",
        "What kind of work is handed over, how often in the time range, and how well it goes.",
        ("task_type",),
        (
            Column("Hand-offs", ask.total(handoffs.HANDOFF_TASK_TYPES, "task_type"), COUNT, decimals=0),
            Column(
                "Success",
                ask.success(handoffs.HANDOFF_TASK_TYPES, "task_type", over=RANGE),
                "percentunit",
                LIMITS.handoff_success,
                1,
            ),
        ),
        Look(),
    ).sized(12, 11),
    timeseries(
        "In flight",
        "Hand-offs whose result is not there yet, by model. One that only grows is a model that does not answer.",
        [Query(ask.now(handoffs.HANDOFFS_IN_FLIGHT, "model"), "{{model}}")],
        Look(COUNT, low=0, decimals=0),
    ).sized(12, 11),
)

failures = (
    timeseries(
        "Failed hand-offs per hour",
        "By the model that did the work.",
        [Query(ask.per_hour(handoffs.HANDOFFS_TOTAL, "model", outcome="failure"), "{{model}}")],
        Look(PER_HOUR, low=0),
    ),
    timeseries(
        "Success by model",
        "The share of hand-offs that succeeded, where there were at least five in a step.",
        [Query(ask.success(handoffs.HANDOFFS_TOTAL, "model"), "{{model}}")],
        Look("percentunit", LIMITS.handoff_success, high=1),
        limits=True,
    ),
    timeseries(
        "Escalations per hour",
        "Hand-offs to a paid model that a local one should have done: after its failure (retry), or because it could "
        "not be reached (unavailable).",
        [Query(ask.per_hour(handoffs.HANDOFF_ESCALATIONS, "reason"), "{{reason}}")],
        Look(PER_HOUR, low=0),
    ).sized(24, 8),
)

durations = (
    timeseries(
        "Duration",
        "Half, 95 and 99 of 100 successful hand-offs took at most so long.",
        [
            Query(ask.quantile(level, handoffs.HANDOFF_DURATION, outcome="success"), name, exemplar=level == 0.99)
            for level, name in ((0.5, "median"), (0.95, "95th percentile"), (0.99, "99th percentile"))
        ],
        Look("s", low=0),
    ),
    timeseries(
        "Duration by model, 95th percentile",
        "95 of 100 successful hand-offs took at most so long.",
        [Query(ask.quantile(0.95, handoffs.HANDOFF_DURATION, "model", outcome="success"), "{{model}}")],
        Look("s", low=0),
    ),
    heatmap(
        "Durations",
        "How many hand-offs took how long, the more the darker; a second band is a second kind of work. The marks are "
        "exemplars: each leads to the session of one hand-off.",
        Query(ask.buckets(handoffs.HANDOFF_DURATION), "{{le}}", exemplar=True),
        Look("s"),
    ).sized(24, 10),
)

confidence = (
    bars(
        "Calibration",
        "The success of hand-offs by the confidence they were decided with. Well calibrated, a bar's length agrees "
        "with its name: 90% of what was decided with 90% succeeds. Bins of fewer than five are left out.",
        [
            Query(ask.calibration(handoffs.HANDOFF_CONFIDENCE, lower, upper), name)
            for name, lower, upper in bins(handoffs.HANDOFF_CONFIDENCE, CONFIDENCE_BINS)
        ],
        Look("percentunit", LIMITS.handoff_success, low=0, high=1, decimals=0),
    ),
    bars(
        "Confidence",
        "How many hand-offs were decided with which confidence in the time range.",
        [
            Query(ask.in_bin(handoffs.HANDOFF_CONFIDENCE, lower, upper), name)
            for name, lower, upper in bins(handoffs.HANDOFF_CONFIDENCE, CONFIDENCE_BINS)
        ],
        Look(COUNT, low=0, decimals=0),
    ),
)

HANDOFFS = Board(
    "handoffs",
    "Platform",
    "Orchestration / Hand-offs",
    "Which model gets what work, how well and how fast it does it, and whether the router's confidence is deserved.",
    (
        Row("Now", headline),
        Row("How many", rates),
        Row("What fails", failures),
        Row("How long", durations),
        Row("Confidence", confidence),
    ),
)

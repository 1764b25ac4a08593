"""Metrics of tasks and their outcomes."""

from __future__ import annotations

from exporter.catalogue.tables import TASKS
from exporter.catalogue.vocabulary import (
    DURATION_BUCKETS,
    ERROR_TYPE,
    MODEL,
    OUTCOME,
    PROJECT,
    QUALITY_BUCKETS,
    TASK_TYPE,
)
from exporter.spec import Col, Counter, Feed, Histogram, Is, LabelValue, Metric, Outcome, Project, Value

_SUCCESS = Outcome("success")


def _tasks(value: Value = None, *, where: tuple[Is, ...] = (), **labels: LabelValue) -> tuple[Feed, ...]:
    return (Feed(TASKS, labels, value, where=where),)


TASKS_TOTAL = Counter(
    "orchestration_tasks_total",
    "Tasks with an outcome (task_outcomes), by the model that did them.",
    (PROJECT, MODEL, OUTCOME),
    _tasks(project=Project(), model=Col("model_used"), outcome=_SUCCESS),
)
TASK_TYPES = Counter(
    "orchestration_task_types_total",
    "Tasks by type. The same tasks as orchestration_tasks_total: do not add the two.",
    (TASK_TYPE, OUTCOME),
    _tasks(task_type=Col("task_type"), outcome=_SUCCESS),
)
TASK_DURATION = Histogram(
    "orchestration_task_duration_seconds",
    "Execution time of tasks (task_outcomes.execution_time).",
    (TASK_TYPE, OUTCOME),
    _tasks("execution_time", task_type=Col("task_type"), outcome=_SUCCESS),
    buckets=DURATION_BUCKETS,
)
TASK_ERRORS = Counter(
    "orchestration_task_errors_total",
    "Failed tasks (task_outcomes.success is 0) by type of error.",
    (MODEL, ERROR_TYPE),
    _tasks(where=(Is("success", 0),), model=Col("model_used"), error_type=Col("error_type")),
)
TASK_QUALITY = Histogram(
    "orchestration_task_quality_score",
    "Quality of tasks on the platform's scale of 0 to 5 (task_outcomes.quality_score).",
    (MODEL,),
    _tasks("quality_score", model=Col("model_used")),
    buckets=QUALITY_BUCKETS,
)
TASK_COST = Counter(
    "orchestration_task_cost_usd_total",
    "Cost of tasks (task_outcomes.cost). A second view of money that orchestration_cost_usd_total counts as the "
    "hand-off or call that did the task: never add the two.",
    (PROJECT, MODEL),
    _tasks("cost", project=Project(), model=Col("model_used")),
)

METRICS: tuple[Metric, ...] = (
    TASKS_TOTAL,
    TASK_TYPES,
    TASK_DURATION,
    TASK_ERRORS,
    TASK_QUALITY,
    TASK_COST,
)

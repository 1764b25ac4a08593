"""Colours by value, on limits that the alerts use where there are such: none is typed twice."""

from __future__ import annotations

from typing import NamedTuple

from alerting import thresholds
from dashboards.panels import Step, steps
from exporter.catalogue import handoffs, tasks
from exporter.spec import Counter

SHARED = thresholds.load()


class Objective(NamedTuple):
    """A service level: what should succeed how often, and where its panels lead."""

    name: str
    metric: Counter
    target: float
    explains: str
    note: str


OBJECTIVES = (
    Objective(
        "Tasks",
        tasks.TASKS_TOTAL,
        SHARED.service_levels.tasks.objective,
        "orchestration-agents",
        "Tasks say how the work went: pages hang on them.",
    ),
    Objective(
        "Hand-offs",
        handoffs.HANDOFFS_TOTAL,
        SHARED.service_levels.handoffs.objective,
        "orchestration-handoffs",
        "Some platforms call every hand-off a success: the tasks tell.",
    ),
)
WINDOW_PAIRS = SHARED.burn_windows


class Limits(NamedTuple):
    """The steps of each kind of number."""

    optimisation: tuple[Step, ...]
    task_success: tuple[Step, ...]
    escalated: tuple[Step, ...]
    waiting: tuple[Step, ...]
    subagents: tuple[Step, ...]
    session_cost: tuple[Step, ...]
    growth: tuple[Step, ...]
    budget_used: tuple[Step, ...]
    lag: tuple[Step, ...]
    error_budget: tuple[Step, ...]
    freshness: tuple[Step, ...]


LIMITS = Limits(
    optimisation=steps("red", (0.8, "orange"), (0.95, "green")),
    task_success=steps("red", (0.8, "orange"), (0.95, "green")),
    escalated=steps("green", (0.05, "orange"), (0.1, "red")),
    waiting=steps("green", (600, "orange"), (1800, "red")),
    subagents=steps("text", (SHARED.sessions.subagents, "red")),
    session_cost=steps("text", (SHARED.sessions.cost_usd, "red")),
    growth=steps("green", (1.5, "orange"), (2, "red")),
    budget_used=steps("green", (SHARED.budgets.near, "orange"), (1, "red")),
    lag=steps("green", (1000, "orange"), (5000, "red")),
    error_budget=steps("red", (0, "orange"), (0.25, "green")),
    freshness=steps("red", (0.95, "orange"), (0.99, "green")),
)

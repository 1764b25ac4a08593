"""Colours by value, all from the thresholds of the alerts: red is where an alert fires, orange comes before it.

What has an objective is orange as soon as it misses that; anything else from half way between well and the alert. What
no alert watches has no colour: nobody would know why it is red.
"""

from __future__ import annotations

from typing import NamedTuple

from alerting import thresholds
from dashboards.panels import Step, steps

SHARED = thresholds.load()
OPTIMISATION_TARGET = 0.95
"""What share of the baseline the platform itself aims to save."""


def rising(alert: float, well: float = 0, early: float | None = None) -> tuple[Step, ...]:
    """Colours of what alerts above a limit; ``early`` is where orange begins, by default half way there.

    Raises: ValueError unless ``early`` comes before the alert.
    """
    return steps("green", (_halfway(well, alert) if early is None else early, "orange"), (alert, "red"))


def falling(alert: float, well: float = 1, early: float | None = None) -> tuple[Step, ...]:
    """Colours of what alerts below a limit; ``early`` is where orange begins, by default half way there.

    Raises: ValueError unless ``early`` comes before the alert.
    """
    return steps("red", (alert, "orange"), (_halfway(well, alert) if early is None else early, "green"))


def _halfway(well: float, alert: float) -> float:
    return round((well + alert) / 2, 6)


def _of_objective(failures: float, objective: float) -> tuple[Step, ...]:
    """A share that succeeds: red where so many fail that an alert fires, orange below its objective."""
    return falling(round(1 - failures, 6), early=objective)


def _fresh_enough(objective: float) -> float:
    """The share of a day below which the budget burns too fast over it."""
    [day] = [pair for pair in SHARED.burn_windows if pair.long == "1d"]
    return round(1 - SHARED.burn_factor(day, objective) * (1 - objective), 6)


class Limits(NamedTuple):
    """The steps of each kind of number."""

    optimisation: tuple[Step, ...]
    task_success: tuple[Step, ...]
    handoff_success: tuple[Step, ...]
    agent_success: tuple[Step, ...]
    tool_success: tuple[Step, ...]
    hook_success: tuple[Step, ...]
    call_errors: tuple[Step, ...]
    escalated: tuple[Step, ...]
    waiting: tuple[Step, ...]
    subagents: tuple[Step, ...]
    session_cost: tuple[Step, ...]
    growth: tuple[Step, ...]
    pace: tuple[Step, ...]
    budget_used: tuple[Step, ...]
    budget_left: tuple[Step, ...]
    exhausted: tuple[Step, ...]
    error_budget: tuple[Step, ...]
    freshness: tuple[Step, ...]


_LEVELS, _WORK, _LOSS = SHARED.service_levels, SHARED.work, SHARED.money.loss_ratio
LIMITS = Limits(
    # a loss of 5% of the cost is one of 5.3% of the baseline
    optimisation=falling(round(-_LOSS / (1 - _LOSS), 6), early=OPTIMISATION_TARGET),
    task_success=_of_objective(_WORK.task_failures, _LEVELS.tasks.objective),
    handoff_success=_of_objective(SHARED.handoffs.failure_ratio, _LEVELS.handoffs.objective),
    agent_success=falling(round(1 - _WORK.agent_errors, 6)),
    tool_success=falling(round(1 - _WORK.tool_errors, 6)),
    hook_success=falling(round(1 - _WORK.hook_failures, 6)),
    call_errors=rising(SHARED.handoffs.failure_ratio),
    escalated=rising(SHARED.handoffs.escalated_ratio),
    waiting=rising(SHARED.handoffs.oldest_in_flight_seconds),
    subagents=rising(SHARED.sessions.subagents),
    session_cost=rising(SHARED.sessions.cost_usd),
    growth=rising(SHARED.money.spike, well=1),
    pace=rising(SHARED.budgets.faster_than_time, well=1),
    budget_used=rising(1, early=SHARED.budgets.near),
    budget_left=falling(0, early=round(1 - SHARED.budgets.near, 6)),
    exhausted=rising(SHARED.money.exhausted_sessions, early=1),
    error_budget=falling(0),
    freshness=falling(_fresh_enough(_LEVELS.freshness.objective), early=_LEVELS.freshness.objective),
)

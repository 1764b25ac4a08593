"""Histories of the alerts in alerting/groups/slo.py: all levels go through the same days, and each pair fires."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from exporter.catalogue import handoffs, own, tasks
from exporter.spec import Counter
from tests.alertcases.courses import steep
from tests.promtool import SOURCE, Expect, History, Value, below, ends, fires, healthy, of_source, series

Course = tuple[tuple[float, int], ...]
"""(bad events a step, steps), one after another; there are ten a step."""
EVENTS = 10.0


def history(
    name: str,
    found: Mapping[str, str],
    *expect: Expect,
    step: str = "1m",
    evaluated: str = "5m",
    values: tuple[Value, ...] = (),
) -> History:
    """A history of this group."""
    return History(name, "service-levels", found, expect, step=step, evaluated=evaluated, values=values)


def outcomes(metric: Counter) -> Callable[[Course], dict[str, str]]:
    """Ten results a step, of which some are failures, and some more that are unknown and count for nothing."""

    def made(course: Course) -> dict[str, str]:
        of = {"project": "p", "model": "m"}
        good = tuple((EVENTS - bad, steps) for bad, steps in course)
        return {
            series(metric, outcome="failure", **of): steep(*course),
            series(metric, outcome="success", **of): steep(*good),
            series(metric, outcome="unknown", **of): steep((50, sum(steps for _, steps in course))),
        }

    return made


def durations(course: Course) -> dict[str, str]:
    """Ten successful hand-offs a step, of which some take longer than the objective's bound."""
    quick = steep(*((EVENTS - late, steps) for late, steps in course))
    every = steep((EVENTS, sum(steps for _, steps in course)))
    of = {"model": "m", "outcome": "success"}
    return {
        series(handoffs.HANDOFF_DURATION, part="_bucket", le="81.92", **of): quick,
        series(handoffs.HANDOFF_DURATION, part="_count", **of): every,
    }


LEVELS: tuple[tuple[str, str, str, Callable[[Course], dict[str, str]]], ...] = (
    ("Tasks", "critical", "tasks fail", outcomes(tasks.TASKS_TOTAL)),
    ("Handoffs", "warning", "hand-offs fail", outcomes(handoffs.HANDOFFS_TOTAL)),
    ("HandoffLatency", "warning", "hand-offs take longer than 81.92 s", durations),
)
FAST = "allows (limit 7 times over 1h or 6 times over 6h)."
SLOW = "allows (limit 3 times over 1d or 1.2 times over 3d)."


def burns(title: str, severity: str, what: str, made: Callable[[Course], dict[str, str]]) -> tuple[History, ...]:
    """All four pairs of a level fire, one after another, and nothing does just below their factors."""
    fast, slow = f"Orchestration{title}BurnFast", f"Orchestration{title}BurnSlow"

    def burning(alert: str, at: str, times: float, limit: str) -> Expect:
        description = f"Source main: {what} {times:.1f} times as often as the objective of 0.9 {limit}"
        return fires(alert, at, severity=severity if alert == fast else "warning", description=description, **SOURCE)

    return (
        history(
            f"{title}: an hour of 80% bad ones, then hours of 65%, then none to speak of; 69% and 59% are no matter",
            made(((0.5, 30), (8, 65), (6.5, 205), (0.5, 80)))
            | of_source("below", made(((0.5, 30), (6.9, 60), (5.9, 290)))),
            healthy(fast, "25m"),
            below(fast, "95m", source="below"),
            burning(fast, "95m", 8.0, FAST),
            below(fast, "290m", source="below"),
            burning(fast, "290m", 6.2, FAST),
            ends(fast, "345m"),
        ),
        history(
            f"{title}: a day of 35% bad ones, then as before; 11.9% are no matter",
            made(((0.5, 96), (3.5, 104), (0.5, 60))) | of_source("below", made(((1.19, 260),))),
            healthy(slow, "23h"),
            burning(slow, "34h", 1.4, SLOW),
            below(slow, "49h", source="below"),
            burning(slow, "49h", 3.5, SLOW),
            ends(slow, "58h"),
            step="15m",
            evaluated="30m",
        ),
    )


TASK = {"project": "p", "model": "m"}
FAILED, SUCCEEDED = (series(tasks.TASKS_TOTAL, outcome=outcome, **TASK) for outcome in ("failure", "success"))
FEW = history(
    "two tasks, and both fail: no more than two bad ones",
    {FAILED: "0x60 1 2x30", SUCCEEDED: "0x90"},
    below("OrchestrationTasksBurnFast", "65m"),
)
LATE = history(
    "eight of ten tasks fail, and came late: that is a source that was down, and is guarded",
    outcomes(tasks.TASKS_TOTAL)(((0.5, 30), (8, 65))) | {series(own.LATE_ROWS): steep((0, 60), (10, 35))},
    healthy("OrchestrationTasksBurnFast", "95m"),
)


def freshness(alert: str, at: str, times: str, limit: str) -> Expect:
    """It fires with so many times what the objective allows."""
    description = f"Source main: the numbers are old {times} times as often as the objective of 0.99 {limit}"
    return fires(f"OrchestrationFreshnessBurn{alert}", at, severity="warning", description=description, **SOURCE)


FRESH_FAST = "allows (limit 14.4 times over 1h or 6 times over 6h)."
FRESH_SLOW = "allows (limit 3 times over 1d or 1.2 times over 3d)."
STALE = history(
    "old numbers for more than an hour",
    {series(own.UP): "1x60 0x80 1x90"},
    healthy("OrchestrationFreshnessBurnFast", "50m"),
    freshness("Fast", "135m", "100.0", FRESH_FAST),
    ends("OrchestrationFreshnessBurnFast", "210m"),
    evaluated="1m",
)
GONE = history(
    "an exporter that is gone does not freeze its freshness",
    {series(own.UP): "1x60 _x90 1x60"},
    freshness("Fast", "140m", "100.0", FRESH_FAST),
    evaluated="1m",
)
HALF_AN_HOUR = history(
    "24 minutes of old numbers in six hours; eight minutes are no matter",
    {series(own.UP): "1x300 0x7 1x51 0x23 1x60"},
    below("OrchestrationFreshnessBurnFast", "308m"),
    freshness("Fast", "392m", "8.9", FRESH_FAST),
    ends("OrchestrationFreshnessBurnFast", "440m"),
    evaluated="1m",
)
STALE_SLOWLY = history(
    "an hour of old numbers in a day",
    {series(own.UP): "1x144 0 1x143 0x11 1x120"},
    below("OrchestrationFreshnessBurnSlow", "13h"),
    healthy("OrchestrationFreshnessBurnSlow", "23h"),
    freshness("Slow", "25h10m", "4.5", FRESH_SLOW),
    ends("OrchestrationFreshnessBurnSlow", "33h"),
    step="5m",
    evaluated="5m",
)
SPENT = history(
    "a bad day, and two good ones that make up for it; a source without tasks has all of its budget",
    {
        **outcomes(tasks.TASKS_TOTAL)(((0.5, 24), (1.9, 24), (0, 96))),
        series(tasks.TASKS_TOTAL, {**SOURCE, "source": "idle"}, outcome="failure", **TASK): "0x144",
        series(tasks.TASKS_TOTAL, {**SOURCE, "source": "idle"}, outcome="success", **TASK): "0x144",
    },
    healthy("OrchestrationErrorBudgetSpent", "20h"),
    below("OrchestrationErrorBudgetSpent", "34h"),
    fires(
        "OrchestrationErrorBudgetSpent",
        "47h",
        severity="info",
        description="Source main: of the error budget of task, -18.51% are left of 30 days; below 0 the objective is "
        "missed.",
        **SOURCE,
        level="task",
    ),
    ends("OrchestrationErrorBudgetSpent", "100h"),
    step="1h",
    evaluated="1h",
    values=(
        Value(
            'source:task_error_budget:left30d{source="idle"}',
            "100h",
            {
                series(tasks.TASKS_TOTAL, {**SOURCE, "source": "idle"}).replace(
                    "orchestration_tasks_total", "source:task_error_budget:left30d"
                ): 1
            },
        ),
    ),
)

HISTORIES: tuple[History, ...] = (
    *(each for level in LEVELS for each in burns(*level)),
    *(FEW, LATE, STALE, GONE, HALF_AN_HOUR, STALE_SLOWLY, SPENT),
)

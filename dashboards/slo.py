"""Service levels: how much of the error budget is left, and how fast it burns.

All of it is what the alerts' recording rules hold, so that a panel and the alert that it explains cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from alerting.groups import slo
from alerting.groups.slo import Level
from dashboards.board import Board, Row
from dashboards.limits import LIMITS, SHARED, rising
from dashboards.panels import TIMES, Look, Query, Tile, stat, timeseries
from dashboards.questions import ask
from exporter.promql import binary, vector

_WITHIN = SHARED.service_levels.handoff_latency.within_seconds


@dataclass(frozen=True, slots=True)
class Objective:
    """A service level on the board: what it is called, what is good, how to take it, and where more of it is shown."""

    level: Level
    name: str
    good: str
    note: str
    explains: str


OBJECTIVES = (
    Objective(
        *(slo.TASKS, "Tasks", "tasks that succeed", "Tasks say how the work went: pages hang on them."),
        explains="orchestration-agents",
    ),
    Objective(
        *(slo.HANDOFFS, "Hand-offs", "hand-offs that succeed"),
        note="Some platforms call every hand-off a success: the tasks tell.",
        explains="orchestration-handoffs",
    ),
    Objective(
        *(slo.LATENCY, "Latency", f"successful hand-offs that take at most {_WITHIN:g} s"),
        note="Local models are slow and cheap: it is missed where work queues up.",
        explains="orchestration-handoffs",
    ),
    Objective(
        *(slo.FRESHNESS, "Freshness", "time in which what the exporter serves is current"),
        note="Without it, none of the others can be believed.",
        explains="orchestration-exporter",
    ),
)


def _target(each: Objective) -> Tile:
    return stat(
        f"{each.name}: objective",
        f"The share of {each.good} over 30 days that is aimed for.",
        Query(vector(each.level.objective)),
        Look("percentunit", decimals=1),
    ).sized(6)


def _left(each: Objective) -> Tile:
    return stat(
        f"{each.name}: budget left",
        "What is left of what the objective allows to be bad in 30 days, of the source with the least; below 0 it is "
        f"missed. {each.note}",
        Query(ask.recorded(slo.budget_left(each.level)).aggregate("min")),
        Look("percentunit", LIMITS.error_budget, decimals=0, explains=each.explains),
    ).sized(6)


def _course(each: Objective) -> Tile:
    return timeseries(
        f"{each.name}: error budget",
        f"How what is left of the 30 days' error budget moves, by source. {each.note}",
        [Query(ask.recorded(slo.budget_left(each.level)), "{{source}}")],
        Look("percentunit", LIMITS.error_budget, high=1, decimals=0),
        limits=True,
    ).sized(12, 8)


def _burns(each: Objective) -> Iterator[Tile]:
    for pair in SHARED.burn_windows:
        factor = SHARED.burn_factor(pair, each.level.objective)
        yield timeseries(
            f"{each.name}: burn rate, {pair.long} and {pair.short}",
            f"How fast the error budget burns, at most in each step. An alert fires where both windows are above "
            f"{factor:g} (dashed): the long one says that it matters, the short one that it still happens. 1 uses the "
            "budget up in exactly 30 days. Without events there is no line.",
            [_burn(each.level, window) for window in (pair.long, pair.short)],
            Look(TIMES, rising(factor, early=min(1, factor / 2)), low=0, decimals=1),
            limits=True,
        ).sized(12, 8)


def _burn(level: Level, window: str) -> Query:
    """How fast the budget burns over a window, by source; the most of each step, within which a short burn may end."""
    most = ask.recorded_over(slo.bad_ratio(level, window), "max")
    return Query(binary(most, "/", level.budget), f"{window} {{{{source}}}}")


FRESH = timeseries(
    "Freshness of the last day",
    "The share of the last day in which what the exporter served was current, by source.",
    [Query(binary(1, "-", ask.recorded(slo.bad_ratio(slo.FRESHNESS, "1d"))), "{{source}}")],
    Look("percentunit", LIMITS.freshness, low=0.9, high=1, decimals=1),
    limits=True,
).sized(24, 7)

SLO = Board(
    "slo",
    "Operations",
    "Orchestration / Service levels",
    "Whether the platform keeps its four objectives: how much of each error budget is left, and how fast it burns. By "
    "source, over all models and projects, as the alerts see it; it needs the alerts' recording rules.",
    (
        Row("Objectives", [*map(_target, OBJECTIVES), *map(_left, OBJECTIVES)]),
        Row("Error budgets", [_course(each) for each in OBJECTIVES]),
        *(Row(f"{each.name}: burn rates", [*_burns(each)]) for each in OBJECTIVES),
        Row("Freshness", [FRESH]),
    ),
    since="now-7d",
    filters=(),
)

"""Service levels: how much of the error budget is left, and how fast it burns."""

from __future__ import annotations

from dashboards import questions as ask
from dashboards.board import Board, Row
from dashboards.limits import LIMITS, OBJECTIVES, SHARED, WINDOW_PAIRS, Objective
from dashboards.panels import Look, Query, stat, steps, timeseries
from exporter.catalogue import own

MONTH = "30d"


def _bad_share(objective: Objective, window: str) -> str:
    """The share of events in a window that failed; absent without any."""
    failed = ask.total(objective.metric, over=window, outcome="failure")
    known = ask.total(objective.metric, over=window, outcome=f"~{ask.KNOWN}")
    return f"{failed} / ({known} > 0)"


def _burn(objective: Objective, window: str) -> str:
    """How fast the error budget burns: 1 uses it up in exactly 30 days. Without events it does not burn."""
    return f"({_bad_share(objective, window)} or vector(0)) / {1 - objective.target:.6g}"


def _left(objective: Objective) -> str:
    """The error budget that is left of 30 days; all of it where nothing happened."""
    return f"1 - ({_bad_share(objective, MONTH)} or vector(0)) / {1 - objective.target:.6g}"


headline = (
    *(
        stat(
            f"{each.name}: objective",
            f"The share of {each.name.lower()} that should succeed over 30 days.",
            Query(f"vector({each.target:g})"),
            Look("percentunit", decimals=1),
        ).sized(6)
        for each in OBJECTIVES
    ),
    *(
        stat(
            f"{each.name}: error budget left",
            f"What is left of the failures that the objective allows in 30 days; below 0 it is missed. {each.note}",
            Query(_left(each)),
            Look("percentunit", LIMITS.error_budget, decimals=0, explains=each.explains),
        ).sized(6)
        for each in OBJECTIVES
    ),
)


burn = tuple(
    timeseries(
        f"{each.name}: burn rate, {pair.long} and {pair.short}",
        "How fast the error budget burns. An alert fires where both windows are above "
        f"{SHARED.burn_factor(pair, each.target):g} (dashed): the long one says that it matters, the short one that it "
        "still happens. 1 uses the budget up in exactly 30 days.",
        [Query(_burn(each, pair.long), pair.long), Query(_burn(each, pair.short), pair.short)],
        Look("none", steps("green", (SHARED.burn_factor(pair, each.target), "red")), low=0, decimals=1),
        limits=True,
    )
    for each in OBJECTIVES
    for pair in WINDOW_PAIRS
)

course = tuple(
    timeseries(
        f"{each.name}: error budget left",
        f"How the 30 days' error budget moves. {each.note}",
        [Query(_left(each), "left")],
        Look("percentunit", LIMITS.error_budget, high=1),
        limits=True,
    )
    for each in OBJECTIVES
)

fresh = (
    timeseries(
        "Freshness",
        "The share of the last day in which what the exporter served was current, by source.",
        [
            Query(
                ask.summed(f"avg_over_time({ask.select(own.UP)}[1d])", ("source",), "min"),
                "{{source}}",
            )
        ],
        Look("percentunit", LIMITS.freshness, high=1),
        limits=True,
    ).sized(24, 7),
)

SLO = Board(
    "slo",
    "Operations",
    "Orchestration / Service levels",
    "Whether the platform keeps its objectives: how much of the error budget is left, and how fast it burns. All "
    "models, all projects unless some are chosen.",
    (Row("Objectives", headline), Row("Error budget", course), Row("Burn rates", burn), Row("Freshness", fresh)),
    since="now-7d",
)

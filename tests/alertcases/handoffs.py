"""Histories of the alerts in alerting/groups/handoffs.py."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.catalogue import handoffs, own
from tests.alertcases.courses import steep
from tests.alertcases.localmodel import routes, two_models
from tests.promtool import SOURCE, Expect, History, below, ends, fires, healthy, of_source, series

MODEL = {**SOURCE, "model": "claude-sonnet"}
OF = {"project": "p", "model": "claude-sonnet"}
MAIN = "Source main, model claude-sonnet"


def history(name: str, found: Mapping[str, str], *expect: Expect, step: str = "1m", evaluated: str = "5m") -> History:
    """A history of this group."""
    return History(name, "handoffs", found, expect, step=step, evaluated=evaluated)


def outcomes(an_hour: float, failed: float, model: str = "claude-sonnet") -> dict[str, str]:
    """So many results an hour; of them so large a share fails from minute 60 to 180."""
    each, of = an_hour / 60, {"project": "p", "model": model}
    return {
        series(handoffs.HANDOFFS_TOTAL, outcome="failure", **of): steep((0, 60), (each * failed, 120), (0, 120)),
        series(handoffs.HANDOFFS_TOTAL, outcome="success", **of): steep(
            (each, 60), (each * (1 - failed), 120), (each, 120)
        ),
        series(handoffs.HANDOFFS_TOTAL, outcome="unknown", **of): steep((5, 300)),
    }


FAILING = history(
    "a quarter of the hand-offs fail for two hours",
    outcomes(40, 0.25),
    healthy("OrchestrationHandoffsFailing", "50m"),
    fires(
        "OrchestrationHandoffsFailing",
        "170m",
        severity="warning",
        description=f"{MAIN}: 25% of the hand-offs with a result failed in the last hour (more than 20%), 8 or more.",
        **MODEL,
    ),
    ends("OrchestrationHandoffsFailing", "270m"),
)
FAILING_LITTLE = history(
    "just under a fifth of the hand-offs fail", outcomes(60, 0.199), below("OrchestrationHandoffsFailing", "170m")
)
FAILING_FEW = history(
    "all of seven hand-offs fail: too few to tell", outcomes(7, 1), below("OrchestrationHandoffsFailing", "170m")
)
FAILING_LATE = history(
    "failures that came late are of another time",
    outcomes(40, 0.25) | {series(own.LATE_ROWS): steep((0, 120), (1, 60))},
    healthy("OrchestrationHandoffsFailing", "170m"),
)
FAILING_REWOUND = history(
    "another source's restored database silences nothing",
    outcomes(40, 0.25) | {series(own.SOURCE_REWINDS, {**SOURCE, "source": "other"}): "0x150 1x60"},
    fires(
        "OrchestrationHandoffsFailing",
        "170m",
        severity="warning",
        description=f"{MAIN}: 25% of the hand-offs with a result failed in the last hour (more than 20%), 8 or more.",
        **MODEL,
    ),
)

BOUNDS = tuple(handoffs.HANDOFF_DURATION.buckets)
WEEK = 5 * 48
"""Five days, in half hours."""


def durations(usual: float, then: float, an_hour: float = 8) -> dict[str, str]:
    """Successes that take up to ``usual`` (a bucket's bound) seconds; then for eight hours ``then``."""
    each = an_hour / 2

    def up_to(bound: float) -> str:
        ordinary, changed = each * (usual <= bound), each * (then <= bound)
        return steep((ordinary, WEEK), (changed, 16), (ordinary, 32))

    def named(le: str, values: str) -> tuple[str, str]:
        return series(handoffs.HANDOFF_DURATION, MODEL, part="_bucket", outcome="success", le=le), values

    every = steep((each, WEEK + 48))
    count = series(handoffs.HANDOFF_DURATION, MODEL, part="_count", outcome="success")
    return dict([*(named(str(bound), up_to(bound)) for bound in BOUNDS), named("+Inf", every), (count, every)])


SLOWLY = "OrchestrationHandoffsSlow"
SLOW = history(
    "successes of 1 to 3 s take 5 to 10; twice as long, less than a second, and 24 of them are no matter",
    durations(2.56, 10.24)
    | of_source("twice", durations(2.56, 5.12))
    | of_source("short", durations(0.08, 0.64))
    | of_source("few", durations(2.56, 10.24, 4)),
    healthy(SLOWLY, "119h"),
    *(below(SLOWLY, "127h", source=source) for source in ("twice", "short", "few")),
    fires(
        SLOWLY,
        "127h",
        severity="warning",
        description=f"{MAIN}: the median of the last 6 hours is 3.9 times that of 7 days (at least 3 times, and "
        "above 1 s).",
        **MODEL,
    ),
    ends(SLOWLY, "137h"),
    step="30m",
    evaluated="1h",
)

OLDEST = series(handoffs.HANDOFF_OLDEST, MODEL)
IN_FLIGHT = series(handoffs.HANDOFFS_IN_FLIGHT, MODEL)
STUCK = history(
    "five hand-offs wait for an hour, the first since ten minutes after the epoch; four are no matter",
    {OLDEST: "_x9 600x60 _x30", IN_FLIGHT: "0x9 5x60 0x30"}
    | of_source("few", {OLDEST: "_x9 600x60 _x30", IN_FLIGHT: "0x9 4x60 0x30"})
    | {series(own.UP, {**SOURCE, "source": "few"}): "1x100", series(own.UP): "1x100"},
    healthy("OrchestrationHandoffStuck", "20m"),
    below("OrchestrationHandoffStuck", "40m"),
    below("OrchestrationHandoffStuck", "60m", source="few"),
    fires(
        "OrchestrationHandoffStuck",
        "60m",
        severity="warning",
        description=f"{MAIN}: 5 or more have waited for 30 minutes; the oldest hand-off without a result began "
        "50m 0s ago (more than 30 minutes).",
        **MODEL,
    ),
    ends("OrchestrationHandoffStuck", "85m"),
)
STUCK_UNKNOWN = history(
    "of a source that is down, nobody knows what is in flight",
    {OLDEST: "_x9 600x50", IN_FLIGHT: "0x9 5x50", series(own.UP): "1x35 0x30"},
    healthy("OrchestrationHandoffStuck", "50m"),
)


def confidence(usual: float, then: float) -> dict[str, str]:
    """Ten hand-offs an hour; the share of low confidence is the second for 25 hours after eight days."""
    low = steep((10 * usual, 192), (10 * then, 25), (10 * usual, 48))
    of = {"outcome": "success"}
    return {
        series(handoffs.HANDOFF_CONFIDENCE, MODEL, part="_bucket", le="0.5", **of): low,
        series(handoffs.HANDOFF_CONFIDENCE, MODEL, part="_count", **of): steep((10, 265)),
    }


def standing_in(an_hour: float) -> dict[str, str]:
    """So many hand-offs an hour, meanwhile, go to the model for the local one is unavailable."""
    of = {"source_model": "claude-opus", "model": "claude-sonnet", "outcome": "success"}
    return {
        series(handoffs.HANDOFF_ROUTES, reason="deepseek_unavailable", **of): steep((0, 192), (an_hour, 25), (0, 48)),
    }


LOW = "OrchestrationHandoffConfidenceLow"
LOW_CONFIDENCE = history(
    "the share of low confidence rises from 5% to 30%, for a day; 19.9%, and 28% from 15%, are no matter, nor is who "
    "stands in for the local model",
    confidence(0.05, 0.3)
    | of_source("little", confidence(0.05, 0.199))
    | of_source("usual", confidence(0.15, 0.28))
    | of_source("outage", confidence(0.05, 0.3) | standing_in(2)),
    healthy(LOW, "190h"),
    below(LOW, "217h", source="little"),
    below(LOW, "217h", source="usual"),
    below(LOW, "217h", source="outage"),
    fires(
        LOW,
        "217h",
        severity="warning",
        description=f"{MAIN}: 30% of the hand-offs of the last day, but for those that found the local model "
        "unavailable, had a confidence of at most 0.5 (more than 20%, and 2 times the 7 days before).",
        **MODEL,
    ),
    ends(LOW, "245h"),
    step="1h",
    evaluated="1h",
)


def confident(an_hour: float, failed: float, model: str = "claude-sonnet", an_hours: int = 1) -> dict[str, str]:
    """So many results an hour above 0.9, of which a share fails in hours 24 to 60; as many others below, half bad.

    ``an_hours`` are the samples of an hour.
    """
    found, name = {}, {**SOURCE, "model": model}
    an_hour /= an_hours
    for outcome, share in (("failure", failed), ("success", 1 - failed)):
        before = an_hour if outcome == "success" else 0
        high = tuple((rise, hours * an_hours) for rise, hours in ((before, 24), (an_hour * share, 36), (before, 40)))
        low = tuple((an_hour / 2, steps) for _, steps in high)
        of = {"outcome": outcome}
        found[series(handoffs.HANDOFF_CONFIDENCE, name, part="_bucket", le="0.9", **of)] = steep(*low)
        found[series(handoffs.HANDOFF_CONFIDENCE, name, part="_count", **of)] = steep(
            *((rise + an_hour / 2, steps) for rise, steps in high)
        )
    return found


OVER = "OrchestrationHandoffsOverconfident"
OVERCONFIDENT = history(
    "a fifth of what is decided with great confidence fails; just under 15%, and all of nine, are no matter",
    confident(2, 0.2) | of_source("little", confident(2, 0.149)) | of_source("few", confident(9 / 24, 1)),
    healthy(OVER, "23h"),
    below(OVER, "55h", source="little"),
    below(OVER, "55h", source="few"),
    fires(
        OVER,
        "55h",
        severity="warning",
        description=f"{MAIN}: 20% of the hand-offs decided with a confidence above 0.9 failed in the last day (more "
        "than 15%), 8 or more.",
        **MODEL,
    ),
    ends(OVER, "90h"),
    step="1h",
    evaluated="1h",
)

DOWN = "OrchestrationLocalModelDown"
LOCAL = {**SOURCE, "model": "deepseek"}
BOTH = (LOCAL["model"], MODEL["model"])


def down(share: str) -> Expect:
    """The local model does not do so much of its work."""
    return fires(
        DOWN,
        "110m",
        severity="warning",
        description=f"Source main: {share} of the hand-offs went past the local model as unavailable in the last hour "
        "(more than 30%), or it had work for 30 minutes and finished none (100%).",
        **SOURCE,
    )


def failing(source: str, model: str) -> Expect:
    """A quarter of the hand-offs to it fail."""
    return fires(
        "OrchestrationHandoffsFailing",
        "170m",
        severity="warning",
        description=f"Source {source}, model {model}: 25% of the hand-offs with a result failed in the last hour (more "
        "than 20%), 8 or more.",
        **{**SOURCE, "source": source, "model": model},
    )


FAILING_DOWN = history(
    "failures of a local model that is known to be down are silent, a paid one's are not",
    outcomes(40, 0.25)
    | outcomes(40, 0.25, "deepseek")
    | two_models(300, *BOTH)
    | routes(10 / 60, 0.4)
    | of_source("up", outcomes(40, 0.25, "deepseek") | two_models(300, *BOTH) | routes(10 / 60, 0.299)),
    failing("main", "claude-sonnet"),
    failing("up", "deepseek"),
    ends("OrchestrationHandoffsFailing", "270m"),
)


def overconfident(source: str, model: str) -> Expect:
    """A fifth fails of what is decided with great confidence."""
    return fires(
        OVER,
        "55h",
        severity="warning",
        description=f"Source {source}, model {model}: 20% of the hand-offs decided with a confidence above 0.9 failed "
        "in the last day (more than 15%), 8 or more.",
        **{**SOURCE, "source": source, "model": model},
    )


OVERCONFIDENT_DOWN = history(
    "three hours in which the local model is down say nothing of its confidence, for a day; of a paid one's they do",
    confident(2, 0.2, an_hours=2)
    | confident(2, 0.2, "deepseek", an_hours=2)
    | two_models(200, *BOTH)
    | routes(5, 0.4, (80, 6, 114))
    | of_source(
        "up", confident(2, 0.2, "deepseek", an_hours=2) | two_models(200, *BOTH) | routes(5, 0.299, (80, 6, 114))
    ),
    overconfident("main", "claude-sonnet"),
    overconfident("up", "deepseek"),
    ends(OVER, "90h"),
    step="30m",
    evaluated="30m",
)


LOCAL_UNAVAILABLE = history(
    "two of five routes find the local model unavailable",
    routes(10 / 60, 0.4),
    healthy(DOWN, "25m"),
    down("40%"),
    ends(DOWN, "220m"),
)
LOCAL_SELDOM_UNAVAILABLE = history("three of ten routes do", routes(10 / 60, 0.299), below(DOWN, "110m"))
LOCAL_FEW = history("all of four routes do: too few to tell", routes(4.5 / 60, 1), below(DOWN, "110m"))


def waiting(finished: str, in_flight: str = "0x60 5x60 0x60") -> dict[str, str]:
    """Hand-offs to the local model that wait for a result, and successes."""
    return {
        series(handoffs.HANDOFFS_IN_FLIGHT, LOCAL): in_flight,
        series(handoffs.HANDOFFS_IN_FLIGHT, MODEL): "5x180",
        **two_models(180, *BOTH),
        series(handoffs.HANDOFFS_TOTAL, LOCAL, project="p", outcome="success"): finished,
        series(own.UP): "1x180",
    }


LOCAL_SILENT = history(
    "the local model has work for an hour and finishes none; a paid one that does not either is no matter",
    waiting(steep((1, 60), (0, 60), (1, 60))),
    healthy(DOWN, "55m"),
    down("100%"),
    ends(DOWN, "160m"),
)
LOCAL_SLOW = history(
    "it finishes one hand-off in twenty minutes", waiting(steep((1, 60), (0.05, 120))), below(DOWN, "110m")
)

ESCALATED = "OrchestrationHandoffsEscalated"


def escalated(an_hour: float, retried: float) -> dict[str, str]:
    """So many hand-offs an hour, a share of which repeats what failed from hour 6 to 16; others are unavailable."""
    quarter = an_hour / 4
    of = {"project": "p"}
    return {
        series(handoffs.HANDOFF_ESCALATIONS, reason="retry", **of): steep((0, 24), (quarter * retried, 40), (0, 60)),
        series(handoffs.HANDOFF_ESCALATIONS, reason="unavailable", **of): steep((quarter / 3, 124)),
        series(handoffs.HANDOFFS_TOTAL, outcome="success", **OF): steep((quarter, 124)),
    }


RETRIED = history(
    "a fifth of the hand-offs repeats on a paid model what failed; just under 15%, and seven of seven, are no matter",
    escalated(10, 0.2) | of_source("little", escalated(10, 0.149)) | of_source("few", escalated(7 / 6, 1)),
    healthy(ESCALATED, "5h"),
    below(ESCALATED, "15h", source="little"),
    below(ESCALATED, "15h", source="few"),
    fires(
        ESCALATED,
        "15h",
        severity="warning",
        description="Source main: 20% of the hand-offs of the last 6 hours repeated on a paid model what the local one "
        "had failed at (more than 15%).",
        **SOURCE,
    ),
    ends(ESCALATED, "24h"),
    step="15m",
    evaluated="30m",
)

HISTORIES: tuple[History, ...] = tuple(each for each in globals().values() if isinstance(each, History))

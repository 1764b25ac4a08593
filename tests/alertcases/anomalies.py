"""Histories of the alerts in alerting/groups/anomalies.py: two weeks of days and nights, then something else."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from exporter.catalogue import handoffs, money, own
from tests.alertcases.courses import hourly
from tests.promtool import SOURCE, Expect, History, below, ends, fires, healthy, of_source, series

HOURS = 14 * 24 + 24
"""Two weeks, and the day on which it happens."""
BEGIN, END = 14 * 24 + 10, 14 * 24 + 16
"""It happens from ten o'clock on, for six hours."""
STEPS = 2
"""Samples an hour."""
OF = {"project": "p", "model": "m"}
BANDS = "Usual is at most 5 times the same hour of the weeks before, and 3 standard deviations above the last day."
Rate = Callable[[float], float]


def history(name: str, found: Mapping[str, str], *expect: Expect) -> History:
    """A history of this group."""
    return History(name, "anomalies", found, expect, step="30m", evaluated="2h")


def days(day: float, night: float, then: float | None = None) -> Rate:
    """So much an hour by day (8 to 20 o'clock) and by night; while it happens, ``then``."""

    def rate(hour: float) -> float:
        if then is not None and BEGIN <= hour < END:
            return then
        return day if 8 <= hour % 24 < 20 else night

    return rate


def at(hour: int) -> str:
    """So many hours after it begins."""
    return f"{BEGIN + hour}h"


def counted(rate: Rate, failed: float = 0.0, then_failed: float = 0.0) -> dict[str, str]:
    """Hand-offs, of which a share fails; another while it happens."""

    def failures(hour: float) -> float:
        return rate(hour) * (then_failed if BEGIN <= hour < END else failed)

    return {
        series(handoffs.HANDOFFS_TOTAL, outcome="failure", **OF): hourly(failures, HOURS, STEPS),
        series(handoffs.HANDOFFS_TOTAL, outcome="success", **OF): hourly(
            lambda hour: rate(hour) - failures(hour), HOURS, STEPS
        ),
    }


SURGE = "OrchestrationHandoffSurge"
SURGES = history(
    "200 hand-offs an hour where there are 30 at this time",
    counted(days(30, 6, 200))
    | of_source("little", counted(days(30, 6, 149)))
    | of_source("small", counted(days(1, 0, 99)))
    # six times the usual, but the evening before was busier
    | of_source("wild", counted(lambda hour: 200.0 if BEGIN - 16 <= hour < BEGIN - 6 else days(30, 6, 180)(hour)))
    # a source that was down for hours gives all of them at once
    | of_source(
        "late",
        counted(days(30, 6, 200)) | {series(own.LATE_ROWS): hourly(lambda hour: 9.0 * (hour >= BEGIN), HOURS, STEPS)},
    ),
    healthy(SURGE, at(-2)),
    *(below(SURGE, at(4), source=source) for source in ("little", "small", "wild")),
    healthy(SURGE, at(4), source="late"),
    fires(
        SURGE,
        at(4),
        severity="info",
        description=f"Source main: 200 hand-offs in the last hour (more than 100). {BANDS}",
        **SOURCE,
    ),
    ends(SURGE, at(10)),
)

DROP = "OrchestrationHandoffsDropped"


def _a_week_before(hour: float) -> bool:
    return BEGIN - 7 * 24 <= hour < END - 7 * 24


def going_on(then: float = 60) -> dict[str, str]:
    """Sixty rows an hour of other tables, and ``then`` while it happens; a source that is current."""
    rows = hourly(days(60, 60, then), HOURS, STEPS)
    return {series(own.ROWS_READ, table="task_outcomes"): rows, series(own.UP): f"1x{HOURS * STEPS}"}


DROPS = history(
    "no hand-off for six hours, where there are 30 an hour at this time",
    counted(days(30, 6, 0))
    | going_on()
    | of_source("little", counted(days(30, 6, 3.3)) | going_on())
    | of_source("few", counted(days(4.9, 1, 0)) | going_on())
    # a week before there were four at that time: work comes in lumps
    | of_source("lumps", counted(lambda hour: 4.0 if _a_week_before(hour) else days(30, 6, 0)(hour)) | going_on())
    # where nothing at all is written, it is the data that are stale
    | of_source("all", counted(days(30, 6, 0)) | going_on(0))
    | of_source("down", counted(days(30, 6, 0)) | going_on() | {series(own.UP): f"1x{BEGIN * STEPS} 0x80"}),
    healthy(DROP, at(-2)),
    *(below(DROP, at(4), source=source) for source in ("little", "few", "lumps")),
    *(healthy(DROP, at(4), source=source) for source in ("all", "down")),
    fires(
        DROP,
        at(4),
        severity="warning",
        description="Source main: in the same hour of each of the weeks before there were 30 hand-offs or more, in the "
        "last one at most 10% of that.",
        **SOURCE,
    ),
    ends(DROP, at(8)),
)

COST = "OrchestrationCostSurge"


def spent(rate: Rate) -> dict[str, str]:
    """Dollars."""
    return {series(money.COST, component="handoff", outcome="success", **OF): hourly(rate, HOURS, STEPS)}


COSTS = history(
    "20 dollars an hour where it is 2; 9.9 are not five times as much, and 4.9 not worth a word",
    spent(days(2, 0.5, 20))
    | of_source("little", spent(days(2, 0.5, 9.9)))
    | of_source("small", spent(days(0.1, 0, 4.9))),
    healthy(COST, at(-2)),
    *(below(COST, at(4), source=source) for source in ("little", "small")),
    fires(
        COST,
        at(4),
        severity="warning",
        description=f"Source main: $20.00 were spent in the last hour (more than $5). {BANDS}",
        **SOURCE,
    ),
    ends(COST, at(10)),
)

SLOWER = "OrchestrationLatencyAnomaly"


def durations(then: float, an_hour: float = 30) -> dict[str, str]:
    """Successes that take up to 2.56 s by day and 5.12 s by night; ``then`` (a bucket's bound) while it happens."""

    def bucket(bound: float) -> Rate:
        day, night, changed = (an_hour * (longest <= bound) for longest in (2.56, 5.12, then))
        return days(day, night, changed)

    of = {"model": "m", "outcome": "success"}
    found = {
        series(handoffs.HANDOFF_DURATION, part="_bucket", le=str(bound), **of): hourly(bucket(bound), HOURS, STEPS)
        for bound in handoffs.HANDOFF_DURATION.buckets
        if 1 < bound < 50
    }
    every = hourly(lambda hour: an_hour, HOURS, STEPS)
    return found | {
        series(handoffs.HANDOFF_DURATION, part="_bucket", le="+Inf", **of): every,
        series(handoffs.HANDOFF_DURATION, part="_count", **of): every,
    }


SLOWS = history(
    "successes take 20 to 40 s where they take 1 to 3; half of that, and 19 of them, are no matter",
    durations(40.96) | of_source("little", durations(20.48)) | of_source("few", durations(40.96, 19)),
    healthy(SLOWER, at(-2)),
    *(below(SLOWER, at(4), source=source) for source in ("little", "few")),
    fires(
        SLOWER,
        at(4),
        severity="info",
        description=f"Source main: half of the hand-offs of the last hour took more than 30.72s (limit 30 s). {BANDS}",
        **SOURCE,
    ),
    ends(SLOWER, at(10)),
)

WORSE = "OrchestrationFailureAnomaly"


def worse(share: str, source: str) -> Expect:
    """So many fail."""
    return fires(
        WORSE,
        at(4),
        severity="info",
        description=f"Source {source}: {share} of the hand-offs of the last hour failed (more than 30%). {BANDS}",
        **{**SOURCE, "source": source},
    )


FAILS = history(
    "40% fail where 5% do, and 35% where never one did; 29.9%, 49% where 10% do, and all of 19, are no matter",
    counted(days(30, 24), 0.05, 0.4)
    | of_source("never", counted(days(30, 24), 0, 0.35))
    | of_source("little", counted(days(30, 24), 0.05, 0.299))
    | of_source("usual", counted(days(30, 24), 0.1, 0.49))
    | of_source("few", counted(days(19, 10), 0.05, 1)),
    healthy(WORSE, at(-2)),
    *(below(WORSE, at(4), source=source) for source in ("little", "usual", "few")),
    worse("40%", "main"),
    worse("35%", "never"),
    ends(WORSE, at(10)),
)
FAILS_UNKNOWN = history(
    "in a second week nobody knows what is usual",
    {name: " ".join(values.split()[7 * 24 * STEPS :]) for name, values in counted(days(30, 24), 0.05, 0.4).items()},
    healthy(WORSE, f"{BEGIN + 4 - 7 * 24}h"),
)

HISTORIES: tuple[History, ...] = tuple(each for each in globals().values() if isinstance(each, History))

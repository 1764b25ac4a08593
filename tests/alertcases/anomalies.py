"""Histories of the alerts in alerting/groups/anomalies.py: two weeks of days and nights, then something else."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from exporter.catalogue import handoffs, money, own
from tests.alertcases.courses import hourly
from tests.promtool import SOURCE, Expect, History, below, ends, fires, healthy, series

HOURS = 15 * 24 + 24
"""Two weeks, a day, and the day on which it happens."""
BEGIN, END = 15 * 24 + 10, 15 * 24 + 13
"""It happens from ten o'clock on, for three hours."""
OF = {"project": "p", "model": "m"}
BANDS = "Usual is at most 3 times the same hour of the weeks before, and 3 standard deviations above the last day."
Rate = Callable[[float], float]


def history(name: str, found: Mapping[str, str], *expect: Expect) -> History:
    """A history of this group."""
    return History(name, "anomalies", found, expect, step="15m", evaluated="1h")


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
        series(handoffs.HANDOFFS_TOTAL, outcome="failure", **OF): hourly(failures, HOURS),
        series(handoffs.HANDOFFS_TOTAL, outcome="success", **OF): hourly(
            lambda hour: rate(hour) - failures(hour), HOURS
        ),
    }


SURGE = "OrchestrationHandoffSurge"
SURGES = history(
    "200 hand-offs an hour where there are 30 at this time",
    counted(days(30, 6, 200)),
    healthy(SURGE, at(-1)),
    fires(
        SURGE,
        at(2),
        severity="info",
        description=f"Source main: 200 hand-offs in the last hour (more than 20). {BANDS}",
        **SOURCE,
    ),
    ends(SURGE, at(6)),
)
SURGES_LITTLE = history("89 an hour is not three times 30", counted(days(30, 6, 89)), below(SURGE, at(2)))
SURGES_SMALL = history("19 an hour is no surge, where there is one", counted(days(1, 0, 19)), below(SURGE, at(2)))
SURGES_WILD = history(
    "130 an hour is four times the usual, but the night before was busy",
    counted(lambda hour: 150.0 if BEGIN - 16 <= hour < BEGIN - 6 else days(30, 6, 130)(hour)),
    below(SURGE, at(2)),
)
SURGES_LATE = history(
    "a source that was down for hours gives all of them at once",
    counted(days(30, 6, 200)) | {series(own.LATE_ROWS): hourly(lambda hour: 9.0 * (hour >= BEGIN), HOURS)},
    healthy(SURGE, at(2)),
)

DROP = "OrchestrationHandoffsDropped"


def going_on(then: float = 60) -> dict[str, str]:
    """Sixty rows an hour of other tables, and ``then`` while it happens; a source that is current."""
    rows = hourly(days(60, 60, then), HOURS)
    return {series(own.ROWS_READ, table="task_outcomes"): rows, series(own.UP): f"1x{HOURS * 4}"}


DROPS = history(
    "no hand-off for three hours, where there are 30 an hour at this time",
    counted(days(30, 6, 0)) | going_on(),
    healthy(DROP, at(-1)),
    fires(
        DROP,
        at(3),
        severity="warning",
        description="Source main: in the same hour of the weeks before there were 30 hand-offs (median), in the last "
        "one at most 10% of that.",
        **SOURCE,
    ),
    ends(DROP, at(5)),
)
DROPS_LITTLE = history("3.3 an hour are more than a tenth", counted(days(30, 6, 3.3)) | going_on(), below(DROP, at(3)))
DROPS_FEW = history("none, where 4.9 are expected", counted(days(4.9, 1, 0)) | going_on(), below(DROP, at(3)))
DROPS_ALL = history(
    "where nothing at all is written, it is the data that are stale",
    counted(days(30, 6, 0)) | going_on(0),
    healthy(DROP, at(3)),
)
DROPS_DOWN = history(
    "of a source that is down nobody knows",
    counted(days(30, 6, 0)) | going_on() | {series(own.UP): f"1x{BEGIN * 4} 0x80"},
    healthy(DROP, at(3)),
)

COST = "OrchestrationCostSurge"


def spent(rate: Rate) -> dict[str, str]:
    """Dollars."""
    return {series(money.COST, component="handoff", outcome="success", **OF): hourly(rate, HOURS)}


COSTS = history(
    "20 dollars an hour where it is 2",
    spent(days(2, 0.5, 20)),
    healthy(COST, at(-1)),
    fires(
        COST,
        at(2),
        severity="warning",
        description=f"Source main: $20.00 were spent in the last hour (more than $5). {BANDS}",
        **SOURCE,
    ),
    ends(COST, at(6)),
)
COSTS_LITTLE = history("5.9 dollars are not three times 2", spent(days(2, 0.5, 5.9)), below(COST, at(2)))
COSTS_SMALL = history("4.9 dollars are not worth a word", spent(days(0.1, 0, 4.9)), below(COST, at(2)))

SLOWER = "OrchestrationLatencyAnomaly"


def durations(then: float, an_hour: float = 20) -> dict[str, str]:
    """Successes that take up to 2.56 s by day and 5.12 s by night; ``then`` (a bucket's bound) while it happens."""

    def bucket(bound: float) -> Rate:
        day, night, changed = (an_hour * (longest <= bound) for longest in (2.56, 5.12, then))
        return days(day, night, changed)

    of = {"model": "m", "outcome": "success"}
    found = {
        series(handoffs.HANDOFF_DURATION, part="_bucket", le=str(bound), **of): hourly(bucket(bound), HOURS)
        for bound in handoffs.HANDOFF_DURATION.buckets
        if 1 < bound < 50
    }
    every = hourly(lambda hour: an_hour, HOURS)
    return found | {
        series(handoffs.HANDOFF_DURATION, part="_bucket", le="+Inf", **of): every,
        series(handoffs.HANDOFF_DURATION, part="_count", **of): every,
    }


SLOWS = history(
    "successes take 10 to 20 s where they take 1 to 3",
    durations(20.48),
    healthy(SLOWER, at(-1)),
    fires(
        SLOWER,
        at(2),
        severity="info",
        description=f"Source main: half of the hand-offs of the last hour took more than 15.36s (limit 5 s). {BANDS}",
        **SOURCE,
    ),
    ends(SLOWER, at(6)),
)
SLOWS_LITTLE = history("they take 3 to 5 s", durations(5.12), below(SLOWER, at(2)))
SLOWS_FEW = history("four of them take 10 to 20 s", durations(20.48, 4.5), below(SLOWER, at(2)))

WORSE = "OrchestrationFailureAnomaly"
FAILS = history(
    "30% fail where 5% do",
    counted(days(30, 10), 0.05, 0.3),
    healthy(WORSE, at(-1)),
    fires(
        WORSE,
        at(2),
        severity="info",
        description=f"Source main: 30% of the hand-offs of the last hour failed (more than 20%). {BANDS}",
        **SOURCE,
    ),
    ends(WORSE, at(6)),
)
FAILS_FROM_NONE = history(
    "a quarter fails where never one did",
    counted(days(30, 10), 0, 0.25),
    fires(
        WORSE,
        at(2),
        severity="info",
        description=f"Source main: 25% of the hand-offs of the last hour failed (more than 20%). {BANDS}",
        **SOURCE,
    ),
)
FAILS_LITTLE = history("19.9% fail", counted(days(30, 10), 0.05, 0.199), below(WORSE, at(2)))
FAILS_USUALLY = history("25% fail where 10% do", counted(days(30, 10), 0.1, 0.25), below(WORSE, at(2)))
FAILS_UNKNOWN = history(
    "in a second week nobody knows what is usual",
    {name: " ".join(values.split()[8 * 96 :]) for name, values in counted(days(30, 10), 0.05, 0.3).items()},
    healthy(WORSE, f"{BEGIN + 2 - 8 * 24}h"),
)

HISTORIES: tuple[History, ...] = tuple(each for each in globals().values() if isinstance(each, History))

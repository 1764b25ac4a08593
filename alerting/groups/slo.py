"""Service levels: how fast the error budgets of 30 days burn, each over four pairs of windows.

A pair alerts where both of its windows burn faster than its factor, which is computed from the period and the
objective: the long one says that it matters, the short one that it still happens. Platforms may have few events, so a
pair also needs some bad ones: one task that fails at night burns nothing. The two fast pairs are one alert, the two
slow ones another. Pages hang on tasks: hand-offs' writers may call every one a success.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alerting import thresholds
from alerting.guards import JOIN, KNOWN, ratio, steady, total
from alerting.rules import SHARE, SOURCE, Alert, Group, Severity
from alerting.thresholds import BurnWindows
from exporter.catalogue import handoffs, own, tasks
from exporter.promql import Expr, Recorded, binary, select
from exporter.spec import Counter

LIMITS = thresholds.load()
_LEVELS, _BAD = LIMITS.service_levels, LIMITS.bad_events
WINDOWS = tuple(sorted({w for pair in LIMITS.burn_windows for w in (pair.long, pair.short)}, key=thresholds.seconds))
MONTH = "30d"
_SLOW_S = 6 * 3600.0
"""Windows beyond this move slowly, and cost much to look over: they are recorded in the slow group."""


@dataclass(frozen=True, slots=True)
class Level:
    """A service level: what its recording rules and alerts are called and say."""

    noun: str
    title: str
    what: str
    objective: float
    fast: Severity

    @property
    def budget(self) -> float:
        """The share that may be bad."""
        return round(1 - self.objective, 12)


@dataclass(frozen=True, slots=True)
class EventLevel(Level):
    """One of events, some of which are bad: how many, by source, in a window."""

    every: Callable[[str], Expr]
    bad: Callable[[str], Expr]


def _results(metric: Counter, outcome: str) -> Callable[[str], Expr]:
    return lambda window: total(metric, window, outcome=outcome)


_WITHIN = str(_LEVELS.handoff_latency.within_seconds)


def _handoffs_done(window: str) -> Expr:
    return total(handoffs.HANDOFF_DURATION, window, part="_count", outcome="success")


def _handoffs_late(window: str) -> Expr:
    quick = total(handoffs.HANDOFF_DURATION, window, part="_bucket", outcome="success", le=_WITHIN)
    return binary(_handoffs_done(window), "-", quick)


TASKS = EventLevel(
    *("task", "Tasks", "tasks fail", _LEVELS.tasks.objective, "critical"),
    every=_results(tasks.TASKS_TOTAL, KNOWN),
    bad=_results(tasks.TASKS_TOTAL, "failure"),
)
HANDOFFS = EventLevel(
    *("handoff", "Handoffs", "hand-offs fail", _LEVELS.handoffs.objective, "warning"),
    every=_results(handoffs.HANDOFFS_TOTAL, KNOWN),
    bad=_results(handoffs.HANDOFFS_TOTAL, "failure"),
)
LATENCY = EventLevel(
    "handoff_latency",
    "HandoffLatency",
    f"hand-offs take longer than {_WITHIN} s",
    _LEVELS.handoff_latency.objective,
    "warning",
    every=_handoffs_done,
    bad=_handoffs_late,
)
FRESHNESS = Level("freshness", "Freshness", "the numbers are old", _LEVELS.freshness.objective, "warning")
EVENT_LEVELS = (TASKS, HANDOFFS, LATENCY)

CURRENT = Recorded(
    "source:orchestration_up:or_gone",
    binary(select(own.UP).value(), "or", binary(0, "*", select(own.UP).over("last", "1d"))),
    JOIN,
)
"""1 while what is served is current, 0 while it is not, and for a day after the exporter itself is gone."""


def _bad(level: EventLevel, window: str) -> Recorded:
    return Recorded(f"source:{level.noun}_bad:increase{window}", level.bad(window), JOIN)


def bad_ratio(level: Level, window: str) -> Recorded:
    """The bad share of a window; absent without events."""
    if isinstance(level, EventLevel):
        expr = ratio(_bad(level, window).select(), level.every(window))
    else:
        expr = binary(1, "-", CURRENT.over("avg", window))
    return Recorded(f"source:{level.noun}_bad:ratio{window}", expr, JOIN)


def budget_left(level: Level) -> Recorded:
    """What is left of the error budget; all of it without events. Not guarded: in a month late rows are in place."""
    if isinstance(level, EventLevel):
        every = level.every(MONTH)
        share = binary(ratio(level.bad(MONTH), every), "or", binary(0, "*", every))
    else:
        share = binary(1, "-", CURRENT.over("avg", MONTH))
    return Recorded(
        f"source:{level.noun}_error_budget:left{MONTH}", binary(1, "-", binary(share, "/", level.budget)), JOIN
    )


def _burning(level: Level, pair: BurnWindows) -> Expr:
    """How fast the budget burns over the long window, where it burns too fast over both."""
    limit = LIMITS.burn_factor(pair, level.objective)
    burn = binary(bad_ratio(level, pair.long).select(), "/", level.budget)
    still = binary(bad_ratio(level, pair.short).select(), ">", round(limit * level.budget, 12))
    found = binary(binary(burn, ">", limit), "and", still)
    if not isinstance(level, EventLevel):
        return found
    for window, least in ((pair.long, _BAD.long), (pair.short, _BAD.short)):
        found = binary(found, "and", binary(_bad(level, window).select(), ">=", least))
    return steady(found, pair.long)


def _alert(level: Level, speed: str, severity: Severity, pairs: tuple[BurnWindows, BurnWindows]) -> Alert:
    first, second = pairs
    limits = " or ".join(f"{LIMITS.burn_factor(pair, level.objective):g} times over {pair.long}" for pair in pairs)
    return Alert(
        name=f"Orchestration{level.title}Burn{speed}",
        expr=binary(_burning(level, first), "or", _burning(level, second)),
        for_="2m" if speed == "Fast" else "15m",
        keep_firing_for="10m" if speed == "Fast" else "30m",
        severity=severity,
        group="service-levels",
        summary=f"So often {level.what} that the objective of 30 days will be missed.",
        description=f'{SOURCE}: {level.what} {{{{ $value | printf "%.1f" }}}} times as often as the objective of '
        f"{level.objective:.4g} allows (limit {limits}).",
        dashboard="orchestration-slo",
        of=JOIN,
    )


def _alerts(level: Level) -> tuple[Alert, Alert]:
    first, second, third, fourth = LIMITS.burn_windows
    return _alert(level, "Fast", level.fast, (first, second)), _alert(level, "Slow", "warning", (third, fourth))


LEVELS: tuple[Level, ...] = (*EVENT_LEVELS, FRESHNESS)
SPENT = Alert(
    name="OrchestrationErrorBudgetSpent",
    expr=Expr(" or ".join(f"{budget_left(level).select().labelled('level', level.noun)} < 0" for level in LEVELS)),
    for_="1h",
    severity="info",
    group="service-levels",
    summary="A service level was missed over the last 30 days.",
    description=f"{SOURCE}: of the error budget of {{{{ $labels.level }}}}, {SHARE} are "
    "left of 30 days; below 0 the objective is missed.",
    dashboard="orchestration-slo",
    of=JOIN,
)
_RECORDED = (
    *(_bad(level, window) for level in EVENT_LEVELS for window in WINDOWS),
    *(bad_ratio(level, window) for level in LEVELS for window in WINDOWS),
    *(budget_left(level) for level in LEVELS),
)


def _is_slow(rule: Recorded) -> bool:
    return rule.name.endswith(MONTH) or any(
        rule.name.endswith((f"increase{w}", f"ratio{w}")) for w in WINDOWS if thresholds.seconds(w) > _SLOW_S
    )


GROUP = Group(
    "service-levels",
    (*(alert for level in LEVELS for alert in _alerts(level)), SPENT),
    recorded=(CURRENT, *(rule for rule in _RECORDED if not _is_slow(rule))),
    slow=tuple(rule for rule in _RECORDED if _is_slow(rule)),
)

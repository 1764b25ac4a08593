"""Histories of the alerts in alerting/groups/sessions.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alerting import thresholds
from exporter.catalogue import agents, own, platform, sessions, tasks
from exporter.promql import Asked
from tests.alertcases.courses import steep
from tests.alertcases.localmodel import routes, two_models
from tests.promtool import SOURCE, TARGET, Expect, History, below, ends, fires, healthy, of_source, series

LIMITS = thresholds.load()
WORK, OF = LIMITS.work, LIMITS.sessions
OTHER = {**TARGET, "source": "other", "tenant": "b"}
"""Another tenant's source, by the same exporter."""


def history(name: str, found: Mapping[str, str], *expect: Expect, step: str = "1m") -> History:
    """A history of this group, evaluated at each of its steps."""
    return History(name, "sessions", found, expect, step=step, evaluated=step)


# ── work that fails ──────────────────────────────────────────────────────────────────────────────────────────────


def results(
    metric: Asked, share: float, events: float = 1.0, where: Mapping[str, str] = SOURCE, /, **labels: str
) -> dict[str, str]:
    """So many results every 5 minutes: 5% of them failures for 4 hours, then this share for 4, then 5% again."""
    bad = [events * each for each in (0.05, share, 0.05)]
    good = [events - each for each in bad]
    return {
        series(metric, where, outcome="failure", **labels): steep((bad[0], 48), (bad[1], 48), (bad[2], 60)),
        series(metric, where, outcome="success", **labels): steep((good[0], 48), (good[1], 48), (good[2], 60)),
        series(metric, where, outcome="unknown", **labels): steep((events, 156)),
    }


def failing(
    name: str, metric: Asked, limit: float, what: str, told: Mapping[str, str], **others: str
) -> tuple[History, ...]:
    """The histories of an alert on a share of failures; ``told`` are its labels, ``others`` its metric's besides."""
    labels = {**told, **others}
    few = (WORK.failures - 1) / 36  # each 5 minutes, so that 3 hours have one too few

    def firing(where: Mapping[str, str]) -> Expect:
        return fires(
            name,
            "8h",
            severity="warning",
            description=f"75% of {what.format(**where)} failed in the last 3 hours (more than {limit:.0%}), 6 or more.",
            **where,
            **told,
        )

    return (
        history(
            f"{name}: three of four fail for four hours, twelve an hour",
            results(metric, 0.75, **labels),
            healthy(name, "3h55m"),
            firing(SOURCE),
            ends(name, "11h30m"),
            step="5m",
        ),
        history(
            f"{name}: just below the share that alerts",
            results(metric, limit - 0.01, **labels),
            below(name, "8h"),
            step="5m",
        ),
        history(
            f"{name}: all fail, but only four in three hours",
            results(metric, 1.0, few, **labels),
            below(name, "8h"),
            step="5m",
        ),
        history(
            f"{name}: rows read late silence their own source, and no other",
            {
                **results(metric, 0.75, **labels),
                **results(metric, 0.75, 1.0, OTHER, **labels),
                series(own.LATE_ROWS): "0x156",
                series(own.LATE_ROWS, OTHER): "0x69 300x86",
            },
            firing(SOURCE),
            step="5m",
        ),
    )


FAILURES = (
    *failing(
        "OrchestrationTaskFailures",
        tasks.TASKS_TOTAL,
        WORK.task_failures,
        "the tasks of web-shop on source {source}",
        {"project": "web-shop"},
        model="claude",
    ),
    *failing(
        "OrchestrationAgentErrors",
        agents.SUBAGENT_INVOCATIONS,
        WORK.agent_errors,
        "the runs of sub-agent tester on source {source}",
        {"agent": "tester"},
        project="web-shop",
    ),
    *failing(
        "OrchestrationToolErrors",
        agents.TOOL_CALLS,
        WORK.tool_errors,
        "the calls of github.search on source {source}",
        {"server": "github", "tool": "search"},
    ),
    *failing(
        "OrchestrationHookFailures",
        platform.HOOK_EXECUTIONS,
        WORK.hook_failures,
        "the executions of hook PreToolUse on source {source}",
        {"hook": "PreToolUse"},
    ),
)
SPREAD = history(
    "failures of one project are added up over its models, and not with another's",
    {
        **results(tasks.TASKS_TOTAL, 0.75, 0.5, project="web-shop", model="claude"),
        **results(tasks.TASKS_TOTAL, 0.25, 0.5, project="web-shop", model="local"),
        **results(tasks.TASKS_TOTAL, 0.05, 9.0, project="docs", model="claude"),
    },
    fires(
        "OrchestrationTaskFailures",
        "8h",
        severity="warning",
        description="50% of the tasks of web-shop on source main failed in the last 3 hours (more than 40%), 6 or "
        "more.",
        **SOURCE,
        project="web-shop",
    ),
    step="5m",
)


LOCAL_DOWN = history(
    "tasks of a local model that is down are left out; of others, and of one that takes its work, they are not",
    {
        **results(tasks.TASKS_TOTAL, 0.85, 0.5, project="web-shop", model="local"),
        **results(tasks.TASKS_TOTAL, 0.05, 0.5, project="web-shop", model="claude"),
        **results(tasks.TASKS_TOTAL, 0.45, 0.5, project="docs", model="claude"),
        **two_models(180, "local", "claude"),
        **routes(20 / 12, 0.4, (48, 48, 48)),
    }
    | of_source(
        "up",
        {
            **results(tasks.TASKS_TOTAL, 0.85, 0.5, project="web-shop", model="local"),
            **results(tasks.TASKS_TOTAL, 0.05, 0.5, project="web-shop", model="claude"),
            **two_models(180, "local", "claude"),
            **routes(20 / 12, 0.299, (48, 48, 48)),
        },
    ),
    *(
        fires(
            "OrchestrationTaskFailures",
            "8h",
            severity="warning",
            description=f"45% of the tasks of {project} on source {source} failed in the last 3 hours (more than 40%), "
            "6 or more.",
            **{**SOURCE, "source": source},
            project=project,
        )
        for project, source in (("docs", "main"), ("web-shop", "up"))
    ),
    step="5m",
)


# ── work that is done worse ──────────────────────────────────────────────────────────────────────────────────────


def quality(score: float, scores: float = 2.0, *, model: str = "claude", an_hours: int = 1) -> dict[str, str]:
    """So many scores each hour: 4 of 5 for a week, this for a day, then 4 again; ``an_hours`` samples an hour."""
    each = scores / an_hours
    good, bad = 4 * each, score * each
    return {
        series(tasks.TASK_QUALITY, part="_sum", model=model): steep(
            (good, 168 * an_hours), (bad, 24 * an_hours), (good, 48 * an_hours)
        ),
        series(tasks.TASK_QUALITY, part="_count", model=model): steep((each, 240 * an_hours)),
    }


QUALITY = (
    history(
        "a day of tasks done worse",
        quality(3.0),
        healthy("OrchestrationQualityDrop", "160h"),
        fires(
            "OrchestrationQualityDrop",
            "192h",
            severity="warning",
            description="claude on source main: tasks of the last day have a mean quality of 3.00 of 5, more than 0.6 "
            "below that of the last 7 days.",
            **SOURCE,
            model="claude",
        ),
        ends("OrchestrationQualityDrop", "216h"),
        step="1h",
    ),
    history(
        "0.58 below the week is no drop",
        quality(3.32),
        below("OrchestrationQualityDrop", "192h"),
        step="1h",
    ),
    history(
        "three hours in which the local model is down say nothing of its quality, for a day; of a paid one's they do",
        {
            **quality(3.0, model="local", an_hours=2),
            **quality(3.0, model="claude", an_hours=2),
            **two_models(480, "local", "claude"),
            **routes(10, 0.4, (350, 6, 124)),
        }
        | of_source(
            "up",
            {
                **quality(3.0, model="local", an_hours=2),
                **two_models(480, "local", "claude"),
                **routes(10, 0.299, (350, 6, 124)),
            },
        ),
        *(
            fires(
                "OrchestrationQualityDrop",
                "192h",
                severity="warning",
                description=f"{model} on source {source}: tasks of the last day have a mean quality of 3.00 of 5, more "
                "than 0.6 below that of the last 7 days.",
                **{**SOURCE, "source": source},
                model=model,
            )
            for source, model in (("main", "claude"), ("up", "local"))
        ),
        step="30m",
    ),
    history(
        "29 scores a day are too few",
        quality(1.0, 29 / 24),
        below("OrchestrationQualityDrop", "192h"),
        step="1h",
    ),
)


# ── how sessions end ─────────────────────────────────────────────────────────────────────────────────────────────


def ended(idle: float, a_day: float = 96.0) -> dict[str, str]:
    """Ends of sessions: a tenth of them by idleness for 8 days, this share for 2, a tenth again."""
    step = a_day / 24
    return {
        series(sessions.SESSIONS_ENDED, project="web-shop", outcome="completed", end="idle"): steep(
            (0.1 * step, 192), (idle * step, 48), (0.1 * step, 48)
        ),
        series(sessions.SESSIONS_ENDED, project="web-shop", outcome="completed", end="closed"): steep(
            (0.9 * step, 192), ((1 - idle) * step, 48), (0.9 * step, 48)
        ),
        series(sessions.SESSIONS_ENDED, project="web-shop", outcome="completed", end="lost"): steep((step, 288)),
    }


def abandoned(failed: float, a_day: float = 96.0) -> dict[str, str]:
    """Idle ends: half of them partial or failed for 8 days, this share for 2, half again."""
    step = a_day / 24
    part = [0.5 * step / 2, failed * step / 2]
    return {
        **{
            series(sessions.SESSIONS_ENDED, project="web-shop", outcome=outcome, end="idle"): steep(
                (part[0], 192), (part[1], 48), (part[0], 48)
            )
            for outcome in ("partial", "failed")
        },
        series(sessions.SESSIONS_ENDED, project="web-shop", outcome="completed", end="idle"): steep(
            (0.5 * step, 192), ((1 - failed) * step, 48), (0.5 * step, 48)
        ),
        series(sessions.SESSIONS_ENDED, project="web-shop", outcome="failed", end="closed"): steep((9.0, 288)),
    }


def unusual(
    name: str, rows: Callable[..., dict[str, str]], usual: float, severity: str, description: str
) -> tuple[History, ...]:
    """The histories of an alert on a share above its own median, which is ``usual``."""
    return (
        history(
            f"{name}: two days in which nine of ten are so",
            rows(0.9),
            healthy(name, "190h"),
            fires(name, "238h", severity=severity, description=description, **SOURCE),
            ends(name, "263h"),
            step="1h",
        ),
        history(
            f"{name}: just below 30 points more than usual",
            rows(usual + 0.29),
            below(name, "238h"),
            step="1h",
        ),
        history(
            f"{name}: 19 ends a day are too few",
            rows(1.0, 19.0),
            below(name, "238h"),
            step="1h",
        ),
    )


ENDS = (
    *unusual(
        "OrchestrationSessionsAbandoned",
        ended,
        0.1,
        "info",
        "Source main of a:10477: 90% of the sessions of the last day ended by idleness, 30 points more than the "
        "median of the 7 days before.",
    ),
    *unusual(
        "OrchestrationSessionsAbandonedAfterFailures",
        abandoned,
        0.5,
        "warning",
        "Source main of a:10477: 90% of the sessions that ended by idleness in the last day had failed tasks, 30 "
        "points more than the median of the 7 days before.",
    ),
)
NEVER_CLOSED = history(
    "where all sessions end by idleness, that is no news",
    {series(sessions.SESSIONS_ENDED, project="web-shop", outcome="completed", end="idle"): steep((4.0, 288))},
    healthy("OrchestrationSessionsAbandoned", "238h"),
    step="1h",
)


# ── sessions that run away ───────────────────────────────────────────────────────────────────────────────────────


def runaway(
    name: str, metric: Asked, scale: float, growth: float, described: Callable[[float], str]
) -> tuple[History, ...]:
    """The histories of an alert on the most of one session; ``scale`` times 50 is its limit."""

    def grows(slope: float, up: str = "1x120") -> dict[str, str]:
        """12 for half an hour, then so much more each minute for 20 minutes, then what was reached."""
        start, top = 12 * scale, (12 + 20 * slope) * scale
        values = f"{start:g}x29 {start:g}+{slope * scale:g}x20 {top:g}x70"
        return {series(metric, project="web-shop"): values, series(own.UP): up}

    return (
        history(
            f"{name}: a session that grows for 20 minutes; large, and no larger, it is none",
            grows(5),
            healthy(name, "29m"),
            below(name, "39m"),
            fires(
                name,
                "42m",
                severity="critical",
                description=described((12 + 5 * 12) * scale),
                **SOURCE,
                project="web-shop",
            ),
            ends(name, "70m"),
        ),
        history(f"{name}: it grows just to the limit", grows(1.9), below(name, "50m")),
        history(
            f"{name}: a large session that grows slowly",
            {series(metric, project="web-shop"): f"{60 * scale:g}+{0.95 * growth / 15:g}x60", series(own.UP): "1x60"},
            below(name, "50m"),
        ),
        history(f"{name}: what a source showed before it went down", grows(5, "1x30 0x60"), healthy(name, "42m")),
    )


RUNAWAYS = (
    *runaway(
        "OrchestrationRunawayFanOut",
        sessions.ACTIVE_SUBAGENTS_MAX,
        OF.subagents / 50,
        OF.subagents_growth,
        lambda most: (
            f"One session of web-shop on source main has invoked {most:.0f} sub-agents (limit 100), and 100 or "
            "more of them in the last 15 minutes."
        ),
    ),
    *runaway(
        "OrchestrationRunawayCost",
        sessions.ACTIVE_COST_MAX,
        OF.cost_usd / 50,
        OF.cost_growth_usd,
        lambda most: (
            f"One session of web-shop on source main has spent ${most:.2f} (limit $20), and $5 or more of it "
            "in the last 15 minutes."
        ),
    ),
)

HISTORIES: tuple[History, ...] = (*FAILURES, SPREAD, LOCAL_DOWN, *QUALITY, *ENDS, NEVER_CLOSED, *RUNAWAYS)

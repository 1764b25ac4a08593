"""How the work goes: sessions that nobody ends, work that fails, sessions that run away.

Shares are over 3 hours: long enough for five failures of a tool that is called twice an hour, short enough to end soon
after their cause. What a day says is compared with the source's own week, for every platform is another.
"""

from __future__ import annotations

from collections.abc import Callable

from alerting import thresholds
from alerting.guards import JOIN, KNOWN, but_while_down, current, past_local_model, ratio, steady, total
from alerting.rules import COUNT, PROJECT, SERVED, SHARE, Alert, Dashboard, Group
from exporter.catalogue import agents, platform, sessions, tasks
from exporter.promql import Asked, Expr, Recorded, binary, select

LIMITS = thresholds.load()
_WORK, _OF = LIMITS.work, LIMITS.sessions
_WINDOW = "3h"
PAST_LOCAL_MODEL = past_local_model("source:local_model_unavailable:ratio_1h")


# ── how sessions end ─────────────────────────────────────────────────────────────────────────────────────────────

_ENDS = total(sessions.SESSIONS_ENDED, "1d", end="~closed|idle")
_IDLE = total(sessions.SESSIONS_ENDED, "1d", end="idle")
_IDLE_FAILED = total(sessions.SESSIONS_ENDED, "1d", end="idle", outcome="~partial|failed")
IDLE_SHARE = Recorded(
    "source:session_ends_idle:ratio1d",
    ratio(_IDLE, _ENDS, _OF.ends_a_day),
    ("source",),
)
FAILED_SHARE = Recorded(
    "source:session_ends_idle_failed:ratio1d",
    ratio(_IDLE_FAILED, _IDLE, _OF.ends_a_day),
    ("source",),
)


def _more_than_usual(share: Recorded) -> Expr:
    """A day's share that is well above the median of the seven days before it."""
    usual = share.over(0.5, "7d", offset="1d")
    return steady(binary(share.select(), ">", binary(usual, "+", _OF.more_idle)), "1d")


ABANDONED = Alert(
    name="OrchestrationSessionsAbandoned",
    expr=_more_than_usual(IDLE_SHARE),
    for_="1h",
    keep_firing_for="1h",
    severity="info",
    group="sessions",
    summary="More sessions than usual end by idleness instead of being closed.",
    description=f"{SERVED}: {SHARE} of the sessions of the last day ended by idleness, {_OF.more_idle * 100:.0f} "
    "points more than the median of the 7 days before.",
    dashboard="orchestration-sessions",
    of=JOIN,
)
ABANDONED_AFTER_FAILURES = Alert(
    name="OrchestrationSessionsAbandonedAfterFailures",
    expr=_more_than_usual(FAILED_SHARE),
    for_="1h",
    keep_firing_for="1h",
    severity="warning",
    group="sessions",
    summary="More of the sessions that end by idleness than usual had failed tasks.",
    description=f"{SERVED}: {SHARE} of the sessions that ended by idleness in the last day had failed tasks, "
    f"{_OF.more_idle * 100:.0f} points more than the median of the 7 days before.",
    dashboard="orchestration-sessions",
    of=JOIN,
)


# ── sessions that run away ───────────────────────────────────────────────────────────────────────────────────────


def _runaway(most: Asked, limit: float, growth: float) -> Expr:
    """The most that one session came to, above a limit and growing: without the growth it would outlive its cause."""
    gauge = select(most)
    grown = binary(gauge.value(), "-", gauge.over("min", "15m"))
    return current(binary(binary(gauge.value(), ">", limit), "and", binary(grown, ">=", growth)))


RUNAWAY_FAN_OUT = Alert(
    name="OrchestrationRunawayFanOut",
    expr=_runaway(sessions.ACTIVE_SUBAGENTS_MAX, _OF.subagents, _OF.subagents_growth),
    for_="2m",
    severity="critical",
    group="sessions",
    summary="A session invokes ever more sub-agents.",
    description=f"One session of {PROJECT} has invoked {COUNT} sub-agents (limit "
    f"{_OF.subagents}), and {_OF.subagents_growth} or more of them in the last 15 minutes.",
    dashboard="orchestration-sessions",
    of=(*JOIN, "project"),
)
RUNAWAY_COST = Alert(
    name="OrchestrationRunawayCost",
    expr=_runaway(sessions.ACTIVE_COST_MAX, _OF.cost_usd, _OF.cost_growth_usd),
    for_="2m",
    severity="critical",
    group="sessions",
    summary="A session spends ever more money.",
    description=f'One session of {PROJECT} has spent ${{{{ printf "%.2f" $value }}}} (limit ${_OF.cost_usd:g}), '
    f"and ${_OF.cost_growth_usd:g} or more of it in the last 15 minutes.",
    dashboard="orchestration-sessions",
    of=(*JOIN, "project"),
)


# ── work that fails ──────────────────────────────────────────────────────────────────────────────────────────────


def _results(metric: Asked) -> Callable[..., Expr]:
    """How much of it had an outcome, by the labels that are kept."""
    return lambda outcome, *keep: total(metric, _WINDOW, *keep, outcome=outcome)


def _tasks(outcome: str, *keep: str) -> Expr:
    """Of tasks those that a model did which was not down: of that OrchestrationLocalModelDown tells."""
    found = _results(tasks.TASKS_TOTAL)(outcome, *keep, "model")
    return but_while_down(found, PAST_LOCAL_MODEL, _WINDOW).sum(without=["model"])


def _failures(
    name: str,
    results: Callable[..., Expr],
    limit: float,
    *,
    keep: tuple[str, ...],
    dashboard: Dashboard,
    summary: str,
    what: str,
) -> Alert:
    """An alert where too large a share of what was done failed, and more than a few.

    ``results`` gives how much of it had such an outcome, by labels: here by ``keep``.
    """
    failed = results("failure", *keep)
    share = binary(ratio(failed, results(KNOWN, *keep)), ">", limit)
    enough = binary(failed, ">=", _WORK.failures)
    return Alert(
        name=name,
        expr=steady(binary(share, "and", enough), _WINDOW),
        for_="5m",
        keep_firing_for="15m",
        severity="warning",
        group="sessions",
        summary=summary,
        description=f"{SHARE} of {what} failed in the last 3 hours (more than {limit:.0%}), {_WORK.failures} or more.",
        dashboard=dashboard,
        of=(*JOIN, *keep),
    )


TASK_FAILURES = _failures(
    "OrchestrationTaskFailures",
    _tasks,
    _WORK.task_failures,
    keep=("project",),
    dashboard="orchestration-agents",
    summary="Many tasks of a project fail.",
    what=f"the tasks of {PROJECT}",
)
AGENT_ERRORS = _failures(
    "OrchestrationAgentErrors",
    _results(agents.SUBAGENT_INVOCATIONS),
    _WORK.agent_errors,
    keep=("agent",),
    dashboard="orchestration-agents",
    summary="Many runs of a sub-agent fail.",
    what="the runs of sub-agent {{ $labels.agent }} on source {{ $labels.source }}",
)
TOOL_ERRORS = _failures(
    "OrchestrationToolErrors",
    _results(agents.TOOL_CALLS),
    _WORK.tool_errors,
    keep=("server", "tool"),
    dashboard="orchestration-tools",
    summary="Many calls of an MCP tool fail.",
    what="the calls of {{ $labels.server }}.{{ $labels.tool }} on source {{ $labels.source }}",
)
HOOK_FAILURES = _failures(
    "OrchestrationHookFailures",
    _results(platform.HOOK_EXECUTIONS),
    _WORK.hook_failures,
    keep=("hook",),
    dashboard="orchestration-tools",
    summary="Many executions of a hook fail.",
    what="the executions of hook {{ $labels.hook }} on source {{ $labels.source }}",
)


# ── work that is done worse ──────────────────────────────────────────────────────────────────────────────────────


def _scores(window: str) -> Expr:
    return total(tasks.TASK_QUALITY, window, "model", part="_count")


def _quality(window: str, least: float) -> Expr:
    points = total(tasks.TASK_QUALITY, window, "model", part="_sum")
    return binary(points, "/", binary(_scores(window), ">=", least))


QUALITY_OF_WEEK = Recorded(
    "source_model:task_quality_score:mean7d", _quality("7d", _WORK.quality_scores), ("source", "model")
)
QUALITY_DROP = Alert(
    name="OrchestrationQualityDrop",
    expr=steady(
        but_while_down(
            binary(
                _quality("1d", _WORK.quality_scores),
                "<",
                binary(QUALITY_OF_WEEK.select(), "-", _WORK.quality_drop),
            ),
            PAST_LOCAL_MODEL,
            "1d",
        ),
        "1d",
    ),
    for_="1h",
    keep_firing_for="1h",
    severity="warning",
    group="sessions",
    summary="Tasks of a model are of lower quality than usual.",
    description="{{ $labels.model }} on source {{ $labels.source }}: tasks of the last day have a mean quality of "
    f'{{{{ printf "%.2f" $value }}}} of 5, more than {_WORK.quality_drop:g} below that of the last 7 days.',
    dashboard="orchestration-agents",
    of=(*JOIN, "model"),
)

GROUP = Group(
    "sessions",
    (
        *(TASK_FAILURES, AGENT_ERRORS, TOOL_ERRORS, HOOK_FAILURES, QUALITY_DROP),
        *(ABANDONED, ABANDONED_AFTER_FAILURES, RUNAWAY_FAN_OUT, RUNAWAY_COST),
    ),
    recorded=(PAST_LOCAL_MODEL,),
    slow=(IDLE_SHARE, FAILED_SHARE, QUALITY_OF_WEEK),
)

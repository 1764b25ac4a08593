"""Histories of the alerts in alerting/groups/availability.py on who evaluates these rules and who tells of them."""

from __future__ import annotations

from alerting import foreign
from tests.alertcases.availability import history
from tests.alertcases.courses import steep
from tests.promtool import History, below, ends, fires, healthy, series

PROMETHEUS = {"job": "prometheus", "instance": "p:9090"}
ALERTMANAGER = {"job": "alertmanager", "instance": "m:9093"}
GROUP = "orchestration.yaml;orchestration-money"


def rules(failed: float, missed: float) -> dict[str, str]:
    """So many evaluations fail, and are left out, from minute 30 to 60; others' rules fail all the time."""
    return {
        series(foreign.RULE_FAILURES, PROMETHEUS, rule_group=GROUP): steep((0, 30), (failed, 30), (0, 60)),
        series(foreign.RULES_MISSED, PROMETHEUS, rule_group=GROUP): steep((0, 30), (missed, 30), (0, 60)),
        series(foreign.RULE_FAILURES, PROMETHEUS, rule_group="node.yaml;node"): steep((5, 120)),
        series(foreign.RULES_MISSED, PROMETHEUS, rule_group="node.yaml;node"): steep((5, 120)),
    }


RULES_FAILING = history(
    "our rules fail, and are evaluated too seldom",
    rules(2, 1),
    healthy("OrchestrationRulesFailing", "20m"),
    fires(
        "OrchestrationRulesFailing",
        "55m",
        severity="warning",
        description=f"{GROUP} on p:9090: 45 evaluations failed or were left out in the last 15 minutes.",
        **PROMETHEUS,
        rule_group=GROUP,
    ),
    ends("OrchestrationRulesFailing", "110m"),
)
RULES_WORK = history(
    "fewer than one evaluation in 15 minutes fails", rules(0.03, 0.03), below("OrchestrationRulesFailing", "55m")
)
NOTIFICATIONS_DROPPED = history(
    "Alertmanager cannot be reached, then is not known at all",
    {
        series(foreign.NOTIFICATIONS_DROPPED, PROMETHEUS): steep((0, 30), (2, 30), (0, 120)),
        series(foreign.ALERTMANAGERS, PROMETHEUS): "1x99 0x20 1x60",
    },
    healthy("OrchestrationNotificationsDropped", "20m"),
    fires(
        "OrchestrationNotificationsDropped",
        "55m",
        severity="warning",
        description="p:9090 dropped 30 alerts in the last 15 minutes; 0 says that it knows no Alertmanager at all.",
        **PROMETHEUS,
    ),
    ends("OrchestrationNotificationsDropped", "95m"),
    below("OrchestrationNotificationsDropped", "103m"),
    fires(
        "OrchestrationNotificationsDropped",
        "110m",
        severity="warning",
        description="p:9090 dropped 0 alerts in the last 15 minutes; 0 says that it knows no Alertmanager at all.",
        **PROMETHEUS,
    ),
    ends("OrchestrationNotificationsDropped", "150m"),
)
NOTIFICATIONS_FAILING = history(
    "a receiver takes nothing for half an hour",
    {
        series(foreign.NOTIFICATIONS_FAILED, ALERTMANAGER, integration="slack"): steep((0, 30), (1, 30), (0, 120)),
        series(foreign.NOTIFICATIONS_FAILED, ALERTMANAGER, integration="email"): "4x180",
    },
    healthy("OrchestrationNotificationsFailing", "20m"),
    fires(
        "OrchestrationNotificationsFailing",
        "55m",
        severity="warning",
        description="m:9093: 15 notifications by slack failed in the last 15 minutes, after all attempts.",
        **ALERTMANAGER,
        integration="slack",
    ),
    ends("OrchestrationNotificationsFailing", "110m"),
)
NOTIFICATIONS_ARRIVE = history(
    "one notification in twenty minutes fails",
    {series(foreign.NOTIFICATIONS_FAILED, ALERTMANAGER, integration="slack"): steep((0.05, 120))},
    below("OrchestrationNotificationsFailing", "90m"),
)

HISTORIES: tuple[History, ...] = tuple(each for each in globals().values() if isinstance(each, History))

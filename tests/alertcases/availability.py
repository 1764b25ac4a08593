"""Histories of the alerts in alerting/groups/availability.py."""

from __future__ import annotations

from tests.promtool import History, fires

WATCHDOG = History(
    "alerting works",
    "availability",
    {"orchestration_up": "1x10"},
    (
        fires(
            "OrchestrationWatchdog",
            "5m",
            severity="info",
            description="Alerting works from Prometheus to the receiver. A dead man's switch expects this and calls "
            "without it.",
        ),
    ),
)

HISTORIES: tuple[History, ...] = (WATCHDOG,)

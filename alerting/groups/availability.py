"""Whether anything that the others say can be believed: the exporter, its sources, and who watches them."""

from __future__ import annotations

from alerting.rules import Alert, Group
from exporter.promql import Expr

WATCHDOG = Alert(
    name="OrchestrationWatchdog",
    expr=Expr("vector(1)"),
    for_="0s",
    severity="info",
    group="availability",
    summary="This alert always fires, so that its absence tells that alerting is broken.",
    description="Alerting works from Prometheus to the receiver. A dead man's switch "
    "expects this and calls without it.",
    dashboard="orchestration-exporter",
)

GROUP = Group("availability", (WATCHDOG,))

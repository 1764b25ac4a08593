"""All groups of rules, one file of `provisioning/prometheus/rules` each, in the order in which they are read."""

from __future__ import annotations

from alerting.groups import anomalies, availability, handoffs, money, sessions, slo
from alerting.rules import Alert, Group, RuleError
from exporter.promql import Recorded

GROUPS: tuple[Group, ...] = (
    availability.GROUP,
    handoffs.GROUP,
    sessions.GROUP,
    money.GROUP,
    slo.GROUP,
    anomalies.GROUP,
)
CRITICAL_LIMIT = 8
"""More alerts than these must not wake anybody."""


def alerts(groups: tuple[Group, ...] = GROUPS) -> tuple[Alert, ...]:
    """Every alert.

    Raises: RuleError, if two have one name, or too many are critical.
    """
    found = tuple(alert for group in groups for alert in group.alerts)
    names = [alert.name for alert in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RuleError(f"{twice[0]} is there twice")
    critical = [alert.name for alert in found if alert.severity == "critical"]
    if len(critical) > CRITICAL_LIMIT:
        raise RuleError(f"{len(critical)} alerts are critical, over {CRITICAL_LIMIT}: {', '.join(critical)}")
    return found


def recorded(groups: tuple[Group, ...] = GROUPS) -> tuple[Recorded, ...]:
    """Every recording rule."""
    return tuple(rule for group in groups for rule in group.all_recorded)

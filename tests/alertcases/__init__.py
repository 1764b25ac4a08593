"""The histories of all alerts, a module a group."""

from __future__ import annotations

from tests.alertcases import anomalies, availability, handoffs, money, sessions, slo
from tests.promtool import History

HISTORIES: tuple[History, ...] = (
    *availability.HISTORIES,
    *handoffs.HISTORIES,
    *sessions.HISTORIES,
    *money.HISTORIES,
    *slo.HISTORIES,
    *anomalies.HISTORIES,
)

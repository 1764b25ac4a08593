"""Metrics that are on no dashboard, and why."""

from __future__ import annotations

from exporter import telemetry
from exporter.catalogue import money
from exporter.promql import Asked

UNSHOWN: tuple[tuple[Asked, str], ...] = (
    (money.PERIOD_START, "when a period of the ledger begins: for alerts, which hold back as a period turns."),
    (telemetry.CERTIFICATE_END, "until when a certificate is valid: for the alert; there is none without TLS."),
    (money.PERIOD_END, "when a period of the ledger ends: for alerts, which hold back as a period turns."),
)

"""Metrics of others that alerts ask for: Prometheus's of its targets and itself, and Alertmanager's.

They are declared as ours are, so that `promql` refuses a label that they have not. Names and labels are the same in
Prometheus 2.42 and 3.16, and in Alertmanager 0.25 and 0.34 (read in their sources), unless said.
"""

from __future__ import annotations

from exporter.telemetry import Declaration, Kind


def _declared(kind: Kind, name: str, help_text: str, *labels: str) -> Declaration:
    return Declaration(kind, name, help_text, labels)


UP = _declared("gauge", "up", "1 if Prometheus's last scrape of the target succeeded.")
SAMPLES_SCRAPED = _declared("gauge", "scrape_samples_scraped", "Samples of the target's last scrape.")
SCRAPES_TOO_LARGE = _declared(
    "counter",
    "prometheus_target_scrapes_exceeded_sample_limit_total",
    "Scrapes that Prometheus threw away because a target gave more than `sample_limit`.",
)
BODIES_TOO_LARGE = _declared(
    "counter",
    "prometheus_target_scrapes_exceeded_body_size_limit_total",
    "Scrapes that Prometheus threw away because a target's answer was larger than `body_size_limit`.",
)
RULE_FAILURES = _declared(
    "counter", "prometheus_rule_evaluation_failures_total", "Rules that could not be evaluated.", "rule_group"
)
RULES_MISSED = _declared(
    "counter",
    "prometheus_rule_group_iterations_missed_total",
    "Evaluations left out because the one before took too long.",
    "rule_group",
)
NOTIFICATIONS_DROPPED = _declared(
    "counter", "prometheus_notifications_dropped_total", "Alerts that no Alertmanager was given."
)
ALERTMANAGERS = _declared(
    "gauge", "prometheus_notifications_alertmanagers_discovered", "Alertmanagers that Prometheus knows."
)
NOTIFICATIONS_FAILED = _declared(
    "counter",
    "alertmanager_notifications_failed_total",
    "Notifications that a receiver did not take, after all attempts (0.34 has `reason`, too).",
    "integration",
)

FIRING = _declared(
    "gauge",
    "ALERTS",
    "1 for each alert that is pending or firing, with its labels.",
    *("alertname", "alertstate", "severity", "alert_group"),
)

DECLARATIONS = (
    *(UP, SAMPLES_SCRAPED, SCRAPES_TOO_LARGE, BODIES_TOO_LARGE, RULE_FAILURES, RULES_MISSED),
    *(NOTIFICATIONS_DROPPED, ALERTMANAGERS, NOTIFICATIONS_FAILED, FIRING),
)

"""docs/alerts.md: every alert and every recording rule, from the rules themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable

from alerting.rules import Alert, Group

_HEAD = """# Alerts

Made by `python -m alerting` from alerting/groups. Each has a runbook; the limits are in
[thresholds.yaml](../alerting/thresholds.yaml). Links in notifications begin with the external labels `grafana_url` and
`runbooks_url` of your Prometheus, where it has them:

```yaml
global:
  external_labels:
    grafana_url: https://grafana.example.org
    runbooks_url: https://git.example.org/orchestration-exporter/docs/runbooks
```
"""


def manual(groups: Iterable[Group]) -> str:
    """The document's text."""
    return "\n".join([_HEAD, *("\n".join(_section(group)) for group in groups)])


def _section(group: Group) -> Iterable[str]:
    yield f"## {group.name}\n"
    if group.alerts:
        yield "| Alert | Severity | For | Meaning | What it says, with its limits |"
        yield "|---|---|---|---|---|"
        yield from map(_row, group.alerts)
        yield ""
    if rules := [*group.slow, *group.recorded]:
        yield "Recorded: " + ", ".join(f"`{rule.name}`" for rule in rules) + ".\n"


def _row(alert: Alert) -> str:
    kept = f", kept {alert.keep_firing_for}" if alert.keep_firing_for else ""
    said = re.sub(r"\{\{.*?\}\}", "…", alert.description)
    link = f"[{alert.name}](runbooks/{alert.runbook})"
    return f"| {link} | {alert.severity} | {alert.for_}{kept} | {alert.summary} | {said} |"

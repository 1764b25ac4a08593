"""Rules as data: what may not be missing cannot be left out, and what may not be written cannot be built.

`Alert` and `promql.Recorded` become the entries of a rule file; `Group` is one file of `provisioning/prometheus/rules`.
An alert's links are made of its name and dashboard, in front of which a site puts its own addresses by the external
labels `grafana_url` and `runbooks_url` of its Prometheus: no file of ours is edited for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import yaml

from exporter.promql import Expr, Recorded

PREFIX = "Orchestration"
GRAFANA_URL = "http://localhost:3000"
"""Where dashboards are, unless the external label `grafana_url` says so."""
RUNBOOKS_URL = "docs/runbooks"
"""Where runbooks are (in this repository), unless the external label `runbooks_url` says so."""

Severity = Literal["critical", "warning", "info"]
AlertGroup = Literal["availability", "handoffs", "sessions", "money", "service-levels", "anomalies"]
Dashboard = Literal[
    "orchestration-overview",
    "orchestration-handoffs",
    "orchestration-cost",
    "orchestration-budgets",
    "orchestration-sessions",
    "orchestration-agents",
    "orchestration-tools",
    "orchestration-routing",
    "orchestration-slo",
    "orchestration-exporter",
    "orchestration-wallboard",
]
COUNT = '{{ $value | printf "%.0f" }}'
"""How a description tells a number of events: an increase is extrapolated, and hardly ever whole."""
SHARE = "{{ $value | humanizePercentage }}"
SOURCE = "Source {{ $labels.source }}"
SERVED = f"{SOURCE} of {{{{ $labels.instance }}}}"
PROJECT = "{{ $labels.project }} on source {{ $labels.source }}"
"""What descriptions say of most alerts' objects; ``SERVED`` is a source and the exporter that serves it."""
VARIABLES = ("job", "instance", "source", "project", "model")
"""The dashboards' variables: a link takes along those that the alert has."""
_NAME = re.compile(rf"{PREFIX}(?:[A-Z][a-z0-9]*)+")
_DURATION = re.compile(r"0s|(?:[1-9][0-9]*[smhd])+")
_TEMPLATED = re.compile(r"\{\{|\}\}")


class RuleError(ValueError):
    """A rule that must not be; it names the rule, the value and what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert; its labels are `severity` and `alert_group`, and those of its expression.

    ``summary`` is one static sentence, ``description`` a template with the numbers. ``of`` are the labels that name
    what it is about: all that its expression is known to have, besides a source's constant labels.

    Raises: RuleError, if a part is missing or is not what it must be.
    """

    name: str
    expr: Expr
    for_: str
    severity: Severity
    group: AlertGroup
    summary: str
    description: str
    dashboard: Dashboard
    of: tuple[str, ...] = ()
    keep_firing_for: str = ""

    def __post_init__(self) -> None:
        for what, wrong in self._wrong():
            if wrong:
                raise RuleError(f"{self.name or 'an alert without a name'}: {what}")

    def _wrong(self) -> Iterable[tuple[str, bool]]:
        yield f"is not called {PREFIX}CamelCase", not _NAME.fullmatch(self.name)
        yield "has no expression", not str(self.expr).strip()
        yield f"for {self.for_!r} is no duration", not _DURATION.fullmatch(self.for_)
        kept = self.keep_firing_for
        yield f"keep_firing_for {kept!r} is no duration", kept != "" and not _DURATION.fullmatch(kept)
        yield f"severity {self.severity!r} is none", self.severity not in get_args(Severity)
        yield f"alert_group {self.group!r} is none", self.group not in get_args(AlertGroup)
        yield f"dashboard {self.dashboard!r} is none", self.dashboard not in get_args(Dashboard)
        yield f"summary {self.summary!r} is no sentence", not re.fullmatch(r"[A-Z].*\.", self.summary)
        yield "summary is a template, and must be the same each time", bool(_TEMPLATED.search(self.summary))
        yield f"description {self.description!r} is no sentence", not re.fullmatch(r"\S.*\.", self.description)

    @property
    def runbook(self) -> str:
        """The runbook's file name in docs/runbooks."""
        return f"{self.name}.md"

    @property
    def runbook_url(self) -> str:
        """Where the runbook is, as a template."""
        return f'{{{{ or $externalLabels.runbooks_url "{RUNBOOKS_URL}" }}}}/{self.runbook}'

    @property
    def dashboard_url(self) -> str:
        """Where the dashboard is, narrowed to what the alert is about, as a template."""
        chosen = [f"var-{name}={{{{ $labels.{name} | urlquery }}}}" for name in VARIABLES if name in self.of]
        query = f"?{'&'.join(chosen)}" if chosen else ""
        return f'{{{{ or $externalLabels.grafana_url "{GRAFANA_URL}" }}}}/d/{self.dashboard}{query}'

    def entry(self) -> dict[str, Any]:
        """The alert as a rule file has it."""
        return {
            "alert": self.name,
            "expr": str(self.expr),
            "for": self.for_,
            **({"keep_firing_for": self.keep_firing_for} if self.keep_firing_for else {}),
            "labels": {"severity": self.severity, "alert_group": self.group},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": self.runbook_url,
                "dashboard_url": self.dashboard_url,
            },
        }


@dataclass(frozen=True, slots=True)
class Group:
    """The rules of one subject, evaluated in this order at one interval: what is recorded first, then the alerts.

    Raises: RuleError, if an alert says that it belongs to another group, or a name is there twice.
    """

    name: AlertGroup
    alerts: tuple[Alert, ...]
    recorded: tuple[Recorded, ...] = ()
    slow: tuple[Recorded, ...] = ()
    """Recorded every 4 minutes, for they look back over days: within the 5 minutes for which a sample is found."""

    def __post_init__(self) -> None:
        if strangers := [alert.name for alert in self.alerts if alert.group != self.name]:
            raise RuleError(f"{strangers[0]} is not of group {self.name}")
        names = [rule.name for rule in (*self.recorded, *self.slow)] + [alert.name for alert in self.alerts]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise RuleError(f"{twice[0]} is in group {self.name} twice")

    @property
    def all_recorded(self) -> tuple[Recorded, ...]:
        """Every recording rule, those of days first."""
        return (*self.slow, *self.recorded)

    def document(self) -> dict[str, Any]:
        """The rule file's content."""
        slow = [{"record": rule.name, "expr": str(rule.expr)} for rule in self.slow]
        rules = [{"record": rule.name, "expr": str(rule.expr)} for rule in self.recorded]
        name = f"orchestration-{self.name}"
        groups: list[dict[str, Any]] = [{"name": f"{name}-slow", "interval": "4m", "rules": slow}] if slow else []
        return {"groups": [*groups, {"name": name, "rules": [*rules, *(alert.entry() for alert in self.alerts)]}]}


def rendered(group: Group) -> str:
    """The rule file of a group."""
    head = f"# Made by python -m alerting of alerting/groups: the group {group.name}.\n"
    return head + yaml.dump(group.document(), Dumper=yaml.SafeDumper, sort_keys=False, width=10_000, allow_unicode=True)

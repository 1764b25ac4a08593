"""Histories in which alerts must fire or must not, as data, and promtool to judge them.

A `History` has input series in promtool's notation and what is expected of alerts at some moments. One promtool process
judges many of them, each with rules of its group alone: no group may need another's recording rules.
"""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote_plus

import yaml

from alerting.groups import GROUPS, alerts
from alerting.rules import GRAFANA_URL, RUNBOOKS_URL, VARIABLES, Alert, AlertGroup
from exporter.promql import Asked, Part, matching

Kind = Literal["fires", "healthy", "below", "ends"]
KINDS: tuple[Kind, ...] = ("fires", "healthy", "below", "ends")
ALWAYS = ("OrchestrationWatchdog",)
"""Alerts that are never silent."""
TIMEOUT_S = 300.0
ALERTS = {alert.name: alert for alert in alerts()}


TARGET = {"job": "orchestration-exporter", "instance": "a:10477"}
"""What a scrape puts on every series."""
SOURCE = {**TARGET, "source": "main", "tenant": "acme"}
"""What a series of a source has besides; the tenant is a constant label that no rule knows."""


def series(metric: Asked, where: Mapping[str, str] = SOURCE, /, *, part: Part = "", **labels: str) -> str:
    """A series in promtool's notation.

    Raises: PromqlError, if the metric has no such label, or the label never that value.
    """
    known = {name: value for name, value in labels.items() if name not in where}
    matching(metric, part, known)
    text = ", ".join(f'{name}="{value}"' for name, value in {**where, **labels}.items())
    return f"{metric.name}{part}{{{text}}}"


def of_source(name: str, found: Mapping[str, str]) -> dict[str, str]:
    """The same series of another source, so that one history tells of several."""
    return {key.replace('source="main"', f'source="{name}"'): values for key, values in found.items()}


@dataclass(frozen=True, slots=True)
class Expect:
    """What an alert does at a moment: it fires with these labels and this description, or is silent."""

    alert: str
    at: str
    kind: Kind
    severity: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """What an expression, or a recording rule, gives at a moment: values by the labels in promtool's notation."""

    expr: str
    at: str
    samples: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class History:
    """Series (`metric{labels}` → promtool's values, one a `step`), and what is expected of them."""

    name: str
    group: AlertGroup
    series: Mapping[str, str]
    expect: tuple[Expect, ...]
    step: str = "1m"
    evaluated: str = "1m"
    values: tuple[Value, ...] = ()
    external: Mapping[str, str] = field(default_factory=dict)


def fires(alert: str, at: str, *, severity: str, description: str, **labels: str) -> Expect:
    """It fires then with these labels; once for each of these of the same moment, and not otherwise."""
    return Expect(alert, at, "fires", severity, labels, description)


def healthy(alert: str, at: str, **labels: str) -> Expect:
    """It is silent, for all is well; with labels: of the series that have them, whatever of others."""
    return Expect(alert, at, "healthy", labels=labels)


def below(alert: str, at: str, **labels: str) -> Expect:
    """It is silent just below its threshold; with labels: of the series that have them, whatever of others."""
    return Expect(alert, at, "below", labels=labels)


def ends(alert: str, at: str) -> Expect:
    """It is silent after it fired, for its cause has ended."""
    return Expect(alert, at, "ends")


def judged(promtool: Path, histories: Iterable[History], folder: Path) -> str:
    """What promtool says of histories that go otherwise than expected; nothing, if all go as expected."""
    found: list[Path] = []
    for number, history in enumerate(histories):
        path, rules = folder / f"{number:03}.yml", folder / f"{number:03}-rules.yml"
        rules.write_text(yaml.safe_dump(rules_for(history), sort_keys=False))
        path.write_text(yaml.safe_dump(document(history, rules), sort_keys=False, allow_unicode=True))
        found.append(path)
    if not found:
        return ""
    command = [str(promtool), "test", "rules", *map(str, found)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    return "" if done.returncode == 0 else f"{done.stdout}{done.stderr}"


def rules_for(history: History) -> dict[str, Any]:
    """The rules of the history's group that it asks for, and the recording rules that they need.

    A rule costs promtool half a millisecond each time: all rules of a group over weeks would take minutes.
    """
    (group,) = (group for group in GROUPS if group.name == history.group)
    asked = "\n".join(each.expr for each in history.values)
    kept = [alert for alert in group.alerts if alert.name in {each.alert for each in history.expect}]
    asked = "\n".join([asked, *(str(alert.expr) for alert in kept)])
    needed: set[str] = set()
    while new := [rule for rule in group.all_recorded if rule.name in asked and rule.name not in needed]:
        needed |= {rule.name for rule in new}
        asked = "\n".join([asked, *(str(rule.expr) for rule in new)])
    slow, recorded = (tuple(r for r in each if r.name in needed) for each in (group.slow, group.recorded))
    return replace(group, alerts=tuple(kept), recorded=recorded, slow=slow).document()


def document(history: History, rule_file: Path) -> dict[str, Any]:
    """A history as a test file of promtool's."""
    for each in history.expect:
        if each.kind != "fires" and not _is_there(each.labels, history.series):
            raise ValueError(f"{history.name}: no series has {dict(each.labels)}")
    by_moment: dict[tuple[str, str], list[Expect]] = defaultdict(list)
    for each in history.expect:
        by_moment[each.alert, each.at].append(each)
    return {
        "rule_files": [str(rule_file)],
        "evaluation_interval": history.evaluated,
        "group_eval_order": [f"orchestration-{history.group}-slow", f"orchestration-{history.group}"],
        "tests": [
            {
                "name": history.name,
                "interval": history.step,
                "input_series": [{"series": name, "values": values} for name, values in history.series.items()],
                "external_labels": dict(history.external),
                "alert_rule_test": [_moment(history, *where, found) for where, found in by_moment.items()],
                "promql_expr_test": [_value(each) for each in history.values],
            }
        ],
    }


def _moment(history: History, name: str, at: str, found: Iterable[Expect]) -> dict[str, Any]:
    alert = ALERTS[name]
    expected = [
        {
            "exp_labels": {"severity": each.severity, "alert_group": history.group, **each.labels},
            "exp_annotations": {
                "summary": alert.summary,
                "description": each.description,
                "runbook_url": f"{history.external.get('runbooks_url', RUNBOOKS_URL)}/{name}.md",
                "dashboard_url": _dashboard_url(alert, each, history.external.get("grafana_url", GRAFANA_URL)),
            },
        }
        for each in found
        if each.kind == "fires"
    ]
    return {"alertname": name, "eval_time": at, "exp_alerts": expected}


def _dashboard_url(alert: Alert, expect: Expect, base: str) -> str:
    chosen = [(name, expect.labels.get(name, "")) for name in VARIABLES if name in alert.of]
    query = "&".join(f"var-{name}={quote_plus(value)}" for name, value in chosen)
    return f"{base}/d/{alert.dashboard}{'?' if query else ''}{query}"


def _is_there(labels: Mapping[str, str], found: Iterable[str]) -> bool:
    return any(all(f'{name}="{value}"' in key for name, value in labels.items()) for key in found)


def _value(each: Value) -> dict[str, Any]:
    samples = [{"labels": labels, "value": value} for labels, value in each.samples.items()]
    return {"expr": each.expr, "eval_time": each.at, "exp_samples": samples}


def untested(histories: Iterable[History], names: Iterable[str]) -> list[str]:
    """A line for each kind of expectation that an alert lacks; one ends only in a history in which it fired before."""
    seen: dict[str, set[Kind]] = defaultdict(set)
    for history in histories:
        fired = set()
        for each in history.expect:
            if each.kind == "ends" and each.alert not in fired:
                continue
            seen[each.alert].add(each.kind)
            fired |= {each.alert} if each.kind == "fires" else set()
    return [
        f"{name} has no history in which it {_SAYS[kind]}"
        for name in names
        for kind in (("fires",) if name in ALWAYS else KINDS)
        if kind not in seen[name]
    ]


_SAYS: dict[Kind, str] = {
    "fires": "fires",
    "healthy": "is silent because all is well",
    "below": "is silent just below its threshold",
    "ends": "ends after it fired",
}

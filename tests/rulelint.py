"""What no rule may say, found in the rules as Prometheus gets them; each check gives a line for each breach.

The names, labels and kinds are those of the catalogue, of the process's own metrics, of `alerting.foreign`, and of the
recording rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from alerting import foreign, thresholds
from alerting.rules import PREFIX
from exporter import telemetry
from exporter.catalogue import METRICS, own
from exporter.promql import Asked, PromqlError, labels_of, matching
from exporter.telemetry import Declaration

Document = Mapping[str, Any]
"""A rule file."""
ANNOTATIONS = {"summary", "description", "runbook_url", "dashboard_url"}
LABELS = {"severity", "alert_group"}
OVER_COUNTERS = {"rate", "increase", "irate"}
NEVER_OVER_GAUGES = {*OVER_COUNTERS, "resets"}
NEVER_OVER_CALENDAR = {*NEVER_OVER_GAUGES, "deriv", "delta", "idelta", "predict_linear", "holt_winters"}
"""Gauges of the ledger and of budgets start anew with their period."""

_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool"}
_NUMBERS = {"inf", "nan"}
_SELECTOR = re.compile(r"(?<![\w:.$\"])([a-zA-Z_:][a-zA-Z0-9_:]*)(?![\w:])\s*(\{[^{}]*\})?")
_MATCHER = re.compile(r'\s*(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*,?')
_SIGNS = {"=": "", "!=": "!", "=~": "~", "!~": "!~"}
_PARTS = ("_bucket", "_count", "_sum")


class Selector(NamedTuple):
    """One selector: its name, its matchers as `promql` has them, and the function just around it."""

    name: str
    where: dict[str, str]
    function: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, and the file that it is in."""

    file: str
    name: str
    expr: str
    document: Mapping[str, Any]

    @property
    def is_alert(self) -> bool:
        """Whether it alerts, or else records."""
        return "alert" in self.document


def rules_of(files: Mapping[str, Document]) -> list[Rule]:
    """Every rule of some files."""
    return [
        Rule(file, rule.get("alert") or rule["record"], rule["expr"], rule)
        for file, document in files.items()
        for group in document["groups"]
        for rule in group["rules"]
    ]


def selectors(expr: str) -> list[Selector]:
    """Every selector of an expression."""
    bare = _GROUPING.sub(lambda match: " " * len(match[0]), expr)
    found = []
    for match in _SELECTOR.finditer(_without_strings(bare)):
        name = match[1]
        if name in _WORDS or name.lower() in _NUMBERS or bare[match.end() :][:1] == "(":
            continue
        where = bare[match.start(2) : match.end(2)][1:-1] if match[2] else ""
        around = re.search(r"(\w+)\s*\(\s*(?:[0-9.]+\s*,\s*)?$", bare[: match.start()])
        matchers = {m[1]: f"{_SIGNS[m[2]]}{m[3]}" for m in _MATCHER.finditer(where)}
        found.append(Selector(name, matchers, around[1] if around else ""))
    return found


def _without_strings(expr: str) -> str:
    """The expression with its strings blanked, letter for letter, so that nothing in them is taken for a name."""
    return re.sub(r'"((?:[^"\\]|\\.)*)"', lambda match: f'"{"." * len(match[1])}"', expr)


def _kind(metric: Asked) -> str:
    return metric.kind if isinstance(metric, Declaration) else metric.type


def known_metrics() -> dict[str, tuple[Asked, str]]:
    """(metric, part) by the name of its series."""
    found: dict[str, tuple[Asked, str]] = {}
    for metric in (*METRICS, *telemetry.DECLARATIONS, *foreign.DECLARATIONS):
        kind = _kind(metric)
        found |= {f"{metric.name}{part}": (metric, part) for part in (_PARTS if kind == "histogram" else ("",))}
    return found


KNOWN = known_metrics()
OF_TABLES = {
    name for name, (metric, _) in KNOWN.items() if metric in METRICS and metric not in (*own.HEALTH, *own.METRICS)
}
"""What says something of the tables, and not of the exporter."""
STEADY = "unless on (job, instance, source) (changes(orchestration_counting_since_timestamp_seconds["
UNGUARDED = {"OrchestrationErrorBudgetSpent": "in 30 days what came late is in its place"}
"""Alerts on the tables that need no guard."""


def _selected(rules: Iterable[Rule]) -> Iterator[tuple[Rule, Selector]]:
    for rule in rules:
        for selector in selectors(rule.expr):
            yield rule, selector


def names(rules: list[Rule]) -> Iterator[str]:
    """Each name is there once; alerts' have our prefix, recording rules' their colons."""
    seen = set()
    for rule in rules:
        if rule.name in seen:
            yield f"{rule.name} is there twice"
        seen.add(rule.name)
        if rule.is_alert and not rule.name.startswith(PREFIX):
            yield f"{rule.name} has not the prefix {PREFIX}"
        if not rule.is_alert and not re.fullmatch(r"\w+:\w+:\w+", rule.name):
            yield f"{rule.name} is not level:metric:operations"


def expressions(rules: list[Rule]) -> Iterator[str]:
    """No two rules say the same; but a file stands for itself, so that two may record what both ask for."""
    seen: dict[tuple[str, str], str] = {}
    for rule in rules:
        place = "" if rule.is_alert else rule.file
        if (first := seen.setdefault((place, rule.expr), rule.name)) != rule.name:
            yield f"{rule.name} says the same as {first}"


def parts(rules: list[Rule]) -> Iterator[str]:
    """Alerts have a `for`, our labels and all annotations; no label is a template, so that none changes."""
    for rule in (rule for rule in rules if rule.is_alert):
        labels, annotations = rule.document.get("labels", {}), rule.document.get("annotations", {})
        if set(labels) != LABELS:
            yield f"{rule.name} has labels {', '.join(sorted(labels)) or 'none'}"
        if set(annotations) != ANNOTATIONS or not all(annotations.values()):
            yield f"{rule.name} has annotations {', '.join(sorted(annotations)) or 'none'}"
        if "for" not in rule.document:
            yield f"{rule.name} has no for"
        yield from (f"{rule.name}: label {name} is a template" for name, value in labels.items() if "{{" in value)


def metrics(rules: list[Rule]) -> Iterator[str]:
    """Every selector is of a metric that there is, by labels that it has and values that it may have."""
    recorded = {rule.name for rule in rules if not rule.is_alert}
    for rule, selector in _selected(rules):
        if selector.name in recorded:
            continue
        if selector.name not in KNOWN:
            yield f"{rule.name} asks for {selector.name}, which nothing has"
            continue
        try:
            matching(*KNOWN[selector.name], selector.where)
        except PromqlError as error:
            yield f"{rule.name}: {error}"


def kinds(rules: list[Rule]) -> Iterator[str]:
    """Counters stand in `rate` or `increase`, gauges never, calendar gauges in nothing that follows their course."""
    for rule, selector in _selected(rules):
        if selector.name not in KNOWN:
            continue
        metric, _ = KNOWN[selector.name]
        if _kind(metric) != "gauge":
            if selector.function not in OVER_COUNTERS:
                yield f"{rule.name} asks for the counter {selector.name} itself"
        elif selector.function in NEVER_OVER_GAUGES:
            yield f"{rule.name} has {selector.function} of the gauge {selector.name}"
        elif _is_calendar(metric) and selector.function in NEVER_OVER_CALENDAR:
            yield f"{rule.name} has {selector.function} of {selector.name}, which starts anew with its period"


def _is_calendar(metric: Asked) -> bool:
    return metric.name.startswith(("orchestration_ledger_", "orchestration_budget_"))


def periods(rules: list[Rule]) -> Iterator[str]:
    """Every query of the ledger is of one period."""
    for rule, selector in _selected(rules):
        metric = KNOWN[selector.name][0] if selector.name in KNOWN else None
        if metric and metric.name.startswith("orchestration_ledger_") and "period" in labels_of(metric):
            period = selector.where.get("period", "")
            if period[:1] in ("", "!", "~"):
                yield f"{rule.name} asks {selector.name} for {f'period {period}' if period else 'every period'}"


def groupings(rules: list[Rule]) -> Iterator[str]:
    """Aggregations and joins are by labels that something in the rules has."""
    known = {"job", "instance", "le", "alertname", *thresholds.load().tenant_labels}
    known |= {name for metric, _ in KNOWN.values() for name in labels_of(metric)}
    for rule in rules:
        made = set(re.findall(r'label_replace\([^"]*"(\w+)"', re.sub(r"\{[^{}]*\}", "", rule.expr)))
        for match in _GROUPING.finditer(_without_strings(rule.expr)):
            asked = {name.strip() for name in match[1].split(",") if name.strip()}
            yield from (f"{rule.name} groups by {name}, which nothing has" for name in sorted(asked - known - made))


def own_files(rules: list[Rule]) -> Iterator[str]:
    """A rule needs recording rules of its own file only: no evaluation waits for another's."""
    recorded = {rule.name: rule.file for rule in rules if not rule.is_alert}
    for rule, selector in _selected(rules):
        if recorded.get(selector.name, rule.file) != rule.file:
            yield f"{rule.name} in {rule.file} asks for {selector.name} of {recorded[selector.name]}"


def guards(rules: list[Rule]) -> Iterator[str]:
    """Alerts on what the tables say are guarded: on increases, against disturbed counting; on gauges, while current.

    What an alert asks of recording rules counts as asked by itself.
    """
    recorded = {rule.name: rule for rule in rules if not rule.is_alert}
    for rule in rules:
        if not rule.is_alert or rule.name in UNGUARDED:
            continue
        found = list(_asked(rule, recorded))
        if any(name in OF_TABLES and _kind(KNOWN[name][0]) != "gauge" for name in found):
            if STEADY not in rule.expr:
                yield f"{rule.name} alerts on increases, and is not guarded against disturbed counting"
        elif any(name in OF_TABLES for name in found) and not re.search(r"\borchestration_up\b", rule.expr):
            yield f"{rule.name} alerts on gauges, and not only while they are current"


def _asked(rule: Rule, recorded: Mapping[str, Rule]) -> Iterator[str]:
    for selector in selectors(rule.expr):
        yield selector.name
        if selector.name in recorded:
            yield from _asked(recorded[selector.name], recorded)


def unused(rules: list[Rule], elsewhere: str = "") -> Iterator[str]:
    """Each recording rule is asked for, by another rule or (``elsewhere``) by a dashboard."""
    asked = {selector.name for _, selector in _selected(rules)}
    for rule in rules:
        if not rule.is_alert and rule.name not in asked and rule.name not in elsewhere:
            yield f"{rule.name} is recorded, and nothing asks for it"


CHECKS: tuple[Callable[[list[Rule]], Iterator[str]], ...] = (
    *(names, expressions, parts, metrics, kinds, periods, groupings, own_files, guards),
)
"""All but `unused`, which must know the dashboards."""

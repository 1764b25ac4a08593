"""What every runbook has: its parts in order, its alert's dashboard, and queries that ask for what there is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from alerting import thresholds
from alerting.rules import PREFIX, Alert
from tests import rulelint

SECTIONS = ("What it means", "What to look at", "Likely causes", "What to do", "When to ignore it")
LEAST_WORDS = 12
"""A section of fewer says nothing."""


def wrong(alert: Alert, text: str, rules: Iterable[rulelint.Rule]) -> Iterator[str]:
    """A line for each thing that a runbook lacks, or that cannot be."""
    if not text.startswith(f"# {alert.name}\n"):
        yield f"{alert.runbook} does not begin with its alert's name"
    found = re.split(r"(?m)^## (.+)\n", text)
    titles, bodies = tuple(found[1::2]), found[2::2]
    if titles != SECTIONS:
        yield f"{alert.runbook} has the sections {', '.join(titles) or 'none'}"
        return
    for title, body in zip(titles, bodies, strict=True):
        if len(body.split()) < LEAST_WORDS:
            yield f"{alert.runbook}: {title} says nothing"
    look = bodies[1]
    if alert.dashboard not in look:
        yield f"{alert.runbook} does not name the dashboard {alert.dashboard}"
    queries = [query for block in re.findall(r"(?s)```promql\n(.*?)```", text) for query in block.strip().split("\n\n")]
    if not queries:
        yield f"{alert.runbook} has no query"
    yield from (f"{alert.runbook} {line}" for line in stale_limits(text))
    known = [rule for rule in rules if not rule.is_alert]
    asked = [rulelint.Rule("", f"{alert.runbook}", query, {"alert": "a query"}) for query in queries]
    yield from (line for check in (rulelint.metrics, rulelint.kinds) for line in check([*asked, *known]))


def stale_limits(text: str) -> Iterator[str]:
    """A line for each limit, written as 40% (`work.task_failures`), that thresholds.yaml does not have so."""
    limits = thresholds.load().model_dump()
    for value, percent, section, key in re.findall(r"\$?([\d.]+)(%?)\s+\(`(\w+)\.(\w+)`\)", text):
        there = limits.get(section, {}).get(key)
        if there is None or abs(there - float(value) / (100 if percent else 1)) > 1e-9:
            yield f"says that {section}.{key} is {value}{percent}, and it is {there}"


def strangers(alerts: Iterable[Alert], texts: Mapping[str, str]) -> list[str]:
    """A line for each alert that a text speaks of and that there is not."""
    names = {alert.name for alert in alerts}
    return [
        f"{file} speaks of {name}"
        for file, text in sorted(texts.items())
        for name in sorted({*re.findall(rf"\b{PREFIX}[A-Z]\w+", text)} - names)
    ]


def missing(alerts: Iterable[Alert], texts: Mapping[str, str]) -> list[str]:
    """A line for each alert without a runbook, and each runbook without an alert."""
    names = {alert.runbook for alert in alerts}
    lacking = [f"{name} is missing" for name in sorted(names - texts.keys())]
    return [*lacking, *(f"{name} is of no alert" for name in sorted(texts.keys() - names))]

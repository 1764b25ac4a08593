"""When an alert fires, by what a range query says of its expression: `for` and `keep_firing_for` as Prometheus does.

promtool's backfill of rules ignores both. Follows `AlertingRule.Eval` of Prometheus 3.16 (rules/alerting.go): an alert
is pending from the first evaluation that has its series, fires at the first one at which `for` has passed since, and
goes on for `keep_firing_for` after the first one without it; a series that was only pending is forgotten at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}


class Span(NamedTuple):
    """From the first evaluation at which an alert fires to the first at which it no longer does, Unix seconds."""

    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert of one series that fired; ``labels`` are all that Alertmanager sees."""

    labels: Mapping[str, str]
    span: Span

    @property
    def alert(self) -> str:
        """Its name."""
        return self.labels["alertname"]

    @property
    def severity(self) -> str:
        """Its severity."""
        return self.labels["severity"]


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording rule."""

    name: str
    expr: str


@dataclass(frozen=True, slots=True)
class Alerting:
    """An alerting rule; times in seconds, ``labels`` its own."""

    name: str
    expr: str
    labels: Mapping[str, str]
    for_s: float
    keep_s: float


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules of some files, in order."""

    recordings: tuple[Recording, ...]
    alerts: tuple[Alerting, ...]

    def layers(self) -> Iterator[tuple[Recording, ...]]:
        """The recording rules, those first that ask for no other; each layer asks for those before it only.

        Raises: ValueError, if some ask for one another.
        """
        left = list(self.recordings)
        while left:
            unknown = {rule.name for rule in left}
            waiting = {rule.name for rule in left if names([rule.expr]) & unknown}
            if waiting == unknown:
                raise ValueError(f"recording rules that ask for one another: {', '.join(sorted(unknown))}")
            yield tuple(rule for rule in left if rule.name not in waiting)
            left = [rule for rule in left if rule.name in waiting]

    def asked(self) -> set[str]:
        """The names of all metrics that the rules ask for, and those that they record."""
        return names([rule.expr for rule in (*self.recordings, *self.alerts)])


def names(exprs: Iterable[str]) -> set[str]:
    """What may be a metric's name in some expressions: every word outside of quotes."""
    return {word for expr in exprs for word in re.findall(r"[a-zA-Z_:][\w:]*", re.sub(r'"[^"]*"', "", expr))}


def seconds(duration: str) -> float:
    """A duration as rule files have it, in seconds."""
    return sum(float(number) * _UNITS_S[unit] for number, unit in re.findall(r"(\d+)(ms|[smhdwy])", duration))


def read_rules(files: Iterable[Path]) -> Rules:
    """The rules of some files."""
    documents = [yaml.safe_load(path.read_text()) for path in files]
    entries: list[dict[str, Any]] = [
        rule for document in documents for group in document["groups"] for rule in group["rules"]
    ]
    return Rules(
        tuple(Recording(entry["record"], entry["expr"]) for entry in entries if "record" in entry),
        tuple(
            Alerting(
                entry["alert"],
                entry["expr"],
                entry["labels"],
                seconds(entry.get("for", "0s")),
                seconds(entry.get("keep_firing_for", "0s")),
            )
            for entry in entries
            if "alert" in entry
        ),
    )


def spans(present: Iterable[float], evaluations: Sequence[float], *, for_s: float, keep_s: float) -> list[Span]:
    """When a series's alert fires, by the evaluations (Unix seconds, rising) at which its expression has it."""
    there = set(present)
    found: list[Span] = []
    since: float | None = None  # pending or firing since the expression first had it
    begin: float | None = None  # firing since
    without: float | None = None  # firing, though the expression has not had it since
    for at in evaluations:
        if at in there:
            since, without = at if since is None else since, None
            if begin is None and at - since >= for_s:
                begin = at
            continue
        if begin is not None:
            without = at if without is None else without
            if keep_s > 0 and at - without < keep_s:
                continue
            found.append(Span(begin, at))
        since = begin = without = None
    if begin is not None:
        found.append(Span(begin, evaluations[-1]))
    return found

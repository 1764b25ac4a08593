"""What Alertmanager keeps to itself of alerts that fire, by its inhibition rules, as data and as the program has them.

Follows `inhibit.Inhibitor.Mutes` of Alertmanager: a label that is missing is the empty one, for matchers and for
`equal`; and what a rule might mute as well as mute with mutes nothing that it might mute with, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.alerttimes import Firing

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on a label: `=`, `!=`, `=~` or `!~`."""

    name: str
    operator: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Matcher:
        """A matcher as Alertmanager's configuration has it.

        Raises: ValueError.
        """
        found = re.fullmatch(r'(\w+)(=~|!~|!=|=)"([^"\\]*)"', text)
        if not found:
            raise ValueError(f"no matcher that is read here: {text}")
        return cls(*found.groups())

    def holds(self, labels: Labels) -> bool:
        """Whether such an alert is meant."""
        there = labels.get(self.name, "")
        is_found = re.fullmatch(self.value, there) is not None if "~" in self.operator else there == self.value
        return is_found != self.operator.startswith("!")


@dataclass(frozen=True, slots=True)
class Inhibition:
    """While an alert that ``source`` means fires, those that ``target`` means are muted, if ``equal`` labels are."""

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...]

    def mutes(self, source: Labels, target: Labels) -> bool:
        """Whether the one mutes the other."""
        return (
            self._is(self.source, source)
            and self._is(self.target, target)
            and not (self._is(self.source, target) and self._is(self.target, source))
            and all(source.get(name, "") == target.get(name, "") for name in self.equal)
        )

    @staticmethod
    def _is(matchers: Iterable[Matcher], labels: Labels) -> bool:
        return all(matcher.holds(labels) for matcher in matchers)


def inhibitions(rules: Iterable[Mapping[str, Any]]) -> tuple[Inhibition, ...]:
    """The rules of a configuration's `inhibit_rules`.

    Raises: ValueError.
    """
    return tuple(
        Inhibition(
            tuple(map(Matcher.parse, rule["source_matchers"])),
            tuple(map(Matcher.parse, rule["target_matchers"])),
            tuple(rule["equal"]),
        )
        for rule in rules
    )


def read_inhibitions(config: Path) -> tuple[Inhibition, ...]:
    """The rules of a configuration file."""
    return inhibitions(yaml.safe_load(config.read_text())["inhibit_rules"])


def muted(rules: Sequence[Inhibition], firing: Sequence[Labels]) -> list[Labels]:
    """Of alerts that fire at one time, those that are muted."""
    return [target for target in firing if any(rule.mutes(source, target) for rule in rules for source in firing)]


def is_told(rules: Sequence[Inhibition], firing: Firing, among: Sequence[Firing]) -> bool:
    """Whether an alert is ever told: it fires at some time at which none of the others mutes it."""
    muting = sorted(other.span for other in among if any(rule.mutes(other.labels, firing.labels) for rule in rules))
    at = firing.span.begin
    for span in muting:
        if span.begin > at:
            break
        at = max(at, span.end)
    return at < firing.span.end

"""The judge of what is told: by made-up rules and spans; a real Alertmanager's word is in test_alertmanager_real.py."""

from __future__ import annotations

from typing import Any

import pytest

from tests.alerttimes import Firing, Span
from tests.inhibition import inhibitions, is_told, muted, read_inhibitions
from tests.months import ALERTMANAGER

RULE: dict[str, Any] = {
    "source_matchers": ['severity="critical"', 'instance!=""'],
    "target_matchers": ['severity=~"warning|info"'],
    "equal": ["instance", "budget"],
}
RULES = inhibitions([RULE])


def firing(severity: str, begin: int, end: int, **labels: str) -> Firing:
    """An alert on one instance that fires for so long."""
    return Firing({"alertname": "A", "severity": severity, "instance": "a", **labels}, Span(begin, end))


@pytest.mark.parametrize(
    "spans, told",
    [
        ((), True),
        (((0, 9),), False),
        (((2, 7),), False),  # exactly as long
        (((3, 9),), True),  # it is told before
        (((0, 6),), True),  # and after
        (((0, 4), (6, 9)), True),  # and between
        (((0, 4), (4, 9)), False),
        (((0, 3), (1, 5), (0, 1), (5, 7)), False),
        (((0, 2),), True),
        (((7, 9),), True),
    ],
)
def test_an_alert_is_told_at_a_time_at_which_nothing_mutes_it(spans: tuple[tuple[int, int], ...], told: bool) -> None:
    """It fires from 2 to 7; others, graver ones of the same object, whenever."""
    alert = firing("warning", 2, 7)
    others = [firing("critical", *span) for span in spans]

    assert is_told(RULES, alert, [*others, alert]) is told
    assert all(is_told(RULES, other, [*others, alert]) for other in others)


def test_what_is_of_another_object_mutes_nothing() -> None:
    """Labels that are missing are empty, and so equal to one another and to no value."""
    alert = firing("warning", 2, 7, budget="all")
    assert is_told(RULES, alert, [firing("critical", 0, 9, budget="billing")])
    assert is_told(RULES, alert, [firing("critical", 0, 9)])
    assert is_told(RULES, alert, [firing("warning", 0, 9, budget="all")])
    assert not is_told(RULES, alert, [firing("critical", 0, 9, budget="all", project="p")])
    assert not is_told(RULES, firing("info", 2, 7), [firing("critical", 0, 9, budget="")])


def test_what_a_rule_means_on_both_sides_does_not_mute_its_like() -> None:
    """As Alertmanager has it: otherwise two such alerts would mute each other, and nobody be told."""
    both = inhibitions([{"source_matchers": ['a="1"'], "target_matchers": ['b!~"2|3"'], "equal": []}])

    assert muted(both, [{"a": "1"}, {"a": "1", "b": "4"}]) == []
    assert muted(both, [{"a": "1"}, {"a": "0"}, {"b": "3"}]) == [{"a": "0"}]
    assert muted(both, [{"a": "1", "b": "2"}, {"a": "1"}]) == [{"a": "1"}]


def test_a_matcher_that_is_not_read_is_an_error() -> None:
    """It would mute nothing, or all."""
    with pytest.raises(ValueError, match="no matcher that is read here: severity=critical"):
        inhibitions([{**RULE, "source_matchers": ["severity=critical"]}])


def test_the_rules_that_are_shipped_are_read() -> None:
    """A broken budget is told alone; another's that nears its limit is told."""
    rules = read_inhibitions(ALERTMANAGER)
    budget = {"alert_group": "money", "job": "j", "instance": "a", "source": "s", "budget": "all"}
    broken = {**budget, "severity": "critical", "alertname": "OrchestrationBudgetBroken"}
    near = {**budget, "severity": "info", "alertname": "OrchestrationBudgetNearLimit"}

    assert muted(rules, [broken, near, {**near, "budget": "billing"}]) == [near]

"""The linter's 17 rules: the dashboards keep them, and each fails on a dashboard that breaks it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dashboards.board import built
from dashboards.house import BOARDS
from tests import dashboardlint as lint

MADE = [built(board) for board in BOARDS]
GOOD = next(each for each in MADE if each["uid"] == "orchestration-overview")


def test_there_are_seventeen_rules() -> None:
    """None was forgotten, and none is there twice."""
    assert len({*lint.RULES, lint.target_promql}) == 17


@pytest.mark.parametrize("rule", lint.RULES, ids=lambda rule: rule.__name__)
def test_the_dashboards_keep_the_rule(rule: lint.Rule) -> None:
    """No dashboard breaks it."""
    assert [line for made in MADE for line in rule(made)] == []


def _panel(made: dict[str, Any]) -> dict[str, Any]:
    return next(panel for panel in made["panels"] if panel["type"] == "timeseries")


def _set(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda made: _panel(made).__setitem__(name, value)


def _expr(expr: str) -> Callable[[dict[str, Any]], None]:
    return lambda made: _panel(made)["targets"][0].__setitem__("expr", expr)


def _variable(variable: str, /, **values: object) -> Callable[[dict[str, Any]], None]:
    def change(made: dict[str, Any]) -> None:
        [found] = [each for each in made["templating"]["list"] if each["name"] == variable]
        found.update(values)

    return change


WHERE = '{job=~"$job", instance=~"$instance"}'


@pytest.mark.parametrize(
    "rule, spoil",
    [
        (lint.template_datasource, _variable("datasource", label="Source of data")),
        (lint.template_job, _variable("job", allValue=".*")),
        (lint.template_job, _variable("job", name="jobs")),
        (lint.template_instance, _variable("instance", multi=False)),
        (lint.template_label_promql, _variable("source", query="label_value(orchestration_up, source)")),
        (lint.template_on_time_change_reload, _variable("model", refresh=1)),
        (lint.panel_datasource, _set("datasource", {"type": "prometheus", "uid": "mine"})),
        (lint.panel_title_description, _set("description", "")),
        (lint.panel_title_description, _set("title", "")),
        (lint.panel_units, lambda made: _panel(made)["fieldConfig"]["defaults"].pop("unit")),
        (lint.panel_units, lambda made: _panel(made)["fieldConfig"]["defaults"].update(unit="usd")),
        (lint.panel_no_targets, _set("targets", [])),
        (lint.target_logql, lambda made: _panel(made)["targets"][0].update(datasource={"type": "loki"})),
        (lint.target_logql_auto, _expr(f"sum(rate(orchestration_tasks_total{WHERE}[$__auto]))")),
        (lint.target_rate_interval, _expr(f"sum(rate(orchestration_tasks_total{WHERE}[5m]))")),
        (lint.target_job, _expr('sum(orchestration_sessions_active{instance=~"$instance"})')),
        (lint.target_job, _expr("min(orchestration_up)")),
        (lint.target_instance, _expr('sum(orchestration_sessions_active{job=~"$job"})')),
        (lint.target_counter_agg, _expr(f"sum(orchestration_tasks_total{WHERE})")),
        (lint.target_counter_agg, _expr(f"max_over_time(orchestration_tasks_total{WHERE}[1h])")),
        (lint.uneditable, lambda made: made.update(editable=True)),
    ],
)
def test_a_dashboard_that_breaks_the_rule_is_told(rule: lint.Rule, spoil: Callable[[dict[str, Any]], object]) -> None:
    """One thing is spoiled, and the rule says so."""
    bad = copy.deepcopy(GOOD)

    spoil(bad)

    assert list(rule(bad))


def test_every_query_is_promql(promtool: Path, tmp_path: Path) -> None:
    """By the parser of each Prometheus there is."""
    assert [line for made in MADE for line in lint.target_promql(made, promtool, tmp_path)] == []


def test_what_is_no_promql_is_told(promtool: Path, tmp_path: Path) -> None:
    """A bracket that is missing is enough."""
    bad = copy.deepcopy(GOOD)
    _expr("sum(orchestration_up")(bad)

    assert list(lint.target_promql(bad, promtool, tmp_path))

"""Every alert: its histories judged by promtool, its runbook, and what no rule may say."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from alerting import __main__ as command
from alerting import groups
from alerting.groups import GROUPS, alerts
from alerting.rules import Alert, AlertGroup, Group, RuleError
from exporter.promql import Expr, Recorded
from tests import promtool as frame
from tests import rulelint, runbooks
from tests.alertcases import HISTORIES
from tests.promtool import History, Value, ends, fires, healthy
from tools.generated import differences

NAMES = [alert.name for alert in alerts()]
FILES = {path: text for path, text in command.files().items() if path.is_relative_to(command.RULES)}
RULES = rulelint.rules_of({path.name: yaml.safe_load(text) for path, text in FILES.items()})
RUNBOOKS = command.REPOSITORY / "docs" / "runbooks"


@pytest.fixture(scope="module")
def rule_files(tmp_path_factory: pytest.TempPathFactory) -> dict[AlertGroup, Path]:
    """The rule files, by their groups."""
    folder = tmp_path_factory.mktemp("rules")
    for path, text in FILES.items():
        (folder / path.name).write_text(text)
    return {group.name: folder / f"{group.name}.yaml" for group in GROUPS}


@pytest.mark.bulk
@pytest.mark.parametrize("group", get_args(AlertGroup))
def test_alerts_do_what_their_histories_say(group: AlertGroup, promtool: Path, tmp_path: Path) -> None:
    """promtool finds each alert of the group firing, with all labels and annotations, or silent, as expected."""
    histories = [history for history in HISTORIES if history.group == group]

    if found := frame.judged(promtool, histories, tmp_path):
        pytest.fail(found, pytrace=False)


def test_every_alert_has_all_kinds_of_histories() -> None:
    """Each fires, is silent when all is well and just below its threshold, and ends with its cause."""
    assert frame.untested(HISTORIES, NAMES) == []


def test_histories_that_lack_a_kind_are_caught() -> None:
    """An alert that never fires is told; and an end counts only after it fired in the same history."""
    never = History("", "availability", {}, (healthy("A", "1m"), ends("A", "9m")))
    fired = History("", "availability", {}, (fires("A", "1m", severity="info", description=""), ends("A", "9m")))

    assert frame.untested([never], ["A"]) == [
        "A has no history in which it fires",
        "A has no history in which it is silent just below its threshold",
        "A has no history in which it ends after it fired",
    ]
    assert frame.untested([never, fired], ["A"]) == ["A has no history in which it is silent just below its threshold"]


WATCHED = {"orchestration_up": "1x10"}


@pytest.mark.parametrize(
    "history",
    [
        History("silent", "availability", WATCHED, (healthy("OrchestrationWatchdog", "5m"),)),
        History(
            "otherwise",
            "availability",
            WATCHED,
            (fires("OrchestrationWatchdog", "5m", severity="info", description="Other words."),),
        ),
        History("value", "availability", WATCHED, (), values=(Value("orchestration_up", "5m", {"{}": 1}),)),
    ],
    ids=lambda history: history.name,
)
def test_histories_that_go_otherwise_are_caught(history: History, promtool: Path, tmp_path: Path) -> None:
    """promtool tells an alert that fires and should not, other annotations, and another value."""
    assert "FAILED" in frame.judged(promtool, [history], tmp_path)


def test_promtool_has_nothing_to_say_of_the_rules(promtool: Path, rule_files: dict[AlertGroup, Path]) -> None:
    """`promtool check rules` finds no error, no duplicate and no doubtful name."""
    command_line = [promtool, "check", "rules", "--lint=all", "--lint-fatal", *rule_files.values()]
    done = subprocess.run(command_line, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("check", rulelint.CHECKS, ids=lambda check: check.__name__)
def test_rules_say_nothing_that_cannot_be(check: Callable[[list[rulelint.Rule]], Any]) -> None:
    """No check finds anything in our rules."""
    assert list(check(RULES)) == []


def test_every_recording_rule_is_asked_for() -> None:
    """Each is used by another rule, or by a dashboard."""
    folder = command.REPOSITORY / "provisioning" / "grafana"
    dashboards = "".join(path.read_text() for path in folder.rglob("*.json"))

    assert list(rulelint.unused(RULES, dashboards)) == []


GOOD: dict[str, Any] = {
    "alert": "OrchestrationA",
    "expr": f'sum(increase(orchestration_handoffs_total{{outcome="failure"}}[1h])) > 5 {rulelint.STEADY}1h]) > 0)',
    "for": "5m",
    "labels": {"severity": "info", "alert_group": "handoffs"},
    "annotations": dict.fromkeys(rulelint.ANNOTATIONS, "text"),
}
RECORD = {"record": "a:b:c", "expr": "sum(orchestration_up)"}


def lint(*rules: dict[str, Any]) -> str:
    """What all checks say of rules, each in a file of its own."""
    files = {f"{number}.yaml": {"groups": [{"rules": [rule]}]} for number, rule in enumerate(rules)}
    found = rulelint.rules_of(files)
    return "\n".join(line for check in (*rulelint.CHECKS, rulelint.unused) for line in check(found))


def test_a_good_rule_is_not_caught() -> None:
    """The checks find nothing in a rule that may be."""
    assert lint(GOOD) == ""


@pytest.mark.bulk
@pytest.mark.parametrize(
    "changed, says",
    [
        ({"alert": "TaskFailures"}, "has not the prefix"),
        ({"labels": {"severity": "info"}}, "has labels severity"),
        ({"labels": {"severity": "{{ $value }}", "alert_group": "a"}}, "label severity is a template"),
        ({"annotations": {"summary": "a"}}, "has annotations summary"),
        ({"expr": "orchestration_handoffs > 1"}, "asks for orchestration_handoffs, which nothing has"),
        ({"expr": 'rate(orchestration_handoffs_total{modell="a"}[5m])'}, "has no label modell"),
        ({"expr": 'rate(orchestration_handoffs_total{outcome="failed"}[5m])'}, "is never 'failed'"),
        ({"expr": 'rate(orchestration_handoff_duration_seconds_bucket{le="7"}[5m])'}, "has no bucket 7"),
        ({"expr": "orchestration_handoffs_total > 5"}, "the counter orchestration_handoffs_total itself"),
        ({"expr": "max_over_time(orchestration_handoffs_total[5m])"}, "the counter orchestration_handoffs_total"),
        ({"expr": "rate(orchestration_handoffs_in_flight[5m])"}, "rate of the gauge"),
        ({"expr": "increase(orchestration_exporter_series[5m])"}, "increase of the gauge"),
        ({"expr": 'increase(orchestration_ledger_cost_usd{period="day"}[1h])'}, "increase of the gauge"),
        ({"expr": 'predict_linear(orchestration_ledger_cost_usd{period="day"}[1h], 9)'}, "starts anew"),
        ({"expr": "deriv(orchestration_budget_spent_usd[1h])"}, "starts anew with its period"),
        ({"expr": "orchestration_ledger_cost_usd > 1"}, "for every period"),
        ({"expr": 'orchestration_ledger_cost_usd{period=~"day|week"}'}, "for period ~day|week"),
        ({"expr": "sum by (modell) (orchestration_up)"}, "groups by modell"),
        ({"expr": "a:b:d > 1"}, "asks for a:b:d"),
        ({"expr": "increase(orchestration_handoffs_total[1h]) > 5"}, "not guarded against disturbed counting"),
        ({"expr": "orchestration_handoffs_in_flight > 5"}, "not only while they are current"),
    ],
)
def test_a_bad_rule_is_caught(changed: dict[str, Any], says: str) -> None:
    """Each check tells what breaks it."""
    assert says in lint({**GOOD, **changed})


def test_rules_that_do_not_go_together_are_caught() -> None:
    """A name or an expression that is there twice, another file's recording rule, and one that nobody asks for."""
    assert "OrchestrationA is there twice" in lint(GOOD, GOOD)
    assert "OrchestrationB says the same as OrchestrationA" in lint(GOOD, {**GOOD, "alert": "OrchestrationB"})
    both = rulelint.rules_of({"0.yaml": {"groups": [{"rules": [RECORD, {**RECORD, "record": "a:b:d"}]}]}})
    assert list(rulelint.expressions(both)) == ["a:b:d says the same as a:b:c"]
    assert "says the same" not in lint(RECORD, {**RECORD, "record": "a:b:d"})
    assert "OrchestrationA in 0.yaml asks for a:b:c of 1.yaml" in lint({**GOOD, "expr": "a:b:c > 1"}, RECORD)
    assert "a:b:c is recorded, and nothing asks for it" in lint(RECORD)
    counted = {**RECORD, "expr": "increase(orchestration_handoffs_total[1h])"}
    assert "OrchestrationA alerts on increases" in lint(counted, {**GOOD, "expr": "a:b:c > 5"})
    assert "a_b is not level:metric:operations" in lint({**RECORD, "record": "a_b"})
    assert "OrchestrationA has no for" in lint({key: value for key, value in GOOD.items() if key != "for"})


def test_every_alert_has_a_runbook() -> None:
    """No alert is without one, no runbook without its alert."""
    texts = {path.name: path.read_text() for path in RUNBOOKS.glob("*.md")}

    assert runbooks.missing(alerts(), texts) == []
    assert runbooks.strangers(alerts(), texts) == []


@pytest.mark.bulk
@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_runbooks_have_all_parts(alert: Alert) -> None:
    """Each has its sections, its dashboard, and queries that ask for what there is."""
    assert list(runbooks.wrong(alert, (RUNBOOKS / alert.runbook).read_text(), RULES)) == []


def an_alert(**changed: Any) -> Alert:
    """An alert, with some parts changed."""
    parts: dict[str, Any] = {
        "name": "OrchestrationA",
        "expr": Expr("vector(1)"),
        "for_": "5m",
        "severity": "info",
        "group": "handoffs",
        "summary": "It is so.",
        "description": "It is {{ $value }}.",
        "dashboard": "orchestration-overview",
    }
    return Alert(**{**parts, **changed})


def a_runbook(**changed: str) -> str:
    """A runbook, with some sections changed."""
    words = "word " * runbooks.LEAST_WORDS
    look = f"orchestration-overview {words}\n```promql\norchestration_up == 0\n```"
    sections = dict.fromkeys(runbooks.SECTIONS, words) | {"What to look at": look} | changed
    return "# OrchestrationA\n" + "".join(f"\n## {title}\n\n{body}\n" for title, body in sections.items())


@pytest.mark.parametrize(
    "text, says",
    [
        ("# Other\n", "does not begin with its alert's name"),
        (a_runbook().replace("## Likely causes", "## Causes"), "has the sections What it means, "),
        (a_runbook(**{"What to do": "Restart it."}), "What to do says nothing"),
        (a_runbook().replace("orchestration-overview", "the dashboard"), "does not name the dashboard"),
        (a_runbook().replace("promql", "sql"), "has no query"),
        (a_runbook().replace("orchestration_up", "orchestration_down"), "which nothing has"),
        (a_runbook().replace("_up == 0", "_handoffs_total > 9"), "asks for the counter"),
        (f"{a_runbook()} 81% (`budgets.near`)", "says that budgets.near is 81%, and it is 0.8"),
        (f"{a_runbook()} $3 (`budgets.nearly`)", "says that budgets.nearly is 3, and it is None"),
    ],
)
def test_a_bad_runbook_is_caught(text: str, says: str) -> None:
    """Each thing that a runbook must have is missed where it is not."""
    assert says in "\n".join(runbooks.wrong(an_alert(), text, []))


def test_a_good_runbook_is_not_caught() -> None:
    """One that has all is left alone, and none may be missing or left over."""
    assert list(runbooks.wrong(an_alert(), a_runbook(), [])) == []
    assert runbooks.missing([an_alert()], {"B.md": ""}) == ["OrchestrationA.md is missing", "B.md is of no alert"]
    assert runbooks.strangers([an_alert()], {"B.md": "see OrchestrationA and OrchestrationBees"}) == [
        "B.md speaks of OrchestrationBees"
    ]


@pytest.mark.parametrize(
    "changed, says",
    [
        ({"name": ""}, "an alert without a name: is not called"),
        ({"name": "TaskFailures"}, "is not called OrchestrationCamelCase"),
        ({"expr": Expr("")}, "has no expression"),
        ({"for_": ""}, "for '' is no duration"),
        ({"keep_firing_for": "soon"}, "keep_firing_for 'soon' is no duration"),
        ({"severity": "page"}, "severity 'page' is none"),
        ({"severity": "{{ $value }}"}, "severity .* is none"),
        ({"group": ""}, "alert_group '' is none"),
        ({"dashboard": "orchestration-other"}, "dashboard 'orchestration-other' is none"),
        ({"summary": ""}, "summary '' is no sentence"),
        ({"summary": "It is {{ $value }}."}, "summary is a template"),
        ({"description": ""}, "description '' is no sentence"),
    ],
)
def test_an_alert_that_must_not_be_cannot_be_built(changed: dict[str, Any], says: str) -> None:
    """What is missing, or is not what it must be, is refused with its name."""
    with pytest.raises(RuleError, match=says):
        an_alert(**changed)


@pytest.mark.parametrize("part", ["name", "severity", "group", "summary", "description", "dashboard", "for_", "expr"])
def test_no_part_can_be_left_out(part: str) -> None:
    """There is no default for what an alert must have."""
    parts = {name: getattr(an_alert(), name) for name in Alert.__slots__ if name != part}

    with pytest.raises(TypeError, match=part):
        Alert(**parts)


def test_groups_that_must_not_be_cannot_be_built() -> None:
    """An alert of another group, a name that is there twice, and too many that wake people."""
    alert = an_alert()
    with pytest.raises(RuleError, match="OrchestrationA is not of group money"):
        Group("money", (alert,))
    with pytest.raises(RuleError, match="a:b:c is in group handoffs twice"):
        Group("handoffs", (alert,), (Recorded("a:b:c", Expr("x")),), (Recorded("a:b:c", Expr("y")),))
    with pytest.raises(RuleError, match="OrchestrationA is there twice"):
        groups.alerts((Group("handoffs", (alert,)), Group("handoffs", (alert,))))
    many = tuple(an_alert(name=f"OrchestrationA{letter}", severity="critical") for letter in "bcdefghij")
    with pytest.raises(RuleError, match="9 alerts are critical, over 8"):
        groups.alerts((Group("handoffs", many),))


def test_what_is_committed_is_what_the_code_makes() -> None:
    """The rule files and the documentation are those of the code."""
    assert differences(command.files(), command.REPOSITORY, command.WHOLE) == []


@pytest.mark.bulk
def test_files_that_differ_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is missing, differs or is left over is an error, until they are written again."""
    stray, changed = tmp_path / command.RULES / "old.yaml", tmp_path / command.RULES / "handoffs.yaml"

    assert command.main([], root=tmp_path) == 0
    assert command.main(["--check"], root=tmp_path) == 0
    stray.write_text("")
    changed.write_text("")
    (tmp_path / command.MANUAL).unlink()
    assert command.main(["--check"], root=tmp_path) == 1
    assert capsys.readouterr().err.splitlines() == [
        "docs/alerts.md is missing: run python -m alerting",
        "provisioning/prometheus/rules/handoffs.yaml differs: run python -m alerting",
        "provisioning/prometheus/rules/old.yaml is left over: run python -m alerting",
    ]
    assert command.main([], root=tmp_path) == 0
    assert command.main(["--check"], root=tmp_path) == 0
    assert not stray.exists()

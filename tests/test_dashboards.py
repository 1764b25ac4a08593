"""The dashboards as files: what the code makes is what is there, whole, clean, and about every metric."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from alerting import groups, thresholds
from alerting.groups import slo
from dashboards import __main__ as command
from dashboards.board import Board, Row, built
from dashboards.classic import SCHEMA_VERSION
from dashboards.house import BOARDS
from dashboards.limits import LIMITS, falling, rising
from dashboards.panels import Look, Query, Step, stat, steps
from dashboards.questions import ask, bins, everywhere
from dashboards.unshown import UNSHOWN
from exporter import catalogue, telemetry
from exporter.catalogue import handoffs, money
from exporter.promql import vector
from tests.dashboardlint import panels, selectors, targets
from tools.generated import differences

REPOSITORY = Path(__file__).resolve().parent.parent
MADE = {board.uid: built(board) for board in BOARDS}
OF_OLD = re.compile(r'"(rows|style|__inputs|hideControls|sharedCrosshair|gnetId|intervalFactor|editorMode2|span)":')
ENDS = ("_bucket", "_count", "_sum", "")


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_files_are_what_the_code_makes() -> None:
    """`python -m dashboards` was run after the last change; and it is said so by the command, too."""
    assert differences(command.files(), REPOSITORY, command.WHOLE) == []
    assert command.main(["--check"]) == 0


@pytest.mark.bulk
def test_what_differs_is_told_and_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is missing, one that was changed, and one that is left over."""
    assert command.main([], tmp_path) == 0
    assert command.main(["--check"], tmp_path) == 0
    folder = tmp_path / command.FOLDER / "Platform"
    (folder / "overview.json").write_text("{}")
    (folder / "agents.json").unlink()
    (folder / "older.json").write_text("{}")

    assert command.main(["--check"], tmp_path) == 1

    said = capsys.readouterr().err
    assert [re.findall(r"(\w+)\.json (\w+)", line)[0] for line in said.splitlines()] == [
        ("agents", "is"),
        ("older", "is"),
        ("overview", "differs"),
    ]
    assert command.main([], tmp_path) == 0
    assert command.main(["--check"], tmp_path) == 0


def test_no_dashboard_has_the_title_of_a_folder() -> None:
    """Grafana would refuse to provision it; and each has a uid and a title of its own."""
    assert not {board.title for board in BOARDS} & {board.folder for board in BOARDS}
    assert len({board.uid for board in BOARDS}) == len({board.title for board in BOARDS}) == len(BOARDS) == 11


def test_every_panel_is_in_the_manual() -> None:
    """docs/dashboards.md has the words of the panels, and a picture of each dashboard that is there and small."""
    text = (REPOSITORY / command.MANUAL).read_text()

    for board in BOARDS:
        assert board.about in text
        assert all(f"*{board.title_of(tile)}.* {tile.question}" in text for tile in board.tiles)
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert 10_000 < (REPOSITORY / "docs" / picture).stat().st_size <= 200_000, picture


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────────────


def nulls(value: Any, path: str = "") -> Iterator[str]:
    """The paths of nulls; the base of thresholds may be one."""
    if isinstance(value, dict):
        for key, each in value.items():
            if not (key == "value" and "/steps/0" in path):
                yield from nulls(each, f"{path}/{key}")
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from nulls(each, f"{path}/{number}")
    elif value is None:
        yield path


def faults(made: dict[str, Any], uids: Sequence[str]) -> list[str]:
    """What is wrong with a dashboard's shape: ids, places, schema, old keys, nulls, thresholds, links."""
    found = [] if made["schemaVersion"] == SCHEMA_VERSION else ["schemaVersion"]
    found += [f"null at {path}" for path in nulls(made)]
    found += [f"old key {match[1]}" for match in OF_OLD.finditer(json.dumps(made))]
    ids = [panel["id"] for panel in made["panels"]]
    found += ["ids repeat"] if len(set(ids)) != len(ids) else []
    taken: set[tuple[int, int]] = set()
    for panel in made["panels"]:
        place, name = panel["gridPos"], panel["title"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        found += [f"{name} overlaps"] if cells & taken else []
        found += [f"{name} is beyond the grid"] if place["x"] + place["w"] > 24 else []
        taken |= cells
        if panel["type"] == "row":
            continue
        found += [] if panel.get("pluginVersion") else [f"{name} has no pluginVersion"]
        steps_of = panel.get("fieldConfig", {}).get("defaults", {}).get("thresholds", {}).get("steps", [])
        if steps_of and (steps_of[0].get("value", 0) is not None or any(s["value"] is None for s in steps_of[1:])):
            found.append(f"{name} has thresholds without a base")
        links = [*panel.get("links", []), *panel.get("fieldConfig", {}).get("defaults", {}).get("links", [])]
        for link in links:
            match = re.fullmatch(r"/d/([\w-]+)\?\$\{__url_time_range\}&\$\{__all_variables\}", link["url"])
            found += [] if match and match[1] in uids else [f"{name} leads to {link['url']}"]
    return found


@pytest.mark.parametrize("uid", MADE)
def test_the_json_is_whole_and_clean(uid: str) -> None:
    """No panel over another, no key of old, no null, each link to a dashboard that there is."""
    assert faults(MADE[uid], [*MADE]) == []


def _first(made: dict[str, Any]) -> dict[str, Any]:
    panel: dict[str, Any] = panels(made)[0]
    return panel


@pytest.mark.parametrize(
    "spoil, fault",
    [
        (lambda made: made.update(schemaVersion=12), "schemaVersion"),
        (lambda made: made.update(rows=[]), "old key rows"),
        (lambda made: _first(made).update(interval=None), "null at"),
        (lambda made: _first(made).update(id=1), "ids repeat"),
        (lambda made: _first(made)["gridPos"].update(w=10), "overlaps"),
        (lambda made: _first(made)["gridPos"].update(x=22), "beyond"),
        (lambda made: _first(made).pop("pluginVersion"), "pluginVersion"),
        (lambda made: _first(made)["fieldConfig"]["defaults"]["thresholds"]["steps"].pop(0), "without a base"),
        (lambda made: _first(made)["links"][0].update(url="/d/orchestration-other"), "leads to"),
    ],
)
def test_a_fault_is_told(spoil: Callable[[dict[str, Any]], object], fault: str) -> None:
    """Each kind of fault, in a dashboard that is else without."""
    bad = copy.deepcopy(MADE["orchestration-overview"])

    spoil(bad)

    assert fault in "\n".join(faults(bad, [*MADE]))


def test_every_panel_of_the_overview_leads_on() -> None:
    """To the dashboard that explains it."""
    assert all(panel["links"] for panel in panels(MADE["orchestration-overview"]))


def test_the_wallboard_has_no_variable() -> None:
    """Not in a query, not in a link: a public dashboard has none."""
    text = json.dumps(MADE["orchestration-wallboard"])

    assert set(re.findall(r"\$\{?(\w+)", text)) <= {"__rate_interval"}
    assert MADE["orchestration-wallboard"]["templating"]["list"] == []


@pytest.mark.parametrize("uid", MADE)
def test_a_resolution_can_be_chosen_or_is_fixed(uid: str) -> None:
    """The exporter's own panels are drawn by five minutes, the wallboard by the hour, all others as is chosen."""
    made = MADE[uid]
    chosen = {"orchestration-exporter": "5m", "orchestration-wallboard": "1h"}.get(uid, "$resolution")

    assert {panel["interval"] for panel in panels(made) if panel["type"] == "timeseries"} == {chosen}
    assert any(each["name"] == "resolution" for each in made["templating"]["list"]) is (chosen == "$resolution")


def test_a_panel_without_its_models_or_projects_says_so() -> None:
    """Where a dashboard can be narrowed to a project that a panel's metrics do not have, the panel says so."""
    unsaid = []
    for board in BOARDS:
        if "project" not in board.filters or not board.variables:
            continue
        for panel in panels(MADE[board.uid]):
            asked = [matchers for t in panel["targets"] for name, matchers in selectors(t["expr"]) if name != "ALERTS"]
            narrowed = any("$project" in matchers for matchers in asked)
            of_process = all("source=" not in matchers for matchers in asked)
            said = "(all projects)" in panel["title"]
            if asked and not of_process and narrowed == said:
                unsaid.append(f"{board.uid} / {panel['title']}")

    assert unsaid == []


# ── metrics ──────────────────────────────────────────────────────────────────────────────────────────────────


def shown() -> set[str]:
    """The names in all queries, without the ends of histograms."""
    names = {name for made in MADE.values() for _, t in targets(made) for name, _ in selectors(t["expr"])}
    return {name.removesuffix(end) for name in names for end in ENDS}


def test_every_metric_is_shown_or_its_absence_explained() -> None:
    """Of the catalogue and of the process; what is explained as absent is absent."""
    all_of_them = {each.name for each in (*catalogue.METRICS, *telemetry.DECLARATIONS)}
    explained = {metric.name for metric, _ in UNSHOWN}

    assert all_of_them - shown() == explained
    assert all(why.endswith(".") for _, why in UNSHOWN)


def test_a_query_cannot_ask_for_a_label_that_the_metric_has_not() -> None:
    """Neither in a matcher nor by a bound that is no bucket."""
    with pytest.raises(ValueError, match="orchestration_cost_usd_total has no label agent"):
        ask.total(money.COST, agent="x")
    with pytest.raises(ValueError, match="has no label agent"):
        ask.total(money.COST, "agent")
    with pytest.raises(ValueError, match=r"no bucket for \[0.55\]"):
        bins(handoffs.HANDOFF_CONFIDENCE, (0.5, 0.55))


def test_a_ledger_is_not_added_up_over_periods() -> None:
    """A row for each period is; and what is asked of everywhere has no variable."""
    with pytest.raises(ValueError, match="needs one period"):
        ask.now(money.LEDGER_COST, "project")

    assert str(ask.now(money.LEDGER_COST, "period", period="~day|week")).startswith("sum by (period) (")
    assert "$" not in str(everywhere.now(money.LEDGER_COST, period="day"))


def test_calibration_is_of_bins_and_not_of_bounds() -> None:
    """Buckets are cumulative: what lies between two bounds is their difference."""
    query = ask.in_bin(handoffs.HANDOFF_CONFIDENCE, 0.8, 0.9)

    assert re.findall(r'le="([\d.]+)"', str(query)) == ["0.9", "0.8"]
    assert " - " in str(query)


# ── what alerts know ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_service_levels_are_what_the_alerts_see() -> None:
    """Every query but the objectives' own asks what a rule records; every level, window and budget is there."""
    recorded = {rule.name for rule in groups.recorded()}
    asked = {name for _, t in targets(MADE["orchestration-slo"]) for name, _ in selectors(t["expr"])}

    assert asked == {
        *(slo.budget_left(level).name for level in slo.LEVELS),
        *(slo.bad_ratio(level, window).name for level in slo.LEVELS for window in slo.WINDOWS),
    }
    assert asked <= recorded
    objectives = [t["expr"] for _, t in targets(MADE["orchestration-slo"]) if t["expr"].startswith("vector(")]
    assert objectives == [f"vector({level.objective:g})" for level in slo.LEVELS]


def test_red_is_where_an_alert_fires() -> None:
    """By the alerts' own file, and each orange comes before it: none of the limits is typed again."""
    shared = thresholds.load()
    red = {name: max(v for _, v in found if v is not None) for name, found in LIMITS._asdict().items() if _rises(found)}
    least = {name: found[1][1] for name, found in LIMITS._asdict().items() if not _rises(found)}

    assert red == {
        "call_errors": shared.handoffs.failure_ratio,
        "escalated": shared.handoffs.escalated_ratio,
        "waiting": shared.handoffs.oldest_in_flight_seconds,
        "subagents": shared.sessions.subagents,
        "session_cost": shared.sessions.cost_usd,
        "growth": shared.money.spike,
        "pace": shared.budgets.faster_than_time,
        "exhausted": shared.money.exhausted_sessions,
        "budget_used": 1,
    }
    assert least == {
        "optimisation": pytest.approx(-shared.money.loss_ratio / (1 - shared.money.loss_ratio), abs=1e-6),
        "task_success": pytest.approx(1 - shared.work.task_failures),
        "handoff_success": pytest.approx(1 - shared.handoffs.failure_ratio),
        "agent_success": pytest.approx(1 - shared.work.agent_errors),
        "tool_success": pytest.approx(1 - shared.work.tool_errors),
        "hook_success": pytest.approx(1 - shared.work.hook_failures),
        "freshness": pytest.approx(1 - 3 * (1 - shared.service_levels.freshness.objective)),
        "budget_left": 0,
        "error_budget": 0,
    }


def _rises(found: tuple[Step, ...]) -> bool:
    """Whether more is worse."""
    assert len(found) == 3
    return found[0] == ("green", None)


def test_a_warning_comes_before_the_alert() -> None:
    """From either side."""
    assert rising(10) == (("green", None), ("orange", 5), ("red", 10))
    assert falling(0.5) == (("red", None), ("orange", 0.5), ("green", 0.75))
    with pytest.raises(ValueError, match="must increase"):
        rising(10, early=11)
    with pytest.raises(ValueError, match="must increase"):
        falling(10, early=9)


# ── layout ───────────────────────────────────────────────────────────────────────────────────────────────────


def _board(*sizes: tuple[int, int]) -> Board:
    tiles = [stat("A", "B.", Query(vector(1)), Look()).sized(*size) for size in sizes]
    return Board("x", "Y", "Z", "About.", (Row("R", tiles),))


@pytest.mark.parametrize(
    "sizes, message",
    [
        ([(12, 4), (16, 4)], "no room for 'A', 16 wide, at 12"),
        ([(12, 4), (8, 4)], "does not end evenly"),
        ([(12, 4), (12, 5)], "does not end evenly"),
        ([(12, 4), (12, 5), (24, 1)], "no room for 'A', 24 wide, at 0"),
    ],
)
def test_a_row_that_does_not_fill_the_grid_is_refused(sizes: list[tuple[int, int]], message: str) -> None:
    """Too wide, too narrow, uneven."""
    with pytest.raises(ValueError, match=message):
        built(_board(*sizes))


def test_panels_are_stacked_beside_a_high_one() -> None:
    """From the left, at the highest place that is free."""
    places = [panel["gridPos"] for panel in panels(built(_board((12, 8), (12, 4), (12, 4), (24, 2))))]

    assert [(place["x"], place["y"], place["h"]) for place in places] == [(0, 1, 8), (12, 1, 4), (12, 5, 4), (0, 9, 2)]


def test_thresholds_increase() -> None:
    """Grafana takes the last step that a value reaches."""
    with pytest.raises(ValueError, match="must increase"):
        steps("green", (2, "red"), (1, "orange"))
    assert steps("green", (80, "red")) == (("green", None), (80, "red")[::-1])

"""The dashboards' JSON is what Grafana's own types say, and its own code gives values the colours that are meant."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dashboards.board import built
from dashboards.house import BOARDS
from dashboards.limits import LIMITS
from tests.dashboardlint import panels
from tests.grafanatypes import Grafana

MADE = [built(board) for board in BOARDS]


def _first(made: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(panel for panel in panels(made) if panel["type"] == kind)


def _spoilt(spoil: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    bad = copy.deepcopy(MADE[1])
    spoil(bad)
    return bad


FAULTS: tuple[tuple[Callable[[dict[str, Any]], object], str], ...] = (
    (lambda made: made.update(graphTooltip="1"), "0 | 1 | 2"),
    (lambda made: made.update(sharedCrosshair=True), "sharedCrosshair"),
    (lambda made: made["time"].update(since="now"), "since"),
    (lambda made: _first(made, "stat").update(fieldConfig={"overrides": []}), "defaults"),
    (lambda made: _first(made, "stat")["options"].update(colorMode="colour"), "background_solid"),
    (lambda made: _first(made, "stat")["fieldConfig"]["defaults"]["thresholds"].update(mode="relative"), "percentage"),
    (lambda made: _first(made, "timeseries")["options"]["legend"].update(displayMode="tables"), "hidden"),
    (
        lambda made: _first(made, "timeseries")["fieldConfig"]["defaults"]["custom"].update(lineWidth="2"),
        "type 'number'",
    ),
    (lambda made: _first(made, "table")["options"].update(footer={"show": False}), "footer"),
    (lambda made: _first(made, "heatmap")["options"].pop("showValue"), "showValue"),
    (lambda made: _first(made, "bargauge")["options"].update(sizing="automatic"), "manual"),
    (lambda made: _first(made, "nodeGraph")["options"].update(zoomMode="greedier"), "cooperative"),
)


def test_the_json_is_of_grafanas_types(grafana: Grafana, tmp_path: Path) -> None:
    """Every dashboard, and each panel's options and fields; and each fault in a copy of one is told."""
    bad = [_spoilt(spoil) for spoil, _ in FAULTS]

    said = grafana.complaints([*MADE, *bad], tmp_path)

    of_made = [line for line in said if _number(line, tmp_path) < len(MADE)]
    of_bad = ["\n".join(line for line in said if _number(line, tmp_path) == len(MADE) + at) for at in range(len(bad))]
    assert of_made == []
    assert [fault for (_, fault), line in zip(FAULTS, of_bad, strict=True) if fault not in line] == []


def _number(line: str, folder: Path) -> int:
    """Which of the dashboards a line is about: the constant that it points into."""
    row = int(line.partition("(")[2].partition(",")[0])
    name = (folder / "dashboards.ts").read_text().splitlines()[row - 1].split()[2]
    return int(name.split("_")[1].rstrip(":"))


def test_a_value_has_the_colour_that_is_meant(grafana: Grafana, tmp_path: Path) -> None:
    """95 over 80 is red, in each panel that has limits: at a limit the colour is the limit's, below all the base's."""
    every = [
        found["steps"]
        for made in MADE
        for panel in panels(made)
        if (found := panel.get("fieldConfig", {}).get("defaults", {}).get("thresholds"))
    ]
    asked = [(value, steps) for steps in every for value in _values(steps)]
    meant = [_meant(value, steps) for value, steps in asked]
    above = [{"color": "green", "value": None}, {"color": "red", "value": 80}]

    assert grafana.colours([(95, above), (80, above), (79.9, above), (-5, above), *asked], tmp_path) == [
        *("red", "red", "green", "green"),
        *meant,
    ]
    assert len(every) > len(LIMITS)


def _values(steps: list[dict[str, Any]]) -> list[float]:
    """Each limit, and a value on either side of it."""
    limits = [step["value"] for step in steps[1:]] or [0.0]
    return [value for limit in limits for value in (limit, limit + 1e-3, limit - 1e-3)]


def _meant(value: float, steps: list[dict[str, Any]]) -> str:
    colour: str = [step["color"] for step in steps if step["value"] is None or step["value"] <= value][-1]
    return colour

"""The JSON that Grafana is given: grafanalib's, without what is of old, and with what today's Grafana looks for.

grafanalib writes schema 12 of 2016 beside today's panels. Left as it is, Grafana would run its migrations of ten years
over it: a panel without `pluginVersion` is taken for one of Grafana 6.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from grafanalib._gen import DashboardEncoder

SCHEMA_VERSION = 42
PLUGIN_VERSION = "13.2.3"

_OF_OLD = {
    "dashboard": {"__inputs", "gnetId", "hideControls", "rows", "sharedCrosshair", "style", "id", "version"},
    "panel": {
        *("cacheTimeout", "editable", "error", "height", "hideTimeOverride", "minSpan", "span", "timeFrom"),
        *("timeShift", "repeat", "repeatDirection", "maxPerRow", "transparent"),
    },
    "target": {"intervalFactor", "metric", "query", "step", "target", "hide", "interval"},
    "variable": {"useTags", "tagsQuery", "tagValuesQuery", "tags", "auto", "auto_min", "auto_count"},
}
_WITHOUT_QUERIES = ("row", "text")
_NO_FIELDS = ("row",)


def classic(dashboard: Any) -> dict[str, Any]:
    """Return a grafanalib dashboard as classic JSON of schema `SCHEMA_VERSION`, in plain values.

    No key of old and no null is left, but the base of thresholds, which is one.
    """
    found: dict[str, Any] = json.loads(json.dumps(dashboard, cls=DashboardEncoder))
    made = _without(found, "dashboard") | {"schemaVersion": SCHEMA_VERSION}
    made["panels"] = [_panel(panel) for panel in made["panels"]]
    made["timepicker"].pop("time_options", None)
    made["templating"] = {"list": [_variable(each) for each in made["templating"]["list"]]}
    pruned: dict[str, Any] = _pruned(made)
    return pruned


def rendered(dashboard: Mapping[str, Any]) -> str:
    """Return it as the text of its file: sorted, indented, ending in a newline."""
    return json.dumps(dashboard, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _without(found: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in _OF_OLD[kind]}


def _panel(found: Mapping[str, Any]) -> dict[str, Any]:
    made = _without(found, "panel")
    if made["type"] in _NO_FIELDS:
        return {key: made[key] for key in ("id", "type", "title", "gridPos", "collapsed")} | {"panels": []}
    made["pluginVersion"] = PLUGIN_VERSION
    if made["type"] in _WITHOUT_QUERIES:
        return {key: value for key, value in made.items() if key not in ("datasource", "targets", "fieldConfig")}
    made["targets"] = [_without(target, "target") for target in made["targets"]]
    fields = made["fieldConfig"]
    fields.setdefault("overrides", [])
    steps = fields["defaults"].get("thresholds", {}).get("steps")
    if not steps:
        fields["defaults"].pop("thresholds", None)
    return made


def _variable(found: Mapping[str, Any]) -> dict[str, Any]:
    made = _without(found, "variable")
    if made["type"] != "query":
        made.pop("refresh", None)
    made["current"] = {key: value for key, value in made.get("current", {}).items() if key != "tags"}
    if made.get("includeAll"):
        made["current"] = {"selected": True, "text": ["All"], "value": ["$__all"]}
    elif made["current"].get("value") is None:
        del made["current"]  # nothing is chosen yet
    return made


def _pruned(value: Any) -> Any:
    """``value`` without nulls; a threshold's base keeps its own."""
    if isinstance(value, dict):
        is_step = value.keys() == {"color", "value"}
        return {key: _pruned(each) for key, each in value.items() if each is not None or is_step}
    if isinstance(value, list):
        return [_pruned(each) for each in value]
    return value

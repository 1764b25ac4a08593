"""The 17 rules of grafana/dashboard-linter, on classic JSON; each gives a line for each place that breaks it.

Rules about LogQL ask for no targets of Loki, for there is none here. What the linter does not know is named where it is
let through: `EXEMPT`, `OWN_UNITS`, `PROMETHEUS_OWN`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Dashboard = Mapping[str, Any]
Rule = Callable[[Dashboard], Iterator[str]]

EXEMPT = {"orchestration-wallboard": "it has no variables, so that it can be shared in public"}
"""Dashboards without variables, which the rules about templates, job and instance leave out."""
OWN_UNITS = {
    "suffix:/h": "events an hour: the linter's list has minutes and seconds only",
    "suffix:×": "a multiple of what would be just right: the linter's list has no factor",
}
PROMETHEUS_OWN = ("ALERTS",)
"""Series that Prometheus makes itself, without job and instance."""
UNITS = {
    *("none", "short", "locale", "percentunit", "currencyUSD", "s", "bytes", "dateTimeAsIso", "dateTimeFromNow"),
    *OWN_UNITS,
}
VALUES = {"$__rate_interval": "61m", "$__range": "1d", "$__interval": "1h"}
_COUNTER = re.compile(r"\b(\w+(?:_total|_count|_sum|_bucket))\b(\{[^{}]*\})?(\[)?")
_SELECTOR = re.compile(r"\b((?:orchestration|process)_\w+|ALERTS|[a-z_]+:\w+:\w+)\b(?:\{([^{}]*)\})?")
_NEED_UNIT = ("stat", "timeseries", "gauge", "bargauge")


def panels(dashboard: Dashboard) -> list[dict[str, Any]]:
    """All panels, without the rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def targets(dashboard: Dashboard) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, target) of every query."""
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            yield f"{dashboard['uid']} / {panel.get('title', panel['id'])} / {target.get('refId')}", target


def filled(expr: str) -> str:
    """The query as Prometheus may get it: every variable stands for all."""
    for name, value in VALUES.items():
        expr = expr.replace(name, value)
    return re.sub(r'"\$\w+"', '".*"', expr)


def selectors(expr: str) -> list[tuple[str, str]]:
    """(name, matchers) of every selector of ours."""
    return [(match[1], match[2] or "") for match in _SELECTOR.finditer(expr)]


def _template(dashboard: Dashboard, name: str) -> dict[str, Any]:
    found = [each for each in dashboard["templating"]["list"] if each["name"] == name]
    return found[0] if found else {}


def _wants_templates(dashboard: Dashboard) -> bool:
    return dashboard["uid"] not in EXEMPT


def template_datasource(dashboard: Dashboard) -> Iterator[str]:
    """A data source can be chosen, under its usual name and label."""
    if _wants_templates(dashboard):
        found = _template(dashboard, "datasource")
        if (found.get("type"), found.get("label"), found.get("query")) != ("datasource", "Data source", "prometheus"):
            yield f"{dashboard['uid']} has no data source to choose"


def _chosen(dashboard: Dashboard, name: str) -> Iterator[str]:
    if _wants_templates(dashboard):
        found = _template(dashboard, name)
        wanted = {"type": "query", "label": name.title(), "multi": True, "allValue": ".+"}
        if found.get("datasource", {}).get("uid") != "${datasource}" or not wanted.items() <= found.items():
            yield f"{dashboard['uid']}: {name} cannot be chosen"


def template_job(dashboard: Dashboard) -> Iterator[str]:
    """Jobs can be chosen, several at a time."""
    yield from _chosen(dashboard, "job")


def template_instance(dashboard: Dashboard) -> Iterator[str]:
    """Instances can be chosen, several at a time."""
    yield from _chosen(dashboard, "instance")


def template_label_promql(dashboard: Dashboard) -> Iterator[str]:
    """Variables ask with a function that there is, of a selector."""
    for each in dashboard["templating"]["list"]:
        if each["type"] == "query" and not re.fullmatch(r"label_values\(\w+(\{[^{}]*\})?, \w+\)", each["query"]):
            yield f"{dashboard['uid']}: variable {each['name']} asks {each['query']}"


def template_on_time_change_reload(dashboard: Dashboard) -> Iterator[str]:
    """Variables are asked anew when the time range changes."""
    for each in dashboard["templating"]["list"]:
        if each["type"] == "query" and each.get("refresh") != 2:
            yield f"{dashboard['uid']}: variable {each['name']} keeps its values when the time changes"


def panel_datasource(dashboard: Dashboard) -> Iterator[str]:
    """Panels and queries ask the data source that is chosen."""
    for panel in panels(dashboard) if _wants_templates(dashboard) else []:
        asked = [panel, *panel["targets"]] if "targets" in panel else []
        if any(each.get("datasource", {}).get("uid") != "${datasource}" for each in asked):
            yield f"{dashboard['uid']} / {panel.get('title')} does not ask the data source that is chosen"


def panel_title_description(dashboard: Dashboard) -> Iterator[str]:
    """Panels say what they are, and what they answer."""
    for panel in panels(dashboard):
        if not panel.get("title") or not panel.get("description"):
            yield f"{dashboard['uid']} / {panel.get('title', panel['id'])} lacks title or description"


def panel_units(dashboard: Dashboard) -> Iterator[str]:
    """Numbers have a unit that Grafana knows."""
    for panel in panels(dashboard):
        units = [panel.get("fieldConfig", {}).get("defaults", {}).get("unit")] if panel["type"] in _NEED_UNIT else []
        overrides = panel.get("fieldConfig", {}).get("overrides", [])
        units += [p["value"] for each in overrides for p in each["properties"] if p["id"] == "unit"]
        if strange := [unit for unit in units if unit not in UNITS]:
            yield f"{dashboard['uid']} / {panel.get('title')} has units {strange}"


def panel_no_targets(dashboard: Dashboard) -> Iterator[str]:
    """Panels ask something."""
    for panel in panels(dashboard):
        if panel["type"] != "text" and not panel.get("targets"):
            yield f"{dashboard['uid']} / {panel.get('title')} asks nothing"


def _no_loki(dashboard: Dashboard) -> Iterator[str]:
    for where, target in targets(dashboard):
        if target.get("datasource", {}).get("type") != "prometheus":
            yield f"{where} does not ask a Prometheus"


def target_logql(dashboard: Dashboard) -> Iterator[str]:
    """No query is one of Loki's, whose language nobody checks here."""
    yield from _no_loki(dashboard)


def target_logql_auto(dashboard: Dashboard) -> Iterator[str]:
    """No query has Loki's `$__auto`, nor a range that is fixed to Loki's."""
    for where, target in targets(dashboard):
        if "$__auto" in target.get("expr", ""):
            yield f"{where} has $__auto"


def target_rate_interval(dashboard: Dashboard) -> Iterator[str]:
    """Rates are over `$__rate_interval`."""
    for where, target in targets(dashboard):
        for window in re.findall(r"\bi?rate\([^\[\]]*\[([^\]]+)\]", target["expr"]):
            if window != "$__rate_interval":
                yield f"{where} has a rate over {window}"


def _matched(dashboard: Dashboard, name: str) -> Iterator[str]:
    for where, target in targets(dashboard) if _wants_templates(dashboard) else []:
        for metric, matchers in selectors(target["expr"]):
            if metric not in PROMETHEUS_OWN and f'{name}=~"${name}"' not in matchers:
                yield f"{where} asks {metric} of every {name}"


def target_job(dashboard: Dashboard) -> Iterator[str]:
    """Every selector is of the jobs that are chosen."""
    yield from _matched(dashboard, "job")


def target_instance(dashboard: Dashboard) -> Iterator[str]:
    """Every selector is of the instances that are chosen."""
    yield from _matched(dashboard, "instance")


def target_counter_agg(dashboard: Dashboard) -> Iterator[str]:
    """Counters stand in `rate`, `irate` or `increase`."""
    for where, target in targets(dashboard):
        for match in _COUNTER.finditer(target["expr"]):
            before = target["expr"][: match.start()]
            if not (match[3] and re.search(r"\b(i?rate|increase)\($", before)):
                yield f"{where} shows the total {match[1]} itself"


def uneditable(dashboard: Dashboard) -> Iterator[str]:
    """What is made by code is not edited by hand."""
    if dashboard.get("editable") is not False:
        yield f"{dashboard['uid']} can be edited"


def target_promql(dashboard: Dashboard, promtool: Path, folder: Path) -> Iterator[str]:
    """Every query is PromQL, by promtool's own parser."""
    asked = [(where, filled(target["expr"])) for where, target in targets(dashboard)]
    rules = [{"record": f"query:{number}", "expr": expr} for number, (_, expr) in enumerate(asked)]
    path = folder / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", str(path)], capture_output=True, text=True, timeout=60)
    if done.returncode:
        yield f"{dashboard['uid']}: {done.stdout}{done.stderr}"


RULES: tuple[Rule, ...] = (
    *(template_datasource, template_job, template_instance, template_label_promql, template_on_time_change_reload),
    *(panel_datasource, panel_title_description, panel_units, panel_no_targets),
    *(target_logql, target_logql_auto, target_rate_interval, target_job, target_instance, target_counter_agg),
    uneditable,
)
"""All but `target_promql`, which needs promtool."""

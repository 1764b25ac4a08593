"""The house's panels: a typed face on grafanalib, so that a dashboard file reads as questions and queries.

Each function gives a `Tile`: a panel that has its title, what it answers, its unit and its place's size by
construction. grafanalib's classes are used where they give today's shapes, `Shaped` where they give those of Grafana 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from grafanalib import core as grafana

from exporter.promql import Expr

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
RESOLUTION = "$resolution"
"""The shortest step of what is drawn over time: events here are minutes apart, and a rate over less is spikes."""

Unit = Literal[
    "short",
    "none",
    "locale",
    "percentunit",
    "currencyUSD",
    "s",
    "bytes",
    "dateTimeAsIso",
    "dateTimeFromNow",
    "suffix:/h",
    "suffix:×",
]
PER_HOUR: Unit = "suffix:/h"
TIMES: Unit = "suffix:×"
"""As a multiple: 14.4× what would be just right."""
COUNT: Unit = "locale"
"""Whole things, counted: 14,203 rather than 14 K."""

Step = tuple[str, float | None]
PLAIN: tuple[Step, ...] = (("text", None),)
"""No thresholds: a number in the colour of text."""


def steps(base: str, *above: tuple[float, str]) -> tuple[Step, ...]:
    """Colours by value: ``base`` below all, and each colour from its value on.

    Raises: ValueError unless the values increase.
    """
    values = [value for value, _ in above]
    if values != sorted(set(values)):
        raise ValueError(f"thresholds must increase: {values}")
    return ((base, None), *((colour, value) for value, colour in above))


@dataclass(frozen=True, slots=True)
class Query:
    """What a panel asks: PromQL, and what its series are called.

    An ``instant`` one asks for one moment. ``ref`` is given where the panel needs a name; otherwise A, B, … by place.
    """

    expr: Expr
    legend: str = ""
    instant: bool = False
    exemplar: bool = False
    ref: str = ""


@dataclass(frozen=True, slots=True)
class Tile:
    """A panel, and what the layout, the documentation and the tests know of it.

    ``question`` is the panel's description: what it answers, and how to read it. ``explains`` is the uid of the
    dashboard that tells more. ``quiet`` says why a healthy system has nothing to show, where that is so.
    """

    panel: Any
    title: str
    question: str
    width: int
    height: int
    queries: tuple[Query, ...] = ()
    explains: str = ""
    quiet: str = ""

    def sized(self, width: int, height: int | None = None) -> Tile:
        """The same in another size, in columns of 24 and rows of 30 pixels."""
        return replace(self, width=width, height=height or self.height)


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column of values: its heading, what it asks (an instant vector), its unit and colours."""

    heading: str
    expr: Expr
    unit: Unit = "short"
    steps: tuple[Step, ...] = ()
    decimals: int | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What the panels of one kind may say of how they look, beside title, question and queries."""

    unit: Unit = "short"
    steps: tuple[Step, ...] = PLAIN
    decimals: int | None = None
    low: float | None = None
    high: float | None = None
    explains: str = ""
    quiet: str = ""
    mappings: tuple[tuple[str, str, str], ...] = field(default=())
    """(value, text, colour)"""


class Shaped(grafana.Panel):  # type: ignore[misc]
    """A panel of a kind that grafanalib does not have, or gives in a shape of old."""

    def __init__(self, kind: str, shape: Mapping[str, Any], **common: Any) -> None:
        super().__init__(**common)
        self.kind, self.shape = kind, shape

    def to_json_data(self) -> dict[str, Any]:
        """The panel's JSON, before it is made clean."""
        found: dict[str, Any] = self.panel_json({**self.shape, "type": self.kind})
        return found


class _Target(grafana.Target):  # type: ignore[misc]
    """A query; grafanalib knows neither `range` nor `exemplar`."""

    def __init__(self, query: Query, ref: str, form: str) -> None:
        super().__init__(
            expr=str(query.expr),
            legendFormat=query.legend or "__auto",
            refId=query.ref or ref,
            instant=query.instant,
            format=form,
            datasource=DATASOURCE,
        )
        self.exemplar = query.exemplar

    def to_json_data(self) -> dict[str, Any]:
        """The target's JSON, before it is made clean."""
        found: dict[str, Any] = super().to_json_data()
        return {**found, "range": not self.instant, "editorMode": "code", "exemplar": self.exemplar}


def _refs(count: int) -> list[str]:
    return [chr(ord("A") + number) for number in range(count)]


def targets(queries: Sequence[Query], form: str) -> list[_Target]:
    """What Grafana is asked, in order, in the form of `time_series`, `table` or `heatmap`."""
    return [_Target(query, ref, form) for query, ref in zip(queries, _refs(len(queries)), strict=True)]


def dashboard_url(uid: str) -> str:
    """Where a dashboard is, with the time and the variables of the one that leads to it."""
    return f"/d/{uid}?${{__url_time_range}}&${{__all_variables}}"


def _drill(uid: str) -> list[grafana.DataLink]:
    return [grafana.DataLink("What explains it", linkUrl=dashboard_url(uid))] if uid else []


def _defaults(look: Look) -> dict[str, Any]:
    """A field's defaults that every kind of panel has alike."""
    mapping = {value: {"text": text, "color": colour} for value, text, colour in look.mappings}
    return {
        "unit": look.unit,
        "decimals": look.decimals,
        "min": look.low,
        "max": look.high,
        "thresholds": {"mode": "absolute", "steps": [{"color": c, "value": v} for c, v in look.steps]},
        "mappings": [{"type": "value", "options": mapping}] if mapping else [],
        "links": [link.to_json_data() for link in _drill(look.explains)],
    }


def as_tile(panel: Any, title: str, question: str, look: Look, size: tuple[int, int], queries: Sequence[Query]) -> Tile:
    """A panel with what every panel has."""
    panel.title, panel.description, panel.links = title, question, _drill(look.explains)
    panel.dataSource, panel.maxDataPoints = DATASOURCE, None
    width, height = size
    return Tile(panel, title, question, width, height, tuple(queries), look.explains, look.quiet)


_NOTHING = {"type": "special", "options": {"match": "null", "result": {"text": "–", "color": "text"}}}
"""What is not there has no colour: it would have that of the least of values, which may be red."""


def stat(title: str, question: str, query: Query, look: Look, *, trend: bool = False) -> Tile:
    """One number; with ``trend`` its course behind it."""
    asked = query if trend else replace(query, instant=True)
    fields = _defaults(look)
    fields["mappings"].append(_NOTHING)
    panel = grafana.Stat(
        targets=targets([asked], "time_series"),
        reduceCalc="lastNotNull",
        graphMode="area" if trend else "none",
        colorMode="value",
        interval=RESOLUTION if trend else None,
        format=look.unit,
        thresholds=[],
        noValue="–",
        extraJson={
            "fieldConfig": {"defaults": {**fields, "color": {"mode": "thresholds"}}},
            "options": {"showPercentChange": False, "percentChangeColorMode": "standard", "wideLayout": True},
        },
    )
    return as_tile(panel, title, question, look, (8, 3), [asked])


OUTCOMES: Mapping[str, str] = {
    "success": "green",
    "failure": "red",
    "unknown": "purple",
    "completed": "green",
    "partial": "orange",
    "failed": "red",
}
"""An outcome has one colour on every panel; its name stands beside it."""


def _named_colour(name: str, colour: str) -> dict[str, Any]:
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
    }


def _dashed(name: str) -> dict[str, Any]:
    return {
        "matcher": {"id": "byRegexp", "options": f"/{name}$/"},
        "properties": [
            {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}},
            {"id": "custom.fillOpacity", "value": 0},
        ],
    }


def timeseries(
    title: str,
    question: str,
    queries: Sequence[Query],
    look: Look,
    *,
    style: Literal["line", "bars"] = "line",
    stacked: bool = False,
    log: bool = False,
    limits: bool = False,
    colours: Mapping[str, str] | None = None,
    dashed: str = "",
) -> Tile:
    """Values over time. ``limits`` draws the thresholds; series whose name ends in ``dashed`` are drawn so."""
    named = {**OUTCOMES, **(colours or {})}
    panel = grafana.TimeSeries(
        targets=targets(queries, "time_series"),
        interval=RESOLUTION,
        drawStyle=style,
        # stacked areas have no edge: one that is 0 would be drawn over the edge of that below it
        fillOpacity=70 if stacked else 60 if style == "bars" else 0,
        lineWidth=0 if stacked else 1 if style == "bars" else 2,
        showPoints="never" if stacked else "auto",
        pointSize=4,
        # a ratio that has no events in one step is absent: lines go on over a few steps without
        spanNulls=False,
        stacking={"mode": "normal", "group": "A"} if stacked else {"mode": "none", "group": "A"},
        scaleDistributionType="log" if log else "linear",
        legendDisplayMode="table",
        legendPlacement="bottom",
        legendCalcs=["lastNotNull", "max"],
        tooltipMode="multi",
        tooltipSort="desc",
        unit=look.unit,
        thresholdsStyleMode="dashed" if limits else "off",
        overrides=[*(_named_colour(*item) for item in named.items()), *([_dashed(dashed)] if dashed else [])],
        extraJson={
            "fieldConfig": {"defaults": {**_defaults(look), "custom": {"axisSoftMin": 0, **_least(look, limits)}}},
            "options": {"legend": {"showLegend": True}},
        },
    )
    return as_tile(panel, title, question, look, (12, 10), queries)


_LEAST: Mapping[Unit, float] = {COUNT: 1, PER_HOUR: 1, "currencyUSD": 0.01}


def _least(look: Look, limits: bool) -> dict[str, float]:
    """How high an axis is at least: limits are in sight, and where all is 0 it does not end at 100."""
    top = look.steps[-1][1] if limits else _LEAST.get(look.unit)
    return {} if top is None or look.high is not None else {"axisSoftMax": top}


def table(
    title: str,
    question: str,
    by: Sequence[str],
    columns: Sequence[Column],
    look: Look,
    *,
    sort: str = "",
) -> Tile:
    """A row for each combination of the labels ``by``, a column for each query, the highest of ``sort`` first."""
    queries = [Query(column.expr, instant=True) for column in columns]
    single = len(columns) == 1
    values = {"Value" if single else f"Value #{ref}": ref for ref in _refs(len(columns))}
    headings = {label: label.replace("_", " ").capitalize() for label in by}
    renamed = headings | {name: column.heading for name, column in zip(values, columns, strict=True)}
    if single:
        renamed["Value #A"] = columns[0].heading  # what some versions call it
    order = {name: place for place, name in enumerate(renamed)}
    first = sort or columns[0].heading
    panel = Shaped(
        "table",
        {
            "fieldConfig": {
                "defaults": {
                    **_defaults(look),
                    "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "minWidth": 70},
                },
                "overrides": [_column(column) for column in columns],
            },
            "options": {
                "frameIndex": 0,
                "showHeader": True,
                "cellHeight": "sm",
                "sortBy": [{"displayName": first, "desc": True}],
            },
        },
        targets=targets(queries, "table"),
        transformations=[
            *([] if single else [{"id": "merge", "options": {}}]),
            {
                "id": "organize",
                "options": {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": renamed},
            },
        ],
    )
    return as_tile(panel, title, question, look, (12, 10), queries)


def _column(column: Column) -> dict[str, Any]:
    properties: list[dict[str, Any]] = [{"id": "unit", "value": column.unit}]
    if column.decimals is not None:
        properties.append({"id": "decimals", "value": column.decimals})
    if column.steps:
        coloured = [{"color": colour, "value": value} for colour, value in column.steps]
        properties += [
            {"id": "thresholds", "value": {"mode": "absolute", "steps": coloured}},
            {"id": "custom.cellOptions", "value": {"type": "color-text"}},
        ]
    return {"matcher": {"id": "byName", "options": column.heading}, "properties": properties}


def heatmap(title: str, question: str, query: Query, look: Look) -> Tile:
    """How a distribution moves: buckets of a histogram over time, the fuller the darker."""
    panel = Shaped(
        "heatmap",
        {
            "fieldConfig": {
                "defaults": {"custom": {"hideFrom": {"legend": False, "tooltip": False, "viz": False}}},
                "overrides": [],
            },
            "options": {
                "calculate": False,
                "cellGap": 1,
                "color": {
                    "mode": "scheme",
                    "scheme": "Blues",
                    "scale": "exponential",
                    "exponent": 0.5,
                    "fill": "dark-blue",
                    "reverse": False,
                    "steps": 64,
                },
                "exemplars": {"color": "rgba(255,120,10,0.9)"},
                "filterValues": {"le": 1e-9},
                "legend": {"show": True},
                "rowsFrame": {"layout": "auto"},
                "showValue": "never",
                "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": True},
                "yAxis": {"axisPlacement": "left", "reverse": False, "unit": look.unit},
            },
        },
        targets=targets([query], "heatmap"),
        interval=RESOLUTION,
    )
    return as_tile(panel, title, question, look, (12, 10), [query])


def bars(title: str, question: str, queries: Sequence[Query], look: Look) -> Tile:
    """A bar for each series, as it is now or over the dashboard's range."""
    asked = [replace(query, instant=True) for query in queries]
    panel = Shaped(
        "bargauge",
        {
            "fieldConfig": {
                "defaults": {**_defaults(look), "color": {"mode": "thresholds"}},
                "overrides": [],
            },
            "options": {
                "displayMode": "basic",
                "orientation": "horizontal",
                "showUnfilled": True,
                "valueMode": "color",
                "namePlacement": "auto",
                "sizing": "auto",
                "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
                "text": {"titleSize": 14, "valueSize": 18},
                "minVizWidth": 8,
                "minVizHeight": 16,
                "maxVizHeight": 300,
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            },
        },
        targets=targets(asked, "time_series"),
    )
    return as_tile(panel, title, question, look, (12, 10), asked)


def states(title: str, question: str, query: Query, look: Look) -> Tile:
    """Which state each series was in, and when that changed."""
    panel = grafana.StateTimeline(
        targets=targets([query], "time_series"),
        showValue="never",
        legendDisplayMode="list",
        tooltipMode="single",
        extraJson={
            "fieldConfig": {"defaults": {**_defaults(look), "color": {"mode": "palette-classic"}}},
            "options": {"legend": {"showLegend": True, "calcs": []}, "tooltip": {"sort": "none"}},
        },
    )
    return as_tile(panel, title, question, look, (24, 5), [query])


def text(title: str, content: str) -> Tile:
    """Words, in Markdown."""
    panel = grafana.Text(content=content, mode="markdown")
    return as_tile(panel, title, content, Look(), (24, 3), [])

"""What all dashboards share: variables, links, annotations, and the layout of panels in rows."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from grafanalib import core as grafana

from dashboards.classic import classic
from dashboards.panels import DATASOURCE, RESOLUTION, Tile
from dashboards.process import STARTED
from dashboards.questions import BEGUN, ask, some
from exporter.catalogue import handoffs, own, sessions
from exporter.promql import Expr

COLUMNS = 24
PROVISIONED = "prometheus"
"""The uid of the data source that the stack provisions."""
UID_PREFIX = "orchestration-"
TAG = "orchestration"
EVENT_COLOURS = {"restart": "blue", "rewind": "orange", "alert": "red"}


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and the panels under it, each at the highest place that is free, from the left."""

    title: str
    tiles: Sequence[Tile]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard: ``name`` is its file's and, behind a prefix, its uid; ``about`` says whom it is for."""

    name: str
    folder: str
    title: str
    about: str
    rows: Sequence[Row]
    since: str = "now-24h"
    step: str = RESOLUTION
    """The shortest step that is drawn, where it is not to be chosen."""
    variables: bool = True
    filters: Sequence[str] = field(default=("project", "model"))

    @property
    def uid(self) -> str:
        """What links lead to; it never changes."""
        return UID_PREFIX + self.name

    @property
    def tiles(self) -> list[Tile]:
        """All its panels, in their order."""
        return [tile for row in self.rows for tile in row.tiles]

    def title_of(self, tile: Tile) -> str:
        """A panel's title, which says so where a project may be chosen and its metrics have none."""
        asked = " ".join(str(query.expr) for query in tile.queries)
        chosen = self.variables and "project" in self.filters and "$source" in asked
        return f"{tile.title} (all projects)" if chosen and "$project" not in asked else tile.title


def built(board: Board) -> dict[str, Any]:
    """Return the dashboard as Grafana's classic JSON.

    Raises: ValueError if a panel does not fit beside or under those before it, or a row does not end evenly.
    """
    made = classic(
        grafana.Dashboard(
            title=board.title,
            uid=board.uid,
            description=board.about,
            tags=[TAG],
            editable=False,
            graphTooltip=1,
            refresh="30s",
            time=grafana.Time(board.since, "now"),
            timezone="browser",
            timePicker=grafana.TimePicker(refreshIntervals=["30s", "1m", "5m", "15m", "1h"], timeOptions=[]),
            panels=_placed(board),
            templating=grafana.Templating(list=_variables(board) if board.variables else []),
            annotations=grafana.Annotations(list=_annotations() if board.variables else []),
            links=[_siblings()] if board.variables else [],
        )
    )
    return made if board.variables else _fixed(made)


def _fixed(made: dict[str, Any]) -> dict[str, Any]:
    """A dashboard without variables: every source of the house's own data source."""
    for panel in made["panels"]:
        for asked in (panel, *panel.get("targets", [])):
            if "datasource" in asked:
                asked["datasource"] = {"type": "prometheus", "uid": PROVISIONED}
    return made


def _placed(board: Board) -> list[Any]:
    """Every panel with its id and its place: each row's tiles from the left and the top, filling the width."""
    made: list[Any] = []
    top = 0
    for row in board.rows:
        heading = grafana.RowPanel(
            title=row.title, id=len(made) + 1, gridPos=grafana.GridPos(h=1, w=COLUMNS, x=0, y=top)
        )
        made.append(heading)
        ends = [top + 1] * COLUMNS
        for tile in row.tiles:
            left = ends.index(min(ends))
            right, at = left + tile.width, ends[left]
            if right > COLUMNS or any(end != at for end in ends[left:right]):
                raise ValueError(f"row {row.title!r} has no room for {tile.title!r}, {tile.width} wide, at {left}")
            panel = copy.copy(tile.panel)
            panel.id, panel.title = len(made) + 1, board.title_of(tile)
            panel.gridPos = grafana.GridPos(h=tile.height, w=tile.width, x=left, y=at)
            panel.interval = board.step if panel.interval == RESOLUTION else panel.interval
            made.append(panel)
            ends[left:right] = [at + tile.height] * tile.width
        if len({*ends}) != 1:
            raise ValueError(f"row {row.title!r} does not end evenly at {row.tiles[-1].title!r}")
        top = ends[0]
    return made


def _datasource() -> grafana.Template:
    return grafana.Template(name="datasource", label="Data source", type="datasource", query="prometheus")


def _label(name: str, label: str, query: str, every: str) -> grafana.Template:
    return grafana.Template(
        name=name,
        label=label,
        query=query,
        dataSource=DATASOURCE,
        refresh=2,
        multi=True,
        includeAll=True,
        allValue=every,
        sort=1,
    )


def _resolution() -> grafana.Template:
    return grafana.Template(
        name="resolution", label="Resolution", type="custom", query="5m,15m,1h,1d", default="1h", hide=grafana.SHOW
    )


def _variables(board: Board) -> list[grafana.Template]:
    served = ("job", "instance", "source")
    by_label = {
        "project": _label("project", "Project", ask.values(sessions.SESSIONS_STARTED, "project", served), ".*"),
        "model": _label("model", "Model", ask.values(handoffs.HANDOFFS_TOTAL, "model", served), ".*"),
    }
    return [
        _datasource(),
        _label("job", "Job", ask.values(own.UP, "job", ()), ".+"),
        _label("instance", "Instance", ask.values(own.UP, "instance", served[:1]), ".+"),
        _label("source", "Source", ask.values(own.UP, "source", served[:2]), ".+"),
        *(by_label[name] for name in board.filters),
        *([_resolution()] if board.step == RESOLUTION else []),
        grafana.Template(name="filters", label="Other labels", type="adhoc", query="", dataSource=DATASOURCE),
    ]


def _siblings() -> grafana.DashboardLink:
    return grafana.DashboardLink(
        title="Dashboards", type="dashboards", tags=[TAG], asDropdown=True, includeVars=True, keepTime=True
    )


def _annotation(name: str, kind: str, expr: Expr, title: str, text: str) -> dict[str, Any]:
    return {
        "name": name,
        "enable": True,
        "hide": False,
        "iconColor": EVENT_COLOURS[kind],
        "datasource": DATASOURCE,
        "expr": str(expr),
        "step": "60s",
        "titleFormat": title,
        "textFormat": text,
        "tagKeys": "",
        "useValueForTime": False,
    }


def _annotations() -> list[dict[str, Any]]:
    return [
        {
            "builtIn": 1,
            "name": "Annotations & Alerts",
            "type": "dashboard",
            "enable": True,
            "hide": True,
            "iconColor": "blue",
            "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        },
        _annotation(
            "Exporter restarts",
            "restart",
            some(ask.changes(STARTED, "5m")),
            "Exporter restarted",
            "{{instance}}",
        ),
        _annotation(
            "Source rewinds",
            "rewind",
            some(ask.changes(own.SOURCE_REWINDS, "5m")),
            "The source's past changed",
            "{{source}}: restored or replaced, read again from where it changed",
        ),
        _annotation(
            "Firing alerts",
            "alert",
            BEGUN,
            "{{alertname}}",
            "{{severity}}",
        ),
    ]

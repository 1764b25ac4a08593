"""docs/dashboards.md: what each dashboard answers, and how to read it, in the words of the panels themselves."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.board import Board
from dashboards.unshown import UNSHOWN

_HEAD = """# Dashboards

Made by `python -m dashboards` from the same source as the dashboards: what a panel answers stands in its description,
too. The pictures show the demo's history in Grafana.

Every dashboard has the same head: **Data source**; **Job**, **Instance** and **Source**; **Project** and **Model**
where its metrics have them (a panel whose metric has not says "all projects" in its title); **Resolution**, the
shortest step that is drawn (events of a platform are minutes apart: over five minutes a rate is spikes, over an hour
it is a rate; the exporter's own are seconds apart, and always drawn by five minutes); and a filter for other labels,
such as `tenant`. **Dashboards**, on the right, leads to the others, with time and variables kept. Vertical marks
are restarts of the exporter (blue), rewinds of a source (orange) and alerts that begin to fire (red). Shares and
quantiles of fewer than five events are left out, for they say nothing.
"""


def manual(boards: Sequence[Board]) -> str:
    """Return the document's text."""
    contents = [f"- [{_name(board)}](#{_anchor(board)}): {board.about}" for board in boards]
    parts = ["\n".join(contents), *(_part(board) for board in boards), _unshown()]
    return "\n\n".join([_HEAD.strip(), *parts]) + "\n"


def _name(board: Board) -> str:
    return board.title.rpartition(" / ")[2]


def _anchor(board: Board) -> str:
    return _name(board).lower().replace(" ", "-")


def _part(board: Board) -> str:
    lines = [f"## {_name(board)}", "", board.about, "", f"![{_name(board)}](dashboards/{board.name}.png)"]
    for row in board.rows:
        lines += ["", f"**{row.title}**", "", *(f"- *{board.title_of(tile)}.* {tile.question}" for tile in row.tiles)]
    return "\n".join(lines)


def _unshown() -> str:
    lines = ["## What is on no dashboard", ""]
    return "\n".join([*lines, *(f"- `{metric.name}`: {why}" for metric, why in UNSHOWN)])

"""Who hands work to whom, as a node graph: two tables of one metric, with the names that Grafana's panel looks for."""

from __future__ import annotations

from dashboards.panels import Look, Query, Shaped, Tile, as_tile, targets
from dashboards.questions import ask
from exporter.promql import Asked, Expr, binary


def graph(title: str, question: str, metric: Asked, source: str, target: str, look: Look) -> Tile:
    """The events of a counter over the dashboard's range as arrows from one label's values to another's.

    Raises: PromqlError for a label that the metric has not.
    """
    edges = ask.total(metric, source, target)
    queries = [
        Query(_nodes(edges, source, target), instant=True, ref="nodes"),
        Query(_links(edges, source, target), instant=True, ref="edges"),
    ]
    panel = Shaped(
        "nodeGraph",
        {
            "fieldConfig": {"defaults": {}, "overrides": []},
            "options": {
                "zoomMode": "cooperative",
                "nodes": {"mainStatUnit": look.unit},
                "edges": {"mainStatUnit": look.unit},
            },
        },
        targets=targets(queries, "table"),
        transformations=[
            {
                # a field that is renamed is only shown under another name, and the panel asks for its own
                "id": "calculateField",
                "options": {
                    "mode": "reduceRow",
                    "reduce": {"reducer": "sum"},
                    "alias": "mainstat",
                    "replaceFields": False,
                },
            }
        ],
    )
    return as_tile(panel, title, question, look, (12, 16), queries)


def _nodes(edges: Expr, source: str, target: str) -> Expr:
    """Every source and target of the edges, with what reached it."""
    reached = edges.copied(target, "id").sum("id")
    reaching = binary(0, "*", edges.copied(source, "id")).sum("id")
    return binary(reached, "or", reaching).copied("id", "title")


def _links(edges: Expr, source: str, target: str) -> Expr:
    """The edges, named by their ends."""
    return (
        edges.copied(source, "source")
        .copied(target, "target")
        .joined("id", " → ", "source", "target")
        .sum("id", "source", "target")
    )

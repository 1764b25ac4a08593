"""Who hands work to whom, as a node graph: two tables of one metric, with the names that Grafana's panel looks for."""

from __future__ import annotations

from dashboards.panels import Look, Query, Shaped, Tile, as_tile, targets
from dashboards.questions import ask
from exporter.promql import Asked, Expr, binary


def graph(title: str, question: str, metric: Asked, source: str, target: str) -> Tile:
    """The events of a counter over the dashboard's range as arrows from one label's values to another's.

    Raises: PromqlError for a label that the metric has not.
    """
    edges = ask.total(metric, source, target)
    queries = [
        Query(_nodes(edges, source, target), instant=True, ref="nodes"),
        Query(_links(edges, source, target), instant=True, ref="edges"),
    ]
    options = {"zoomMode": "cooperative", "nodes": {}, "edges": {}}
    panel = Shaped(
        "nodeGraph",
        {"fieldConfig": {"defaults": {}, "overrides": []}, "options": options},
        targets=targets(queries, "table"),
    )
    return as_tile(panel, title, question, Look(), (12, 22), queries)


def _nodes(edges: Expr, source: str, target: str) -> Expr:
    """Every source and target of the edges, with what reached it."""
    reached = edges.copied(target, "id").sum("id")
    reaching = binary(0, "*", edges.copied(source, "id")).sum("id")
    return _named(binary(reached, "or", reaching).copied("id", "title"), "id", "title")


def _links(edges: Expr, source: str, target: str) -> Expr:
    """The edges, named by their ends."""
    ends = edges.copied(source, "source").copied(target, "target").joined("id", " → ", "source", "target")
    return _named(ends, "id", "source", "target")


def _named(events: Expr, *by: str) -> Expr:
    """The same with its number as a label, too: the panel takes numbers of a field called `mainstat` only.

    A transformation that renames Prometheus's `Value` changes how it is shown, and not what it is called.
    """
    return events.sum(*by).rounded().count_values("mainstat", *by)

"""The query of a counter or of one line of a histogram."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.explain.rows import remark, rows_of, selected, wanted_labels
from exporter.explain.sql import Facts, Query, conjunction, literal
from exporter.spec import Counter, Histogram


def counter(facts: Facts, metric: Counter, wanted: Mapping[str, str]) -> Query:
    """What a counter's series of the wanted labels come to."""
    query = _counted(facts, metric, wanted)
    adds = any(feed.value is not None for feed in metric.feeds)
    _finish(query, facts, metric, wanted, "total(amount)" if adds else "count(*)")
    return query


def histogram(facts: Facts, metric: Histogram, wanted: Mapping[str, str], *, part: str, bound: float) -> Query:
    """What the lines ``part`` (bucket, sum or count) of a histogram come to; a bucket's up to ``bound``."""
    query = _counted(facts, metric, wanted)
    if part == "bucket" and bound != float("inf"):
        _finish(query, facts, metric, wanted, "count(*)", f"amount <= {literal(bound)}")
    else:
        _finish(query, facts, metric, wanted, "total(amount)" if part == "sum" else "count(amount)")
    return query


def _counted(facts: Facts, metric: Counter | Histogram, wanted: Mapping[str, str]) -> Query:
    query = Query()
    feeds = [feed for feed in metric.feeds if selected(feed, metric.labels, wanted)]
    feeds = [feed for feed in feeds if feed.table.virtual or feed.table.name in facts.present]
    selects = [rows_of(facts, query, feed, metric.labels, set(wanted)) for feed in feeds]
    remarks = [remark(facts, feed.table, final=feed.at == "final") for feed in feeds if not feed.table.virtual]
    nothing = "SELECT " + "".join(f'NULL AS "{name}", ' for name in wanted) + "NULL AS amount WHERE 0"
    query.add("counted", "\nUNION ALL\n".join(selects) or nothing, "\n".join(dict.fromkeys(remarks)))
    return query


def _finish(
    query: Query, facts: Facts, metric: Counter | Histogram, wanted: Mapping[str, str], what: str, *more: str
) -> None:
    where = conjunction([*wanted_labels(facts, metric.labels, wanted), *more])
    query.final = f"SELECT {what} AS value\nFROM counted{where}"

"""Why a number and the rows that are there now may differ: what the exporter knows of it, a line each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from exporter.explain.numbers import Wanted
from exporter.explain.rows import is_read
from exporter.explain.sql import Facts, Query, conjunction, name_of, untimely
from exporter.explain.zones import add_zone
from exporter.series import Buckets
from exporter.source import Snapshot
from exporter.spec import Counter, Gauge, Ledger, Metric, Table

_SESSIONS = ("sessions", "session_subagents_max", "session_cost_max")
_OF_LEDGER = ("ledger", "ledger_median", "budget_spent", "budget_projected")


def tables_of(facts: Facts, metric: Metric) -> tuple[Table, ...]:
    """The tables that are read by a cursor and make the metric's numbers, those that make sessions among them."""
    schema = facts.schema
    feeds = list(metric.feeds)
    if isinstance(metric, Gauge) and metric.reading in _OF_LEDGER and schema.ledger is not None:
        feeds += schema.ledger.feeds
    names = {feed.table.name for feed in feeds}
    made = any(feed.table.virtual for feed in feeds) or (isinstance(metric, Gauge) and metric.reading in _SESSIONS)
    if isinstance(metric, Gauge) and metric.table is not None:
        names.add(metric.table.name)
    chosen = [
        table for table in schema.tables if table.name in names or (made and (table.is_sessions or table.session))
    ]
    return tuple(table for table in chosen if table.name in facts.present)


async def reasons(facts: Facts, wanted: Wanted, snapshot: Snapshot) -> list[str]:
    """What is known to make the number differ from the rows.

    Raises:
        SourceError: the rows cannot be counted.
    """
    tables = tables_of(facts, wanted.metric)
    found = [line for table in tables for line in await _gone(facts, table, snapshot)]
    found += _rewound(facts)
    found += _capped(facts, wanted.metric)
    found += _dropped(facts, tables)
    found += _anew(facts)
    found += _reopened(facts, tables)
    found += [line for table in tables for line in await _untimely(facts, table, snapshot)]
    return [*found, _unseen(tables, bool(found))]


async def _gone(facts: Facts, table: Table, snapshot: Snapshot) -> list[str]:
    """Rows that were read and are not there now."""
    state = facts.state.tables[table.name]
    if state.cursor is None:
        return []
    source = name_of(table.name)
    key = name_of(table.cursor)
    sql = f"SELECT count(*), min({key}) FROM {source} WHERE {key} <= :cursor"
    ((there, oldest),) = await snapshot.fetch(sql, {"cursor": state.cursor})
    read = _count(facts, facts.schema.own.rows_read, (table.label,))
    gone = int(read) - int(there)  # type: ignore[call-overload]
    if gone <= 0:
        return []
    first = state.memory.ids[0] if len(state.memory) else None
    begins = (
        f"the first remembered one had id {first}, the oldest there is {oldest}"
        if first != oldest
        else "not the oldest"
    )
    return [f"{table.name}: {gone:,} of {int(read):,} rows are gone since they were read ({begins})"]


def _rewound(facts: Facts) -> Iterator[str]:
    own = facts.schema.own
    if rewinds := int(_count(facts, own.rewinds, ())):
        yield f"the source's past changed {rewinds} times (a restore or a replacement): totals stay as they were"
    if uncertain := int(_count(facts, own.uncertain, ())):
        yield f"{uncertain:,} rows were judged by their time alone after a rewind (rewind_uncertain_rows_total)"


def _capped(facts: Facts, metric: Metric) -> Iterator[str]:
    """Rows whose label values were folded."""
    for (name, label), found in facts.state.series.get(facts.schema.own.overflow.name, {}).items():
        if name == metric.name and not isinstance(found, Buckets) and found.value:
            series, most = len(facts.state.series.get(name, {})), facts.rules.caps.series
            cap = f"max_series_per_metric: {series:,} series" if series >= most else "max_label_values"
            yield f"{int(found.value):,} rows were counted under {label} __other__ (label_overflow_total; {cap})"


def _dropped(facts: Facts, tables: tuple[Table, ...]) -> Iterator[str]:
    for table in tables:
        if dropped := int(_count(facts, facts.schema.own.dropped, (table.label,))):
            yield f"{table.name}: {dropped:,} rows were made final without a result, for max_in_flight was reached"


def _anew(facts: Facts) -> Iterator[str]:
    since, first = facts.state.counting_since, facts.state.first_publish
    if since is not None and first is not None and since > first:
        at = datetime.fromtimestamp(since, UTC)
        yield f"totals are counted anew since {at:%Y-%m-%d %H:%M:%S} UTC: what was gone by then is in none"


def _reopened(facts: Facts, tables: tuple[Table, ...]) -> Iterator[str]:
    """Sessions that ended and went on."""
    if any(table.is_sessions for table in tables) and (reopened := sum(facts.state.sessions.ended)):
        yield f"{reopened:,} of the open sessions had been counted as ended before, and went on"


async def _untimely(facts: Facts, table: Table, snapshot: Snapshot) -> list[str]:
    """Rows that count at the time they were read, which they do not tell."""
    query = Query()
    query.final = f"SELECT count(*)\nFROM {name_of(table.name)} AS e"
    query.final += conjunction([is_read(facts, table, "e"), untimely(facts, table, "e")])
    add_zone(facts, query)
    ((rows,),) = await snapshot.fetch(str(query))
    return [f"{table.name}: {rows:,} rows have no usable time, and count at the time they were read"] if rows else []


def _unseen(tables: tuple[Table, ...], others: bool) -> str:
    """What leaves no trace."""
    late = [table.name for table in tables if table.final_when is not None]
    kinds = ["edited"]
    kinds += ["their result came after in_flight_timeout"] if late else []
    kinds += ["their session's row, or its end, came later"] if any(table.session for table in tables) else []
    return (
        f"{'or ' if others else ''}rows were changed after they were counted ({', '.join(kinds)}), which cannot be seen"
    )


def _count(facts: Facts, counter: Counter, labels: tuple[str, ...]) -> float:
    found = facts.state.series.get(counter.name, {}).get(labels)
    return found.value if found is not None and not isinstance(found, Buckets) else 0.0


def changed_rules(facts: Facts, metric: Metric, fingerprints: dict[str, str]) -> bool:
    """Whether the number was counted by other rules than those of the configuration now."""
    made = facts.state.fingerprints
    ledger: Ledger | None = facts.schema.ledger
    concerned = [metric.name] if metric.feeds else []
    if isinstance(metric, Gauge) and metric.reading in _OF_LEDGER and ledger is not None:
        concerned.append(ledger.name)
    return any(made.get(name) != fingerprints[name] for name in concerned)

"""The queries of gauges that are read off rows: sessions, rows in flight, mutable tables, models, newest events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from exporter.explain.rows import (
    add_sessions,
    add_sums,
    add_tally,
    is_open,
    is_read,
    project_of,
    selection,
    wanted_labels,
)
from exporter.explain.sql import (
    MOST_IDS,
    Facts,
    Query,
    as_named,
    conjunction,
    event_time,
    ids,
    indented,
    key_of,
    label,
    label_text,
    literal,
    name_of,
    number,
    parsed_time,
    raw,
    tier,
)
from exporter.models import POOL
from exporter.reader import NEWEST_ROWS
from exporter.spec import UNKNOWN, Col, Current, Gauge, Label, LabelValue, Schema, Table

_SUMS = {"session_subagents_max": "subagents", "session_cost_max": "cost"}


def gauge(facts: Facts, metric: Gauge, wanted: Mapping[str, str]) -> Query | None:
    """What the gauge's series of the wanted labels is; None where no SQL tells."""
    match metric.reading:
        case "sessions" | "session_subagents_max" | "session_cost_max":
            return _sessions(facts, metric, wanted)
        case "in_flight" | "in_flight_oldest":
            return _in_flight(facts, metric, wanted)
        case "current":
            return _current(facts, metric, wanted)
        case "model_info":
            return _model_info(facts, metric, wanted)
        case "last_event":
            return _last_event(facts, metric, wanted)
    return None


# ── sessions and rows in flight ──────────────────────────────────────────────────────────────────────────────


def _sessions(facts: Facts, metric: Gauge, wanted: Mapping[str, str]) -> Query:
    query, which = Query(), is_open(facts, counted=False)
    sums = _SUMS.get(metric.reading)
    add_sessions(facts, query, with_activity=bool(sums) or "last_at" in which)
    names = {declared.name: "project_name" for declared in metric.labels}
    if sums is None:
        what, source, conditions = "count(*)", "session AS s", [which]
    else:
        add_tally(facts, query)
        add_sums(facts, query, which, "the open sessions, with what was counted for each of them")
        what, source, conditions = f"coalesce(max({sums}), 0)", "done", []
    where = [*conditions, *wanted_labels(facts, metric.labels, wanted, names)]
    query.final = f"SELECT {what} AS value\nFROM {source}{conjunction(where)}"
    return query


def _in_flight(facts: Facts, metric: Gauge, wanted: Mapping[str, str]) -> Query | None:
    table = metric.table
    if table is None or table.name not in facts.present:
        return None
    place = 1 + [column.name for column in table.columns].index(table.final_when or "")
    found = [id_ for id_, flight in facts.state.tables[table.name].flights.items() if flight.row[place] is None]
    project, join = project_of(facts, table, "e")
    pairs = zip(metric.labels, metric.values.items(), strict=True)
    columns = [f"{label(facts, table, one, value, 'e', project)} AS {name_of(name)}" for one, (name, value) in pairs]
    time = event_time(facts, table, "e")
    if len(found) <= MOST_IDS:
        which = [f"{key_of(table, 'e')} IN {ids(found)}"]
    else:
        result = raw(facts, table, table.final_when or "", "e")
        timeout = literal(facts.rules.in_flight_timeout_s)
        which = [is_read(facts, table, "e"), f"{result} IS NULL", f"{time} + {timeout} > {literal(facts.now)}"]
    query = Query()
    columns.append(f"{number(facts, table, metric.column, 'e')} AS amount" if metric.column else f"{time} AS at")
    body = f"{selection(columns)}\nFROM {name_of(table.name)} AS e{join}{conjunction(which)}"
    query.add("in_flight", body, f"{table.name}: the rows that had no result yet")
    what = "total(amount)" if metric.column else "count(*)" if metric.reading == "in_flight" else "min(at)"
    where = conjunction(wanted_labels(facts, metric.labels, wanted))
    query.final = f"SELECT {what} AS value\nFROM in_flight{where}"
    return query


def _last_event(facts: Facts, metric: Gauge, wanted: Mapping[str, str]) -> Query | None:
    (name,) = wanted.values()
    table = next(table for table in facts.schema.tables if table.name == name)
    if table.name not in facts.present:
        return None
    query = Query()
    where = conjunction([is_read(facts, table, "e")])
    query.final = f"SELECT max({event_time(facts, table, 'e')}) AS value\nFROM {name_of(table.name)} AS e{where}"
    return query


# ── mutable tables ───────────────────────────────────────────────────────────────────────────────────────────


def _current(facts: Facts, metric: Gauge, wanted: Mapping[str, str]) -> Query | None:
    """The rows that the gauge reads now, of all its declarations that can have those labels."""
    query, parts = Query(), []
    for place, current in enumerate(metric.of, 1):
        consts = {name: value.value for name, value in current.labels.items() if hasattr(value, "value")}
        if current.table.name in facts.present and all(wanted.get(n, text) == text for n, text in consts.items()):
            part = "newest" if len(metric.of) == 1 else f"newest_{place}"
            parts.append(_add_current(facts, query, metric, current, part))
    if not parts:
        return None
    names = ", ".join(name_of(name) for name in metric.label_names)
    where = conjunction(wanted_labels(facts, metric.labels, wanted))
    union = "\nUNION ALL\n".join(f"SELECT {names}{', ' if names else ''}amount FROM {part}" for part in parts)
    query.add("reading", union)
    what = "total(amount)" if metric.of[0].newest_per is None else "max(amount)"
    query.final = f"SELECT {what} AS value\nFROM reading{where}"
    return query


def _add_current(facts: Facts, query: Query, metric: Gauge, current: Current, part: str) -> str:
    table = current.table
    project, join = project_of(facts, table, "e")
    pairs = list(zip(metric.labels, current.labels.items(), strict=True))
    columns = [f"{label(facts, table, one, value, 'e', project)} AS {name_of(name)}" for one, (name, value) in pairs]
    columns.append(f"{_sum(facts, current)} AS amount")
    if current.newest_per is None:
        query.add(
            part,
            _of_open(facts, query, current, columns, join),
            f"{table.name}: the rows of the sessions that are open",
        )
        return part
    key = name_of(table.cursor)
    source = f"(SELECT * FROM {name_of(table.name)} ORDER BY {key} DESC LIMIT {NEWEST_ROWS}) AS e"
    columns.append("e.id" if table.cursor == "id" else f"{key_of(table, 'e')} AS id")
    columns += [f"{number(facts, table, current.most[0], 'e')} AS weight"] if current.most else []
    query.add(f"{part}_rows", f"{selection(columns)}\nFROM {source}", f"{table.name}: its newest rows")
    per = ", ".join(name_of(name) for name in current.newest_per)
    within = f"PARTITION BY {per} " if per else ""
    body = f"SELECT *, row_number() OVER ({within}ORDER BY id DESC) AS age\nFROM {part}_rows"
    chosen = f"SELECT * FROM (\n{indented(body)}\n)\nWHERE age = 1"
    if current.most:
        order = per or ", ".join(name_of(name) for name in metric.label_names)
        chosen += f"\nORDER BY weight IS NULL, weight DESC, {order}\nLIMIT {current.most[1]}"
    query.add(part, chosen, "of each the newest")
    return part


def _of_open(facts: Facts, query: Query, current: Current, columns: list[str], join: str) -> str:
    """The rows of open sessions."""
    which = is_open(facts, counted=False)
    if "last_at" in which:
        add_sessions(facts, query, with_activity=True)
        which = f"s.id IN (SELECT s.id FROM session AS s WHERE {which})"
    join = join.replace("LEFT JOIN", "JOIN")
    return f"{selection(columns)}\nFROM {name_of(current.table.name)} AS e{join}\nWHERE {which}"


def _sum(facts: Facts, current: Current) -> str:
    """The sum of a row's usable columns; NULL where none is."""
    found = [number(facts, current.table, name, "e") for name in current.value]
    if len(found) == 1:
        return found[0]
    total = " + ".join(f"coalesce({one}, 0)" for one in found)
    return f"CASE WHEN coalesce({', '.join(found)}) IS NOT NULL THEN {total} END"


# ── models ───────────────────────────────────────────────────────────────────────────────────────────────────


def _model_info(facts: Facts, metric: Gauge, wanted: Mapping[str, str]) -> Query:
    """Whether rows name the model (or the configuration does), and the newest that names a vendor names that one."""
    query = Query()
    known = [_named(facts, table, one, value) for table, one, value in dict.fromkeys(_uses(facts.schema, facts))]
    known += [f"SELECT {literal(name)}" for pool, name in facts.rules.named if pool == POOL]
    query.add("known(model)", "\nUNION\n".join(dict.fromkeys(known)), "the models that rows or the configuration name")
    vendors = [_vendors(facts, table) for table in (*facts.schema.tables, *facts.schema.newest) if table.vendor]
    found = [select for select in vendors if select]
    found.append("SELECT NULL AS model, NULL AS vendor, NULL AS at WHERE 0")
    query.add("named", "\nUNION ALL\n".join(found), "who made them, by the rows that say so")
    newest = (
        "(SELECT n.vendor FROM named AS n\n"
        f"    WHERE n.model = k.model AND n.vendor <> {literal(UNKNOWN)} ORDER BY n.at DESC LIMIT 1)"
    )
    configured = facts.rules.models.vendors.items()
    whens = "".join(f"WHEN {literal(name)} THEN {literal(vendor)} " for name, vendor in configured)
    vendor = f"coalesce({f'CASE k.model {whens}END, ' if whens else ''}{newest}, {literal(UNKNOWN)})"
    columns = ["k.model", f"{vendor} AS vendor", f"{tier(facts, 'k.model')} AS tier"]
    query.add("info", f"{selection(columns)}\nFROM known AS k")
    query.final = f"SELECT count(*) AS value\nFROM info{conjunction(wanted_labels(facts, metric.labels, wanted))}"
    return query


def _uses(schema: Schema, facts: Facts) -> Iterator[tuple[Table, Label, LabelValue]]:
    """Every column that is the value of a label of models."""
    for metric in schema.counted:
        declared = [(feed.table, feed.labels) for feed in metric.feeds]
        declared += [(current.table, current.labels) for current in metric.of] if isinstance(metric, Gauge) else []
        for table, labels in declared:
            for one, value in zip(metric.labels, labels.values(), strict=True):
                if one.pool == POOL and isinstance(value, Col) and table.name in facts.present:
                    yield table, one, value


def _named(facts: Facts, table: Table, declared: Label, value: LabelValue) -> str:
    source = f"{name_of(table.name)} AS e"
    if table.name in facts.state.tables:
        return (
            f"SELECT {label(facts, table, declared, value, 'e', '')} FROM {source} WHERE {is_read(facts, table, 'e')}"
        )
    return f"SELECT {label(facts, table, declared, value, 'e', '')} FROM {source}"


def _vendors(facts: Facts, table: Table) -> str:
    if table.name not in facts.present or table.vendor is None:
        return ""
    model, vendor = (label_text(raw(facts, table, name, "e")) for name in table.vendor)
    read = table.name in facts.state.tables
    time = event_time(facts, table, "e") if read else f"coalesce({parsed_time(facts, table, table.time, 'e')}, 0)"
    where = conjunction([is_read(facts, table, "e")] if read else [])
    columns = [f"{as_named(facts, model)} AS model", f"{vendor} AS vendor", f"{time} AS at"]
    return f"{selection(columns)}\nFROM {name_of(table.name)} AS e{where}"

"""The rows that were counted, as parts of a query: events, sessions that ended, escalations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from exporter.escalations import RETRY, UNAVAILABLE
from exporter.explain.sql import (
    INDENT,
    MOST_IDS,
    Facts,
    Query,
    amount,
    as_named,
    condition,
    conjunction,
    event_time,
    has_label,
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
    usable_number,
)
from exporter.models import LOCAL, PAID
from exporter.sessions import GRACE_S
from exporter.spec import UNKNOWN, Col, Const, Feed, Label, Number, Project, Table

_PROJECT = "project_name"
_NO_NAMES: Mapping[str, str] = MappingProxyType({})


# ── which rows ───────────────────────────────────────────────────────────────────────────────────────────────


def is_read(facts: Facts, table: Table, of: str) -> str:
    """The condition that a row was read."""
    cursor = facts.state.tables[table.name].cursor
    return "0" if cursor is None else f"{key_of(table, of)} <= {cursor}"


def is_final(facts: Facts, table: Table, of: str) -> str:
    """The condition that a row that was read is not in flight; empty where none is."""
    flights = facts.state.tables[table.name].flights
    if not flights:
        return ""
    if len(flights) <= MOST_IDS:
        return f"{key_of(table, of)} NOT IN {ids(list(flights))}"
    if table.final_when is None:
        return ""
    result = raw(facts, table, table.final_when, of)
    timeout = literal(facts.rules.in_flight_timeout_s)
    return f"({result} IS NOT NULL OR {event_time(facts, table, of)} + {timeout} <= {literal(facts.now)})"


def remark(facts: Facts, table: Table, *, final: bool = True) -> str:
    """What the rows of a table are."""
    state = facts.state.tables[table.name]
    if not final or (table.final_when is None and not state.flights):
        return f"{table.name}: the rows read, up to id {state.cursor}"
    return f"{table.name}: the rows read, up to id {state.cursor}, but for {len(state.flights)} in flight"


def plain_times(facts: Facts, table: Table, name: str) -> str:
    """The SELECT that says whether a column's times are plain: how many are not, how many are NULL, and the newest."""
    column = raw(facts, table, name, "e")
    other = f"strftime('%Y-%m-%d %H:%M:%S', {column}) IS NOT replace({column}, 'T', ' ')"
    counts = f"count(*) FILTER (WHERE {other}), count(*) - count({column}), max(strftime('%s', {column}) + 0)"
    return f"SELECT {counts} FROM {name_of(table.name)} AS e WHERE {is_read(facts, table, 'e')}"


def project_of(facts: Facts, table: Table, of: str, session: str = "s") -> tuple[str, str]:
    """A row's project, and the JOIN that it takes."""
    sessions = facts.schema.sessions
    if sessions is None or sessions.name not in facts.present:
        return literal(UNKNOWN), ""
    if table.is_sessions:
        return label_text(raw(facts, sessions, _PROJECT, of)), ""
    if table.session is None:
        return literal(UNKNOWN), ""
    own, key = raw(facts, table, table.session, of), raw(facts, sessions, sessions.session or "", session)
    join = f"\nLEFT JOIN {name_of(sessions.name)} AS {session} ON {key} = {own} AND {is_read(facts, sessions, session)}"
    return label_text(raw(facts, sessions, _PROJECT, session)), join


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────


def selected(feed: Feed, labels: Iterable[Label], wanted: Mapping[str, str]) -> bool:
    """Whether rows of the feed can have the wanted label values."""
    return all(
        wanted.get(declared.name, value.value) == value.value
        for declared, value in zip(labels, feed.labels.values(), strict=True)
        if isinstance(value, Const)
    )


def rows_of(
    facts: Facts, query: Query, feed: Feed, labels: Iterable[Label], wanted: Collection[str], extra: Sequence[str] = ()
) -> str:
    """The SELECT of a feed's rows: the labels ``wanted``, and ``amount`` or what else ``extra`` says."""
    table = feed.table
    if table.virtual:
        return _rows_of_virtual(facts, query, feed, wanted)
    project, join = project_of(facts, table, "e")
    if not any(isinstance(value, Project) and name in wanted for name, value in feed.labels.items()):
        join = ""
    conditions = [is_read(facts, table, "e"), is_final(facts, table, "e") if feed.at == "final" else ""]
    conditions += [condition(facts, table, where, "e") for where in feed.where]
    pairs = zip(labels, feed.labels.items(), strict=True)
    columns = [
        f"{label(facts, table, declared, value, 'e', project)} AS {name_of(name)}"
        for declared, (name, value) in pairs
        if name in wanted
    ]
    columns += extra or [f"{amount(facts, table, feed.value, 'e')} AS amount"]
    return f"{selection(columns)}\nFROM {name_of(table.name)} AS e{join}{conjunction(conditions)}"


def selection(columns: Iterable[str]) -> str:
    """The SELECT of these columns, a line each."""
    return f"SELECT\n{INDENT}" + f",\n{INDENT}".join(columns)


def _rows_of_virtual(facts: Facts, query: Query, feed: Feed, wanted: Collection[str]) -> str:
    ends = feed.table.name == facts.schema.ends.name
    source = add_ends(facts, query, feed) if ends else add_escalations(facts, query)
    columns = [
        f"e.{name_of(value.column if isinstance(value, Col) else _PROJECT)} AS {name_of(name)}"
        for name, value in feed.labels.items()
        if name in wanted
    ]
    declared = feed.table.column(feed.value) if isinstance(feed.value, str) else None
    value = usable_number(f"e.{name_of(declared.name)}", declared) if isinstance(declared, Number) else "1"
    return f"{selection([*columns, f'{value} AS amount'])}\nFROM {source} AS e"


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────


def add_sessions(facts: Facts, query: Query, *, with_activity: bool) -> None:
    """The part ``session``: each with its project, start, end, and the time up to which it observes."""
    table = facts.schema.sessions
    assert table is not None  # noqa: S101 - asked for by metrics of sessions only
    key = raw(facts, table, table.session or "", "s")
    start, end = parsed_time(facts, table, table.time, "s"), parsed_time(facts, table, "end_time", "s")
    columns = [
        "s.id",
        f"{key} AS session_id",
        f"{label_text(raw(facts, table, _PROJECT, 's'))} AS project_name",
        f"{start} AS start_at",
        f"{end} AS end_at",
        f"coalesce({number(facts, table, 'completed_tasks', 's')}, 0) AS completed",
        f"coalesce({number(facts, table, 'failed_tasks', 's')}, 0) AS failed",
    ]
    join = ""
    if with_activity:
        _add_activity(facts, query)
        columns.append("a.at AS last_at")
        join = f"\nLEFT JOIN activity AS a ON a.session_id = {key}"
    body = selection(columns)
    body += f"\nFROM {name_of(table.name)} AS s{join}{conjunction([is_read(facts, table, 's')])}"
    query.add("session", body, f"{remark(facts, table, final=False)}, with their times in Unix seconds")


def _add_activity(facts: Facts, query: Query) -> None:
    """The part ``activity``: the time of each session's last sign of life."""
    selects = []
    for table in facts.schema.tables:
        if table.session and table.name in facts.present:
            key, time = raw(facts, table, table.session, "e"), event_time(facts, table, "e")
            where = conjunction([is_read(facts, table, "e")])
            selects.append(f"SELECT {key} AS session_id, {time} AS at\nFROM {name_of(table.name)} AS e{where}")
    union = "\nUNION ALL\n".join(selects)
    body = f"SELECT session_id, max(at) AS at\nFROM (\n{union}\n)\nGROUP BY session_id"
    query.add("activity", body, "the last event of each session, in Unix seconds")


def until(facts: Facts) -> str:
    """Up to when a session of the part ``session`` observes its events: it is over then."""
    idle = literal(facts.rules.idle_timeout_s)
    return f"coalesce(s.end_at + {literal(GRACE_S)}, s.last_at + {idle})"


def is_open(facts: Facts, *, counted: bool) -> str:
    """The condition that a session is open; ``counted``: that it was not counted as ended yet."""
    sessions = facts.state.sessions
    found = [sessions.id[slot] for slot in sessions.slots() if not (counted and sessions.ended[slot])]
    return f"s.id IN {ids(found)}" if len(found) <= MOST_IDS else f"{until(facts)} > {literal(facts.now)}"


def add_tally(facts: Facts, query: Query) -> None:
    """The part ``tally``: what each event adds to its session, with the time of its result."""
    selects = []
    for table in facts.schema.tables:
        tally = table.tally
        if tally is None or table.session is None or table.name not in facts.present:
            continue
        one = "1" if tally.where is None else f"({condition(facts, table, tally.where, 'e')})"
        time = event_time(facts, table, "e")
        if table.final_when is not None:
            timeout = literal(facts.rules.in_flight_timeout_s)
            time += f" + CASE WHEN {raw(facts, table, table.final_when, 'e')} IS NULL THEN {timeout} ELSE 0 END"
        columns = [
            f"{raw(facts, table, table.session, 'e')} AS session_id",
            f"{time} AS result_at",
            f"{number(facts, table, tally.cost, 'e')} AS cost",
            *(f"{one if tally.counts == name else 0} AS {name}" for name in ("handoffs", "subagents")),
        ]
        where = conjunction([is_read(facts, table, "e"), is_final(facts, table, "e")])
        body = selection(columns)
        selects.append(f"{body}\nFROM {name_of(table.name)} AS e{where}")
    query.add("tally", "\nUNION ALL\n".join(selects), "what counted events add to their sessions")


def add_sums(facts: Facts, query: Query, which: str, remark: str) -> None:
    """The part ``done``: sessions that are ``which``, and the sums of their events."""
    body = (
        "SELECT s.id, s.project_name, total(t.cost) AS cost, total(t.handoffs) AS handoffs, "
        "total(t.subagents) AS subagents\n"
        f"FROM session AS s\nLEFT JOIN tally AS t ON t.session_id = s.session_id AND t.result_at <= {until(facts)}\n"
        f"WHERE {which}\nGROUP BY s.id, s.project_name"
    )
    query.add("done", body, remark)


def add_ends(facts: Facts, query: Query, feed: Feed) -> str:
    """The part ``ended`` with the columns of the virtual table of sessions that ended; its name."""
    columns = {*feed.key_columns(), *feed.value_columns()}
    sums = columns & {"cost", "handoffs", "subagents"}
    ended = f"NOT ({is_open(facts, counted=True)})"
    add_sessions(facts, query, with_activity=bool(sums) or "duration" in columns or "last_at" in ended)
    made = {
        "outcome": "CASE WHEN s.failed = 0 THEN 'completed' WHEN s.completed = 0 THEN 'failed' ELSE 'partial' END",
        "end": "CASE WHEN s.end_at IS NULL THEN 'idle' ELSE 'closed' END",
        "duration": "coalesce(s.end_at, s.last_at) - s.start_at",
        **{name: f"d.{name}" for name in sums},
    }
    body = "SELECT s.project_name"
    body += "".join(f",\n{INDENT}{made[name]} AS {name_of(name)}" for name in sorted(columns))
    body += "\nFROM session AS s"
    if sums:
        add_tally(facts, query)
        add_sums(facts, query, ended, "what was counted for each of them up to its end")
        body += "\nJOIN done AS d ON d.id = s.id"
    open_ = len(facts.state.sessions)
    query.add("ended", f"{body}\nWHERE {ended}", f"the sessions that ended; {open_} are open")
    return "ended"


# ── escalations ──────────────────────────────────────────────────────────────────────────────────────────────


def add_escalations(facts: Facts, query: Query) -> str:
    """The part ``escalation`` with the columns of the virtual table of escalations; its name."""
    declared = facts.schema.escalation
    table = declared.table
    add_sessions(facts, query, with_activity=True)
    result = raw(facts, table, table.final_when or "", "e")
    time, timeout = event_time(facts, table, "e"), literal(facts.rules.in_flight_timeout_s)
    columns = [
        "e.id",
        f"{raw(facts, table, table.session or '', 'e')} AS session_id",
        f"{label_text(raw(facts, table, declared.task, 'e'))} AS task",
        f"{as_named(facts, label_text(raw(facts, table, declared.model, 'e')))} AS model",
        f"{label_text(raw(facts, table, declared.reason, 'e'))} AS reason",
        f"{result} AS result",
        f"{time} + CASE WHEN {result} IS NULL THEN {timeout} ELSE 0 END AS result_at",
        f"{is_final(facts, table, 'e') or '1'} AS final",
    ]
    body = selection(columns)
    body += f"\nFROM {name_of(table.name)} AS e{conjunction([is_read(facts, table, 'e')])}"
    query.add("handoff", body, remark(facts, table))
    lags = ", ".join(
        f"lag(h.{name}) OVER before AS {name}_before" for name in ("model", "result", "result_at", "final")
    )
    body = f"SELECT h.*, {lags}\nFROM handoff AS h\nWINDOW before AS (PARTITION BY h.session_id, h.task ORDER BY h.id)"
    query.add("chain", body, "each beside the one before it, of the same session and type of task")
    query.add(
        "escalation",
        f"SELECT * FROM (\n{indented(_escalation(facts))}\n)\nWHERE reason IS NOT NULL",
        "those that went to a paid model instead of a local one",
    )
    return "escalation"


def _escalation(facts: Facts) -> str:
    unavailable = literal(facts.schema.escalation.unavailable)
    local = f"{tier(facts, 'c.model_before')} = {literal(LOCAL)}"
    failed = f"c.final_before AND c.result_before = 0 AND {local}"
    in_time = f"max(c.result_at, c.result_at_before) <= {until(facts)}"
    return (
        f"SELECT coalesce(s.project_name, {literal(UNKNOWN)}) AS project_name,\n"
        f"  CASE WHEN c.reason = {unavailable} THEN {literal(UNAVAILABLE)}\n"
        f"    WHEN {failed} AND {in_time} THEN {literal(RETRY)} END AS reason\n"
        "FROM chain AS c\nLEFT JOIN session AS s ON s.session_id = c.session_id\n"
        f"WHERE c.final AND {tier(facts, 'c.model')} = {literal(PAID)}"
    )


def wanted_labels(
    facts: Facts, labels: Iterable[Label], wanted: Mapping[str, str], columns: Mapping[str, str] = _NO_NAMES
) -> list[str]:
    """The conditions that labels have the wanted values; ``columns`` are those that are called otherwise."""
    return [
        has_label(facts, declared, wanted[declared.name], columns.get(declared.name, ""))
        for declared in labels
        if declared.name in wanted
    ]

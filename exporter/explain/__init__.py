"""`explain`: the SQL that proves a number, its result, and the exporter's number, side by side.

The SQL is made from the declarations the number is made from, for the rows that were counted: up to the cursors of the
exporter's state, without those in flight. The number is the state's: that of a checkpoint, which is read while another
process may write it, or that of one full read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from exporter.advance import Engine
from exporter.checkpoint import CheckpointError
from exporter.config import ConfigError, Settings, SourceSettings
from exporter.explain import calendar, counted, gauges
from exporter.explain.differences import changed_rules, reasons
from exporter.explain.numbers import ExplainError, Found, Wanted, found, is_explained, shown, understood
from exporter.explain.peek import peek_state
from exporter.explain.rows import plain_times
from exporter.explain.sql import Facts, Query, has
from exporter.explain.zones import add_zone
from exporter.gauges import admit_current
from exporter.layout import unusable
from exporter.once import read_all
from exporter.options import did_you_mean
from exporter.reader import NEWEST_ROWS
from exporter.rules import fingerprint, rules_of, schema_of
from exporter.source import Row, Snapshot, Source, queries
from exporter.source.again import reading
from exporter.spec import Counter, Gauge, Histogram, Schema, Table, Time

_ENOUGH = 1e-9
_NEARLY_0 = 1e-12

__all__ = ["ExplainError", "Explanation", "explain", "known", "prove", "source_of", "understood"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is printed, which SQLite's own shell can run, and whether the two numbers agree."""

    lines: tuple[str, ...]
    agrees: bool


def source_of(settings: Settings, schema: Schema, selector: str, name: str | None) -> SourceSettings:
    """The source that the selector's labels or ``name`` mean.

    Raises:
        ConfigError: there is none, or several.
        ExplainError: what is asked for has no SQL.
    """
    constants = {label for of in settings.sources for label in of.labels}
    outer = understood(selector, schema_of(settings, schema), constants).outer
    if name is not None and outer.get("source", name) != name:
        raise ConfigError("--source", name, f"the selector names another one, {outer['source']}")
    wanted = {**outer, **({"source": name} if name is not None else {})}
    known = [of for of in settings.sources if wanted.items() <= {"source": of.name, **of.labels}.items()]
    if len(known) == 1:
        return known[0]
    names = [of.name for of in settings.sources]
    if not known:
        hint = did_you_mean(wanted.get("source", ""), names) or f": they are {', '.join(names)}"
        raise ConfigError("source", wanted, f"no such source{hint}")
    rule = f'must be named, with --source or source="NAME": they are {", ".join(of.name for of in known)}'
    raise ConfigError("source", wanted, rule)


async def explain(
    *, settings: Settings, of: SourceSettings, schema: Schema, source: Source, selector: str, now: float | None
) -> Explanation:
    """Prove a number of one source; ``now`` is the time where there is no checkpoint (None: the present).

    Raises:
        ConfigError: no such metric, label or series.
        ExplainError: it has no SQL, or the state cannot be read.
        SourceError: the source cannot be read.
    """
    wanted = understood(selector, schema_of(settings, schema), of.labels)
    if not is_explained(wanted.metric):
        raise ExplainError(f"{wanted.metric.name}: is of the exporter itself, and no SQL tells it")
    facts, origin = await known(settings=settings, of=of, schema=schema, source=source, now=now)
    return await prove(facts, wanted, of=of, source=source, origin=origin)


async def prove(
    facts: Facts, wanted: Wanted, *, of: SourceSettings, source: Source, origin: Sequence[str] = ()
) -> Explanation:
    """Prove a number of what was counted; ``origin`` are lines that say where that is known from.

    Raises: as ``explain`` does.
    """
    number = found(facts, wanted)
    if isinstance(wanted.metric, Gauge):
        wanted = replace(wanted, labels=dict(zip(wanted.metric.label_names, number.series[0], strict=True)))
    query = _query(facts, wanted)
    value, agrees, why = await reading(source, lambda snapshot: _compared(facts, wanted, number, query, snapshot))
    title = _title(wanted, of, number)
    return Explanation((*title, *origin, *_changed(facts, wanted), str(query), *_verdict(value, number, why)), agrees)


async def _compared(
    facts: Facts, wanted: Wanted, number: Found, query: Query, snapshot: Snapshot
) -> tuple[object, bool, list[str]]:
    """What SQL says, whether that is the number, and if not why it may not be."""
    rows = await snapshot.fetch(str(query))
    value = rows[0][0] if rows else None
    agrees = value is not None and _agree(float(value), number.value)  # type: ignore[arg-type]
    return value, agrees, [] if agrees else await reasons(facts, wanted, snapshot)


def _changed(facts: Facts, wanted: Wanted) -> list[str]:
    made = {metric.name: fingerprint(metric, facts.rules, facts.schema) for metric in facts.schema.counted}
    if not facts.state.fingerprints or not changed_rules(facts, wanted.metric, made):
        return []
    return ["-- counted by other rules than the configuration's: the next start counts it anew"]


def _agree(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_ENOUGH, abs_tol=_NEARLY_0)


# ── the state ────────────────────────────────────────────────────────────────────────────────────────────────


async def known(
    *, settings: Settings, of: SourceSettings, schema: Schema, source: Source, now: float | None
) -> tuple[Facts, list[str]]:
    """What was counted, and lines that say where that is known from. Raises: as ``explain`` does."""
    chosen, rules = schema_of(settings, schema, of.name), rules_of(settings, of)
    try:
        found = peek_state(settings.storage.path, of.name, chosen)
    except CheckpointError as exc:
        raise ExplainError(str(exc)) from exc
    if found is None:
        read = await read_all(settings=settings, of=of, schema=schema, source=source, now=now)
        present = await reading(source, lambda snapshot: _present(snapshot, read.schema))
        facts = await _with_plain_times(Facts(read.schema, read.rules, read.state, read.at, present), source)
        return facts, [f"-- no checkpoint in {settings.storage.path}: of one full read, as of {_utc(read.at)}"]
    state, peeked = found
    at = peeked.path.stat().st_mtime if state.at is None else state.at
    facts = Facts(chosen, rules, state, at, await reading(source, lambda snapshot: _present(snapshot, chosen)))
    Engine(state, chosen, rules)  # admits what the configuration names
    facts = await _with_plain_times(facts, source)
    await reading(source, lambda snapshot: _read_current(facts, snapshot))
    admit_current(state, chosen, rules)
    lines = [f"-- of the checkpoint {peeked.path}, as of {_utc(at)}"]
    lines += [f"-- {path}: newer, and cannot be read" for path in peeked.skipped]
    return facts, lines


async def _present(snapshot: Snapshot, schema: Schema) -> Mapping[str, frozenset[str]]:
    """The columns of the tables that can be read."""
    found: dict[str, frozenset[str]] = {}
    for table in (*schema.tables, *schema.newest, *schema.of_sessions):
        info = await snapshot.table(table.name)
        columns = frozenset(column.name.lower() for column in info.columns) if info else frozenset()
        if table.cursor in columns and not (table in schema.declared and unusable(table, info)):
            found[table.name] = columns
    return found


async def _with_plain_times(facts: Facts, source: Source) -> Facts:
    """The same, knowing which times SQLite's own words are enough for."""
    if facts.rules.zone is not UTC:
        return facts
    found: dict[tuple[str, str], bool] = {}
    for table in facts.schema.tables:
        for column in table.columns:
            if isinstance(column, Time) and has(facts, table, column.name):
                others, absent, last = await reading(source, _first_of(plain_times(facts, table, column.name)))
                if not others:
                    found[table.name, column.name] = not absent and (last is None or float(str(last)) <= facts.now)
    return replace(facts, plain=found)


def _first_of(sql: str) -> Callable[[Snapshot], Awaitable[Row]]:
    async def first(snapshot: Snapshot) -> Row:
        return (await snapshot.fetch(sql))[0]

    return first


async def _read_current(facts: Facts, snapshot: Snapshot) -> None:
    """The rows of mutable tables, which no checkpoint keeps, as they are now."""
    for table in facts.schema.newest:
        present = facts.present.get(table.name)
        sql = queries.newest(table, present) if present else ""
        facts.state.current[table.name] = await snapshot.fetch(sql, {"limit": NEWEST_ROWS}) if sql else []
    for table in facts.schema.of_sessions:
        facts.state.of_sessions[table.name] = await _of_open(facts, table, snapshot)


async def _of_open(facts: Facts, table: Table, snapshot: Snapshot) -> dict[object, list[tuple[object, ...]]]:
    present, sessions = facts.present.get(table.name, frozenset()), facts.state.sessions
    if (table.session or "") not in present:
        return {}
    keys = [key for slot in sessions.slots() if isinstance(key := sessions.keys[slot], str)]
    place = 1 + [column.name for column in table.columns].index(table.session or "")
    rows: dict[object, list[tuple[object, ...]]] = {}
    for row in await snapshot.fetch(queries.by_sessions(table, present), {"keys": json.dumps(keys)}):
        rows.setdefault(row[place], []).append(row)
    return rows


# ── what is printed ──────────────────────────────────────────────────────────────────────────────────────────


def _query(facts: Facts, wanted: Wanted) -> Query:
    metric, query = wanted.metric, None
    if isinstance(metric, Counter):
        query = counted.counter(facts, metric, wanted.labels)
    elif isinstance(metric, Histogram):
        query = counted.histogram(facts, metric, wanted.labels, part=wanted.part, bound=wanted.bound)
    elif isinstance(metric, Gauge):
        query = gauges.gauge(facts, metric, wanted.labels) or calendar.gauge(facts, metric, wanted.labels)
    if query is None:
        raise ExplainError(f"{metric.name}: no SQL over one source tells it")
    add_zone(facts, query)
    return query


def _title(wanted: Wanted, of: SourceSettings, number: Found) -> list[str]:
    suffix = f"_{wanted.part}" if wanted.part else ""
    bound = {"le": "+Inf" if math.isinf(wanted.bound) else repr(float(wanted.bound))} if wanted.part == "bucket" else {}
    labels = {**wanted.labels, **bound, "source": of.name, **of.labels}
    title = [f"-- {_one_line(shown(wanted.metric, labels, suffix))}"]
    return [*title, f"-- {len(number.series)} series match: their sum"] if len(number.series) > 1 else title


def _verdict(value: object, number: Found, why: Sequence[str]) -> list[str]:
    lines = [f"-- SQL       {'nothing' if value is None else repr(value)}", f"-- exporter  {_plain(number.value)}"]
    if number.held:
        lines.append(f"-- {number.held} of the series shown as 0 still, until that was scraped (new_series_hold)")
    if not why:
        return [*lines, "-- they agree"]
    off = "" if value is None else f" by {_plain(number.value - float(value))}"  # type: ignore[arg-type]
    return [*lines, f"-- they differ{off}:", *(f"-- - {line}" for line in why)]


def _plain(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _utc(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"

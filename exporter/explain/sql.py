"""SQL for people, in SQLite's dialect, from the declarations: literals, and what a column's value or label becomes.

Unlike the reader's own SELECTs these do in SQL what the exporter does in Python, and have no parameters: each can be
run by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC

from exporter.context import Rules
from exporter.models import POOL, TIERS
from exporter.spec import (
    OTHER,
    UNKNOWN,
    Col,
    Const,
    FirstOf,
    Flag,
    Is,
    Json,
    Label,
    LabelValue,
    Lacks,
    Number,
    OneOf,
    Outcome,
    Part,
    Plus,
    Schema,
    Table,
    stored_in,
)
from exporter.state import State
from exporter.values import MAX_LABEL_LENGTH

MOST_IDS = 1_000
"""Rows that are named by their ids; more are told by their times."""
INDENT = "  "
_PLAIN = re.compile(r"[a-z]+[0-9]*(_[a-z0-9]+)+|id|cost|project|model|success|timestamp|savings|amount|at|reason")
_SPACE = "char(9, 10, 11, 12, 13, 32)"
_CONTROL = r"[\x00-\x1f\x7f\x85\u2028\u2029]"
"""Characters that are written by their numbers: a literal stays on its line, and SQLite's text has no end within."""
_DAY_S = 86400
_YEAR_2000 = 946684800
_EPOCHS = (("1e17", "1e9"), ("1e14", "1e6"), ("1e11", "1e3"))
ZONE = "zone"
"""The part that has the offsets of naive times."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the SQL is about: the declarations, the rules, what was counted up to ``now``, and what is there.

    ``present`` has the columns of each table that can be read, by the table's name.
    """

    schema: Schema
    rules: Rules
    state: State
    now: float
    present: Mapping[str, frozenset[str]]
    plain: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    """Table and column of times that all are ``YYYY-MM-DD HH:MM:SS`` in UTC, and whether none is NULL or to come."""


@dataclass(slots=True)
class Query:
    """One SELECT: parts by name, each with a remark, and what is made of them."""

    parts: dict[str, tuple[str, str]] = field(default_factory=dict)
    final: str = ""

    def add(self, name: str, body: str, remark: str = "") -> None:
        """A part more; one that is there already stays."""
        self.parts.setdefault(name, (body, remark))

    def __str__(self) -> str:
        written = [
            "".join(f"-- {line}\n" for line in remark.splitlines()) + f"{name} AS (\n{indented(body)}\n)"
            for name, (body, remark) in self.parts.items()
        ]
        parts = ",\n".join(written)
        return (f"WITH\n{parts}\n" if parts else "") + f"{self.final};"


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────


def indented(text: str) -> str:
    """The lines of ``text``, further to the right."""
    return "\n".join(f"{INDENT}{line}" for line in text.split("\n"))


def literal(value: object) -> str:
    """A value as SQL writes it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool | int):
        return str(int(value))
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    pieces = re.split(f"({_CONTROL})", str(value))
    written = [f"char({ord(one)})" if n % 2 else "'" + one.replace("'", "''") + "'" for n, one in enumerate(pieces)]
    found = [one for one in written if one != "''"]
    return f"({' || '.join(found)})" if len(found) > 1 else "".join(found) or "''"


def name_of(identifier: str) -> str:
    """A name as SQL writes it, in quotes where it may be a word of SQL."""
    if _PLAIN.fullmatch(identifier) and not identifier.startswith("current_"):
        return identifier
    return '"' + identifier.replace('"', '""') + '"'


def conjunction(conditions: Iterable[str]) -> str:
    """A WHERE of all conditions; empty where there are none."""
    found = [condition for condition in conditions if condition]
    return "\nWHERE " + "\n  AND ".join(found) if found else ""


def ids(numbers: Sequence[int]) -> str:
    """Ids in parentheses."""
    return f"({', '.join(map(str, sorted(numbers)))})"


def key_of(table: Table, of: str) -> str:
    """The id of the row ``of``."""
    return f"{of}.{name_of(table.cursor)}"


# ── columns ──────────────────────────────────────────────────────────────────────────────────────────────────


def has(facts: Facts, table: Table, name: str) -> bool:
    """Whether the database has the column."""
    return stored_in(table.column(name)) in facts.present.get(table.name, ())


def raw(facts: Facts, table: Table, name: str, of: str) -> str:
    """A column as it stands in the row ``of``; NULL where the table has none."""
    declared = table.column(name)
    if not has(facts, table, name):
        return "NULL"
    column = f"{of}.{name_of(stored_in(declared))}"
    match declared:
        case Json(path=path):
            valid = f"typeof({column}) = 'text' AND json_valid({column})"
            return f"CASE WHEN {valid} THEN json_extract({column}, {literal(path)}) END"
        case Lacks(used=used, maximum=maximum):
            number = f"{of}.{name_of(used)}"
            if used not in facts.present.get(table.name, ()):
                return "NULL"
            usable = f"typeof({number}) IN ('integer', 'real') AND {number} > 0 AND {number} <= {literal(maximum)}"
            return f"({column} IS NULL AND {usable})"
    return column


def number(facts: Facts, table: Table, name: str, of: str) -> str:
    """A column's usable number or flag, else NULL."""
    column, declared = raw(facts, table, name, of), table.column(name)
    if isinstance(declared, Flag):
        return f"CASE WHEN {column} IN (0, 1) THEN {column} END"
    assert isinstance(declared, Number)  # noqa: S101 - held by the declarations
    if not has(facts, table, name):
        return "NULL"
    if declared.scale != 1.0:
        kinds = f"typeof({column}) IN ('integer', 'real')"
        column = f"(CASE WHEN {kinds} THEN {column} * {literal(declared.scale)} END)"
    return usable_number(column, declared)


def usable_number(expression: str, declared: Number) -> str:
    """The expression where it is a number within the declared bounds, else NULL."""
    bounds = f"{literal(declared.minimum)} AND {literal(declared.maximum)}"
    kinds = f"typeof({expression}) IN ('integer', 'real')"
    return f"CASE WHEN {kinds} AND {expression} BETWEEN {bounds} THEN {expression} END"


def plus(facts: Facts, table: Table, value: Plus, of: str) -> str:
    """The sum of two columns, by the rules of ``Plus``; NULL where it is rejected."""
    first, second = number(facts, table, value.column, of), number(facts, table, value.plus, of)
    column = raw(facts, table, value.column, of)
    total = f"coalesce({first}, 0) + coalesce({second}, 0)"
    usable = f"({column} IS NULL OR {first} IS NOT NULL)"
    return f"CASE WHEN {usable} AND {total} >= 0 THEN {total} END"


def amount(facts: Facts, table: Table, value: str | Plus | None, of: str) -> str:
    """What a feed adds up or observes of a row; 1 where it counts rows."""
    match value:
        case None:
            return "1"
        case Plus():
            return plus(facts, table, value, of)
        case name:
            return number(facts, table, name, of)


def condition(facts: Facts, table: Table, where: Is, of: str) -> str:
    """The condition in SQL."""
    return f"{raw(facts, table, where.column, of)} {'IS NOT' if where.negate else 'IS'} {literal(where.value)}"


# ── times ────────────────────────────────────────────────────────────────────────────────────────────────────


def parsed_time(facts: Facts, table: Table, name: str, of: str) -> str:
    """A column's time in Unix seconds; NULL where it is none."""
    if not has(facts, table, name):
        return "NULL"
    column = raw(facts, table, name, of)
    if (table.name, name) in facts.plain:
        return f"CAST(strftime('%s', {column}) AS INTEGER)"
    scale = " ".join(f"WHEN {column} >= {least} THEN {per_s}" for least, per_s in _EPOCHS)
    zone = f"ltrim(substr({column}, 20), '.0123456789')"
    whole = f"strftime('%s', substr({column}, 1, 19) || {zone})"
    fraction = f"CASE WHEN substr({column}, 20, 1) = '.' THEN CAST('0' || substr({column}, 20) AS REAL) ELSE 0 END"
    early = _YEAR_2000 - 1
    number = f"nullif(max({column} / (CASE {scale} ELSE 1 END), {early}), {early})"
    return (
        f"CASE WHEN typeof({column}) IN ('integer', 'real') THEN {number}\n"
        f"  ELSE {whole} + {fraction}{_ahead(facts, whole, zone)} END"
    )


def _ahead(facts: Facts, whole: str, zone: str) -> str:
    """What is to be taken off naive times, which are of another zone than UTC."""
    if facts.rules.zone is UTC:
        return ""
    found = f"SELECT ahead FROM {ZONE} WHERE since <= CAST({whole} AS INTEGER) ORDER BY since DESC LIMIT 1"
    return f"\n  - CASE {zone} WHEN '' THEN ({found}) ELSE 0 END"


def untimely(facts: Facts, table: Table, of: str) -> str:
    """The condition that a row has no usable event time."""
    time = parsed_time(facts, table, table.time, of)
    return f"coalesce(({time}) > {literal(facts.now + _DAY_S)}, 1)"


def event_time(facts: Facts, table: Table, of: str) -> str:
    """A row's event time: not later than now, which also stands in for one that is unusable."""
    now = literal(facts.now)
    time = parsed_time(facts, table, table.time, of)
    if time == "NULL":
        return now
    if facts.plain.get((table.name, table.time)):
        return time
    within = f"<= {literal(facts.now + _DAY_S)}"
    return f"(SELECT CASE WHEN t {within} THEN min(t, {now}) ELSE {now} END FROM (SELECT {time} AS t))"


# ── labels ───────────────────────────────────────────────────────────────────────────────────────────────────


def label_text(expression: str) -> str:
    """Text as a label value: trimmed and cut; ``unknown`` where it is NULL or empty."""
    if expression == "NULL":
        return literal(UNKNOWN)
    cut = f"substr(trim({expression}, {_SPACE}), 1, {MAX_LABEL_LENGTH})"
    return f"coalesce(nullif({cut}, ''), {literal(UNKNOWN)})"


def label(facts: Facts, table: Table, declared: Label, value: LabelValue, of: str, project: str) -> str:
    """A label's value for the row ``of``; ``project`` is the SQL of its session's project."""
    text = _label(facts, table, value, of, project)
    return as_named(facts, text) if declared.pool == POOL and not isinstance(value, Const) else text


def as_named(facts: Facts, text: str) -> str:
    """A model's label value with spellings joined."""
    aliases = facts.rules.models.aliases.items()
    if not aliases:
        return text
    whens = " ".join(f"WHEN {literal(spelling)} THEN {literal(name)}" for spelling, name in aliases)
    return f"(SELECT CASE t {whens} ELSE t END FROM (SELECT {text} AS t))"


def _label(facts: Facts, table: Table, value: LabelValue, of: str, project: str) -> str:
    match value:
        case Const(text):
            return literal(text)
        case Outcome(flag):
            column = raw(facts, table, flag, of)
            return f"CASE {column} WHEN 1 THEN 'success' WHEN 0 THEN 'failure' ELSE {literal(UNKNOWN)} END"
        case Col(column):
            return label_text(raw(facts, table, column, of))
        case OneOf(column, values):
            known = ", ".join(literal(one) for one in values)
            text = label_text(raw(facts, table, column, of))
            return f"(SELECT CASE WHEN t IN ({known}) THEN t ELSE {literal(UNKNOWN)} END FROM (SELECT {text} AS t))"
        case Part(column, index):
            return _part(label_text(raw(facts, table, column, of)), index)
        case FirstOf(choices):
            found = (f"nullif({_label(facts, table, choice, of, project)}, {literal(UNKNOWN)})" for choice in choices)
            return f"coalesce({', '.join(found)}, {literal(UNKNOWN)})"
        case _:
            return project


def _part(text: str, index: int) -> str:
    before = "CASE WHEN instr(t, '.') THEN substr(t, 1, instr(t, '.') - 1) ELSE t END"
    after = "CASE WHEN instr(t, '.') THEN substr(t, instr(t, '.') + 1) END"
    return f"(SELECT {label_text(after if index else before)} FROM (SELECT {text} AS t))"


def has_label(facts: Facts, declared: Label, value: str, column: str = "") -> str:
    """The condition that a label has that value; of ``__other__``, that it has none of those that were admitted."""
    named = name_of(column or declared.name)
    if value != OTHER or declared.closed:
        return f"{named} = {literal(value)}"
    admitted = [*facts.state.admitted.get(declared.pool, ()), UNKNOWN]
    known = ", ".join(literal(text) for text in admitted if text != OTHER)
    return f"{named} NOT IN ({known})"


def tier(facts: Facts, model: str) -> str:
    """The tier of a model's label value."""
    configured = facts.rules.models.tiers.items()
    lines = [f"WHEN {model} = {literal(name)} THEN {literal(text)}" for name, text in configured]
    lines += [f"WHEN lower({model}) LIKE {literal(start + '%')} THEN {literal(text)}" for start, text in TIERS]
    return f"CASE {' '.join(lines)} ELSE {literal(UNKNOWN)} END"

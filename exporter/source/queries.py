"""The SELECTs by which rows are read, in SQLite's dialect, made from the tables' declarations.

Identifiers are quoted, values are parameters. A value of a kind that its column should not hold is replaced by a
small marker where it is read, so that no hostile cell can ship a gigabyte: text in a number column comes as ``''``,
JSON that is none as an empty blob, a blob in a time column as one zero byte.
"""

from __future__ import annotations

from collections.abc import Collection

from exporter.source.sqlite import quote
from exporter.spec import Column, Flag, Json, Lacks, Number, Table, Text, Time, stored_in

TEXT_LENGTH = 512
TIME_LENGTH = 64


def expression(column: Column, present: Collection[str]) -> str:
    """The SQL of one column; NULL where the table has no such column."""
    if stored_in(column) not in present:
        return "NULL"
    name = quote(stored_in(column))
    match column:
        case Text():
            return f"substr({name}, 1, {TEXT_LENGTH})"
        case Number(scale=scale) if scale != 1.0:
            return f"CASE WHEN {name} >= '' THEN '' ELSE {name} * {scale!r} END"
        case Number() | Flag():
            return f"CASE WHEN {name} >= '' THEN '' ELSE {name} END"
        case Time():
            text = f"substr({name}, 1, {TIME_LENGTH})"
            return f"CASE WHEN {name} >= x'' THEN x'00' WHEN {name} >= '' THEN {text} ELSE {name} END"
        case Json(path=path):
            return _json(name, path)
        case Lacks(used=used, maximum=maximum):
            return _lacks(name, used, maximum) if used in present else "NULL"


def _json(name: str, path: str) -> str:
    """The text at a path. A blob, and text that is no JSON, would end the whole SELECT with an error."""
    quoted = path.replace("'", "''")
    return (
        f"CASE WHEN {name} IS NULL OR {name} = '' THEN NULL WHEN {name} >= x'' OR NOT json_valid({name}) THEN x'' "
        f"ELSE substr(json_extract({name}, '{quoted}'), 1, {TEXT_LENGTH}) END"
    )


def _lacks(name: str, used: str, maximum: float) -> str:
    number = quote(used)
    usable = f"typeof({number}) IN ('integer', 'real') AND {number} > 0 AND {number} <= {maximum!r}"
    return f"({name} IS NULL AND {usable})"


def _select(table: Table, present: Collection[str]) -> str:
    columns = ", ".join([_key(table), *(expression(column, present) for column in table.columns)])
    return f"SELECT {columns} FROM {quote(table.name)}"  # noqa: S608 - quoted, and from the declaration


def _key(table: Table) -> str:
    return quote(table.cursor)


def above(table: Table, present: Collection[str], *, cursor: int | None, upto: bool = False) -> str:
    """Rows in the order of their ids, above ``:cursor`` (from the first, where that is None), at most ``:limit``."""
    key = _key(table)
    conditions = [*([f"{key} > :cursor"] if cursor is not None else []), *([f"{key} <= :upto"] if upto else [])]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"{_select(table, present)}{where} ORDER BY {key} LIMIT :limit"


def newest(table: Table, present: Collection[str], *, below: bool = False) -> str:
    """Rows in the falling order of their ids, from the newest or ``below`` the id ``:below``, at most ``:limit``."""
    key = _key(table)
    where = f" WHERE {key} < :below" if below else ""
    return f"{_select(table, present)}{where} ORDER BY {key} DESC LIMIT :limit"


def by_ids(table: Table, present: Collection[str]) -> str:
    """The rows whose ids are in the JSON array ``:ids``."""
    key = _key(table)
    return f"{_select(table, present)} WHERE {key} IN (SELECT value FROM json_each(:ids)) ORDER BY {key}"  # noqa: S608


def by_sessions(table: Table, present: Collection[str]) -> str:
    """The rows whose session ids are in the JSON array ``:keys``."""
    column = quote(table.session or "session_id")
    where = f"WHERE {column} IN (SELECT value FROM json_each(:keys))"  # noqa: S608 - quoted
    return f"{_select(table, present)} {where} ORDER BY {_key(table)}"


def identities(table: Table, present: Collection[str]) -> str:
    """Ids and identity columns of the rows whose ids are in the JSON array ``:ids``."""
    key = _key(table)
    columns = ", ".join([key, *(expression(table.column(name), present) for name in table.identity)])
    where = f"WHERE {key} IN (SELECT value FROM json_each(:ids))"  # noqa: S608 - quoted
    return f"SELECT {columns} FROM {quote(table.name)} {where} ORDER BY {key}"  # noqa: S608


def newest_id_but(table: Table) -> str:
    """The id of the row that has ``:skipped`` newer ones."""
    key = _key(table)
    return f"SELECT {key} FROM {quote(table.name)} ORDER BY {key} DESC LIMIT 1 OFFSET :skipped"  # noqa: S608

"""What of the declared tables a source has: which can be read, by which columns, and why others are left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from exporter.source import TableInfo
from exporter.spec import Table, stored_in


@dataclass(frozen=True, slots=True)
class Layout:
    """What of the declared tables the source has: per table its columns; and what is left out, with the reason."""

    present: Mapping[str, frozenset[str]]
    left_out: Mapping[str, str]
    missing: Mapping[str, tuple[str, ...]]
    own_left_out: Mapping[str, str] = field(default_factory=dict)
    """What of ``left_out`` the configuration declares."""

    def newly_left_out(self, before: Layout | None) -> Iterable[tuple[str, str]]:
        """The user's own tables that are left out, with the reason, and were not, or not for that, before."""
        return self.own_left_out.items() - (before.own_left_out.items() if before else ())

    def notes(self) -> tuple[str, ...]:
        """What is left out, a line each."""
        absent = [
            f"{table}: {', '.join(names)} missing, read as NULL" for table, names in self.missing.items() if names
        ]
        return (*(f"{table}: {reason}" for table, reason in self.left_out.items()), *absent)


def unusable(table: Table, info: TableInfo | None) -> str:
    """Why the table is left out whole; the empty string where it can be read."""
    if table.own:
        return unusable_own(table, info)
    if info is None:
        return "no such table"
    columns = {column.name.lower() for column in info.columns}
    needed = [table.cursor, *(stored_in(table.column(name)) for name in table.identity)]
    missing = [name for name in needed if name not in columns]
    if missing:
        return f"no column {', '.join(missing)}, by which rows are known"
    if not info.autoincrement:
        return "its id is no INTEGER PRIMARY KEY AUTOINCREMENT: ids may be given twice"
    return ""


def none_of(tables: Iterable[Table], left_out: Mapping[str, str]) -> str:
    """That every table is left out; of the user's own ones with the reason."""
    named = [f"{table.name} ({left_out[table.name]})" if table.own else table.name for table in tables]
    return f"none of the tables it should have: {', '.join(named)}"


def unusable_own(table: Table, info: TableInfo | None) -> str:
    """Why a table that the configuration declares is left out, and where that names what it lacks."""
    if info is None:
        return f"no such table{_given(table, '')}"
    columns = {column.name.lower() for column in info.columns}
    needed = dict.fromkeys((table.cursor, *(stored_in(column) for column in table.columns)))
    if missing := [f"{name}{_given(table, name)}" for name in needed if name not in columns]:
        return f"no column {', '.join(missing)}"
    if not table.identity:
        return ""  # only its newest rows are looked at
    if not info.integer_key or info.primary_key[0].lower() != table.cursor:
        return f"its cursor {table.cursor} is no INTEGER PRIMARY KEY{_given(table, table.cursor)}"
    if not (info.autoincrement or table.append_only):
        return (
            f"its cursor {table.cursor} is no AUTOINCREMENT: ids may be given twice; where its newest rows are never "
            f"deleted say append_only: true{_given(table, table.cursor)}"
        )
    return ""


def _given(table: Table, column: str) -> str:
    """Where the configuration names a table's column; the table itself for the empty string."""
    where = table.given.get(column) or table.given.get("")
    return f" ({where})" if where else ""

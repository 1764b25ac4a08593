"""The indexes that a platform's database may want.

`indexes` is the one command that can write a platform's database, and only when it is told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote as percent_encoded

from exporter.source import Snapshot, SourceError
from exporter.source.again import reading
from exporter.source.sqlite import SqliteSource
from exporter.source.sqlite_file import turn

_BUSY_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class _Index:
    """An index by the columns it is on, each with whether it descends."""

    name: str
    table: str
    columns: tuple[tuple[str, bool], ...]
    why: str = "the platform's roadmap asks for an index it lacks"

    @property
    def statement(self) -> str:
        """The SQL that makes it."""
        columns = ", ".join(f"{name} DESC" if descends else name for name, descends in self.columns)
        return f"CREATE INDEX IF NOT EXISTS {self.name} ON {self.table}({columns});"

    def is_served_by(self, columns: Sequence[tuple[str, bool]]) -> bool:
        """Whether an index on ``columns`` gives the same order, read forwards or backwards."""
        found = tuple((str(name).lower(), bool(descends)) for name, descends in columns[: len(self.columns)])
        return found in (self.columns, tuple((name, not descends) for name, descends in self.columns))


# Named as the platform itself names them: when it comes to make its own, they are there.
_INDEXES = (
    _Index("idx_sessions_start_time_desc", "orchestration_sessions", (("start_time", True),)),
    _Index("idx_sessions_project_time", "orchestration_sessions", (("project_name", False), ("start_time", True))),
    _Index("idx_handoffs_timestamp_desc", "handoff_events", (("timestamp", True),)),
    _Index("idx_subagents_timestamp_desc", "subagent_invocations", (("timestamp", True),)),
    _Index(
        "idx_token_budgets_session",
        "token_budgets",
        (("session_id", False),),
        "the exporter reads it by session, and without an index reads all of it at each poll",
    ),
)
_INDEX_COLUMNS = (
    'SELECT list.name, info.name, info."desc" FROM pragma_index_list(:table) AS list '
    "JOIN pragma_index_xinfo(list.name) AS info WHERE NOT list.partial AND info.key ORDER BY list.seq, info.seqno"
)


@dataclass(frozen=True, slots=True)
class Missing:
    """The indexes to be made, and in words those that cannot be."""

    wanted: tuple[_Index, ...]
    impossible: tuple[str, ...]


async def indexes(path: Path, *, create: bool) -> list[str]:
    """The SQL of the indexes that the database lacks; with ``create`` they are made, one transaction each.

    Raises:
        SourceError: it cannot be read; or, with ``create``, it is not ours to write, or is locked for too long.
    """
    missing = await reading(SqliteSource(path), missing_indexes)
    comments = [f"-- {text}" for text in missing.impossible]
    if not missing.wanted:
        return [*comments, "-- no index is missing" if not comments else "-- no other index is missing"]
    if not create:
        note = "-- while an index is built nobody else can write: choose a quiet hour"
        return [*comments, note, *(index.statement for index in missing.wanted)]
    async with turn(path):
        return comments + await asyncio.to_thread(_create, path, missing.wanted)


async def missing_indexes(snapshot: Snapshot) -> Missing:
    """The indexes that the database lacks. Raises: SourceError."""
    rows = await snapshot.fetch("SELECT lower(name) FROM sqlite_master")
    taken = {str(name) for (name,) in rows}
    wanted: list[_Index] = []
    impossible: list[str] = []
    for index in _INDEXES:
        info = await snapshot.table(index.table)
        columns = {column.name.lower() for column in info.columns} if info else set()
        if info is None or info.kind != "table":
            impossible.append(f"{index.table}: no such table, so no index {index.name}")
        elif lacking := [name for name, _ in index.columns if name not in columns]:
            impossible.append(f"{index.table}: no column {', '.join(lacking)}, so no index {index.name}")
        elif not any(index.is_served_by(there) for there in await _existing(snapshot, info.name)):
            name = _free(index.name, taken)
            taken.add(name)
            wanted.append(replace(index, name=name))
    return Missing(tuple(wanted), tuple(dict.fromkeys(impossible)))


async def _existing(snapshot: Snapshot, table: str) -> list[list[tuple[str, bool]]]:
    """The columns of each index that a table has."""
    found: dict[object, list[tuple[str, bool]]] = {}
    for index, column, descends in await snapshot.fetch(_INDEX_COLUMNS, {"table": table}):
        found.setdefault(index, []).append((str(column), bool(descends)))
    return list(found.values())


def _free(name: str, taken: Collection[str]) -> str:
    """``name``, with a number where something else has it."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _create(path: Path, wanted: Iterable[_Index]) -> list[str]:
    uri = f"file:{percent_encoded(os.fsencode(path.resolve()))}?mode=rw"
    lines: list[str] = []
    doing = "cannot be opened for writing"
    try:
        _refuse_strangers(path)
        connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        with contextlib.closing(connection):
            for index in wanted:
                doing = f"{index.name} was not created"
                began = time.monotonic()
                connection.execute(index.statement)
                lines.append(f"{index.statement} -- created in {time.monotonic() - began:.2f} s")
    except (OSError, sqlite3.Error) as exc:
        done = f" ({len(lines)} before it were)" if lines else ""
        raise SourceError(f"{path}: {doing}{done}: {exc}") from exc
    return lines


def _refuse_strangers(path: Path) -> None:
    """Hold that we are the file's owner and may write: -wal and -shm made by another lock the platform out."""
    owner, us = path.stat().st_uid, os.geteuid()
    if owner != us:
        raise SourceError(
            f"{path}: belongs to user {owner}, and this is user {us}: run this as its owner, or give the owner the "
            "statements to run that are printed without --create"
        )
    if not (may_write(path) and may_write(path.parent)):
        raise SourceError(f"{path}: cannot be written: it, its folder or its file system is read-only")


def may_write(path: Path) -> bool:
    """Whether the user of this process may write the file."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)

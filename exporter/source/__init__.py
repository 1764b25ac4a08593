"""The seam between the exporter and a database: what a source promises, and how it fails.

::

    Exception
     └ SourceError        it cannot be read now
        └ SourceDiscarded   it could, but what came may not be of one moment: read again

A source is *looked at* often and cheaply, and connected only while it is read.
"""

from collections.abc import Hashable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

Row = tuple[object, ...]
Look = Hashable
"""What a look saw: of use only for `==` with another look at the same source."""

NO_PARAMETERS: Mapping[str, object] = MappingProxyType({})


class SourceError(Exception):
    """The source cannot be read now: one line that names the file, what is wrong and what helps."""


class SourceDiscarded(SourceError):  # noqa: N818 - an outcome of a poll rather than a fault
    """What was read may not be of one moment, so none of it may be used: read again."""


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """A column that can be selected, its type as the schema writes it ('' when it does not)."""

    name: str
    declared_type: str


@dataclass(frozen=True, slots=True)
class TableInfo:
    """What the schema says of one table (or view)."""

    name: str
    columns: tuple[ColumnInfo, ...]
    autoincrement: bool
    """No id is ever given twice."""
    primary_key: tuple[str, ...] = ()
    kind: str = "table"
    """`table` or `view`."""
    integer_key: bool = False
    """The primary key is an INTEGER PRIMARY KEY, by which SQLite keeps the rows."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One query as it went: its label, how long it took, and whether it failed."""

    label: str
    duration_s: float
    failed: bool


class Snapshot(Protocol):
    """One short read transaction: all tables as of one moment."""

    @property
    def timings(self) -> list[Timing]:
        """The labelled queries so far, those that failed included; readable after the snapshot is left."""

    async def table(self, name: str) -> TableInfo | None:
        """Return the table called `name` in any case, None if there is none. Raises: SourceError."""

    async def stable_max(self, table: str) -> int | None:
        """Return the id at or below which no row can still appear; None if the table never had a row.

        Where ids are never used twice (`TableInfo.autoincrement`) it falls only if the past has changed.
        Raises: SourceError.
        """

    async def fetch(self, sql: str, parameters: Mapping[str, object] = NO_PARAMETERS, *, label: str = "") -> list[Row]:
        """Return all rows of one SELECT with named parameters, within the source's deadline for each query.

        Of text that is not UTF-8, the bytes that are none come as lone surrogates (`surrogateescape`). A label
        puts the query among the `timings`. Raises: SourceError.
        """


class Source(Protocol):
    """A database that something else writes. It is never written to, and not kept open between reads."""

    @property
    def name(self) -> str:
        """The value of the label `source`."""

    def look(self) -> Look:
        """Return a token that differs from the last one if anything was committed in between.

        It is cheap and does not connect; it may differ when nothing was committed, too. Raises: SourceError.
        """

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """Connect, hold one moment for the body, and disconnect, whatever the body does.

        What the body read may be used only once the snapshot was left without an exception: leaving it may
        raise SourceDiscarded. Raises: SourceError.
        """

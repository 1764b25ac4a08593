"""Rows as values: the statements of an event, before anybody knows the time or the ids they will get."""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

Value = str | float | int | None

_TIME_COLUMNS = {
    "orchestration_sessions": ("start_time",),
    "token_budgets": ("created_at", "updated_at"),
    "model_capacity_thresholds": ("last_updated",),
}


class Statement(NamedTuple):
    """One INSERT, UPDATE or DELETE with named parameters.

    The writer adds `:now`, the time of writing. The id a row gets is remembered as `keeps`; the statement
    that `uses` it is given it as `:row`, once.
    """

    sql: str
    values: Mapping[str, Value]
    keeps: str | None = None
    uses: str | None = None

    @property
    def inserts(self) -> bool:
        """Whether it adds a row."""
        return self.sql.startswith("INSERT")


class Event(NamedTuple):
    """What the platform commits in one transaction, `at_s` simulated seconds after its stream began."""

    at_s: float
    statements: tuple[Statement, ...]


def event_time(event: Event) -> float:
    """The time streams are merged by."""
    return event.at_s


def insert(table: str, *, keeps: str | None = None, **values: Value) -> Statement:
    """A new row, its time columns set to the time of writing."""
    return Statement(_insert_sql(table, tuple(values)), values, keeps)


@cache
def _insert_sql(table: str, columns: tuple[str, ...]) -> str:
    times = _TIME_COLUMNS.get(table, ("timestamp",))
    names = ", ".join((*times, *columns))
    parameters = ", ".join((*[":now"] * len(times), *[f":{column}" for column in columns]))
    return f"INSERT INTO {table} ({names}) VALUES ({parameters})"  # noqa: S608 - names are constants

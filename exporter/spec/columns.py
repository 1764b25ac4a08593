"""Tables and their columns, and the label values and conditions that are made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

UNKNOWN = "unknown"
"""The label value of what is NULL, empty or not known."""
OTHER = "__other__"
"""The label value into which everything beyond a cap is folded."""


class SpecError(ValueError):
    """A declaration that cannot be: names the object, the value and the rule."""


@dataclass(frozen=True, slots=True)
class Text:
    """A column of text, cut at 512 characters when read."""

    name: str


@dataclass(frozen=True, slots=True)
class Number:
    """A column of numbers; a value outside ``minimum``..``maximum`` is rejected, not counted.

    ``column`` is the table's own name of it, where that is another; ``scale`` is what its values are multiplied by
    when they are read.
    """

    name: str
    maximum: float
    minimum: float = 0.0
    column: str = ""
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Flag:
    """A column of 0, 1 or NULL; anything else reads as unknown and is rejected as ``bad_flag``."""

    name: str


@dataclass(frozen=True, slots=True)
class Time:
    """A column of times: ISO 8601 text, ``YYYY-MM-DD HH:MM:SS``, or an epoch number."""

    name: str


@dataclass(frozen=True, slots=True)
class Json:
    """The text at ``path`` of the JSON in ``column``, under a name of its own."""

    name: str
    column: str
    path: str


@dataclass(frozen=True, slots=True)
class Lacks:
    """1 where ``column`` is NULL although ``used`` has a number above 0, up to ``maximum``; else 0."""

    name: str
    column: str
    used: str
    maximum: float


Column = Text | Number | Flag | Time | Json | Lacks


def stored_in(column: Column) -> str:
    """The name of the table's own column that ``column`` is read from."""
    return (column.column or column.name) if isinstance(column, Json | Lacks | Number) else column.name


@dataclass(frozen=True, slots=True)
class Is:
    """True of rows whose ``column`` equals ``value``, or is NULL (None); ``negate`` turns it round."""

    column: str
    value: str | int | None
    negate: bool = False


@dataclass(frozen=True, slots=True)
class Col:
    """A label's value is the column's text."""

    column: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """A label's value is the column's text where it is one of ``values``, else ``unknown``."""

    column: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A label's value is the column's text before (0) or after (1) its first dot."""

    column: str
    index: Literal[0, 1]


@dataclass(frozen=True, slots=True)
class FirstOf:
    """A label's value is the first of these that is there."""

    choices: tuple[Col | Part, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """``success`` where the flag is 1, ``failure`` where it is 0, else ``unknown``."""

    flag: str


@dataclass(frozen=True, slots=True)
class Const:
    """The same label value for every row of a feed."""

    value: str


@dataclass(frozen=True, slots=True)
class Project:
    """The project of the row's session."""


LabelValue = Col | OneOf | Part | FirstOf | Outcome | Const | Project


def columns_of(value: LabelValue) -> tuple[str, ...]:
    """The columns that ``value`` is made from."""
    match value:
        case Col(column) | OneOf(column, _) | Part(column, _):
            return (column,)
        case FirstOf(choices):
            return tuple(choice.column for choice in choices)
        case Outcome(flag):
            return (flag,)
        case _:
            return ()


@dataclass(frozen=True, slots=True)
class Tally:
    """What a table's rows add to their session: their cost, and to its hand-offs or sub-agents those that are
    ``where``."""

    counts: Literal["handoffs", "subagents"]
    cost: str
    where: Is | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is read incrementally, by its ``cursor``.

    ``identity`` names the columns that are written once and never changed, by which a row is known again after a
    restore. A row is final when ``final_when`` is not NULL (at once where there is none). ``session`` is the
    column that names the session a row belongs to: the row's time is then that session's activity, and ``tally``
    says what else it adds. ``vendor`` names the columns of a model and of who made it. The sessions table itself has
    ``is_sessions``.

    ``cursor`` is the INTEGER PRIMARY KEY; of a table that is ``append_only`` it need not be AUTOINCREMENT. A table
    that the configuration declares is the user's ``own``: it has every column it names, or is left out. ``given``
    says where in the configuration a column is named, and under the empty string the table.
    """

    name: str
    columns: tuple[Column, ...]
    time: str
    identity: tuple[str, ...]
    session: str | None = "session_id"
    final_when: str | None = None
    tally: Tally | None = None
    vendor: tuple[str, str] | None = None
    is_sessions: bool = False
    virtual: bool = False
    reported_as: str = ""
    cursor: str = "id"
    append_only: bool = field(default=False, compare=False)
    own: bool = field(default=False, compare=False)
    given: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise SpecError(f"table {self.name}: a column is declared twice: {sorted(names)}")
        for needed in (*self.identity, *([self.time] if self.time else []), *(self.vendor or ())):
            if needed not in names:
                raise SpecError(f"table {self.name}: column {needed} is used but not declared")

    @property
    def label(self) -> str:
        """The table's name in the label ``table``."""
        return self.reported_as or self.name

    def column(self, name: str) -> Column:
        """The declared column of that name.

        Raises:
            SpecError: the table declares no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise SpecError(f"table {self.name} has no column {name}")

"""The vocabulary in which tables and metrics are declared.

A declaration is data: the reader makes its SQL from it, the state its arithmetic, the exposition its HELP, the
reference its documentation. Nothing here touches a database, a clock or a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Literal

UNKNOWN = "unknown"
"""The label value of what is NULL, empty or not known."""
OTHER = "__other__"
"""The label value into which everything beyond a cap is folded."""

_UNITS = ("seconds", "bytes", "ratio", "usd")


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


@dataclass(frozen=True, slots=True)
class Label:
    """A label's name, and the vocabulary its values are admitted to.

    A ``closed`` label has these values only, and a counter is born with all of them; an open one shares the
    admitted values of its ``vocabulary`` with every label of the same vocabulary.
    """

    name: str
    vocabulary: str = ""
    closed: tuple[str, ...] = ()

    @property
    def pool(self) -> str:
        """The vocabulary's name, which is the label's own unless it shares another's."""
        return self.vocabulary or self.name


@dataclass(frozen=True, slots=True)
class Plus:
    """The sum of two columns; where the second is NULL, unusable or absent, the first alone.

    A negative sum is rejected.
    """

    column: str
    plus: str


Value = str | Plus | None


@dataclass(frozen=True, slots=True)
class Feed:
    """Rows of one table that a metric counts, sums up or observes.

    ``value`` None counts rows; a column's name adds up (counter) or observes (histogram) its values. A row must meet
    every condition of ``where``. ``at`` says when a row counts: when it is final, or when it is first read.
    """

    table: Table
    labels: Mapping[str, LabelValue] = field(default_factory=dict)
    value: Value = None
    where: tuple[Is, ...] = ()
    at: Literal["final", "first"] = "final"

    def value_columns(self) -> tuple[str, ...]:
        """The number columns the value is made from."""
        match self.value:
            case None:
                return ()
            case Plus(column, plus):
                return (column, plus)
            case name:
                return (name,)

    def key_columns(self) -> tuple[str, ...]:
        """The columns that decide under which labels a row counts, and whether it does."""
        names = [name for value in self.labels.values() for name in columns_of(value)]
        return (*names, *(condition.column for condition in self.where))


@dataclass(frozen=True, slots=True)
class Current:
    """Rows of a mutable table that a gauge reads, as they are now.

    ``value`` names the columns whose sum a row has. With ``newest_per`` only the newest row (the highest id) of each
    combination of those labels is read (of no labels: the newest of all); without, the rows of one label set are added
    up. ``most`` keeps the rows with the highest values of a column, at most so many.
    """

    table: Table
    labels: Mapping[str, LabelValue]
    value: tuple[str, ...]
    newest_per: tuple[str, ...] | None = None
    most: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        for name in (*self.value, *(name for value in self.labels.values() for name in columns_of(value))):
            self.table.column(name)
        for name in self.newest_per or ():
            if name not in self.labels:
                raise SpecError(
                    f"table {self.table.name}: the newest row of each {name} is asked for, which is no label"
                )


Reading = Literal[
    "sessions",  # open sessions, counted
    "session_subagents_max",  # the most sub-agents of one open session
    "session_cost_max",  # the most money of one open session
    "in_flight",  # rows in flight, counted, or a column of theirs added up
    "in_flight_oldest",  # the event time of the oldest row in flight
    "current",  # rows of mutable tables, as they are now
    "model_info",  # the models there are
    "ledger",  # a column of the ledger, by project and period
    "ledger_median",  # the median of the seven days before today
    "period_start",
    "period_end",
    "budget_limit",
    "budget_spent",
    "budget_projected",
    "budget_start",
    "budget_end",
    "up",
    "counting_since",
    "last_success",
    "lag",
    "last_event",
]


@dataclass(frozen=True, slots=True)
class Metric:
    """What every metric has: its full name, what it means and does not mean, and its labels beside ``source``."""

    name: str
    help: str
    labels: tuple[Label, ...] = ()

    def __post_init__(self) -> None:
        if not self.help.endswith("."):
            raise SpecError(f"{self.name}: HELP must be a sentence: {self.help!r}")

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels' names, in the order of a series' label values."""
        return tuple(label.name for label in self.labels)

    @property
    def unit(self) -> str:
        """The OpenMetrics unit: the name's suffix where that is a unit, else the empty string."""
        stem = self.name.removesuffix("_total").rsplit("_", 1)[-1]
        return stem if stem in _UNITS else ""

    @property
    def type(self) -> Literal["counter", "gauge", "histogram"]:
        """The metric's Prometheus type."""
        raise NotImplementedError

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """The rows it is made from; none where it is not made from rows."""
        return ()

    def fingerprint(self, **settings: object) -> str:
        """A digest of all that makes the metric's numbers: the declaration but for its HELP, and ``settings``."""
        text = repr((_canonical(replace(self, help=".")), sorted(settings.items())))
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Counter(Metric):
    """A total. Without feeds it is one of the exporter's own, kept in the state and born at 0."""

    of: tuple[Feed, ...] = ()

    def __post_init__(self) -> None:
        Metric.__post_init__(self)
        if not self.name.endswith("_total"):
            raise SpecError(f"counter {self.name} must end in _total")
        _check_labels(self)

    @property
    def type(self) -> Literal["counter"]:
        return "counter"

    @property
    def feeds(self) -> tuple[Feed, ...]:
        return self.of


@dataclass(frozen=True, slots=True)
class Histogram(Metric):
    """A distribution over fixed upper bounds; with ``exemplars``, each bucket names its newest session."""

    of: tuple[Feed, ...] = ()
    buckets: tuple[float, ...] = ()
    exemplars: bool = False

    def __post_init__(self) -> None:
        Metric.__post_init__(self)
        for lower, upper in zip(self.buckets, self.buckets[1:], strict=False):
            if upper <= lower:
                raise SpecError(f"buckets of {self.name} must increase: {upper} after {lower}")
        if not self.buckets or any(feed.value is None for feed in self.of):
            raise SpecError(f"histogram {self.name} needs buckets and a value to observe")
        _check_labels(self)

    @property
    def type(self) -> Literal["histogram"]:
        return "histogram"

    @property
    def feeds(self) -> tuple[Feed, ...]:
        return self.of


@dataclass(frozen=True, slots=True)
class Gauge(Metric):
    """A reading of the state, taken anew at every publish.

    ``table`` is the table whose rows it reads, ``values`` where its labels come from; label sets that the counter
    ``known_by`` has show 0 when there is nothing to read. ``of`` are the rows of mutable tables, ``column`` is the
    ledger's column that it reads, or the table's that it adds up.
    """

    reading: Reading = "up"
    table: Table | None = None
    values: Mapping[str, LabelValue] = field(default_factory=dict)
    known_by: Counter | None = None
    of: tuple[Current, ...] = ()
    column: str = ""

    def __post_init__(self) -> None:
        Metric.__post_init__(self)
        for labels in (*([self.values] if self.table else []), *(current.labels for current in self.of)):
            if tuple(labels) != self.label_names:
                raise SpecError(f"{self.name}: its rows give labels {tuple(labels)}, it has {self.label_names}")

    @property
    def type(self) -> Literal["gauge"]:
        return "gauge"


def _check_labels(metric: Metric) -> None:
    for feed in metric.feeds:
        if tuple(feed.labels) != metric.label_names:
            raise SpecError(
                f"{metric.name}: the feed from {feed.table.name} gives labels {tuple(feed.labels)}, "
                f"the metric has {metric.label_names}"
            )
        for name in (*feed.key_columns(), *feed.value_columns()):
            feed.table.column(name)


def _as_used(feed: Feed) -> Table:
    """The feed's table with what makes this feed's numbers: a column declared for another metric is not in it."""
    table = feed.table
    names = {*feed.key_columns(), *feed.value_columns(), table.time, table.session, table.final_when}
    used = sorted((column for column in table.columns if column.name in names), key=lambda column: column.name)
    return replace(table, columns=tuple(used), identity=(), tally=None, vendor=None)


def _canonical(value: object) -> object:
    """``value`` as nested tuples in a fixed order, so that its repr does not depend on how it was written."""
    if isinstance(value, Feed):
        value = replace(value, table=_as_used(value))
    if is_dataclass(value) and not isinstance(value, type):
        made_of = [f.name for f in fields(value) if f.compare]
        return (type(value).__name__, *((name, _canonical(getattr(value, name))) for name in made_of))
    if isinstance(value, Mapping):
        return tuple((key, _canonical(item)) for key, item in value.items())
    if isinstance(value, tuple):
        return tuple(_canonical(item) for item in value)
    return value


@dataclass(frozen=True, slots=True)
class Ledger(Metric):
    """The calendar's books: what final rows cost, by day, project, model and component. No series of its own.

    Its feeds have the labels project, component, model and outcome, and name the columns of cost and savings.
    """

    of: tuple[Feed, ...] = ()
    tokens: str = "tokens_used"

    def __post_init__(self) -> None:
        Metric.__post_init__(self)
        _check_labels(self)

    @property
    def feeds(self) -> tuple[Feed, ...]:
        return self.of


@dataclass(frozen=True, slots=True)
class Escalation:
    """How hand-offs to a paid model after a local one are recognised, and the virtual table of those found.

    ``table`` has the hand-offs; ``model``, ``task`` and ``reason`` are its columns; ``unavailable`` is the reason
    that says the local model was not there.
    """

    table: Table
    found: Table
    model: str
    task: str
    reason: str
    unavailable: str


@dataclass(frozen=True, slots=True)
class OwnCounters:
    """The counters that the exporter keeps on a source; they are among its metrics."""

    rows_read: Counter
    late_rows: Counter
    rejected: Counter
    overflow: Counter
    rewinds: Counter
    uncertain: Counter
    dropped: Counter
    budget_spend: Counter


@dataclass(frozen=True, slots=True)
class Schema:
    """The declarations one source is read by.

    ``tables`` are read by a cursor; of ``newest`` the newest rows are read at every look, of ``of_sessions`` those of
    open sessions. ``ends`` is the virtual table of sessions that end.
    """

    tables: tuple[Table, ...]
    metrics: tuple[Metric, ...]
    ends: Table
    own: OwnCounters
    escalation: Escalation
    ledger: Ledger | None = None
    newest: tuple[Table, ...] = ()
    of_sessions: tuple[Table, ...] = ()
    headlines: Mapping[str, Metric] = field(default_factory=dict)
    """What a person asks for first: titles, and the counters whose sums are the answers."""

    @property
    def sessions(self) -> Table | None:
        """The sessions table, where there is one."""
        return next((table for table in self.tables if table.is_sessions), None)

    @property
    def declared(self) -> tuple[Table, ...]:
        """What the database should have: tables read by a cursor, and the user's own of which only the newest are."""
        names = {table.name for table in self.tables}
        return (*self.tables, *(table for table in self.newest if table.own and table.name not in names))

    @property
    def virtual(self) -> tuple[Table, ...]:
        """The tables whose rows the state makes."""
        return (self.ends, self.escalation.found)

    @property
    def counted(self) -> tuple[Metric, ...]:
        """What rows are counted into: the metrics, and the ledger."""
        return (*self.metrics, *([self.ledger] if self.ledger else []))

    def only(self, metrics: Iterable[Metric]) -> Schema:
        """The same with these metrics, the ledger among them or none."""
        chosen = tuple(metrics)
        ledger = next((metric for metric in chosen if isinstance(metric, Ledger)), None)
        return replace(self, metrics=tuple(m for m in chosen if not isinstance(m, Ledger)), ledger=ledger)

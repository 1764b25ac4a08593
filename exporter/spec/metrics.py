"""Metrics, and the rows that they are made from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Literal

from exporter.spec.columns import (
    Is,
    LabelValue,
    SpecError,
    Table,
    columns_of,
)

_UNITS = ("seconds", "bytes", "ratio", "usd")


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

"""Groups of rows that agree in everything some feeds' labels and conditions are made of.

What is the same for all rows of a group is found out once: the series each feed counts them in, and which of their
label values were folded. Feeds share a partition where one's key columns are among the other's; one partition for all
would have a group for every combination of every column.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from exporter.labels import Candidates, folded, holds, row_labels
from exporter.models import Models
from exporter.series import Buckets, Cell, Labels, Series
from exporter.spec import Const, Counter, Feed, Histogram, Label, Ledger, Metric, Project
from exporter.state import State

PROJECT = ""
"""Stands for the project among the key columns, which no column's name can be."""
_KEPT = 10_000
_SCAN_SLACK = 10
"""A scan may hold this many times the label sets of a metric, of which the newest values stay."""


Counted = Counter | Histogram | Ledger
"""What rows are counted into."""


@dataclass(frozen=True, slots=True)
class Caps:
    """How many values a vocabulary, and label sets a metric, may have."""

    label_values: int = 100
    series: int = 10_000


@dataclass(slots=True, eq=False)
class Group:
    """What rows with the same key have in common."""

    cells: list[Series | Labels]
    """Per feed the series it counts in; of a histogram only the labels, until the first observation; of the ledger
    only the labels, none where the feed does not want the rows."""
    overflows: tuple[Labels, ...] = ()
    """(metric, label) pairs of which the rows' value was folded into ``__other__``."""
    rows: int = 0
    """Rows met since the group's counters were last brought up to date."""
    newest: float = 0.0
    """The newest of those rows' event times, in a scan."""


@dataclass(frozen=True, slots=True)
class FeedPlan:
    """A metric's feed, and its place among the cells of its partition's groups."""

    metric: Counted
    feed: Feed
    place: int


def feeds_by_table(metrics: Iterable[Metric]) -> Mapping[str, list[tuple[Counted, Feed]]]:
    """What counts rows, by the name of the table whose rows they are."""
    found: dict[str, list[tuple[Counted, Feed]]] = {}
    for metric in metrics:
        if isinstance(metric, Counted):
            for feed in metric.feeds:
                found.setdefault(feed.table.name, []).append((metric, feed))
    return found


def key_of(feed: Feed) -> tuple[str, ...]:
    """The key columns of a feed, the project among them where a label is made of it."""
    uses_project = any(isinstance(value, Project) for value in feed.labels.values())
    return tuple(dict.fromkeys((*([PROJECT] if uses_project else []), *feed.key_columns())))


def partitions(
    feeds: Sequence[tuple[Counted, Feed]], state: State, naming: Naming, overflow: Counter
) -> list[Partition]:
    """The feeds by key, those with few key columns with one that has them all."""
    shares: list[tuple[set[str], list[tuple[Counted, Feed]]]] = []
    keyed = [(set(key_of(feed)), (metric, feed)) for metric, feed in feeds]
    for wanted, (metric, feed) in sorted(keyed, key=lambda pair: -len(pair[0])):
        share = next((found for key, found in shares if wanted <= key), None)
        if share is None:
            shares.append((wanted, [(metric, feed)]))
        else:
            share.append((metric, feed))
    return [Partition(tuple(sorted(key)), found, state, naming, overflow) for key, found in shares]


@dataclass(frozen=True, slots=True)
class Naming:
    """How label values are made: spellings of models joined, and how many there may be."""

    caps: Caps = field(default_factory=Caps)
    models: Models = field(default_factory=Models)


class Partition(dict[tuple[object, ...], Group]):
    """Groups by their key, each made when it is first asked for, and the feeds that count by them."""

    def __init__(
        self,
        key: tuple[str, ...],
        feeds: Sequence[tuple[Counted, Feed]],
        state: State,
        naming: Naming,
        overflow: Counter,
    ) -> None:
        super().__init__()
        self.key = key
        self.plans = [FeedPlan(metric, feed, place) for place, (metric, feed) in enumerate(feeds)]
        self.candidates: Candidates | None = None
        self._state = state
        self._caps = naming.caps
        self._models = naming.models
        self._overflow = overflow
        self._counting = [plan.place for plan in self.plans if plan.feed.value is None]
        self._sinks: dict[type, Series | Labels] = {
            Counter: Cell("", ()),
            Histogram: Buckets("", (), True, [0] * 64, 0.0, [None] * 64),
            Ledger: (),
        }

    def __missing__(self, key: tuple[object, ...]) -> Group:
        group = self[key] = self._make(dict(zip(self.key, key, strict=True)))
        return group

    def of(self, columns: Mapping[str, Sequence[object]], rows: int) -> list[Group]:
        """The group of each of the rows, given their key columns."""
        if len(self) > _KEPT:
            self.settle(self.values())
            self.clear()
        if not self.key:
            return [self[()]] * rows
        return [self[key] for key in zip(*(columns[name] for name in self.key), strict=True)]

    def meet(self, groups: Sequence[Group], times: Sequence[float]) -> None:
        """Count the rows, at once or, in a scan, when it settles."""
        met = Tally(groups)
        for group, rows in met.items():
            group.rows += rows
        if self.candidates is None:
            self.settle(met)
            return
        for group, time in dict(zip(groups, times, strict=True)).items():
            group.newest = max(group.newest, time)

    def settle(self, groups: Iterable[Group]) -> None:
        """Bring up to date what counts these groups' rows; in a scan, let their label values ask for admission."""
        changed = self._state.changed_series
        for group in groups:
            rows, group.rows = group.rows, 0
            if not rows:
                continue
            for place in self._counting:
                group.cells[place].value += rows  # type: ignore[union-attr]
            for metric, label in group.overflows:
                self._state.add(self._overflow, (metric, label), rows)
            changed.update(cell for cell in group.cells if not isinstance(cell, tuple) and cell.metric)
            if self.candidates is not None:
                self._nominate(self.candidates, group, rows)

    def _nominate(self, candidates: Candidates, group: Group, rows: int) -> None:
        for plan in self.plans:
            cell = group.cells[plan.place]
            if isinstance(cell, Cell):
                cell.rows += rows
            labels = cell if isinstance(cell, tuple) else cell.labels
            for label, text in zip(plan.metric.labels, labels, strict=False):
                if not label.closed:
                    candidates.seen(label.pool, text, group.newest)

    def histograms(self, plan: FeedPlan, groups: Sequence[Group]) -> list[Buckets]:
        """The histogram's series for each group, made at the first observation."""
        place, metric, state = plan.place, plan.metric, self._state
        for group in set(groups):
            labels = group.cells[place]
            if isinstance(labels, tuple):
                overflows: list[Labels] = []
                group.cells[place] = state.cell(metric, self._capped(metric, labels, overflows))
                group.overflows = (*group.overflows, *overflows)
        return [group.cells[place] for group in groups]  # type: ignore[misc]

    def _make(self, raw: Mapping[str, object]) -> Group:
        project = str(raw.get(PROJECT, ""))
        group = Group([()] * len(self.plans))
        overflows: list[Labels] = []
        for plan in self.plans:
            if not holds(plan.feed.where, raw):
                group.cells[plan.place] = self._sinks[type(plan.metric)]
                continue
            labels = self._labels(plan, project, raw, overflows)
            if isinstance(plan.metric, Counter):
                group.cells[plan.place] = self._born(plan, self._capped(plan.metric, labels, overflows))
            else:
                group.cells[plan.place] = labels
        group.overflows = tuple(overflows)
        return group

    def _born(self, plan: FeedPlan, labels: Labels) -> Series:
        """The rows' counter, made with those of every other value of its closed labels."""
        fixed = {name for name, value in plan.feed.labels.items() if isinstance(value, Const)}
        choices = [
            label.closed if label.closed and label.name not in fixed else (value,)
            for label, value in zip(plan.metric.labels, labels, strict=True)
        ]
        for sibling in product(*choices):
            self._state.cell(plan.metric, sibling)
        return self._state.cell(plan.metric, labels)

    def _labels(self, plan: FeedPlan, project: str, raw: Mapping[str, object], overflows: list[Labels]) -> Labels:
        """The rows' label values, those of open labels ``__other__`` where they are not admitted."""
        wanted = row_labels(plan.feed.labels, plan.metric.labels, self._models, project, raw)
        labels = tuple(self._admit(label, text) for label, text in zip(plan.metric.labels, wanted, strict=True))
        _note_folded(plan.metric, wanted, labels, overflows)
        return labels

    def _capped(self, metric: Metric, labels: Labels, overflows: list[Labels]) -> Labels:
        """The labels, open ones ``__other__`` where the metric has as many label sets as it may."""
        series = self._state.series.get(metric.name, {})
        most = self._caps.series if self.candidates is None else self._caps.series * _SCAN_SLACK
        if labels in series or len(series) < most:
            return labels
        into = folded(metric, labels)
        _note_folded(metric, labels, into, overflows)
        return into

    def _admit(self, label: Label, text: str) -> str:
        if label.closed:
            return text
        if self.candidates is not None:
            return self.candidates.ask(label.pool, text)
        return self._state.admit(label.pool, text, self._caps.label_values)


def _note_folded(metric: Metric, before: Labels, after: Labels, overflows: list[Labels]) -> None:
    """Note the labels that were folded; not of the ledger, whose rows are those of the money's counters."""
    if isinstance(metric, Ledger):
        return
    overflows.extend(
        (metric.name, label.name)
        for label, one, other in zip(metric.labels, before, after, strict=True)
        if one != other
    )

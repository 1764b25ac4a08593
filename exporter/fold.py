"""Rows into series: the arithmetic of the declarations, a column at a time.

What is left per row, after its groups were looked up, is an addition for each feed that has a value.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from exporter.booking import Bookkeeper
from exporter.groups import PROJECT, Counted, FeedPlan, Group, Naming, Partition, partitions
from exporter.labels import Candidates, holds
from exporter.localtime import Place
from exporter.series import Buckets, Labels
from exporter.spec import (
    Counter,
    Feed,
    Flag,
    Histogram,
    Json,
    Ledger,
    Metric,
    Number,
    Plus,
    SpecError,
    Table,
    Text,
    stored_in,
)
from exporter.state import Row, State
from exporter.values import label_text, numbers

_EXEMPLAR_ROOM = 128 - len("session_id")
"""OpenMetrics: the names and values of an exemplar's labels have at most 128 characters together."""
_MOST_UNENTERED = 5_000
"""So many rows of a scan are added up before the ledger books them [of 20,000 the holes that stay are 3 MB more]."""
_UNFIT = re.compile(r'["\\\n{}]')
"""Valid in OpenMetrics, but client_python's parser takes them for the end of the label (0.26)."""


@dataclass(frozen=True, slots=True)
class Books:
    """What counting writes to beside series; ``rejected`` None where that was counted before, ``keeper`` where no
    ledger is kept.
    """

    rejected: Counter | None
    overflow: Counter
    keeper: Bookkeeper | None = None


@dataclass(slots=True)
class Columns:
    """A batch's rows as ``Fold.count`` takes them: each with its project and, where it has one, its event time.

    ``booked`` are the times by which the ledger books them, where those are others.
    """

    rows: Sequence[Row]
    projects: Sequence[str]
    times: Sequence[float] = ()
    booked: Sequence[float] | None = None
    raw: dict[str, Sequence[object]] = field(default_factory=dict)
    values: dict[str, Sequence[float | None]] = field(default_factory=dict)
    sums: dict[Plus, Sequence[float | None]] = field(default_factory=dict)


class Fold:
    """The feeds of one table that count at one moment (``final`` or ``first``), ready to be applied to rows."""

    def __init__(
        self,
        table: Table,
        all_feeds: Sequence[tuple[Counted, Feed]],
        at: str,
        *,
        state: State,
        naming: Naming,
        books: Books,
        candidates: Candidates | None = None,
    ) -> None:
        self.table = table
        self.state = state
        self.rejected = books.rejected
        self.keeper = books.keeper
        self._scans = candidates is not None
        self._entries: dict[Place, dict[Labels, list[float]]] = {}
        """What is to be entered in the ledger: in a scan many batches' together."""
        self._unentered = 0
        feeds = [(metric, feed) for metric, feed in all_feeds if feed.at == at]
        self.feeds = [feed for _, feed in feeds]
        self.partitions = partitions(feeds, state, naming, books.overflow)
        for partition in self.partitions:
            partition.candidates = candidates
        self.keys = tuple(dict.fromkeys(name for feed in self.feeds for name in feed.key_columns()))
        values = (name for metric, feed in feeds for name in _values(metric, feed))
        self.values = tuple(dict.fromkeys(values))
        earlier = (feed for _, feed in all_feeds if feed.at == "first" != at)
        self._judged = {name for feed in earlier for name in (*feed.key_columns(), *feed.value_columns())}
        """Columns that were judged when the rows were first read."""
        self._places = {column.name: 1 + n for n, column in enumerate(table.columns)}

    # ── counting ─────────────────────────────────────────────────────────────────────────────────────────────

    def count(self, batch: Columns) -> dict[str, Sequence[float | None]]:
        """Count rows; the cleaned number columns, for whoever else adds them up.

        During a scan, what counts rows is brought up to date by ``flush``.
        """
        if not batch.rows or not self.feeds:
            return {}
        self._lay_out(batch)
        self._reject_texts(batch)
        for name in self.values:
            batch.values[name] = self._clean(batch, name)
        for partition in self.partitions:
            groups = partition.of(batch.raw, len(batch.rows))
            for plan in partition.plans:
                if isinstance(plan.metric, Histogram):
                    self._observe(partition, plan, groups, batch)
                elif isinstance(plan.metric, Ledger):
                    self._book(plan, groups, batch)
                elif plan.feed.value is not None:
                    self._sum(plan, groups, batch)
            partition.meet(groups, batch.times)
        return batch.values

    def touch(self, projects: Sequence[str], rows: Sequence[Row]) -> None:
        """Let the counters of rows that are in flight be born."""
        if rows and self.feeds:
            batch = Columns(rows, projects)
            self._lay_out(batch)
            for partition in self.partitions:
                partition.of(batch.raw, len(rows))

    def flush(self) -> None:
        """Bring up to date what counts the rows of a scan, and let their label values ask for admission."""
        for partition in self.partitions:
            partition.settle(partition.values())
        if self.keeper is not None:
            self._enter(self.keeper)

    def _lay_out(self, batch: Columns) -> None:
        columns = list(zip(*batch.rows, strict=True))
        batch.raw = {name: columns[place] for name, place in self._places.items()}
        batch.raw[PROJECT] = batch.projects

    # ── what is rejected ─────────────────────────────────────────────────────────────────────────────────────

    def _reject_texts(self, batch: Columns) -> None:
        """Count texts and flags that are damaged, once per row and column of the database."""
        found: set[tuple[int, str, str]] = set()
        for name in self.keys:
            if name in self._judged:
                continue
            faults = {value: fault for value in set(batch.raw[name]) if (fault := self._fault(name, value))}
            if faults:
                stored = stored_in(self.table.column(name))
                found.update(
                    (position, stored, faults[value])
                    for position, value in enumerate(batch.raw[name])
                    if value in faults and self._uses(name, batch, position)
                )
        for _, _, fault in found:
            self._reject(fault)

    def _fault(self, name: str, value: object) -> str | None:
        declared = self.table.column(name)
        if isinstance(declared, Flag):
            return None if value is None or value in (0, 1) else "bad_flag"
        if isinstance(declared, Json) and value == b"":
            return "bad_json"
        if isinstance(declared, Text | Json) and label_text(value)[1]:
            return "bad_text"
        return None

    def _uses(self, name: str, batch: Columns, position: int) -> bool:
        """Whether a metric that counts the row uses the column."""
        raw = {key: batch.raw[key][position] for key in self.keys}
        return any(
            holds(feed.where, raw)
            for partition in self.partitions
            for feed, metric in ((plan.feed, plan.metric) for plan in partition.plans)
            if name in (*feed.key_columns(), *_values(metric, feed))
        )

    def _clean(self, batch: Columns, name: str) -> Sequence[float | None]:
        declared = self.table.column(name)
        assert isinstance(declared, Number)  # noqa: S101 - held by spec
        clean, rejected = numbers(batch.raw[name], minimum=declared.minimum, maximum=declared.maximum)
        for position, reason in rejected:
            if name not in self._judged and self._uses(name, batch, position):
                self._reject(reason)
        return clean

    def _reject(self, reason: str) -> None:
        if self.rejected is not None:
            self.state.add(self.rejected, (self.table.label, reason))

    # ── sums and observations ────────────────────────────────────────────────────────────────────────────────

    def _amounts(self, plan: FeedPlan, batch: Columns) -> Sequence[float | None]:
        match plan.feed.value:
            case Plus(column, plus) as both:
                if both not in batch.sums:
                    batch.sums[both] = self._plus(batch, column, plus)
                return batch.sums[both]
            case str(name):
                return batch.values[name]
            case _:
                raise SpecError(f"{plan.metric.name}: a feed without a value has no amounts")

    def _plus(self, batch: Columns, column: str, plus: str) -> Sequence[float | None]:
        """Column plus column: NULL is 0, an unusable first one leaves the row out, a negative sum is rejected."""
        sums: list[float | None] = []
        for raw, first, second in zip(batch.raw[column], batch.values[column], batch.values[plus], strict=True):
            if first is None and raw is not None:
                sums.append(None)
                continue
            total = (first or 0.0) + (second or 0.0)
            if total < 0.0:
                self._reject("negative")
            sums.append(total if total >= 0.0 else None)
        return sums

    def _sum(self, plan: FeedPlan, groups: Sequence[Group], batch: Columns) -> None:
        place = plan.place
        for group, amount in zip(groups, self._amounts(plan, batch), strict=True):
            if amount:
                group.cells[place].value += amount  # type: ignore[union-attr]

    def _book(self, plan: FeedPlan, groups: Sequence[Group], batch: Columns) -> None:
        """Enter the rows in the ledger, those of one group and hour together."""
        metric, keeper = plan.metric, self.keeper
        assert isinstance(metric, Ledger)  # noqa: S101 - the caller's branch
        if keeper is None:
            return
        cost, *plus = plan.feed.value_columns()
        savings: Sequence[float | None] = batch.values[plus[0]] if plus else [None] * len(groups)
        baselines = self._amounts(plan, batch)
        places = keeper.places(batch.times if batch.booked is None else batch.booked)
        columns = (batch.values[cost], baselines, savings, batch.values[metric.tokens])
        entries, cell = self._entries, plan.place
        for group, place, spent, baseline, saved, tokens in zip(groups, places, *columns, strict=True):
            labels = group.cells[cell]
            page = entries.get(place)
            if page is None:
                page = entries[place] = {}
            entry = page.get(labels)
            if entry is None:
                page[labels] = [1, spent or 0.0, baseline or 0.0, saved or 0.0, tokens or 0.0]
            else:
                entry[0] += 1
                entry[1] += spent or 0.0
                entry[2] += baseline or 0.0
                entry[3] += saved or 0.0
                entry[4] += tokens or 0.0
        self._unentered += len(batch.rows)
        if not self._scans or self._unentered > _MOST_UNENTERED:
            self._enter(keeper)

    def _enter(self, keeper: Bookkeeper) -> None:
        """Hand over to the ledger what was added up for it."""
        for place, page in self._entries.items():
            page.pop((), None)  # of rows that the feed does not want
            keeper.enter(place, page)
        self._entries.clear()
        self._unentered = 0

    def _observe(self, partition: Partition, plan: FeedPlan, groups: Sequence[Group], batch: Columns) -> None:
        assert isinstance(plan.metric, Histogram)  # noqa: S101 - the caller's branch
        bounds = plan.metric.buckets
        amounts = self._amounts(plan, batch)
        positions: Sequence[int] = range(len(amounts))
        if None in amounts:
            positions = [position for position in positions if amounts[position] is not None]
            groups = [groups[position] for position in positions]
            amounts = [amounts[position] for position in positions]
        values: Sequence[float] = amounts  # type: ignore[assignment]
        cells = partition.histograms(plan, groups)
        buckets = [bisect_left(bounds, value) for value in values]
        for cell, bucket, value in zip(cells, buckets, values, strict=True):
            cell.counts[bucket] += 1
            cell.sum += value
        if plan.metric.exemplars:
            sessions = batch.raw.get(self.table.session or "", batch.projects)
            times = [batch.times[position] for position in positions]
            _exemplify(cells, buckets, values, times, [sessions[position] for position in positions])


def _values(metric: Metric, feed: Feed) -> tuple[str, ...]:
    """The number columns that a feed's rows are counted by."""
    return (*feed.value_columns(), *([metric.tokens] if isinstance(metric, Ledger) else []))


def _exemplify(
    cells: Sequence[Buckets],
    buckets: Sequence[int],
    values: Sequence[float],
    times: Sequence[float],
    sessions: Sequence[object],
) -> None:
    """Keep each bucket's newest event. Of several at one time the first to be shown stays, for Prometheus refuses a
    second one; in one batch that is the one whose value and session sort last.
    """
    names = {session: label_text(session)[0] for session in set(sessions) if _is_fit(session)}
    named = [names.get(session, "") for session in sessions]
    newest: dict[tuple[Buckets, int], tuple[float, float, str]] = {}
    for place, event in zip(zip(cells, buckets, strict=True), zip(times, values, named, strict=True), strict=True):
        if event[2] and ((known := newest.get(place)) is None or event > known):
            newest[place] = event
    for (cell, bucket), found in newest.items():
        if cell.exemplars:
            before = cell.exemplars[bucket]
            cell.exemplars[bucket] = found if before is None or found[0] > before[0] else before


def _is_fit(session: object) -> bool:
    """Whether an exemplar can carry that session id, and client_python's parser read it there."""
    return session is not None and len(text := str(session)) <= _EXEMPLAR_ROOM and not _UNFIT.search(text)

"""Hand-offs that had to go to a paid model: after a local one failed, or because none was there.

A hand-off's predecessor is the one before it by id, of the same session and type of task. The pair is decided once
both are final, and remembered while the session is open (``catalogue.md``, "Escalation").
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from exporter.context import Context
from exporter.fold import Columns
from exporter.models import LOCAL, PAID
from exporter.sessions import Link, Sessions
from exporter.spec import UNKNOWN, Escalation, Table
from exporter.state import Row
from exporter.values import label_text

RETRY, UNAVAILABLE = "retry", "unavailable"
_TASKS = 1 << 20
_KINDS = 10_000


@dataclass(frozen=True, slots=True)
class Kind:
    """What a final hand-off is by its columns: the type of its task, whether it is a local failure, paid for, or paid
    for because the local model was not there.
    """

    task: str
    failed: bool
    paid: bool
    unavailable: bool


class Finder:
    """Tells what hand-offs are, and counts the escalations found among them."""

    def __init__(self, context: Context, declared: Escalation) -> None:
        self.context = context
        self.table = declared.table
        self._unavailable = declared.unavailable
        self._fold = context.folds[declared.found.name, "final"]
        names = (declared.model, declared.task, declared.reason, declared.table.final_when)
        self._places = [context.place(declared.table, name) for name in names]
        self._key = itemgetter(*self._places)
        self._kinds: dict[tuple[object, ...], Kind] = {}
        self._found: list[tuple[str, str, float]] = []

    def concerns(self, table: Table) -> bool:
        """Whether escalations are found, and among the rows of that table."""
        return table.name == self.table.name and bool(self._fold.feeds)

    def kind(self, row: Row) -> Kind:
        """What a hand-off is."""
        key = self._key(row)
        found = self._kinds.get(key)
        if found is None:
            if len(self._kinds) >= _KINDS:
                self._kinds.clear()
            found = self._kinds[key] = self._new_kind(*key)
        return found

    def _new_kind(self, model: object, task: object, reason: object, success: object) -> Kind:
        models = self.context.rules.models
        tier = models.tier(models.name(label_text(model or None)[0]))
        unavailable = tier == PAID and label_text(reason or None)[0] == self._unavailable
        failed = tier == LOCAL and success == 0
        return Kind(label_text(task or None)[0], failed, tier == PAID and not unavailable, unavailable)

    def can_escalate(self, rows: Sequence[Row]) -> bool:
        """Whether any of the hand-offs is a local failure or went to a paid model."""
        kinds = (self.kind(row) for row in {self._key(row): row for row in rows}.values())
        return any(kind.failed or kind.paid or kind.unavailable for kind in kinds)

    def has_result(self, row: Row) -> bool:
        """Whether a hand-off did not time out."""
        return row[self._places[3]] is not None

    def touch(self, projects: Iterable[str | None]) -> None:
        """Let the counters of these projects be born."""
        known = [project for project in dict.fromkeys(projects) if project is not None]
        self._fold.touch(known, [(0, RETRY)] * len(known))

    def found(self, reason: str, project: str, time: float) -> None:
        """One escalation more."""
        self._found.append((reason, project, time))

    def judge(self, before: Link, after: Link) -> None:
        """Count the later of two hand-offs that follow each other, if both are final and it is a retry."""
        if before.state == "failed" and after.state and after.paid:
            self.found(RETRY, after.project, after.time)

    def count(self) -> None:
        """Count what was found."""
        if self._found:
            found, self._found = self._found, []
            rows: list[Row] = [(0, reason) for reason, _, _ in found]
            self._fold.count(Columns(rows, [project for _, project, _ in found], [time for _, _, time in found]))


def _final(id_: int, kind: Kind, project: str, time: float, *, late: bool) -> Link:
    """A hand-off that is final; ``late``: after its session's end, so that it makes no pair."""
    state = "failed" if kind.failed and not late else "done"
    return Link(id_, state, kind.paid and not late, project, time)


class Escalations:
    """Escalations as rows are read, of the open sessions."""

    def __init__(self, finder: Finder, sessions: Sessions) -> None:
        self.finder = finder
        self.sessions = sessions

    def enter(self, rows: Sequence[Row], slots: Sequence[int]) -> None:
        """Remember hand-offs that were read."""
        for row, slot in zip(rows, slots, strict=True):
            if slot >= 0:
                chain = self.sessions.chains.setdefault(slot, {}).setdefault(self.finder.kind(row).task, [])
                insort(chain, Link(row[0]), key=_id)  # type: ignore[arg-type]
                self._note(slot)

    def settle(
        self, rows: Sequence[Row], projects: Sequence[str], slots: Sequence[int], times: Sequence[float]
    ) -> None:
        """Count what is an escalation now that these hand-offs are final, by the times of their results."""
        finder = self.finder
        finder.touch(projects)
        for row, project, slot, time in zip(rows, projects, slots, times, strict=True):
            kind = finder.kind(row)
            if kind.unavailable:
                finder.found(UNAVAILABLE, project, time)
            if slot >= 0:
                late = time > self.sessions.until[slot]
                self._conclude(slot, kind.task, _final(row[0], kind, project, time, late=late))  # type: ignore[arg-type]
        finder.count()

    def _note(self, slot: int) -> None:
        self.finder.context.state.changed_sessions.add(self.sessions.id[slot])

    def _conclude(self, slot: int, task: str, link: Link) -> None:
        chains = self.sessions.chains.get(slot, {})
        chain = chains.get(task, [])
        place = next((n for n, known in enumerate(chain) if known.id == link.id), -1)
        if place < 0:
            return
        chain[place] = link
        self._note(slot)
        for before, after in zip(chain[max(0, place - 1) : place + 1], chain[max(1, place) : place + 2], strict=False):
            self.finder.judge(before, after)
        while len(chain) > 1 and chain[0].state and chain[1].state:
            del chain[0]
        if len(chain) == 1 and chain[0].state == "done":
            del chains[task]


@dataclass(slots=True)
class ScannedEscalations:
    """Escalations in a scan of all rows: of a session and task, whether the last hand-off was a local failure."""

    finder: Finder
    sessions: Sessions
    timeout_s: float
    _tasks: dict[str, int] = field(default_factory=dict)
    _failed: set[int] = field(default_factory=set)
    _chains: dict[int, list[Link]] = field(default_factory=dict)
    """Where a hand-off is in flight: it and those after it, link by link."""
    _late: list[tuple[int, str, float]] = field(default_factory=list)
    """Retries that timed out, by slot, project and deadline: whether their session was open then shows in the end."""

    def take(
        self,
        rows: Sequence[Row],
        slots: Sequence[int],
        projects: Sequence[str | None],
        times: Sequence[float],
        *,
        kept: set[int],
    ) -> None:
        """Take in the next hand-offs; those at the positions ``kept`` are in flight."""
        finder, failed, chains, until = self.finder, self._failed, self._chains, self.sessions.until
        finder.touch(projects)
        if not (kept or failed or chains or finder.can_escalate(rows)):
            return
        kinds, tasks = finder.kind, self._tasks
        for n, (row, slot, time) in enumerate(zip(rows, slots, times, strict=True)):
            kind = kinds(row)
            if kind.unavailable and n not in kept:
                finder.found(UNAVAILABLE, projects[n] or UNKNOWN, time)
            if slot < 0:
                continue
            key = slot * _TASKS + tasks.setdefault(kind.task, len(tasks))
            if n in kept or key in chains:
                self._link(key, row, kind, projects[n] or UNKNOWN, time, kept=n in kept)
                continue
            if key in failed:
                failed.discard(key)
                if kind.paid:
                    self._retry(row, slot, projects[n] or UNKNOWN, time)
            if kind.failed and time <= until[slot]:
                failed.add(key)
        finder.count()

    def _retry(self, row: Row, slot: int, project: str, time: float) -> None:
        if not self.finder.has_result(row):
            self._late.append((slot, project, time + self.timeout_s))
        elif time <= self.sessions.until[slot]:
            self.finder.found(RETRY, project, time)

    def _link(self, key: int, row: Row, kind: Kind, project: str, time: float, *, kept: bool) -> None:
        chain = self._chains.setdefault(key, [])
        if key in self._failed:
            self._failed.discard(key)
            chain.append(_FAILURE)
        result = time if self.finder.has_result(row) else time + self.timeout_s
        late = result > self.sessions.until[key // _TASKS]
        id_: int = row[0]  # type: ignore[assignment]
        chain.append(Link(id_) if kept else _final(id_, kind, project, time, late=late))
        if len(chain) > 1:
            self.finder.judge(chain[-2], chain[-1])

    def finish(self, final_at: Callable[[int], float]) -> None:
        """All rows were taken in; ``final_at`` is the time at which a slot's session is over."""
        for slot, project, deadline in self._late:
            if deadline <= final_at(slot):
                self.finder.found(RETRY, project, deadline)
        self.finder.count()

    def remembered(self, slots: Mapping[int, int]) -> Iterator[tuple[int, str, list[Link]]]:
        """Of open sessions slot, task and links; ``slots`` are the state's, by the scan's."""
        tasks = list(self._tasks)
        chains: dict[int, list[Link]] = {key: [_FAILURE] for key in self._failed}
        for key, chain in (chains | self._chains).items():
            if key // _TASKS in slots:
                yield slots[key // _TASKS], tasks[key % _TASKS], chain


_FAILURE = Link(-(2**63), "failed")
"""A local failure before all that is in flight."""


def _id(link: Link) -> int:
    return link.id

"""Sessions that are not over: what they have done so far, as arrays, by the slot each one has.

The same arrays serve a first scan, which sees every session there ever was (61 bytes each, found by hash, without
their texts), and the running exporter, which keeps the open ones (found by session id or row id).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, isnan, nan
from typing import NamedTuple

GRACE_S = 60.0
"""How long after ``end_time`` a session is final: its last events may be committed after its end."""


class Link(NamedTuple):
    """A hand-off in the chain of those of one session and type of task, in the order of their ids.

    ``state`` is empty while it is in flight, ``failed`` for a local failure, else ``done``; ``paid``: it is a retry if
    it follows one.
    """

    id: int
    state: str = ""
    paid: bool = False
    project: str = ""
    time: float = 0.0


@dataclass(slots=True)
class SessionRow:
    """One row of the sessions table, its values checked."""

    id: int
    key: str | bytes | None
    project: str
    start: float | None
    end: float | None
    completed: float
    failed: float
    time: float
    """The event time: the start, or the time of reading where that is unusable."""
    faults: int = 0


class Sessions:
    """Sessions by slot. ``bulk`` ones are found by the hash of their session id, once ``seal`` has sorted them."""

    def __init__(self, *, bulk: bool = False) -> None:
        self.bulk = bulk
        self.id = array("q")
        self.start = array("d")
        self.end = array("d")
        self.activity = array("d")
        self.cost = array("d")
        self.handoffs = array("q")
        self.subagents = array("q")
        self.completed = array("d")
        self.failed = array("d")
        self.until = array("d")
        """The latest event time that still counts into the session's histograms, as far as its row tells."""
        self.faults = bytearray()
        """What of the row is rejected when the session ends; the meaning is the engine's."""
        self.ended = bytearray()
        """1 where the session was counted as ended before, and is only active again."""
        self.project: list[str] = []
        self.keys: list[str | bytes | None] = []
        self.chains: dict[int, dict[str, list[Link]]] = {}
        """By slot and type of task, the hand-offs that may yet make an escalation."""
        self._by_key: dict[str | bytes, int] = {}
        self._by_id: dict[int, int] = {}
        self._free: list[int] = []
        self._hashes: array[int] = array("q")
        self._slots: array[int] = array("q")

    def __len__(self) -> int:
        return len(self.id) if self.bulk else len(self._by_id)

    def slots(self) -> Iterable[int]:
        """The slots in use."""
        return range(len(self.id)) if self.bulk else list(self._by_id.values())

    def add(self, row: SessionRow, *, ended: bool = False) -> int:
        """Take up a session; its slot."""
        slot = self._free.pop() if self._free else self._grow()
        self.id[slot] = row.id
        self.activity[slot] = row.time
        self.cost[slot] = 0.0
        self.handoffs[slot] = self.subagents[slot] = 0
        self.ended[slot] = ended
        self._write(slot, row)
        if self.bulk:
            self._hashes.append(hash(row.key))
        else:
            self._by_id[row.id] = slot
            self._name(slot, row.key)
        return slot

    def _grow(self) -> int:
        for column in (self.id, self.handoffs, self.subagents):
            column.append(0)
        for times in (self.start, self.end, self.activity, self.cost, self.completed, self.failed, self.until):
            times.append(0.0)
        self.ended.append(0)
        self.faults.append(0)
        self.project.append("")
        if not self.bulk:
            self.keys.append(None)
        return len(self.id) - 1

    def _write(self, slot: int, row: SessionRow) -> None:
        self.start[slot] = nan if row.start is None else row.start
        self.end[slot] = nan if row.end is None else row.end
        self.until[slot] = inf if row.end is None else row.end + GRACE_S
        self.completed[slot] = row.completed
        self.failed[slot] = row.failed
        self.faults[slot] = row.faults
        self.project[slot] = row.project

    def update(self, slot: int, row: SessionRow) -> bool:
        """Take over what the row says now, its id included; False where that is nothing new."""
        before = (self.id[slot], self._values(slot))
        if row.id != self.id[slot]:
            del self._by_id[self.id[slot]]
            self.id[slot] = row.id
            self._by_id[row.id] = slot
        if row.key != self.keys[slot]:
            self._name(slot, row.key)
        self._write(slot, row)
        return before != (self.id[slot], self._values(slot))

    def _name(self, slot: int, key: str | bytes | None) -> None:
        """Find the slot by this session id from now on."""
        before = self.keys[slot]
        if before is not None and self._by_key.get(before) == slot:
            del self._by_key[before]
        self.keys[slot] = key
        if key is not None:
            self._by_key[key] = slot

    def is_same(self, slot: int, row: SessionRow) -> bool:
        """False where another session's row has taken the id: neither session id nor start is what it was."""
        return row.key == self.keys[slot] or row.start == self.start[slot]

    def _values(self, slot: int) -> tuple[str, ...]:
        columns = (self.project, self.start, self.end, self.completed, self.failed, self.faults, self.keys)
        return tuple(str(column[slot]) for column in columns)

    def seal(self) -> None:
        """Sort the hashes of a bulk's session ids; sessions added later are not found."""
        order = sorted(range(len(self._hashes)), key=self._hashes.__getitem__)
        self._slots = array("q", order)
        self._hashes = array("q", (self._hashes[slot] for slot in order))

    def find(self, keys: Sequence[object]) -> list[int]:
        """The slot of each session id, -1 where there is none."""
        found = {key: self._find(key) for key in set(keys)}
        return [found[key] for key in keys]

    def _find(self, key: object) -> int:
        if not self.bulk:
            return self._by_key.get(key, -1)  # type: ignore[call-overload, no-any-return]
        if key is None or key == "":
            return -1
        wanted = hash(key)
        position = bisect_left(self._hashes, wanted)
        if position < len(self._hashes) and self._hashes[position] == wanted:
            return self._slots[position]
        return -1

    def slot_of_row(self, id_: int) -> int:
        """The slot of the session with that row id, -1 where there is none."""
        return self._by_id.get(id_, -1)

    def row_ids(self) -> list[int]:
        """The row ids of the open sessions."""
        return list(self._by_id)

    def remove(self, slot: int) -> None:
        """Forget the session; its slot will be used again."""
        del self._by_id[self.id[slot]]
        self._name(slot, None)
        self.chains.pop(slot, None)
        self._free.append(slot)

    def final_at(self, slot: int, idle_timeout_s: float) -> tuple[float, str]:
        """When the session is over as things stand, and whether that is ``closed`` or ``idle``."""
        end = self.end[slot]
        if isnan(end):
            return self.activity[slot] + idle_timeout_s, "idle"
        return end + GRACE_S, "closed"

    def outcome(self, slot: int) -> str:
        """``completed`` without a failed task, ``failed`` without a completed one, else ``partial``."""
        if not self.failed[slot]:
            return "completed"
        return "partial" if self.completed[slot] else "failed"

    def ended_row(self, slot: int, how: str) -> tuple[object, ...]:
        """The row of the virtual table ``session_ends`` for a session that ends now."""
        end = self.end[slot] if how == "closed" else self.activity[slot]
        duration = end - self.start[slot]
        return (
            *(self.id[slot], self.outcome(slot), how),
            *(None if isnan(duration) else duration, self.cost[slot], self.handoffs[slot], self.subagents[slot]),
        )

    def dump(self, slot: int) -> list[object]:
        """The slot as JSON can hold it."""
        key = self.keys[slot]
        return [
            *(self.id[slot], key.hex() if isinstance(key, bytes) else key, isinstance(key, bytes)),
            *(self.project[slot], *(None if isnan(v) else v for v in (self.start[slot], self.end[slot]))),
            *(self.completed[slot], self.failed[slot], self.activity[slot], self.cost[slot]),
            *(self.handoffs[slot], self.subagents[slot], self.ended[slot], self.faults[slot]),
            self.chains.get(slot, {}),
        ]

    def load(self, values: Sequence[object]) -> None:
        """Take up what ``dump`` wrote, over an older entry of the same row where there is one."""
        id_, key, binary, project, start, end, completed, failed, activity, cost, *counts = values
        handoffs, subagents, ended, faults, chains = counts
        if (old := self.slot_of_row(id_)) >= 0:  # type: ignore[arg-type]
            self.remove(old)
        name = bytes.fromhex(key) if binary else key  # type: ignore[arg-type]
        row = SessionRow(id_, name, project, start, end, completed, failed, activity, faults)  # type: ignore[arg-type]
        slot = self.add(row, ended=bool(ended))
        self.cost[slot] = cost  # type: ignore[call-overload]
        self.handoffs[slot] = handoffs  # type: ignore[call-overload]
        self.subagents[slot] = subagents  # type: ignore[call-overload]
        if chains:
            self.chains[slot] = {task: [Link(*link) for link in links] for task, links in chains.items()}  # type: ignore[attr-defined]

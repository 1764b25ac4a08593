"""Which rows of a table have been read: remembered by digests, so that a changed past is recognised.

``counting.md``, "Restore, replacement, retention", is the source of the rules. Remembered are the newest 65,536 rows
read, the first, and every 1,024th of those before; of each, one digest per identity column.
"""

from __future__ import annotations

import hashlib
from array import array
from base64 import b64decode, b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

NEWEST = 65_536
EVERY = 1_024
COMPARED = 64
"""How many of the newest remembered rows each read compares."""
_SAME_COLUMN = 0.9
_NULL = 0

Digests = tuple[int, ...]
"""One 64-bit digest per identity column; 0 stands for NULL."""


def digest(value: object) -> int:
    """A 64-bit digest of one value, the same in every process; 0 for NULL and for nothing else."""
    if value is None:
        return _NULL
    data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") or 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a changed past turned out to be.

    ``edited``: rows were changed in place, nothing is to be counted. ``rewound``: reading starts again above
    ``known`` (None: from the start); ``next`` is the next remembered row that is present (None: there is none).
    """

    kind: Literal["edited", "rewound"]
    known: int | None = None
    next: int | None = None


class Memory:
    """The remembered rows of one table, ordered by id; an id may be remembered with several digests.

    ``width`` is the number of identity columns; ``newest`` and ``every`` are the rule's numbers, smaller in tests.
    """

    __slots__ = ("_dropped", "digests", "every", "ids", "newest", "sparse", "width")

    def __init__(self, width: int, *, newest: int = NEWEST, every: int = EVERY) -> None:
        self.width = width
        self.newest = newest
        self.every = every
        self.ids = array("q")
        self.digests = array("Q")
        self.sparse: set[int] = set()
        self._dropped = 0

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, ids: Sequence[int], digests: Sequence[Digests], *, sparse: bool = False) -> None:
        """Remember rows; ``ids`` ascend within a call. What is remembered by the same digests already is no news.

        ``sparse`` rows are among those kept for ever.
        """
        if not ids:
            return
        if sparse:
            self.sparse.update(ids)
        if self.ids and ids[0] <= self.ids[-1]:
            self._merge(ids, digests)
            return
        self.ids.extend(ids)
        for row in digests:
            self.digests.extend(row)

    def _merge(self, ids: Sequence[int], digests: Sequence[Digests]) -> None:
        fresh = [(id_, row) for id_, row in zip(ids, digests, strict=True) if row not in self.known(id_)]
        entries = [(id_, self._row(position)) for position, id_ in enumerate(self.ids)]
        entries = sorted(entries + fresh, key=lambda entry: entry[0])
        self.ids = array("q", (id_ for id_, _ in entries))
        self.digests = array("Q", (value for _, row in entries for value in row))

    def thin(self) -> None:
        """Drop what is older than the newest rows, but for the first row and every 1,024th.

        Does nothing until a sixteenth too many has gathered, so that its cost is spread over many reads.
        """
        excess = len(self.ids) - self.newest
        if excess - len(self.sparse) <= self.newest // 16:
            return
        while excess and self.ids[excess - 1] == self.ids[excess]:  # all forms of a row, or none
            excess -= 1
        kept = list(self._kept(excess))
        ids = array("q", (self.ids[position] for position in kept))
        self.digests = array("Q", (value for p in kept for value in self._row(p))) + self.digests[excess * self.width :]
        self.ids = ids + self.ids[excess:]
        self.sparse = set(ids)

    def _kept(self, excess: int) -> Iterable[int]:
        """Of the oldest positions those to keep: the first row's, every so manyth's, each with all its digests."""
        keeps = False
        for position in range(excess):
            if not position or self.ids[position] != self.ids[position - 1]:
                keeps = self._keeps(self.ids[position], first=not position)
            if keeps:
                yield position

    def _keeps(self, id_: int, *, first: bool) -> bool:
        if id_ in self.sparse:
            return True
        self._dropped += 1
        if not first and self._dropped < self.every:
            return False
        self._dropped = 0
        return True

    def known(self, id_: int) -> list[Digests]:
        """All digests the row of that id is remembered by; empty where it is not remembered."""
        return [self._row(position) for position in range(bisect_left(self.ids, id_), bisect_right(self.ids, id_))]

    def last(self, cursor: int, count: int = COMPARED) -> list[int]:
        """The ids of the newest remembered rows at or below ``cursor``, ascending."""
        end = bisect_right(self.ids, cursor)
        return sorted(set(self.ids[max(0, end - count) : end]))

    def values(self, column: int) -> Iterable[int]:
        """The remembered digests of one identity column."""
        return self.digests[column :: self.width]

    def differs(self, present: Mapping[int, Digests]) -> bool:
        """True when a remembered row is there with other values than any it is remembered by."""
        return any((known := self.known(id_)) and row not in known for id_, row in present.items())

    def judge(self, present: Mapping[int, Digests], *, cursor: int, sequence: int) -> Verdict | None:
        """What happened to a past that looks changed; None where every remembered row is as it was.

        ``present`` are the remembered rows that are there now, ``sequence`` the highest id ever given by the database.
        """
        read = sorted(id_ for id_ in present if id_ <= cursor)
        known = next((id_ for id_ in reversed(read) if present[id_] in self.known(id_)), None)
        above = [id_ for id_ in read if known is None or id_ > known]
        if sequence >= cursor and self._edited(above, present):
            return Verdict("edited") if self.differs({id_: present[id_] for id_ in read}) else None
        after = min((id_ for id_ in present if known is None or id_ > known), default=None)
        return Verdict("rewound", known, after)

    def _edited(self, ids: Sequence[int], present: Mapping[int, Digests]) -> bool:
        """True when nine of ten rows are still the same in one and the same column, by a value that is not NULL.

        So it is of no rows at all: what differs below a row that is as it was can only have been edited.
        """
        return any(
            sum(self._same(id_, column, present[id_][column]) for id_ in ids) >= _SAME_COLUMN * len(ids)
            for column in range(self.width)
        )

    def _same(self, id_: int, column: int, value: int) -> bool:
        return value != _NULL and any(row[column] == value for row in self.known(id_))

    def dump(self) -> list[object]:
        """All of it as JSON can hold it: arrays in base64, as numbers they would be three times as long."""
        return [_text(self.ids), _text(self.digests), sorted(self.sparse)]

    def load(self, written: Sequence[Any]) -> None:
        """Take up what ``dump`` wrote.

        Raises:
            ValueError: it does not hold together.
        """
        ids, digests, sparse = written
        self.ids, self.digests = _arrays(ids, digests, self.width)
        self.sparse = set(sparse)

    def _row(self, position: int) -> Digests:
        return tuple(self.digests[position * self.width : (position + 1) * self.width])


def dump_rows(ids: Iterable[int], rows: Iterable[Digests]) -> tuple[str, str]:
    """Ids and digests of rows in base64: as JSON numbers they would be a third of the time that a delta takes."""
    return _text(array("q", ids)), _text(array("Q", chain.from_iterable(rows)))


def load_rows(ids: str, digests: str, width: int) -> tuple[list[int], list[Digests]]:
    """Rows that ``dump_rows`` wrote, of ``width`` digests each.

    Raises:
        ValueError: they do not hold together.
    """
    numbers, values = _arrays(ids, digests, width)
    return list(numbers), [tuple(values[n : n + width]) for n in range(0, len(values), width)]


def _arrays(ids: str, digests: str, width: int) -> tuple[array[int], array[int]]:
    numbers, values = array("q", b64decode(ids)), array("Q", b64decode(digests))
    if len(values) != len(numbers) * width:
        raise ValueError(f"{len(values)} digests of {len(numbers)} rows: not {width} each")
    return numbers, values


def _text(values: array[int]) -> str:
    return b64encode(values.tobytes()).decode("ascii")

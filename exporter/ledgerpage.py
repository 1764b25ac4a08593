"""A page of the ledger: what is booked on one day, or in one hour of it; open, or packed away.

A year of a large platform's books is a million entries, of 52 bytes each. What happens, happens now: but for the
newest, pages are hardly ever booked on again, and packed an entry takes about 16, which need not be in memory.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

COLUMNS = ("cost", "baseline", "net_savings", "tokens", "events", "failures")
"""USD, USD, USD, tokens, rows, rows that failed."""
WIDTH = len(COLUMNS)
_LEVEL = 1
"""A quarter of the time of zlib's own 6, for a twentieth more bytes."""


class Elsewhere(Protocol):
    """Bytes that are not in memory."""

    def read(self) -> bytes:
        """Fetch them, or raise what ends the process: they are not to be had any more."""


PutAside = Callable[[bytes], bytes | Elsewhere]
"""Puts bytes where they can be read again; those that it cannot take are returned as they are."""


def kept(data: bytes) -> bytes:
    """Puts nothing aside."""
    return data


@dataclass(slots=True)
class Page:
    """Numbers of accounts, and for each of them one amount for each of ``COLUMNS``."""

    accounts: array[int] = field(default_factory=lambda: array("I"))
    amounts: array[float] = field(default_factory=lambda: array("d"))

    def __len__(self) -> int:
        return len(self.accounts)

    def open(self) -> Self:
        """The page itself: what is booked on it stays."""
        return self

    def pack(self, put_aside: PutAside) -> Packed:
        """The entries packed away: a column at a time, as what stands together then is alike."""
        columns = [self.amounts[n::WIDTH].tobytes() for n in range(WIDTH)]
        data = zlib.compress(b"".join([self.accounts.tobytes(), *columns]), _LEVEL)
        return Packed(len(self), put_aside(data))

    def numbers(self) -> array[int]:
        """Of each entry the number of its account."""
        return self.accounts


@dataclass(frozen=True, slots=True)
class Packed:
    """As many entries, packed away, here or elsewhere."""

    entries: int
    data: bytes | Elsewhere

    def __len__(self) -> int:
        return self.entries

    def open(self) -> Page:
        """A page of these entries, the same to the bit."""
        data = zlib.decompress(self._bytes())
        columns = array("d", data[self._begin :])
        page = Page(array("I", data[: self._begin]), array("d", bytes(len(data) - self._begin)))
        for n in range(WIDTH):
            page.amounts[n::WIDTH] = columns[n * self.entries : (n + 1) * self.entries]
        return page

    def pack(self, put_aside: PutAside) -> Packed:
        """Itself; put aside, if it was in memory still."""
        return Packed(self.entries, put_aside(self.data)) if isinstance(self.data, bytes) else self

    def numbers(self) -> array[int]:
        """Of each entry the number of its account; the amounts stay packed."""
        return array("I", zlib.decompressobj().decompress(self._bytes(), self._begin))

    def _bytes(self) -> bytes:
        return self.data if isinstance(self.data, bytes) else self.data.read()

    @property
    def _begin(self) -> int:
        """Where the amounts begin."""
        return array("I").itemsize * self.entries


def renumbered(page: Page, numbers: Sequence[int]) -> Page:
    """The page with other numbers for its accounts: ``numbers`` has the new one of each."""
    return Page(array("I", [numbers[number] for number in page.accounts]), page.amounts)

"""The calendar's books: what was spent on each day, and in each hour of the last two months.

Kept by day, project, component and model for 400 days, the last 62 of them also by hour. No clock: who books says
what day it is.
"""

from __future__ import annotations

from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from exporter.localtime import WHOLE, Place, Span, day_of, hour_of, place

KEPT_DAYS = 400
KEPT_HOURS_DAYS = 62
COLUMNS = ("cost", "baseline", "net_savings", "tokens", "events", "failures")
"""USD, USD, USD, tokens, rows, rows that failed."""
HANDOFF = "handoff"
MEDIAN_DAYS = 7

Account = tuple[str, str, str]
"""Project, component and model, as label values."""
Amounts = Sequence[float]
"""One number for each of ``COLUMNS``."""
Sums = dict[str, list[float]]
"""By project, one number for each of ``READ``."""
READ = ("cost", "baseline", "net_savings", "tokens", "handoffs")
"""What is read off the ledger by project: ``handoffs`` are the events of that component."""


class Ledger:
    """The books of one source. What was booked is noted in ``changed`` until ``delta`` writes it down."""

    def __init__(self) -> None:
        self.zone = ""
        """The time zone whose days these are; empty while nothing was booked."""
        self.books: dict[Place, dict[Account, array[float]]] = {}
        self.changed: set[tuple[Place, Account]] = set()
        self.version = 0
        """Another one after each booking."""
        self._sums: dict[Place, Sums] = {}
        self._projects: set[str] | None = None

    def __len__(self) -> int:
        return sum(map(len, self.books.values()))

    # ── booking ──────────────────────────────────────────────────────────────────────────────────────────────

    def book(self, at: Place, account: Account, amounts: Amounts, *, today: int) -> None:
        """Add to an hour and its day; what is too old is left out."""
        day = day_of(at)
        if day > today - KEPT_DAYS:
            self._add(place(day), account, amounts)
        if day > today - KEPT_HOURS_DAYS:
            self._add(at, account, amounts)

    def _add(self, at: Place, account: Account, amounts: Amounts) -> None:
        accounts = self.books.setdefault(at, {})
        entry = accounts.get(account)
        if entry is None:
            accounts[account] = array("d", amounts)
        else:
            for n, amount in enumerate(amounts):
                entry[n] += amount
        self._note(at, account)

    def _note(self, at: Place, account: Account) -> None:
        self.changed.add((at, account))
        self._sums.pop(at, None)
        self.version += 1
        if self._projects is not None:
            self._projects.add(account[0])

    def prune(self, today: int) -> None:
        """Forget what is too old."""
        for at in list(self.books):
            kept = KEPT_DAYS if hour_of(at) == WHOLE else KEPT_HOURS_DAYS
            if day_of(at) <= today - kept:
                del self.books[at]
                self._sums.pop(at, None)
                self._projects = None
                self.version += 1
        self.changed = {(at, account) for at, account in self.changed if at in self.books}

    def rename(self, renamed: Callable[[Account], Account]) -> None:
        """Merge accounts into those that ``renamed`` names."""
        for at, accounts in self.books.items():
            for account in list(accounts):
                into = renamed(account)
                if into != account:
                    amounts = accounts.pop(account)
                    self.changed.discard((at, account))
                    self._add(at, into, amounts)
        self._projects = None

    def replace(self, other: Ledger, *, after: int | None) -> None:
        """Take over another ledger's days after that one (None: all of them); older ones stay as they are."""
        kept = {at: accounts for at, accounts in self.books.items() if after is not None and day_of(at) <= after}
        fresh = {at: accounts for at, accounts in other.books.items() if after is None or day_of(at) > after}
        self.books = kept | fresh
        self._sums.clear()
        self._projects = None
        self.version += 1

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

    def first_day(self) -> int | None:
        """The oldest day that something was booked on."""
        return min(map(day_of, self.books), default=None)

    def projects(self) -> set[str]:
        """The projects that something was booked for."""
        if self._projects is None:
            whole = (accounts for at, accounts in self.books.items() if hour_of(at) == WHOLE)
            self._projects = {account[0] for accounts in whole for account in accounts}
        return self._projects

    def sums(self, span: Span) -> Sums:
        """What a span of days comes to, by project."""
        found: Sums = {}
        for day in range(span.first, span.last + 1):
            if day == span.last and span.hours is not None:
                self._add_hours(found, day, span.hours)
            else:
                _add_sums(found, self._summed(place(day)), 1.0)
        return found

    def _add_hours(self, found: Sums, day: int, hours: float) -> None:
        for hour in range(int(hours) + 1):
            _add_sums(found, self._summed(place(day, hour)), min(1.0, hours - hour))

    def _summed(self, at: Place) -> Sums:
        sums = self._sums.get(at)
        if sums is None:
            sums = {}
            for (project, component, _), entry in self.books.get(at, {}).items():
                into = sums.setdefault(project, [0.0] * len(READ))
                for n in range(4):
                    into[n] += entry[n]
                into[4] += entry[4] if component == HANDOFF else 0.0
            if at in self.books:
                self._sums[at] = sums
        return sums

    def whole_day(self, day: int) -> tuple[float, float]:
        """What a day cost, and what it saved net, in USD."""
        sums = self._summed(place(day)).values()
        return sum(amounts[0] for amounts in sums), sum(amounts[2] for amounts in sums)

    def daily_medians(self, today: int) -> dict[str, float]:
        """By project the median cost of the seven days before today."""
        days = [self._summed(place(today - back)) for back in range(1, MEDIAN_DAYS + 1)]
        nothing = [0.0] * len(READ)
        return {project: median(day.get(project, nothing)[0] for day in days) for project in self.projects()}

    def cost(self, at: Place, belongs: Callable[[Account], bool]) -> float:
        """What those accounts cost at a place."""
        return sum(entry[0] for account, entry in self.books.get(at, {}).items() if belongs(account))

    # ── written form ─────────────────────────────────────────────────────────────────────────────────────────

    def dump(self) -> dict[str, Any]:
        """All of it, an account at a time; arrays in base64: a hundred thousand entries as JSON take 60 MB to write."""
        by_account: dict[Account, tuple[array[int], array[float]]] = {}
        for at, accounts in self.books.items():
            for account, entry in accounts.items():
                places, values = by_account.setdefault(account, (array("q"), array("d")))
                places.append(at)
                values.extend(entry)
        written = [[*account, _text(places), _text(values)] for account, (places, values) in by_account.items()]
        return {"accounts": written}

    def delta(self) -> list[list[Any]]:
        """What changed since it was last written down."""
        return [[at, *account, list(self.books[at][account])] for at, account in self.changed]

    def load(self, written: Mapping[str, Any]) -> None:
        """Take up what ``dump`` wrote.

        Raises:
            ValueError: it does not hold together.
        """
        width = len(COLUMNS)
        for project, component, model, places_text, values_text in written["accounts"]:
            places, values = array("q", b64decode(places_text)), array("d", b64decode(values_text))
            if len(values) != width * len(places):
                raise ValueError(f"{len(values)} amounts for {len(places)} entries of the ledger: not {width} each")
            for n, at in enumerate(places):
                entry = values[n * width : (n + 1) * width]
                self.books.setdefault(at, {})[(project, component, model)] = entry
        self._projects = None
        self.version += 1

    def apply(self, written: Iterable[Sequence[Any]]) -> None:
        """Take up what ``delta`` wrote."""
        for at, project, component, model, amounts in written:
            account = (project, component, model)
            self.books.setdefault(at, {})[account] = array("d", amounts)
            self._note(at, account)


def _add_sums(found: Sums, sums: Sums, share: float) -> None:
    for project, amounts in sums.items():
        into = found.setdefault(project, [0.0] * len(READ))
        for n, amount in enumerate(amounts):
            into[n] += share * amount


def _text(values: array[Any]) -> str:
    return b64encode(values.tobytes()).decode("ascii")

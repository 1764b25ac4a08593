"""The calendar's books: what was spent on each day, and in each hour of the last two months.

Kept by day, project, component and model for 400 days, the last 62 of them also by hour. No clock: who books says
what day it is.
"""

from __future__ import annotations

from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from exporter.ledgerpage import WIDTH, Packed, Page, PutAside, kept, renumbered
from exporter.localtime import WHOLE, Place, Span, day_of, first_hours, hour_of, place, whole_days

KEPT_DAYS = 400
KEPT_HOURS_DAYS = 62
_OPEN_PAGES = 16
"""So many are booked on before those that were are packed away: a day, and more of its hours than a hand-off may take
[with 64, a platform of 84 projects and 20 models had 10 MB of them in a scan of a year]."""
_KEPT_RUNS = 64
_NOTHING = Page().pack(kept)
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
    """The books of one source. What was booked is noted in ``changed`` until ``delta`` writes it down.

    Pages are packed away but for those booked on at last [as objects of their own, the entries of a platform of 84
    projects and 20 models fill 400 MB, as open pages 54, packed 17], and put aside by ``put_aside``. ``noted`` is False
    where nothing will be written down, nor read before another ledger takes it over.
    """

    def __init__(self, *, noted: bool = True, put_aside: PutAside = kept) -> None:
        self.put_aside = put_aside
        self.zone = ""
        """The time zone whose days these are; empty while nothing was booked."""
        self.changed: set[tuple[Place, Account]] = set()
        self.version = 0
        """Another one after each booking."""
        self._noted = noted
        self._accounts: list[Account] = []
        self._numbers: dict[Account, int] = {}
        self._pages: dict[Place, Page | Packed] = {}
        self._open: dict[Place, tuple[Page, dict[int, int]]] = {}
        """The pages booked on at last, as they are among all, and the row of each account; all others are packed."""
        self._sums: dict[Place, Sums] = {}
        self._runs: dict[range, Sums] = {}
        """What places in a row come to, days or hours of one: a month's past is not added up at every look."""
        self._medians: tuple[int, dict[str, float]] | None = None
        """What each project's days before that one cost in the middle, until one of them is booked on."""
        self._last_day = 0
        """No day after it has a page."""
        self._projects: set[str] | None = None

    def __len__(self) -> int:
        return sum(map(len, self._pages.values()))

    # ── booking ──────────────────────────────────────────────────────────────────────────────────────────────

    def book(self, at: Place, entries: Mapping[Account, Amounts], *, today: int) -> None:
        """Add to an hour and its day; what is too old is left out."""
        day = day_of(at)
        numbered = {self._number(account): amounts for account, amounts in entries.items()}
        if day > today - KEPT_DAYS:
            self._add(place(day), numbered)
        if day > today - KEPT_HOURS_DAYS and at != place(day):
            self._add(at, numbered)

    def _add(self, at: Place, numbered: Mapping[int, Amounts]) -> None:
        """Add to a page, by the numbers of the accounts."""
        page, rows = self._opened(at)
        booked = page.amounts
        for number, amounts in numbered.items():
            row = rows.get(number)
            if row is None:
                rows[number] = len(page.accounts)
                page.accounts.append(number)
                booked.extend(amounts)
            else:
                for n, amount in enumerate(amounts, WIDTH * row):
                    if amount:
                        booked[n] += amount
        if self._noted:
            self._note(at, [self._accounts[number] for number in numbered])

    def _number(self, account: Account) -> int:
        number = self._numbers.get(account)
        if number is None:
            number = self._numbers[account] = len(self._accounts)
            self._accounts.append(account)
        return number

    def _opened(self, at: Place) -> tuple[Page, dict[int, int]]:
        """The page to be booked on, and the row of each account."""
        found = self._open.get(at)
        if found is None:
            if len(self._open) >= _OPEN_PAGES:
                self._leave()
            page = self._pages[at] = self._pages.get(at, Page()).open()
            self._last_day = max(self._last_day, day_of(at))
            found = self._open[at] = page, {number: row for row, number in enumerate(page.accounts)}
        return found

    def _leave(self) -> None:
        """Pack the pages away that are open."""
        for at, (page, _) in self._open.items():
            self._pages[at] = page.pack(self.put_aside)
        self._open.clear()

    def _note(self, at: Place, accounts: Sequence[Account]) -> None:
        self.changed.update((at, account) for account in accounts)
        self._sums.pop(at, None)
        self._runs = {run: sums for run, sums in self._runs.items() if at not in run}
        self.version += 1
        projects = {project for project, _, _ in accounts}
        known = self._medians
        if known is not None and (day_of(at) < known[0] or not projects <= known[1].keys()):
            self._medians = None
        if self._projects is not None:
            self._projects |= projects

    def prune(self, today: int) -> None:
        """Forget what is too old."""
        old = [at for at in self._pages if day_of(at) <= today - self._kept_days(at)]
        if old:
            self._leave()
            for at in old:
                del self._pages[at]
            self._moved()
        self.changed = {(at, account) for at, account in self.changed if at in self._pages}

    @staticmethod
    def _kept_days(at: Place) -> int:
        return KEPT_DAYS if hour_of(at) == WHOLE else KEPT_HOURS_DAYS

    def _moved(self) -> None:
        """Entries went elsewhere: work out anew what was made of them."""
        self._sums.clear()
        self._runs.clear()
        self._medians = None
        self._last_day = max(map(day_of, self._pages), default=0)
        self._projects = None
        self.version += 1

    def rename(self, renamed: Callable[[Account], Account]) -> None:
        """Merge accounts into those that ``renamed`` names."""
        if all(renamed(account) == account for account in self._accounts):
            return
        self._leave()
        before, self._pages, self.changed = self._pages, {}, set()
        self._moved()
        for at in list(before):
            for account, amounts in self._read(before.pop(at)):
                self._add(at, {self._number(renamed(account)): amounts})

    def replace(self, other: Ledger, *, after: int | None) -> None:
        """Take over another ledger's days after that one (None: all of them); older ones stay as they are."""
        self._leave()
        self._pages = {at: page for at, page in self._pages.items() if after is not None and day_of(at) <= after}
        numbers = [self._number(account) for account in other._accounts]
        as_they_are = numbers == list(range(len(numbers)))
        for at, page in other._pages.items():
            if after is None or day_of(at) > after:
                taken = page if as_they_are else renumbered(page.open(), numbers)
                self._pages[at] = taken.pack(self.put_aside)
        self._moved()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

    def places(self) -> set[Place]:
        """The days and hours that something was booked on."""
        return set(self._pages)

    def entries(self, at: Place) -> Iterator[tuple[Account, Amounts]]:
        """What was booked at a place, by account."""
        return self._read(self._pages.get(at, _NOTHING))

    def _read(self, page: Page | Packed) -> Iterator[tuple[Account, Amounts]]:
        opened = page.open()
        for row, number in enumerate(opened.accounts):
            yield self._accounts[number], opened.amounts[WIDTH * row : WIDTH * (row + 1)]

    def first_day(self) -> int | None:
        """The oldest day that something was booked on."""
        return min(map(day_of, self._pages), default=None)

    def projects(self) -> set[str]:
        """The projects that something was booked for."""
        if self._projects is None:
            pages = (page for at, page in self._pages.items() if hour_of(at) == WHOLE)
            numbers = {number for page in pages for number in page.numbers()}
            self._projects = {self._accounts[number][0] for number in numbers}
        return self._projects

    def sums(self, span: Span) -> Sums:
        """What a span of days comes to, by project."""
        last = min(span.last, self._last_day)
        if last < span.first:
            return {}
        found = {project: list(amounts) for project, amounts in self._run(whole_days(span.first, last)).items()}
        if last == span.last and span.hours is not None:
            self._add_hours(found, last, span.hours)
        else:
            _add_sums(found, self._summed(place(last)), 1.0)
        return found

    def _run(self, places: range) -> Sums:
        """What places in a row come to; what changes all the time, as today and this hour, is best not among them."""
        sums = self._runs.get(places)
        if sums is None:
            sums = {}
            for at in places:
                _add_sums(sums, self._summed(at), 1.0)
            if len(self._runs) >= _KEPT_RUNS:
                self._runs.clear()
            self._runs[places] = sums
        return sums

    def _add_hours(self, found: Sums, day: int, hours: float) -> None:
        _add_sums(found, self._run(first_hours(day, int(hours))), 1.0)
        _add_sums(found, self._summed(place(day, int(hours))), hours % 1.0)

    def _summed(self, at: Place) -> Sums:
        sums = self._sums.get(at)
        if sums is None:
            sums = {}
            for (project, component, _), entry in self.entries(at):
                into = sums.setdefault(project, [0.0] * len(READ))
                for n in range(4):
                    into[n] += entry[n]
                into[4] += entry[4] if component == HANDOFF else 0.0
            if at in self._pages:
                self._sums[at] = sums
        return sums

    def whole_day(self, day: int) -> tuple[float, float]:
        """What a day cost, and what it saved net, in USD."""
        sums = self._summed(place(day)).values()
        return sum(amounts[0] for amounts in sums), sum(amounts[2] for amounts in sums)

    def daily_medians(self, today: int) -> dict[str, float]:
        """By project the median cost of the seven days before today."""
        if self._medians is None or self._medians[0] != today:
            days = [self._summed(place(today - back)) for back in range(1, MEDIAN_DAYS + 1)]
            nothing = [0.0] * len(READ)
            medians = {project: median(day.get(project, nothing)[0] for day in days) for project in self.projects()}
            self._medians = today, medians
        return self._medians[1]

    def cost(self, at: Place, belongs: Callable[[Account], bool]) -> float:
        """What those accounts cost at a place."""
        page = self._pages.get(at, _NOTHING).open()
        costs = zip(page.accounts, page.amounts[::WIDTH], strict=True)
        return sum(cost for number, cost in costs if cost and belongs(self._accounts[number]))

    # ── written form ─────────────────────────────────────────────────────────────────────────────────────────

    def dump(self, most: int) -> Iterator[dict[str, Any]]:
        """All of it, ``most`` accounts or entries at a time, or a page of more; an account comes before its entries.

        Arrays are in base64: a hundred thousand entries as JSON numbers take 60 MB to write.
        """
        for first in range(0, len(self._accounts), most):
            yield {"accounts": self._accounts[first : first + most]}
        pages: list[list[Any]] = []
        entries = 0
        for at, found in self._pages.items():
            page = found.open()
            pages.append([at, _text(page.accounts), _text(page.amounts)])
            entries += len(page)
            if entries >= most:
                yield {"pages": pages}
                pages, entries = [], 0
        yield {"pages": pages}

    def delta(self) -> list[list[Any]]:
        """What changed since it was last written down."""
        return [[at, *account, list(self._amounts(at, account))] for at, account in self.changed]

    def _amounts(self, at: Place, account: Account) -> Amounts:
        page, rows = self._opened(at)
        row = rows[self._numbers[account]]
        return page.amounts[WIDTH * row : WIDTH * (row + 1)]

    def load(self, written: Mapping[str, Any]) -> None:
        """Take up what ``dump`` wrote, part by part.

        Raises:
            ValueError: it does not hold together.
        """
        for project, component, model in written.get("accounts", ()):
            self._number((project, component, model))
        self._leave()
        for at, accounts, amounts in written.get("pages", ()):
            page = Page(array("I", b64decode(accounts)), array("d", b64decode(amounts)))
            if len(page.amounts) != WIDTH * len(page.accounts):
                raise ValueError(f"{len(page.amounts)} amounts for {len(page.accounts)} accounts: not {WIDTH} each")
            if page.accounts and max(page.accounts) >= len(self._accounts):
                raise ValueError(f"account {max(page.accounts)} of the ledger, which has {len(self._accounts)}")
            self._pages[at] = page.pack(self.put_aside)
        self._moved()

    def apply(self, written: Iterable[Sequence[Any]]) -> None:
        """Take up what ``delta`` wrote."""
        for at, project, component, model, amounts in written:
            number = self._number((project, component, model))
            self._add(at, {number: (0.0,) * WIDTH})
            page, rows = self._opened(at)
            row = rows[number]
            page.amounts[WIDTH * row : WIDTH * (row + 1)] = array("d", amounts)


def _add_sums(found: Sums, sums: Sums, share: float) -> None:
    for project, amounts in sums.items():
        into = found.setdefault(project, [0.0] * len(READ))
        for n, amount in enumerate(amounts):
            into[n] += share * amount


def _text(values: array[Any]) -> str:
    return b64encode(values.tobytes()).decode("ascii")

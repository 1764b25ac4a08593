"""The calendar's books: what is booked where, what is forgotten, what is read, and how it is written down."""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.booking import Bookkeeper
from exporter.budgets import Budget
from exporter.catalogue import SCHEMA
from exporter.ledger import KEPT_DAYS, KEPT_HOURS_DAYS, READ, Account, Ledger
from exporter.ledgerpage import COLUMNS, Packed, Page, PutAside, kept
from exporter.localtime import Calendar, Span, place
from exporter.spill import Spill
from exporter.state import State

TODAY = 740_000
HANDOFF: Account = ("p", "handoff", "m")
AGENT: Account = ("p", "subagent", "unknown")
ONE = (1.0, 3.0, 2.0, 100.0, 1.0, 0.0)


def whole(first: int, last: int, hours: float | None = None) -> Span:
    return Span(first, last, hours, 0.0, 0.0)


def content(ledger: Ledger) -> dict[tuple[int, Account], list[float]]:
    """All that is booked."""
    return {(at, account): list(entry) for at in ledger.places() for account, entry in ledger.entries(at)}


def booked(*entries: tuple[int, int, Account], amounts: Sequence[float] = ONE) -> Ledger:
    """A ledger with these days, hours and accounts."""
    ledger = Ledger()
    for day, hour, account in entries:
        ledger.book(place(day, hour), {account: amounts}, today=TODAY)
    return ledger


# ── booking ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_booked_is_in_its_hour_and_in_its_day() -> None:
    """Twice in one hour is one entry of twice as much; another account is another entry."""
    ledger = booked((TODAY, 5, HANDOFF), (TODAY, 5, HANDOFF), (TODAY, 6, HANDOFF), (TODAY, 5, AGENT))

    assert content(ledger) == {
        (place(TODAY, 5), HANDOFF): [2 * amount for amount in ONE],
        (place(TODAY, 6), HANDOFF): list(ONE),
        (place(TODAY, 5), AGENT): list(ONE),
        (place(TODAY), HANDOFF): [3 * amount for amount in ONE],
        (place(TODAY), AGENT): list(ONE),
    }
    assert len(ledger) == 5
    assert ledger.first_day() == TODAY
    assert Ledger().first_day() is None


@pytest.mark.parametrize(
    "days_ago, hours, days",
    [
        (0, True, True),
        (KEPT_HOURS_DAYS - 1, True, True),
        (KEPT_HOURS_DAYS, False, True),
        (KEPT_DAYS - 1, False, True),
        (KEPT_DAYS, False, False),
        (-1, True, True),
    ],
)
def test_hours_are_kept_for_62_days_and_days_for_400(days_ago: int, *, hours: bool, days: bool) -> None:
    """Whether the past is booked now, or was booked then and is forgotten."""
    day = TODAY - days_ago
    late, early = Ledger(), Ledger()

    late.book(place(day, 3), {HANDOFF: ONE}, today=TODAY)
    early.book(place(day, 3), {HANDOFF: ONE}, today=day)
    early.prune(TODAY)

    assert (KEPT_DAYS, KEPT_HOURS_DAYS) == (400, 62)
    for ledger in (late, early):
        assert (place(day, 3) in ledger.places()) is hours
        assert (place(day) in ledger.places()) is days
        assert ledger.projects() == ({"p"} if days else set())
        assert {at for at, _ in ledger.changed} == ledger.places()


def test_what_is_forgotten_is_no_longer_summed() -> None:
    """Sums that were asked for before do not outlive their day; a project without a day is not known."""
    ledger = booked((TODAY - 399, 0, HANDOFF), (TODAY, 0, ("q", "handoff", "m")))
    assert ledger.sums(whole(TODAY - 400, TODAY)).keys() == {"p", "q"}
    assert ledger.projects() == {"p", "q"}
    version = ledger.version

    ledger.prune(TODAY + 1)

    assert ledger.sums(whole(TODAY - 400, TODAY)).keys() == {"q"}
    assert ledger.projects() == {"q"}
    assert ledger.version > version


def test_accounts_that_are_renamed_merge() -> None:
    """What becomes one account has the sum of both, by hour and by day; the old name is gone."""
    ledger = booked((TODAY, 5, HANDOFF), (TODAY, 5, ("p", "handoff", "other")), (TODAY, 7, AGENT))
    ledger.sums(whole(TODAY, TODAY))

    ledger.rename(lambda account: (account[0], account[1], "__other__"))

    merged, agent = ("p", "handoff", "__other__"), ("p", "subagent", "__other__")
    assert content(ledger) == {
        (place(TODAY, 5), merged): [2 * amount for amount in ONE],
        (place(TODAY), merged): [2 * amount for amount in ONE],
        (place(TODAY, 7), agent): list(ONE),
        (place(TODAY), agent): list(ONE),
    }
    assert ledger.sums(whole(TODAY, TODAY))["p"][0] == 3.0
    assert {account for _, account in ledger.changed} == {merged, agent}


def test_another_ledger_is_taken_over_from_a_day_on() -> None:
    """Days up to that one stay as they are; without one, all is the other's."""
    old = booked((TODAY - 3, 0, HANDOFF), (TODAY - 1, 0, HANDOFF))
    new = booked((TODAY - 3, 0, AGENT), (TODAY - 2, 0, AGENT))

    old.replace(new, after=TODAY - 3)

    assert set(content(old)) == {
        *((place(TODAY - 3, hour), HANDOFF) for hour in (0, 31)),
        *((place(TODAY - 2, hour), AGENT) for hour in (0, 31)),
    }
    old.replace(new, after=None)
    assert content(old) == content(new)
    assert old.projects() == {"p"}


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_span_that_ends_within_a_day_has_a_share_of_its_last_hour() -> None:
    """Two hours and a quarter of the third; hours that have nothing add nothing."""
    ledger = booked((TODAY - 1, 23, HANDOFF), *((TODAY, hour, HANDOFF) for hour in (0, 1, 2, 3)))

    found = {hours: ledger.sums(whole(TODAY - 1, TODAY, hours))["p"][0] for hours in (0.0, 0.5, 2.0, 2.25, 24.0, 30.0)}

    assert found == {0.0: 1.0, 0.5: 1.5, 2.0: 3.0, 2.25: 3.25, 24.0: 5.0, 30.0: 5.0}
    assert ledger.sums(whole(TODAY - 1, TODAY))["p"][0] == 5.0


def test_a_late_booking_is_in_a_month_that_was_added_up_before() -> None:
    """So is one on a day after all others; what is read cannot be changed by who reads it."""
    ledger = booked((TODAY - 9, 5, HANDOFF), (TODAY, 5, HANDOFF))
    month = whole(TODAY - 29, TODAY + 1)
    for found in (ledger.sums(month)["p"], ledger.sums(month)["p"]):
        assert found[0] == 2.0
        found[0] = 99.0

    for day, cost in ((TODAY - 9, 3.0), (TODAY + 1, 4.0), (TODAY - 20, 5.0), (TODAY, 6.0)):
        ledger.book(place(day, 5), {HANDOFF: ONE}, today=TODAY + 1)
        assert ledger.sums(month)["p"][0] == cost
    ledger.prune(TODAY - 19 + KEPT_DAYS)
    assert ledger.sums(month)["p"][0] == 5.0


def test_handoffs_are_the_events_of_their_component() -> None:
    """Tokens are of all components, hand-offs of one."""
    ledger = booked((TODAY, 0, HANDOFF), (TODAY, 0, HANDOFF), (TODAY, 0, AGENT))

    sums = dict(zip(READ, ledger.sums(whole(TODAY, TODAY))["p"], strict=True))

    assert sums == {"cost": 3.0, "baseline": 9.0, "net_savings": 6.0, "tokens": 300.0, "handoffs": 2.0}


def test_the_median_is_of_the_seven_days_before_today() -> None:
    """Days without spend count as 0, today and the eighth day back do not count."""
    ledger = Ledger()
    for back, cost in ((0, 99.0), (1, 1.0), (2, 2.0), (3, 3.0), (7, 4.0), (8, 99.0)):
        ledger.book(place(TODAY - back, 0), {HANDOFF: (cost, 0.0, 0.0, 0.0, 1.0, 0.0)}, today=TODAY)
    ledger.book(place(TODAY - 3, 0), {("q", "handoff", "m"): ONE}, today=TODAY)

    assert ledger.daily_medians(TODAY) == {"p": median([1, 2, 3, 0, 0, 0, 4]), "q": 0.0}


def test_the_cost_of_accounts_is_of_those_asked_for() -> None:
    """At a place, an hour or a day; nothing where nothing is."""
    ledger = booked((TODAY, 5, HANDOFF), (TODAY, 6, AGENT))

    def cost(at: int, belongs: Callable[[Account], bool] = lambda account: True) -> float:
        return ledger.cost(at, belongs)

    assert (cost(place(TODAY)), cost(place(TODAY, 5)), cost(place(TODAY, 7))) == (2.0, 1.0, 0.0)
    assert cost(place(TODAY), lambda account: account[2] == "m") == 1.0


# ── any history ──────────────────────────────────────────────────────────────────────────────────────────────

# amounts are sums of quarters, so that the order of additions does not show
QUARTERS = st.integers(-40, 4000).map(lambda n: n / 4)
ACCOUNTS = st.tuples(st.sampled_from("pqé"), st.sampled_from(["handoff", "subagent", "tool"]), st.sampled_from("mn"))
BOOKINGS = st.tuples(st.integers(-70, 0), st.integers(0, 24), ACCOUNTS, st.tuples(*[QUARTERS] * len(COLUMNS)))
ACTIONS = st.lists(st.one_of(BOOKINGS, st.sampled_from(["sums", "write", "rename", "next day"])), max_size=30)


class Naive:
    """Every booking there was, added up anew each time."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, Account, Sequence[float]]] = []

    def sums(self, span: Span, today: int) -> dict[str, list[float]]:
        found: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(READ))
        for day, hour, (project, component, _), amounts in self.entries:
            partial = day == span.last and span.hours is not None
            too_old = day <= today - (KEPT_HOURS_DAYS if partial else KEPT_DAYS)
            if too_old or not span.first <= day <= span.last:
                continue
            share = min(1.0, max(0.0, (span.hours or 0.0) - hour)) if partial else 1.0
            read = (*amounts[:4], amounts[4] if component == "handoff" else 0.0)
            found[project] = [one + share * other for one, other in zip(found[project], read, strict=True)]
        return found


def nothing_left_out(sums: dict[str, list[float]]) -> dict[str, list[float]]:
    """Without the projects that have nothing: whether they are named is not what is asked."""
    return {project: amounts for project, amounts in sums.items() if any(amounts)}


@pytest.mark.bulk
@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    actions=ACTIONS,
    hours=st.integers(0, 96).map(lambda n: n / 4),
    open_pages=st.sampled_from([1, 2, 64]),
    aside=st.booleans(),
)
def test_sums_are_those_of_naive_books_after_any_history(
    tmp_path_factory: pytest.TempPathFactory, actions: list[Any], hours: float, open_pages: int, *, aside: bool
) -> None:
    """Bookings, reads in between, renames and days that pass; and a copy that goes by what was written is the same.
    However few pages are open at a time, and the others packed away, in memory or in a file.
    """
    put_aside = Spill(tmp_path_factory.getbasetemp(), slack_bytes=100).put if aside else kept
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("exporter.ledger._OPEN_PAGES", open_pages)
        _compare(actions, hours, put_aside)


def _compare(actions: list[Any], hours: float, put_aside: PutAside) -> None:
    ledger, naive, copy, today = Ledger(put_aside=put_aside), Naive(), Ledger(), TODAY
    for action in actions:
        match action:
            case "sums":
                ledger.sums(whole(today - 70, today, hours))
            case "write":
                copy.apply(written(ledger))
                copy.prune(today)
            case "rename":
                ledger.rename(lambda account: (account[0], account[1], "m"))
            case "next day":
                today += 1
                ledger.prune(today)
            case (back, hour, account, amounts):
                ledger.book(place(today + back, hour), {account: amounts}, today=today)
                naive.entries.append((today + back, hour, account, amounts))

    for span in (whole(today - 70, today), whole(today - 6, today, hours), whole(today, today, hours)):
        assert nothing_left_out(ledger.sums(span)) == nothing_left_out(naive.sums(span, today))
    if "rename" not in actions:
        copy.apply(written(ledger))
        copy.prune(today)
        assert content(copy) == content(ledger)
    again = Ledger()
    for part in ledger.dump(3):
        again.load(json.loads(json.dumps(part)))
    assert content(again) == content(ledger)
    assert again.projects() == ledger.projects()


def written(ledger: Ledger) -> Any:
    """What changed, as it comes back from the disk; it is not noted any longer."""
    found = json.loads(json.dumps(ledger.delta()))
    ledger.changed.clear()
    return found


def test_a_sum_that_is_not_forgotten_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison with naive books fails where a booking leaves an old sum standing."""

    def note(self: Ledger, at: int, accounts: Sequence[Account]) -> None:
        self.changed.update((at, account) for account in accounts)

    monkeypatch.setattr(Ledger, "_note", note)
    ledger = booked((TODAY, 0, HANDOFF))
    ledger.sums(whole(TODAY, TODAY))

    ledger.book(place(TODAY, 1), {HANDOFF: ONE}, today=TODAY)

    assert ledger.sums(whole(TODAY, TODAY))["p"][0] == 1.0


def test_a_page_is_the_same_to_the_bit_when_it_was_packed_away() -> None:
    """Whatever is booked on it, nothing included; and what a fresh page is booked on is on no other."""
    odd = [0.1 + 0.2, -0.0, 1e-308, 2.0**53 + 2, 5e-324, -1e6]
    for page in (Page(), Page(array("I", [7, 0, 2**32 - 1]), array("d", [*odd, *odd[::-1], *ONE]))):
        packed = page.pack(kept)

        opened = packed.open()

        assert (opened.accounts, opened.amounts.tobytes()) == (page.accounts, page.amounts.tobytes())
        assert packed.numbers() == page.numbers() == page.accounts
        assert len(packed) == len(page) == len(page.accounts)
        opened.accounts.append(1)
        assert packed.open().accounts == page.accounts


def test_books_are_packed_away_but_for_what_is_booked_on_now() -> None:
    """A hundred days of twenty accounts: a third of what the numbers would take, or less, also once they are read."""
    ledger = Ledger()
    accounts = [("p", "handoff", f"model-{n}") for n in range(20)]
    for back in range(100, -1, -1):
        amounts = {account: (back / 7, back / 3, 0.0, 100.0 * n, 1.0, 0.0) for n, account in enumerate(accounts)}
        ledger.book(place(TODAY - back, 5), amounts, today=TODAY)
    ledger.sums(whole(TODAY - 100, TODAY))
    ledger.cost(place(TODAY - 100), lambda account: True)
    copy = Ledger()
    copy.replace(ledger, after=None)

    for books, least in ((ledger, 90), (copy, 162)):
        packed = [page for page in books._pages.values() if isinstance(page, Packed)]
        assert len(packed) >= least
        assert sum(len(page.data) for page in packed) < 52 / 3 * sum(map(len, packed))
    assert content(copy) == content(ledger)


def test_what_does_not_hold_together_is_not_taken_up() -> None:
    """As many amounts as entries are for, or an error that says so."""
    accounts, dumped = booked((TODAY, 0, HANDOFF)).dump(100)
    page = dumped["pages"][0]
    page[-1] = page[-1][:32]

    with pytest.raises(ValueError, match=r"^3 amounts for 1 accounts: not 6 each$"):
        Ledger().load(accounts | dumped)


# ── who books ────────────────────────────────────────────────────────────────────────────────────────────────


def keeper(*budgets: Budget, spend: bool = True) -> Bookkeeper:
    state = State(SCHEMA.tables)
    made = Bookkeeper(state, state.ledger, Calendar(), budgets, SCHEMA.own.budget_spend if spend else None)
    made.today = TODAY
    return made


@pytest.mark.parametrize(
    "outcome, net_savings, failures", [("success", 2.0, 0.0), ("failure", -4.0, 3.0), ("unknown", 0.0, 0.0)]
)
def test_net_savings_are_what_success_saved_minus_what_failure_cost(
    outcome: str, net_savings: float, failures: float
) -> None:
    """What is not known has neither."""
    found = keeper()

    found.enter(place(TODAY, 1), {("p", "handoff", "m", outcome): (3.0, 4.0, 6.0, 2.0, 70.0)})

    assert content(found.ledger)[place(TODAY), HANDOFF] == [4.0, 6.0, net_savings, 70.0, 3.0, failures]


def test_a_budget_is_spent_by_what_it_covers() -> None:
    """A project, a model or all; nothing is spent where nothing was paid, or in a scan."""
    budgets = (
        Budget("p", 1.0, "day", "project", "p"),
        Budget("q", 1.0, "day", "project", "q"),
        Budget("m", 1.0, "day", "model", "m"),
        Budget("all", 1.0, "day"),
    )
    live, scan = keeper(*budgets), keeper(*budgets, spend=False)

    for found in (live, scan):
        found.enter(place(TODAY, 1), {("p", "handoff", "m", "success"): (1.0, 4.0, 4.0, 0.0, 0.0)})
        found.enter(place(TODAY, 1), {("p", "subagent", "unknown", "success"): (1.0, 0.5, 0.5, 0.0, 0.0)})
        found.enter(place(TODAY, 1), {("q", "handoff", "m", "success"): (1.0, 0.0, 0.0, 0.0, 0.0)})

    spent = live.state.series[SCHEMA.own.budget_spend.name]
    assert {labels[0]: cell.dump() for labels, cell in spent.items()} == {"p": 4.5, "m": 4.0, "all": 4.5}
    assert SCHEMA.own.budget_spend.name not in scan.state.series


def test_the_books_are_cleared_when_a_day_begins() -> None:
    """Once for each day."""
    found = keeper()
    found.enter(place(TODAY, 1), {(*HANDOFF, "success"): (1.0, 1.0, 1.0, 0.0, 0.0)})
    midnight = found.calendar.midnight(TODAY + KEPT_DAYS - 1)

    found.begin(midnight)
    assert found.ledger.places() == {place(TODAY)}
    found.begin(midnight + 86_400)
    assert found.ledger.places() == set()

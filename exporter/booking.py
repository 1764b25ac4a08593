"""Who keeps the ledger: the calendar it is kept by, and the budgets that are spent with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import add

from exporter.budgets import Budget
from exporter.ledger import KEPT_HOURS_DAYS, Account, Ledger
from exporter.localtime import Calendar, Place, day_of, place
from exporter.series import Labels
from exporter.spec import Counter
from exporter.state import State


@dataclass(slots=True)
class Bookkeeper:
    """Enters what was counted in a ledger; with ``spend``, against the budgets, too."""

    state: State
    ledger: Ledger
    calendar: Calendar
    budgets: Sequence[Budget]
    spend: Counter | None
    today: int = 0

    def begin(self, at: float) -> None:
        """It is Unix time ``at``: forget what is too old by now."""
        today = self.calendar.day(at)
        if today != self.today:
            self.today = today
            self.ledger.prune(today)

    def places(self, times: Sequence[float]) -> list[Place]:
        """The hour that each event is booked in; of those too old for that the day."""
        oldest = place(self.today - KEPT_HOURS_DAYS + 1, 0)
        return [at if at >= oldest else place(day_of(at)) for at in self.calendar.places(times)]

    def enter(self, at: Place, rows: Mapping[Labels, Sequence[float]]) -> None:
        """Book rows of one hour. By project, component, model and outcome: their number, and the sums of their cost,
        baseline, savings and tokens.
        """
        booked: dict[Account, list[float]] = {}
        for (project, component, model, outcome), (count, cost, baseline, savings, tokens) in rows.items():
            net = savings if outcome == "success" else -cost if outcome == "failure" else 0.0
            amounts = [cost, baseline, net, tokens, count, count if outcome == "failure" else 0.0]
            account = (project, component, model)
            before = booked.get(account)
            booked[account] = amounts if before is None else list(map(add, before, amounts))
        self.ledger.book(at, booked, today=self.today)
        if self.spend is not None and self.budgets:
            for account, amounts in booked.items():
                for budget in self.budgets:
                    if amounts[0] and budget.covers(account):
                        self.state.add(self.spend, (budget.name,), amounts[0])

"""Who keeps the ledger: the calendar it is kept by, and the budgets that are spent with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.budgets import Budget
from exporter.ledger import KEPT_HOURS_DAYS, Ledger
from exporter.localtime import Calendar, Place, day_of, place
from exporter.spec import Counter
from exporter.state import Labels, State


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

    def enter(self, at: Place, labels: Labels, sums: Sequence[float]) -> None:
        """Book rows of one hour: ``labels`` are project, component, model and outcome, ``sums`` the number of rows and
        the sums of their cost, baseline, savings and tokens.
        """
        *account, outcome = labels
        rows, cost, baseline, savings, tokens = sums
        net = savings if outcome == "success" else -cost if outcome == "failure" else 0.0
        failures = rows if outcome == "failure" else 0.0
        key = (account[0], account[1], account[2])
        self.ledger.book(at, key, (cost, baseline, net, tokens, rows, failures), today=self.today)
        if self.spend is not None and cost:
            for budget in self.budgets:
                if budget.covers(key):
                    self.state.add(self.spend, (budget.name,), cost)

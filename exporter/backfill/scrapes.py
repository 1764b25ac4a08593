"""What a scrape would have shown at each tick: the counters that changed, the gauges as they read then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from exporter import gauges
from exporter.advance import Engine
from exporter.backfill.lines import Lines
from exporter.budgets import standing
from exporter.gauges import OF_BUDGETS, Health, Readings
from exporter.ledger import READ, Sums
from exporter.localtime import Span
from exporter.spec import Gauge, Metric

_CALENDAR = {"ledger_median", "period_start", "period_end", *OF_BUDGETS}


class Scrapes:
    """Keeps the lines of ``metrics`` at what the engine's state says; ``constants`` are the labels of them all."""

    def __init__(self, engine: Engine, metrics: Sequence[Metric], constants: Mapping[str, str]) -> None:
        self._engine = engine
        gauges_ = [metric for metric in metrics if isinstance(metric, Gauge)]
        self._books = tuple(metric for metric in gauges_ if metric.reading == "ledger")
        self._gauges = tuple(metric for metric in gauges_ if metric.reading != "ledger")
        self._calendar = any(metric.reading in _CALENDAR for metric in self._gauges)
        self._schema = replace(engine.schema, metrics=self._gauges)
        self._projects: set[str] = set()
        self._booked: dict[str, tuple[Span, int, Sums]] = {}
        """By period what was read of the ledger: of which days, at which version of it, what they came to."""
        self.lines = Lines(metrics, constants)

    def bear(self) -> None:
        """Let what is new stand at 0, before the step that ends here is written."""
        self.lines.bear(self._engine.state.changed_series)

    def take(self, at: float, *, moved: bool) -> None:
        """Show what is known at Unix time ``at``."""
        state, schema, rules = self._engine.state, self._schema, self._engine.rules
        self.lines.count(state.changed_series)
        readings: Readings = {}
        if self._gauges and (moved or state.changed_sessions or state.changed_flights or state.changed_series):
            readings = gauges.read_state(state, schema, rules)
        readings |= gauges.read_health(self._gauges, Health(True, at, 0))
        if self._calendar:
            standings = {budget.name: standing(budget, state.ledger, rules.calendar, at) for budget in rules.budgets}
            readings |= gauges.read_calendar(state, schema, rules, standings, at)
        self.lines.read(readings)
        if self._books:
            self._read_books(at)
        state.forget_changes()

    def _read_books(self, at: float) -> None:
        """Show what of the ledger's sums is other than it was: there are thousands, and few change in a step."""
        ledger, nothing = self._engine.state.ledger, [0.0] * len(READ)
        if ledger.projects() != self._projects:
            for project in self._projects - ledger.projects():
                for period in self._booked:
                    for metric in self._books:
                        self.lines.remove(metric.name, (project, period))
            self._projects, self._booked = set(ledger.projects()), {}
        for period, span in self._engine.rules.calendar.periods(at).items():
            known = self._booked.get(period)
            if known is not None and known[:2] == (span, ledger.version):
                continue
            sums = ledger.sums(span)
            self._booked[period] = span, ledger.version, sums
            for project in sorted(self._projects):
                amounts = sums.get(project, nothing)
                before = None if known is None else known[2].get(project, nothing)
                if amounts != before:
                    self._show(project, period, amounts, before)

    def _show(self, project: str, period: str, amounts: Sequence[float], before: Sequence[float] | None) -> None:
        for metric in self._books:
            column = READ.index(metric.column)
            if before is None or before[column] != amounts[column]:
                self.lines.set(metric.name, (project, period), amounts[column])

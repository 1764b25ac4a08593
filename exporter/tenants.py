"""Budgets of a tenant: what several sources spend together.

Each source keeps the tenant's budget as one of its own, and shows it not; here they are added up. What a source that is
no longer there has spent is remembered in a file of its own, so that the running counter never falls.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from exporter import logs
from exporter.budgets import Standing
from exporter.config import BudgetSettings, Settings
from exporter.exposition import Exposition, Publication
from exporter.gauges import OF_BUDGETS
from exporter.poller import Poller
from exporter.rules import belongs_to
from exporter.spec import Gauge, Metric, Schema

log = logs.get(__name__)

_FILE = "tenants.json"


class Tenants:
    """The tenants' budgets of the settings, as one more publication beside those of the sources."""

    def __init__(self, settings: Settings, schema: Schema) -> None:
        self._settings = settings
        self._spend = schema.own.budget_spend
        self._metrics = [metric for metric in schema.metrics if metric is self._spend or _reading(metric)]
        self._budgets = [budget for budget in settings.budgets if budget.tenant is not None]
        self._exposition = Exposition(
            self._metrics, {budget.name: _labels(budget, settings) for budget in self._budgets}
        )
        self._shown: set[tuple[str, str]] = set()
        self._path = settings.storage.path / _FILE
        self._spent: dict[str, dict[str, float]] | None = None
        """By budget and source what was spent; None until it was read."""

    def publish(self, pollers: Iterable[Poller]) -> Publication | None:
        """What the tenants' budgets come to now; None where there are none.

        A budget is shown only while all of its sources are current, and what it spent could be saved.
        """
        if not self._budgets:
            return None
        by_name = {poller.source.name: poller for poller in pollers}
        members = {budget.name: self._members(budget, by_name) for budget in self._budgets}
        saved = self._remember(members)
        values: dict[tuple[str, str], float] = {}
        for budget in self._budgets:
            found = members[budget.name]
            if saved and found and all(_is_current(poller, budget.name) for poller in found):
                values.update(self._values(budget, found))
        for metric, budget_name in self._shown - values.keys():
            self._exposition.remove(budget_name, metric, (budget_name,))
        for (metric, budget_name), value in values.items():
            self._exposition.set(budget_name, metric, (budget_name,), value)
        self._shown = set(values)
        return self._exposition.publish()

    def _members(self, budget: BudgetSettings, pollers: Mapping[str, Poller]) -> list[Poller]:
        sources = self._settings.sources
        return [pollers[of.name] for of in sources if belongs_to(budget, of) and of.name in pollers]

    def _values(self, budget: BudgetSettings, members: Sequence[Poller]) -> dict[tuple[str, str], float]:
        standings = [poller.publisher.standings[budget.name] for poller in members]
        whole = _together(standings)
        values = {metric.name: getattr(whole, _reading(metric)) for metric in self._metrics if _reading(metric)}
        values[self._spend.name] = sum(self._read().get(budget.name, {}).values())
        return {(name, budget.name): value for name, value in values.items() if value is not None}

    # ── what was spent ───────────────────────────────────────────────────────────────────────────────────────

    def _remember(self, members: Mapping[str, Sequence[Poller]]) -> bool:
        """Save what each source has spent, where that changed; whether it is saved."""
        known = self._read()
        fresh = {name: dict(spent) for name, spent in known.items()}
        for name, pollers in members.items():
            for poller in pollers:
                if (spent := poller.publisher.shared_spend.get(name)) is not None:
                    fresh.setdefault(name, {})[poller.source.name] = spent
        if fresh == known:
            return True
        try:
            _write(self._path, json.dumps(fresh, sort_keys=True))
        except OSError as exc:
            log.error("what tenants spent cannot be saved", file=str(self._path), error=exc.strerror)
            return False
        self._spent = fresh
        return True

    def _read(self) -> dict[str, dict[str, float]]:
        if self._spent is None:
            try:
                self._spent = json.loads(self._path.read_text("ascii"))
            except FileNotFoundError:
                self._spent = {}
            except (OSError, ValueError) as exc:
                log.error("what tenants spent cannot be read; begun anew", file=str(self._path), error=str(exc))
                self._spent = {}
        return self._spent


def _is_current(poller: Poller, budget: str) -> bool:
    return poller.is_current and budget in poller.publisher.standings


def _labels(budget: BudgetSettings, settings: Settings) -> dict[str, str]:
    """The constant labels that all of a tenant's sources have alike."""
    sources = [source.labels for source in settings.sources if belongs_to(budget, source)]
    first = sources[0] if sources else {}
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in sources)}


def _reading(metric: Metric) -> str:
    """The part of a standing that a gauge shows; empty for a metric that shows none."""
    return OF_BUDGETS.get(metric.reading, "") if isinstance(metric, Gauge) else ""


def _together(standings: Sequence[Standing]) -> Standing:
    projected = [standing.projected for standing in standings]
    known = [value for value in projected if value is not None]
    first = standings[0]
    return Standing(
        first.limit,
        sum(standing.spent for standing in standings),
        sum(known) if len(known) == len(projected) else None,
        first.start,
        first.end,
    )


def _write(path: Path, text: str) -> None:
    """Replace the file; it is on the disk when this returns."""
    aside = path.with_suffix(".tmp")
    with aside.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

"""All declarations that one source is read by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from exporter.spec.columns import (
    Table,
)
from exporter.spec.metrics import Counter, Ledger, Metric


@dataclass(frozen=True, slots=True)
class Escalation:
    """How hand-offs to a paid model after a local one are recognised, and the virtual table of those found.

    ``table`` has the hand-offs; ``model``, ``task`` and ``reason`` are its columns; ``unavailable`` is the reason
    that says the local model was not there.
    """

    table: Table
    found: Table
    model: str
    task: str
    reason: str
    unavailable: str


@dataclass(frozen=True, slots=True)
class OwnCounters:
    """The counters that the exporter keeps on a source; they are among its metrics."""

    rows_read: Counter
    late_rows: Counter
    rejected: Counter
    overflow: Counter
    rewinds: Counter
    uncertain: Counter
    dropped: Counter
    budget_spend: Counter


@dataclass(frozen=True, slots=True)
class Schema:
    """The declarations one source is read by.

    ``tables`` are read by a cursor; of ``newest`` the newest rows are read at every look, of ``of_sessions`` those of
    open sessions. ``ends`` is the virtual table of sessions that end.
    """

    tables: tuple[Table, ...]
    metrics: tuple[Metric, ...]
    ends: Table
    own: OwnCounters
    escalation: Escalation
    ledger: Ledger | None = None
    newest: tuple[Table, ...] = ()
    of_sessions: tuple[Table, ...] = ()
    headlines: Mapping[str, Metric] = field(default_factory=dict)
    """What a person asks for first: titles, and the counters whose sums are the answers."""

    @property
    def sessions(self) -> Table | None:
        """The sessions table, where there is one."""
        return next((table for table in self.tables if table.is_sessions), None)

    @property
    def declared(self) -> tuple[Table, ...]:
        """What the database should have: tables read by a cursor, and the user's own of which only the newest are."""
        names = {table.name for table in self.tables}
        return (*self.tables, *(table for table in self.newest if table.own and table.name not in names))

    @property
    def virtual(self) -> tuple[Table, ...]:
        """The tables whose rows the state makes."""
        return (self.ends, self.escalation.found)

    @property
    def counted(self) -> tuple[Metric, ...]:
        """What rows are counted into: the metrics, and the ledger."""
        return (*self.metrics, *([self.ledger] if self.ledger else []))

    def only(self, metrics: Iterable[Metric]) -> Schema:
        """The same with these metrics, the ledger among them or none."""
        chosen = tuple(metrics)
        ledger = next((metric for metric in chosen if isinstance(metric, Ledger)), None)
        return replace(self, metrics=tuple(m for m in chosen if not isinstance(m, Ledger)), ledger=ledger)

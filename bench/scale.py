"""How large and how long: the limits hold for ``FULL``; ``QUICK`` only shows that everything works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of databases, lengths of measurements."""

    many_rows: int = 10_000_000
    some_rows: int = 1_000_000
    few_rows: int = 10_000
    many_sessions: int = 100_000
    few_sessions: int = 1_000
    new_rows: int = 1_000
    ledger_entries: int = 116_000
    samples: int = 25_000
    series: int = 100_000
    scrapes: int = 300
    guarded_scrapes: int = 1_000
    scrapers: int = 100
    scrapes_each: int = 4
    crowds: int = 3
    """How often the scrapers come, to either server."""
    polls: int = 20
    warm_polls: int = 3
    idle_s: float = 5.0
    scans: int = 3
    publishes: int = 9
    peer_scrapes: int = 3
    minute_s: float = 60.0
    interval_s: float = 15.0
    windows: int = 10
    window_s: float = 3.0


FULL = Scale()
QUICK = Scale(
    many_rows=200_000,
    some_rows=50_000,
    many_sessions=5_000,
    ledger_entries=10_000,
    series=20_000,
    scrapes=50,
    guarded_scrapes=50,
    scrapes_each=2,
    crowds=1,
    polls=5,
    idle_s=2.0,
    scans=1,
    publishes=3,
    peer_scrapes=1,
    minute_s=10.0,
    interval_s=2.5,
    windows=2,
    window_s=1.0,
)

"""The series of a state: what was counted and observed, by metric and label values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Labels = tuple[str, ...]


@dataclass(slots=True, eq=False)
class Cell:
    """One series of a counter: a total that never falls. ``released`` once its value may be shown (births)."""

    metric: str
    labels: Labels
    released: bool = True
    value: float = 0.0
    rows: int = 0
    """Rows counted during a first scan, for what is folded when it ends; not kept."""

    def dump(self) -> object:
        return self.value

    def load(self, written: Any) -> None:
        self.value = written


@dataclass(slots=True, eq=False)
class Buckets:
    """One series of a histogram: observations by bucket, not cumulated, the last one above all bounds."""

    metric: str
    labels: Labels
    released: bool
    counts: list[int]
    sum: float = 0.0
    exemplars: list[tuple[float, float, str] | None] = field(default_factory=list)
    """Per bucket the newest one's event time, value and session id."""

    def dump(self) -> object:
        return [self.counts, self.sum, self.exemplars]

    def load(self, written: Any) -> None:
        counts, self.sum, exemplars = written
        self.counts[:] = counts
        self.exemplars[:] = [None if found is None else tuple(found) for found in exemplars]


Series = Cell | Buckets


def dump_series(found: Series) -> list[object]:
    """The series as JSON can hold it: metric, labels, whether it is released, and its value."""
    return [found.metric, list(found.labels), found.released, found.dump()]

"""A measured figure beside its limit, and how it is printed."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from statistics import median


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured: at most ``limit``, or ``at_least`` it; None where it is only told."""

    name: str
    what: str
    value: float
    limit: float | None = None
    at_least: bool = False
    unit: str = "x"
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether it keeps its limit; NaN keeps none."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def measured(self) -> bool:
        """Whether there is a value at all."""
        return not isnan(self.value)

    def line(self) -> str:
        """Name, value, limit, verdict and meaning in one line; what it is made of in a second one."""
        rule = "" if self.limit is None else f"{'>=' if self.at_least else '<='} {self.limit:g} {self.unit}"
        verdict = "-" if self.limit is None else "ok" if self.ok else "OVER"
        number = f"{self.value:.4g}" if abs(self.value) < 1000 else f"{self.value:,.0f}"
        first = f"{self.name:<8} {number:>8} {self.unit:<2}  {rule:<12} {verdict:<5} {self.what}"
        return f"{first}\n{'':28}{self.detail}" if self.detail else first


def percentile(values: list[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: list[float], *, scale: float = 1.0, unit: str = "s") -> str:
    """Minimum, median and maximum."""
    least, middle, most = (scale * value for value in (min(values), median(values), max(values)))
    return f"{middle:.4g} {unit} ({least:.4g}..{most:.4g})"

"""Values of made-up series, in promtool's notation."""

from __future__ import annotations

from collections.abc import Callable


def steep(*course: tuple[float, int]) -> str:
    """A counter that rises by (so much a step, for so many steps), one after another."""
    parts, value = [], 0.0
    for rise, steps in course:
        parts.append(f"{value:.10g}+{rise:.10g}x{steps - 1}")
        value += rise * steps
    return " ".join(parts)


def hourly(per_hour: Callable[[float], float], hours: int, steps: int = 4) -> str:
    """A counter that rises by what is said of each hour since the start, in so many steps an hour."""
    values = [0.0]
    for step in range(hours * steps):
        values.append(values[-1] + per_hour(step / steps) / steps)
    return " ".join(f"{value:.10g}" for value in values)

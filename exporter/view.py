"""What the pages show, as plain values: who reads the tables fills them in, who renders knows nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Generic, Literal, TypeVar

T = TypeVar("T")

Result = Literal["success", "failure", "unknown", "in flight", ""]
"""How something went; the empty string where its table records no outcome."""


@dataclass(frozen=True, slots=True)
class Event:
    """One row of an event table. Texts are label values, empty where the table has nothing of the kind.

    ``session`` is the id by which the session's page is found, None where it cannot be: NULL, binary or damaged.
    """

    kind: str
    at: float | None
    session: str | None
    project: str
    who: str
    what: str
    result: Result
    error: str
    duration_s: float | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class LastHour:
    """The hand-offs that began in the last hour; ``capped`` where there were more than were looked at."""

    handoffs: int = 0
    succeeded: int = 0
    failed: int = 0
    in_flight: int = 0
    durations_s: tuple[float, ...] = ()
    capped: bool = False

    @property
    def success_ratio(self) -> float | None:
        """Successes among those whose result is known; None where none is."""
        known = self.succeeded + self.failed
        return self.succeeded / known if known else None

    @property
    def p95_s(self) -> float | None:
        """The 95th percentile of their durations in seconds, by nearest rank; None where there is none."""
        ranked = sorted(self.durations_s)
        return ranked[-(-95 * len(ranked) // 100) - 1] if ranked else None


def merged(hours: Iterable[LastHour]) -> LastHour:
    """The last hour of several sources as one."""
    found = list(hours)
    return LastHour(
        handoffs=sum(hour.handoffs for hour in found),
        succeeded=sum(hour.succeeded for hour in found),
        failed=sum(hour.failed for hour in found),
        in_flight=sum(hour.in_flight for hour in found),
        durations_s=tuple(duration for hour in found for duration in hour.durations_s),
        capped=any(hour.capped for hour in found),
    )


@dataclass(frozen=True, slots=True)
class Lately:
    """The newest rows of a source as read at ``at`` (Unix time): its newest events first, and its last hour.

    ``hour`` is None where the source has no hand-offs table.
    """

    at: float
    events: tuple[Event, ...]
    hour: LastHour | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """A session as read at ``at``, its events oldest first; ``capped`` where not all of them are here.

    ``state`` is ``closed`` with ``ended``, ``open``, or ``idle`` when nothing happened for the idle timeout.
    ``cost_usd`` is the money of the tables whose rows add to a session's cost.
    """

    at: float
    session: str
    project: str
    state: Literal["closed", "open", "idle"]
    started: float | None
    ended: float | None
    last_activity: float | None
    cost_usd: float
    counts: tuple[tuple[str, int], ...]
    events: tuple[Event, ...]
    capped: bool = False


@dataclass(frozen=True, slots=True)
class Seen(Generic[T]):
    """What is known of something that was looked at: ``fresh`` when the last look saw it, or saw that it is not."""

    value: T | None
    fresh: bool


@dataclass(frozen=True, slots=True)
class DaySpend:
    """A local day's money in USD; net savings may be negative."""

    day: date
    cost_usd: float
    net_savings_usd: float


@dataclass(frozen=True, slots=True)
class Spending:
    """Money spent in the running local day, week and month, in USD, and day by day, oldest first."""

    today: float
    week: float
    month: float
    days: tuple[DaySpend, ...]


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """A budget of the running period, which ends at ``ends_at`` (Unix time); no projection before there is one.

    Of one that is ``shared`` with other sources, this is what one source has of it.
    """

    name: str
    scope_text: str
    period: str
    limit_usd: float
    spent_usd: float
    projected_usd: float | None
    ends_at: float
    shared: bool = False


def summed(spendings: Iterable[Spending | None]) -> Spending | None:
    """The spending of several sources as one; None where none has any."""
    found = [spending for spending in spendings if spending is not None]
    if not found:
        return None
    days: dict[date, DaySpend] = {}
    for each in (day for spending in found for day in spending.days):
        before = days.get(each.day, DaySpend(each.day, 0.0, 0.0))
        days[each.day] = DaySpend(
            each.day, before.cost_usd + each.cost_usd, before.net_savings_usd + each.net_savings_usd
        )
    return Spending(
        today=sum(spending.today for spending in found),
        week=sum(spending.week for spending in found),
        month=sum(spending.month for spending in found),
        days=tuple(days[day] for day in sorted(days)),
    )


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How a source is doing: lines are empty, and times and numbers None, where there is nothing to say.

    ``error`` is what keeps it from being read now, ``last_error`` what did so last, and when that was.
    """

    name: str
    location: str
    up: bool
    error: str
    progress: str
    last_success: float | None
    counting_since: float | None
    lag_rows: int
    rows_read: Mapping[str, int]
    last_event: Mapping[str, float]
    notes: tuple[str, ...]
    checkpoint_error: str
    headlines: tuple[tuple[str, str], ...]
    active_sessions: int | None = None
    in_flight: int | None = None
    last_error: tuple[float, str] | None = None
    spending: Spending | None = None
    budgets: tuple[BudgetLine, ...] = ()


def budgets_of(statuses: Iterable[SourceStatus]) -> list[tuple[str, BudgetLine]]:
    """The budgets of all sources, each with its source's name; shared ones added up, and of no source."""
    own: list[tuple[str, BudgetLine]] = []
    shared: dict[str, list[BudgetLine]] = {}
    for status in statuses:
        own += [(status.name, line) for line in status.budgets if not line.shared]
        for line in status.budgets:
            if line.shared:
                shared.setdefault(line.name, []).append(line)
    return [*own, *(("", _together(lines)) for lines in shared.values())]


def _together(lines: Sequence[BudgetLine]) -> BudgetLine:
    projected = [line.projected_usd for line in lines if line.projected_usd is not None]
    return replace(
        lines[0],
        spent_usd=sum(line.spent_usd for line in lines),
        projected_usd=sum(projected) if len(projected) == len(lines) else None,
    )

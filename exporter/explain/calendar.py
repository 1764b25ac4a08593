"""The queries of the ledger's and the budgets' gauges: rows by the time of their events, within Unix times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from exporter.budgets import LEARNT_DAYS, WEEKS, Budget
from exporter.explain.rows import remark, rows_of, selected, wanted_labels
from exporter.explain.sql import Facts, Query, conjunction, event_time, literal, name_of, number, plus
from exporter.ledger import HANDOFF, MEDIAN_DAYS
from exporter.localtime import HOUR_S, Span
from exporter.spec import Const, Feed, Gauge, Label, Outcome, Plus


@dataclass(frozen=True, slots=True)
class Stretch:
    """Unix times from ``since`` to before ``until``, whose rows count by their ``share``."""

    since: float
    until: float
    share: float = 1.0


def gauge(facts: Facts, metric: Gauge, wanted: Mapping[str, str]) -> Query | None:
    """What a gauge of the ledger or a budget is; None where no SQL tells."""
    calendar = facts.rules.calendar
    match metric.reading:
        case "ledger":
            span = calendar.periods(facts.now)[wanted["period"]]
            projects = {name: text for name, text in wanted.items() if name != "period"}
            return _booked(facts, metric.column, projects, list(_stretches(facts, span)))
        case "ledger_median":
            return _median(facts, wanted)
        case "period_start" | "period_end":
            span = calendar.periods(facts.now)[wanted["period"]]
            return _moment(facts, span.start if metric.reading == "period_start" else span.end)
    budget = next((one for one in facts.rules.budgets if one.name == wanted.get("budget")), None)
    if budget is None or budget.shared:
        return None
    return _of_budget(facts, budget, metric.reading)


def _moment(facts: Facts, at: float) -> Query:
    """A time, as the calendar of the zone writes it."""
    query = Query()
    whole = int(at // 1)
    text = datetime.fromtimestamp(whole, facts.rules.calendar.zone).isoformat()
    fraction = f" + {literal(at - whole)}" if at != whole else ""
    query.final = f"SELECT CAST(strftime('%s', {literal(text)}) AS INTEGER){fraction} AS value"
    return query


# ── the ledger ───────────────────────────────────────────────────────────────────────────────────────────────


def _stretches(facts: Facts, span: Span) -> Iterator[Stretch]:
    """A span of days as times: its whole days and hours, and the running hour by its share."""
    calendar = facts.rules.calendar
    if span.hours is None:
        yield Stretch(span.start, calendar.midnight(span.last + 1))
        return
    day, after = calendar.midnight(span.last), calendar.midnight(span.last + 1)
    whole = min(day + int(span.hours) * HOUR_S, after)
    yield Stretch(span.start, whole)
    if span.hours > int(span.hours) and whole < after:
        yield Stretch(whole, min(whole + HOUR_S, after), span.hours - int(span.hours))


def _add_booked(facts: Facts, query: Query, column: str, wanted: Mapping[str, str]) -> None:
    """The part ``booked``: what each row that counted adds to that column of the ledger, and when."""
    ledger = facts.schema.ledger
    feeds = [feed for feed in (ledger.feeds if ledger else ()) if feed.table.name in facts.present]
    labels = ledger.labels if ledger else ()
    chosen = [feed for feed in feeds if selected(feed, labels, wanted) and (column != "handoffs" or _is_handoff(feed))]
    selects = [
        rows_of(
            facts, query, feed, labels, set(wanted), [f"{_amount(facts, feed, column)} AS amount", _at(facts, feed)]
        )
        for feed in chosen
    ]
    remarks = dict.fromkeys(remark(facts, feed.table) for feed in chosen)
    empty = "".join(f"NULL AS {name_of(name)}, " for name in wanted)
    body = "\nUNION ALL\n".join(selects) or f"SELECT {empty}NULL AS amount, NULL AS at WHERE 0"
    query.add("booked", body, "\n".join(remarks))


def _at(facts: Facts, feed: Feed) -> str:
    return f"{event_time(facts, feed.table, 'e')} AS at"


def _is_handoff(feed: Feed) -> bool:
    return any(isinstance(value, Const) and value.value == HANDOFF for value in feed.labels.values())


def _amount(facts: Facts, feed: Feed, column: str) -> str:
    """What a row adds to a column of the ledger."""
    table, ledger = feed.table, facts.schema.ledger
    cost, *savings = feed.value_columns()
    spent = f"coalesce({number(facts, table, cost, 'e')}, 0)"
    match column:
        case "cost":
            return spent
        case "baseline":
            return f"coalesce({plus(facts, table, feed.value, 'e')}, 0)" if isinstance(feed.value, Plus) else spent
        case "net_savings":
            saved = f"coalesce({number(facts, table, savings[0], 'e')}, 0)" if savings else "0"
            return f"CASE {_flag(feed)} WHEN 1 THEN {saved} WHEN 0 THEN -{spent} ELSE 0 END"
        case "tokens":
            return f"coalesce({number(facts, table, ledger.tokens if ledger else '', 'e')}, 0)"
        case _:
            return "1"


def _flag(feed: Feed) -> str:
    return next(f"e.{name_of(value.flag)}" for value in feed.labels.values() if isinstance(value, Outcome))


def _add_stretches(query: Query, stretches: Iterable[Stretch], what: str) -> None:
    lines = ",\n".join(f"({literal(s.since)}, {literal(s.until)}, {literal(s.share)})" for s in stretches)
    query.add("stretch(since, until, share)", f"VALUES\n{lines}", what)


def _booked(
    facts: Facts, column: str, wanted: Mapping[str, str], stretches: list[Stretch], what: str = "", plus: str = ""
) -> Query:
    """The sum of a column over stretches of time."""
    query = Query()
    _add_booked(facts, query, column, wanted)
    times = " and ".join(_shown(facts, s) for s in stretches[:2])
    _add_stretches(query, stretches, what or f"from {times}")
    labels: tuple[Label, ...] = facts.schema.ledger.labels if facts.schema.ledger else ()
    where = conjunction(wanted_labels(facts, labels, wanted))
    query.final = (
        f"SELECT {plus}total(amount * share) AS value\nFROM booked\nJOIN stretch ON at >= since AND at < until{where}"
    )
    return query


def _shown(facts: Facts, stretch: Stretch) -> str:
    zone = facts.rules.calendar.zone
    since, until = (datetime.fromtimestamp(at, zone) for at in (stretch.since, stretch.until))
    share = f", of which {stretch.share:.4f} count" if stretch.share != 1.0 else ""
    return f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M %Z}{share}"


def _median(facts: Facts, wanted: Mapping[str, str]) -> Query:
    """The median of the whole days before today."""
    query, calendar = Query(), facts.rules.calendar
    _add_booked(facts, query, "cost", wanted)
    today = calendar.day(facts.now)
    days = [today - back for back in range(MEDIAN_DAYS, 0, -1)]
    found = [Stretch(calendar.midnight(day), calendar.midnight(day + 1)) for day in days]
    _add_stretches(query, found, f"the {MEDIAN_DAYS} days before today, in {calendar.name}")
    labels: tuple[Label, ...] = facts.schema.ledger.labels if facts.schema.ledger else ()
    on = " AND ".join(["at >= since AND at < until", *wanted_labels(facts, labels, wanted)])
    query.add("daily", f"SELECT total(amount) AS spent\nFROM stretch\nLEFT JOIN booked ON {on}\nGROUP BY since")
    query.final = f"SELECT spent AS value\nFROM daily\nORDER BY spent\nLIMIT 1 OFFSET {MEDIAN_DAYS // 2}"
    return query


# ── budgets ──────────────────────────────────────────────────────────────────────────────────────────────────


def _of_budget(facts: Facts, budget: Budget, reading: str) -> Query | None:
    span = facts.rules.calendar.running(budget.period, facts.now)
    wanted: dict[str, str] = {} if budget.scope == "all" else {budget.scope: budget.value}
    running = Stretch(span.start, span.end)
    match reading:
        case "budget_start" | "budget_end":
            return _moment(facts, span.start if reading == "budget_start" else span.end)
        case "budget_limit":
            query = Query()
            query.final = f"SELECT {literal(float(budget.limit_usd))} AS value"
            return query
        case "budget_spent":
            return _booked(facts, "cost", wanted, [running])
        case "budget_projected":
            expected = list(_expected(facts, span))
            what = f"{_shown(facts, running)}, and the hours of the last weeks, each as often as it is still to come"
            return _booked(facts, "cost", wanted, [running, *expected], what)
    return None


def _expected(facts: Facts, span: Span) -> Iterator[Stretch]:
    """The hours of the last weeks, by how much of their hour of the week is left of the period, on average."""
    calendar, today = facts.rules.calendar, facts.rules.calendar.day(facts.now)
    first = facts.state.ledger.first_day()
    if first is None or today - first < LEARNT_DAYS:
        return
    left = _left(facts, span, today)
    for back in range(7 * WEEKS, 0, -1):
        day = today - back
        if day < first:
            continue
        known = sum(1 for week in range(WEEKS) if today - 1 - (back - 1) % 7 - 7 * week >= first)
        shares = [left.get((day % 7, hour), 0.0) / known for hour in range(calendar.hours_in(day))]
        yield from _merged(calendar.midnight(day), shares)


def _left(facts: Facts, span: Span, today: int) -> Mapping[tuple[int, int], float]:
    """How many of each hour of the week are still to come in the period; of the running one its rest."""
    calendar = facts.rules.calendar
    elapsed = calendar.elapsed_hours(facts.now)
    found: dict[tuple[int, int], float] = {}
    for day in range(today, span.last + 1):
        for hour in range(calendar.hours_in(day)):
            rest = 1.0 if day > today else min(1.0, max(0.0, hour + 1 - elapsed))
            found[day % 7, hour] = found.get((day % 7, hour), 0.0) + rest
    return found


def _merged(midnight: float, shares: list[float]) -> Iterator[Stretch]:
    """The hours of a day, those of one share that follow each other as one stretch; none of no share."""
    start = 0
    for hour in range(1, len(shares) + 1):
        if hour == len(shares) or shares[hour] != shares[start]:
            if shares[start]:
                yield Stretch(midnight + start * HOUR_S, midnight + hour * HOUR_S, shares[start])
            start = hour

"""The page at `/`: how the sources are, what is spent, what happened in the last hour, and what happened last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from exporter.view import BudgetLine, Event, Lately, Seen, SourceStatus, Spending, budgets_of, merged, summed
from exporter.web import charts, events
from exporter.web.events import Column
from exporter.web.frame import NONE, Links, ago, clock, document, duration, moment, money, percent, section, text, tiles

REFRESH_S = 15
"""How often the page is to be fetched again."""

NEWEST = 20
_FRESH_S = 10.0
_SHORT = 20
_TITLE = "Orchestration exporter"


@dataclass(frozen=True, slots=True)
class Sources:
    """All sources, and by name what of their newest rows was seen."""

    statuses: Sequence[SourceStatus]
    seen: Mapping[str, Seen[Lately]]

    def name(self, source: str) -> str:
        """The source's name where there are several; empty where there is only one."""
        return source if len(self.statuses) > 1 else ""

    def lately(self) -> list[tuple[str, Lately]]:
        """What was seen, by source."""
        found = ((status.name, self.seen.get(status.name)) for status in self.statuses)
        return [(name, seen.value) for name, seen in found if seen is not None and seen.value is not None]


def page(
    statuses: Sequence[SourceStatus], *, seen: Mapping[str, Seen[Lately]], now: float, links: Links, refreshes: bool
) -> str:
    """The whole page at Unix time ``now``; ``refreshes`` says whether the browser will fetch it again."""
    sources = Sources(statuses, seen)
    down = sum(not status.up for status in statuses)
    parts = (
        section("sources", "Sources", _health(statuses, now), note=_health_note(statuses)),
        _money(sources, now),
        section("lately", "Now and in the last hour", _lately(sources), note=_capped(sources)),
        _days(summed(status.spending for status in statuses)),
        section("newest", "Newest activity", _newest(sources, now), note=_age(sources, now)),
        section("read", "Counted so far", _facts(statuses, now)),
    )
    again = (
        f'Renews itself every {REFRESH_S} seconds; <a href="?refresh=off">pause</a>.'
        if refreshes
        else 'Does not renew itself; <a href="./">resume</a>.'
    )
    return document(
        title=_TITLE if not down else f"{_TITLE}: {down} of {len(statuses)} sources down",
        heading=f"<h1>{_TITLE}</h1>",
        links=links,
        main="".join(parts),
        foot=f"As of {moment(now, now)}. {again}",
    )


# ── sources ──────────────────────────────────────────────────────────────────────────────────────────────────


def _health(statuses: Sequence[SourceStatus], now: float) -> str:
    return f'<ul class="sources">{"".join(_source(status, now) for status in statuses)}</ul>' if statuses else ""


def _health_note(statuses: Sequence[SourceStatus]) -> str:
    up = sum(status.up for status in statuses)
    return f"{up} of {len(statuses)} up" if len(statuses) > 1 else ""


def _source(status: SourceStatus, now: float) -> str:
    last = "never read" if status.last_success is None else f"read {ago(max(now - status.last_success, 0.0))}"
    lag = f"{status.lag_rows:,} rows behind" if status.lag_rows else "up to date" if status.up else ""
    behind = f'<span class="soft">{lag}</span>' if lag else ""
    kind, state = _state(status)
    lines = (
        _said("bad", "Error", status.error),
        _said("bad", "The state cannot be saved, so nothing newer is shown", status.checkpoint_error),
        _said("busy", "Reading", status.progress),
        _last_error(status, now),
    )
    return (
        f'<li><div class="row"><h3><span class="pill {kind}">{state}</span><span>{text(status.name)}</span></h3>'
        f'<span class="soft">{last}</span>{behind}</div>{"".join(lines)}</li>'
    )


def _last_error(status: SourceStatus, now: float) -> str:
    """What went wrong last, of a source that is well again."""
    if status.last_error is None or status.error:
        return ""
    at, line = status.last_error
    return f'<p class="note any">Last error, {ago(now - at)}: {text(line)}</p>'


def _state(status: SourceStatus) -> tuple[str, str]:
    if status.up:
        return "good", "● up"
    return ("busy", "◐ starting") if status.progress and not status.error else ("bad", "▲ down")


def _said(kind: str, label: str, line: str) -> str:
    return f'<p class="said {kind}"><strong>{label}:</strong> {text(line)}</p>' if line else ""


# ── money ────────────────────────────────────────────────────────────────────────────────────────────────────


def _money(sources: Sources, now: float) -> str:
    spending = summed(status.spending for status in sources.statuses)
    shown = ""
    if spending is not None:
        sums = (("Today", spending.today), ("This week", spending.week), ("This month", spending.month))
        shown = tiles((name, money(usd), "") for name, usd in sums)
    lines = "".join(
        _budget(budget, sources.name(name) if name else "", now) for name, budget in budgets_of(sources.statuses)
    )
    budgets = f'<ul class="budgets" aria-label="Budgets">{lines}</ul>' if lines else ""
    return section("spend", "Spend", shown + budgets, note="US dollars")


def _budget(budget: BudgetLine, source: str, now: float) -> str:
    left = budget.limit_usd - budget.spent_usd
    used = percent(budget.spent_usd / budget.limit_usd) if budget.limit_usd else "all"
    over = left < 0
    state = f'<span class="overtext">{money(-left)} over</span>' if over else f"{money(left)} left"
    scope = " · ".join(part for part in (budget.scope_text, f"per {budget.period}", source) if part)
    projected = "" if budget.projected_usd is None else f", {money(budget.projected_usd)} projected"
    words = f"{used} of the budget {budget.name} used: {money(budget.spent_usd)} of {money(budget.limit_usd)}"
    meter = charts.meter(
        spent=budget.spent_usd, limit=budget.limit_usd, projected=budget.projected_usd, words=words + projected
    )
    hours = max(budget.ends_at - now, 0.0) / 3600
    ends = f"ends in {hours / 24:.0f} d" if hours >= 48 else f"ends in {hours:.0f} h"
    return (
        f'<li><div class="row"><strong>{text(budget.name)}</strong>'
        f"<span>{money(budget.spent_usd)} of {money(budget.limit_usd)}</span></div>"
        f'<div class="sub">{text(scope)}</div>{meter}'
        f'<div class="row sub"><span>{used} used{projected}</span><span>{state}, {ends}</span></div></li>'
    )


def _days(spending: Spending | None) -> str:
    if spending is None or not spending.days:
        return ""
    cost = [(f"{day.day:%b %d}", day.cost_usd) for day in spending.days]
    saved = [(f"{day.day:%b %d}", day.net_savings_usd) for day in spending.days]
    count = len(spending.days)
    both = _chart("days-spend", "Spend by day", cost, kind="spend", note=f"the last {count} days") + _chart(
        "days-saved", "Net savings by day", saved, kind="save", note=f"against the dearest model, {count} days"
    )
    return f'<div class="columns">{both}</div>\n'


def _chart(name: str, title: str, values: Sequence[tuple[str, float]], *, kind: str, note: str) -> str:
    total = sum(value for _, value in values)
    most = max(values, key=lambda pair: pair[1])
    words = f"{title}, {values[0][0]} to {values[-1][0]}: {money(total)} in all, most on {most[0]}: {money(most[1])}"
    rows = "".join(
        f'<tr><th scope="row">{text(day)}</th><td class="num">{money(value)}</td></tr>'
        for day, value in reversed(values)
    )
    table = (
        f'<details><summary>{title}, as a table</summary><div class="scroll" tabindex="0" role="group" '
        f'aria-label="{title}"><table><thead><tr><th scope="col">Day</th><th scope="col" class="num">USD</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )
    drawn = charts.bars(values, kind=kind, what=words)
    return section(name, title, f'<p class="total">{money(total)}</p>{drawn}{table}', note=note)


# ── what happened ────────────────────────────────────────────────────────────────────────────────────────────


def _lately(sources: Sources) -> str:
    hours = [lately.hour for _, lately in sources.lately() if lately.hour is not None]
    hour = merged(hours)
    known = hour.succeeded + hour.failed
    ratio, p95 = hour.success_ratio, hour.p95_s
    items = (
        ("Active sessions", _count(status.active_sessions for status in sources.statuses), ""),
        ("Hand-offs in flight", _count(status.in_flight for status in sources.statuses), ""),
        ("Hand-offs", f"{hour.handoffs:,}" if hours else NONE, "begun in the last hour"),
        (
            "Success",
            NONE if ratio is None else percent(ratio),
            f"{hour.failed:,} of {known:,} failed" if known else "no result yet",
        ),
        ("Duration, 95th percentile", NONE if p95 is None else duration(p95), f"of {len(hour.durations_s):,} timed"),
    )
    return tiles(items)


def _count(numbers: Iterable[int | None]) -> str:
    known = [number for number in numbers if number is not None]
    return f"{sum(known):,}" if known else NONE


def _capped(sources: Sources) -> str:
    capped = any(lately.hour is not None and lately.hour.capped for _, lately in sources.lately())
    return "of a busy hour, the newest 5,000 hand-offs of each source" if capped else ""


def _age(sources: Sources, now: float) -> str:
    """What is not seen, or was seen some time ago."""
    parts = []
    for status in sources.statuses:
        found = sources.seen.get(status.name)
        of = f" of {text(status.name)}" if sources.name(status.name) else ""
        if found is None or found.value is None:
            parts.append(f"the rows{of} cannot be read now")
        elif not found.fresh and now - found.value.at > _FRESH_S:
            parts.append(f"the rows{of} as they were {ago(now - found.value.at)}")
    return "; ".join(parts) or "times in UTC"


def _newest(sources: Sources, now: float) -> str:
    found = [(event, name) for name, lately in sources.lately() for event in lately.events]
    found.sort(key=lambda pair: pair[0].at or 0.0, reverse=True)
    if not found:
        return '<p class="soft">No activity yet.</p>' if sources.statuses else ""
    several = [Column("Source", "of any")] if len(sources.statuses) > 1 else []
    columns = (
        Column("Time", "time nowrap"),
        Column("Kind", "kind nowrap"),
        Column("Model or agent", "who any"),
        Column("Project", "about any"),
        *several,
        Column("Outcome", "outcome"),
        Column("Took", "took num"),
        Column("Session", "last nowrap"),
    )
    rows = (_row(event, name, sources, now) for event, name in found[:NEWEST])
    return events.table("Newest activity", columns, rows)


def _row(event: Event, name: str, sources: Sources, now: float) -> Sequence[str]:
    several = [text(name)] if sources.name(name) else []
    return (
        events.when(event, now),
        text(event.kind),
        events.who(event),
        text(event.project),
        *several,
        events.result(event),
        events.took(event),
        _link(event.session, sources.name(name)),
    )


def _link(session: str | None, source: str) -> str:
    if session is None:
        return ""
    return f'<a class="id" href="{text(events.session_address(session, source))}">{text(_short(session))}</a>'


def _short(session: str) -> str:
    """The id's beginning and end: ids that have much in common differ in their last characters."""
    return session if len(session) <= _SHORT else f"{session[:8]}…{session[-(_SHORT - 9) :]}"


# ── what was counted ─────────────────────────────────────────────────────────────────────────────────────────


def _facts(statuses: Sequence[SourceStatus], now: float) -> str:
    return "".join(f'<div class="source">{_source_facts(status, now)}</div>' for status in statuses)


def _source_facts(status: SourceStatus, now: float) -> str:
    headlines = tiles(((name, text(value), "") for name, value in status.headlines), kind="small")
    since = f"without a break since {moment(status.counting_since, now)}"
    left_out = "".join(f"<li>{text(note)}</li>" for note in status.notes)
    return (
        f"<h3>{text(status.name)}</h3>"
        f'<p class="soft">{text(status.location)}, {since}</p>{headlines}{_tables(status, now)}'
        + (f'<p class="note">Left out</p><ul class="left">{left_out}</ul>' if left_out else "")
    )


def _tables(status: SourceStatus, now: float) -> str:
    rows = "".join(
        f'<tr><th scope="row">{text(table).replace("_", "_<wbr>")}</th><td class="num">{number:,}</td>'
        f"<td>{_event_time(status.last_event.get(table), now)}</td></tr>"
        for table, number in status.rows_read.items()
    )
    if not rows:
        return ""
    head = '<th scope="col">Table</th><th scope="col" class="num">Rows read</th><th scope="col">Newest event (UTC)</th>'
    name = f"Rows read of {text(status.name)}, by table"
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{name}"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _event_time(at: float | None, now: float) -> str:
    return NONE if at is None else f'{clock(at, now)} <span class="soft nowrap">{ago(now - at)}</span>'

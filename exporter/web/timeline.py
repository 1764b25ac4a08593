"""The page at `/sessions/ID`: what happened in a session, in its order; and the page that says why there is none."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.view import Event, Timeline
from exporter.web import charts, events
from exporter.web.events import Column
from exporter.web.frame import HOME, Links, ago, document, duration, moment, money, section, text, tiles

_STALE_S = 10.0
_SPANS = {"failure": "over", "in flight": "near"}


def page(timeline: Timeline, *, source: str, now: float, home: str, links: Links) -> str:
    """A session's page; ``home`` is the overview's address."""
    head = (
        f'<h1 class="title">Session <span class="id">{text(timeline.session)}</span></h1>'
        f'<p class="row"><span>{_state(timeline)}</span><span class="soft">project {text(timeline.project)}</span>'
        f'<span class="soft">source {text(source)}</span></p>'
    )
    note = f"as it was {ago(now - timeline.at)}" if now - timeline.at > _STALE_S else ""
    limit = "only the first 2,000 rows of a table are shown" if timeline.capped else "times in UTC"
    return document(
        title=f"Session {timeline.session}",
        heading=HOME.format(home=text(home)),
        links=links,
        main=f'<section aria-label="Session">{head}{_numbers(timeline, now)}</section>\n'
        + section("events", "Timeline", _events(timeline, now), note="; ".join(part for part in (note, limit) if part)),
        foot=f"As of {moment(now, now)}.",
    )


def absent(*, title: str, said: str, home: str, links: Links, now: float) -> str:
    """A page that says in a line why there is nothing to show."""
    body = f'<h1 class="title">{text(title)}</h1><p>{text(said)}</p><p><a href="{text(home)}">To the overview</a></p>'
    return document(
        title=title,
        heading=HOME.format(home=text(home)),
        links=links,
        main=f'<section aria-label="{text(title)}">{body}</section>\n',
        foot=f"As of {moment(now, now)}.",
    )


def _state(timeline: Timeline) -> str:
    if timeline.state == "closed":
        return '<span class="pill plain">ended</span>'
    if timeline.state == "open":
        return '<span class="pill good">● open</span>'
    return '<span class="pill plain">idle, no end recorded</span>'


def _numbers(timeline: Timeline, now: float) -> str:
    until = timeline.ended if timeline.state == "closed" else timeline.last_activity
    lasted = None if timeline.started is None or until is None else max(until - timeline.started, 0.0)
    large = [
        ("Duration so far" if timeline.state == "open" else "Duration", duration(lasted), ""),
        ("Cost", money(timeline.cost_usd, digits=4), ""),
        *((f"{kind.capitalize()}s", f"{count:,}", "") for kind, count in timeline.counts if count),
    ]
    last = [] if timeline.state == "closed" else [("Last activity", moment(timeline.last_activity, now), "")]
    ended = [("Ended", moment(timeline.ended, now), "")] if timeline.state == "closed" else []
    small = [("Started", moment(timeline.started, now), ""), *ended, *last]
    return tiles(large) + tiles(small, kind="small")


def _events(timeline: Timeline, now: float) -> str:
    if not timeline.events:
        return '<p class="soft">Nothing is recorded of it but the session itself.</p>'
    columns = (
        Column("Time", "time nowrap"),
        Column("Kind", "kind nowrap"),
        Column("Model, agent or tool", "who any"),
        Column("Task", "about any"),
        Column("Outcome", "outcome"),
        Column("Took", "took num"),
        Column("Cost", "last num"),
        Column("When and how long", "spancell"),
    )
    start, end = _bounds(timeline.events)
    rows = (_row(event, start, end, now) for event in timeline.events)
    return events.table("Timeline", columns, rows)


def _bounds(found: Sequence[Event]) -> tuple[float, float]:
    """When the first event began and the last ended: the scale of the spans."""
    begun = [event for event in found if event.at is not None]
    start = min((event.at or 0.0 for event in begun), default=0.0)
    end = max(((event.at or 0.0) + (event.duration_s or 0.0) for event in begun), default=0.0)
    return start, max(end, start + 1.0)


def _row(event: Event, start: float, end: float, now: float) -> Sequence[str]:
    drawn = ""
    if event.at is not None:
        whole = end - start
        over = event.at + (event.duration_s or 0.0)
        kind = _SPANS.get(event.result, "spend")
        drawn = charts.span(start=(event.at - start) / whole, end=(over - start) / whole, kind=kind)
    return (
        events.when(event, now),
        text(event.kind),
        events.who(event),
        text(event.what),
        events.result(event),
        events.took(event),
        events.cost(event),
        drawn,
    )

"""The pages a person sees: what is on them, what is never on them, and how they are served."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import ClientResponse, ClientSession, web
from yarl import URL

from exporter.catalogue import SCHEMA
from exporter.config import WebSettings
from exporter.demo.schema import TABLES
from exporter.exposition import Format
from exporter.telemetry import Telemetry
from exporter.view import (
    BudgetLine,
    DaySpend,
    Event,
    LastHour,
    Lately,
    Seen,
    SourceStatus,
    Spending,
    Timeline,
    budgets_of,
    merged,
    summed,
)
from exporter.web import charts, docs, events, frame, overview, timeline
from exporter.web.app import make_app
from exporter.web.style import STYLE
from tests.processes import Serving
from tests.sqlite_platform import Platform, running

NOW = 1_000_000.0
EVIL = "<script>alert(1)</script>\"'&\x00\x1b\u202e\ud800"
HEALTHY = SourceStatus(
    name="default",
    location="/data/orchestration.db",
    up=True,
    error="",
    progress="",
    last_success=NOW - 1,
    counting_since=NOW - 100,
    lag_rows=0,
    rows_read={"handoff_events": 1_234_567},
    last_event={"handoff_events": NOW - 5},
    notes=(),
    checkpoint_error="",
    headlines=(("Hand-offs", "1,234"),),
    active_sessions=3,
    in_flight=2,
)
EVENT = Event(
    kind="hand-off",
    at=NOW - 10,
    session="claude_1",
    project="shop",
    who="deepseek-coder",
    what="code",
    result="success",
    error="",
    duration_s=1.5,
    cost_usd=0.0123,
)
HOUR = LastHour(handoffs=12, succeeded=9, failed=1, in_flight=2, durations_s=tuple(map(float, range(1, 101))))
LATELY = Lately(NOW, (EVENT,), HOUR)
TIMELINE = Timeline(
    at=NOW,
    session="claude_1",
    project="shop",
    state="closed",
    started=NOW - 600,
    ended=NOW - 10,
    last_activity=NOW - 20,
    cost_usd=0.5,
    counts=(("hand-off", 2), ("sub-agent", 0)),
    events=(replace(EVENT, at=NOW - 500), replace(EVENT, at=NOW - 20, result="failure", error="timeout")),
)
DAYS = tuple(DaySpend(date(2026, 10, 27) + timedelta(n), 1.0 + n, 2.0 - n) for n in range(30))
SPENDING = Spending(today=1.25, week=20.5, month=1_234.56, days=DAYS)
BUDGET = BudgetLine("team", "project shop", "month", 100.0, 62.5, 90.0, NOW + 5 * 86_400)


class Outline(HTMLParser):
    """Collects a page's elements and its text, and holds that every element is closed in its turn."""

    VOID = frozenset({"meta", "link", "br", "img", "hr", "input", "wbr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.pieces: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.pieces.append(data)

    @property
    def text(self) -> str:
        """All text, as it stands there."""
        return "".join(self.pieces)

    def values(self, name: str) -> list[str]:
        """The values of all attributes of that name."""
        return [value or "" for attribute, value in self.attributes if attribute == name]


def overview_of(
    *statuses: SourceStatus, seen: Mapping[str, Seen[Lately]] | None = None, now: float = NOW, refreshes: bool = True
) -> str:
    """Make the overview's page; without `seen`, the newest rows of the source `default`."""
    shown = {"default": Seen(LATELY, fresh=True)} if seen is None else seen
    return overview.page(statuses, seen=shown, now=now, links=[("Metrics", "metrics")], refreshes=refreshes)


def session_of(shown: Timeline = TIMELINE, *, now: float = NOW) -> str:
    """Make a session's page."""
    return timeline.page(shown, source="default", now=now, home="/", links=[("Metrics", "/metrics")])


def told(page: str) -> str:
    """A page's text, a space between what stands in different elements, and no more than one."""
    return " ".join(" ".join(Outline(page).pieces).split())


# ── every page ─────────────────────────────────────────────────────────────────────────────────────────────────

PAGES = {
    "overview": lambda: overview_of(replace(HEALTHY, spending=SPENDING, budgets=(BUDGET,))),
    "session": session_of,
    "docs": lambda: docs.page(SCHEMA.metrics, now=NOW, home="/", links=[]),
    "absent": lambda: timeline.absent(title="No such session", said="Nothing.", home="/", links=[], now=NOW),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_html_from_here_alone(name: str) -> None:
    """Landmarks, one h1, headings in order, a language; no script, no inline style, nothing fetched."""
    page = PAGES[name]()
    outline = Outline(page)

    assert page.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert {"header", "nav", "main", "footer", "title"} <= set(outline.tags)
    assert outline.tags.count("h1") == 1
    levels = [int(tag[1]) for tag in outline.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert not {"script", "img", "link", "iframe", "form"} & set(outline.tags)
    assert "http://" not in page
    assert "https://" not in page
    assert not [key for key, _ in outline.attributes if key.startswith("on") or key in ("style", "src")]


@pytest.mark.parametrize("name", PAGES)
def test_every_graphic_has_its_text(name: str) -> None:
    """An image is named, or is hidden from those who cannot see it because its words stand beside it."""
    images = re.findall(r"<svg[^>]*>", PAGES[name]())

    assert images
    assert all('aria-hidden="true"' in image or re.search('role="img" aria-label="[^"]+', image) for image in images)


@pytest.mark.parametrize("name", PAGES)
def test_the_policy_allows_our_style_and_no_other(name: str) -> None:
    """The hash in the policy is that of the style in the page."""
    (style,) = re.findall(r"<style>(.*?)</style>", PAGES[name](), re.DOTALL)

    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

    assert f"style-src 'sha256-{digest}'" in frame.SECURITY_POLICY


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.1 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_colours_can_be_told_apart(scheme: int) -> None:
    """Text has a contrast of at least 4.5 to what it stands on, bars and marks one of 3, in both schemes."""
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", STYLE.split("{ :root {")[scheme].split("* {")[0]))
    on_ground = [(ink, ground) for ink in ("ink", "soft", "link") for ground in ("back", "card")]
    on_pills = [(state, f"{state}back") for state in ("good", "bad", "busy")] + [("soft", "fill"), ("bad", "card")]

    assert [pair for pair in on_ground + on_pills if contrast(*(colours[name] for name in pair)) < 4.5] == []
    assert all(contrast(colours[bar], colours["card"]) >= 3 for bar in ("spend", "save", "bad", "busy"))


def test_contrast_is_measured_as_wcag_does() -> None:
    """Black on white is 21; grey #777777 on white is just too little."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert 4.4 < contrast("#777777", "#ffffff") < 4.5


# ── the overview ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_overview_says_how_a_healthy_source_is() -> None:
    """State, lag, place, rows by table with their newest event, totals, all in words."""
    text = told(overview_of(HEALTHY))

    for part in (
        *("● up", "default", "read 1 s ago", "up to date", "/data/orchestration.db", "1,234,567"),
        *("handoff_ events", "5 s ago", "Hand-offs 1,234", "1970-01-12 13:46:40 UTC"),
    ):
        assert part in text
    assert "Error" not in text


def test_the_overview_says_what_is_wrong() -> None:
    """The error, what cannot be saved, what is left out, how far behind, and the state, in words."""
    broken = replace(
        HEALTHY,
        up=False,
        error="x.db: database is locked",
        checkpoint_error="no space left",
        notes=("task_outcomes has no quality_score",),
        last_success=None,
        lag_rows=1_200,
    )

    text = told(overview_of(broken))

    for part in (
        *("▲ down", "x.db: database is locked", "no space left", "Left out task_outcomes has no quality_score"),
        *("1 of 1 sources down", "never read", "1,200 rows behind"),
    ):
        assert part in text
    assert "up to date" not in text


def test_the_last_error_of_a_source_that_is_well_again_is_kept() -> None:
    """And said once while it lasts."""
    once = replace(HEALTHY, last_error=(NOW - 7_200, "x.db: database is locked"))

    assert "Last error, 2 h ago: x.db: database is locked" in told(overview_of(once))
    assert told(overview_of(replace(once, error="x.db: database is locked"))).count("database is locked") == 1


def test_the_overview_says_how_far_a_first_scan_is() -> None:
    """Not down, not up: starting, and how far."""
    starting = replace(HEALTHY, up=False, progress="handoff_events: 40%", rows_read={}, headlines=())
    text = told(overview_of(starting))

    assert "◐ starting" in text
    assert "handoff_events: 40%" in text


def test_the_last_hour_and_what_runs_now_are_in_numbers() -> None:
    """Active sessions, hand-offs in flight, hand-offs, success among known results, 95th percentile."""
    text = told(overview_of(HEALTHY))

    for part in (
        "Active sessions 3",
        "Hand-offs in flight 2",
        "Hand-offs 12 begun in the last hour",
        "Success 90% 1 of 10 failed",
        "Duration, 95th percentile 95.0 s of 100 timed",
    ):
        assert part in text


def test_what_is_not_known_is_a_dash_and_no_number() -> None:
    """Before anything was read there are no zeros that look like facts."""
    text = told(overview_of(replace(HEALTHY, active_sessions=None, in_flight=None), seen={}))

    for part in ("Active sessions –", "Hand-offs –", "Success –", "95th percentile –", "the rows cannot be read now"):
        assert part in text


def test_an_empty_database_is_no_error() -> None:
    """Nothing happened yet, and that is what the page says."""
    empty = {"default": Seen(Lately(NOW, (), LastHour()), fresh=True)}

    text = told(overview_of(replace(HEALTHY, rows_read={}, last_event={}), seen=empty))

    assert "No activity yet." in text
    assert "Success – no result yet" in text
    assert "Hand-offs 0" in text


def test_without_any_source_the_page_is_whole() -> None:
    """Nothing to show is no error."""
    assert "h1" in Outline(overview_of(seen={})).tags


def test_the_newest_activities_of_all_sources_are_shown_newest_first() -> None:
    """At most 20, each with its source where there are several, and a link to its session."""
    other = replace(HEALTHY, name="other")
    mine = tuple(replace(EVENT, at=NOW - 2 * n, who=f"mine-{n}") for n in range(20))
    theirs = tuple(replace(EVENT, at=NOW - 2 * n - 1, who=f"theirs-{n}", session="a/b c?") for n in range(20))
    seen = {"default": Seen(Lately(NOW, mine, None), True), "other": Seen(Lately(NOW, theirs, None), True)}

    page = overview_of(HEALTHY, other, seen=seen)

    assert re.findall(r"(?:mine|theirs)-\d+", page) == [f"{who}-{n}" for n in range(10) for who in ("mine", "theirs")]
    assert page.count('href="sessions/claude_1?source=default"') == 10
    assert page.count('href="sessions/a%2Fb%20c%3F?source=other"') == 10


def test_an_activity_shows_what_is_known_of_it_and_no_more() -> None:
    """Kind, project, who, outcome with the failure's kind, duration; a dash for what is not recorded."""
    failed = replace(EVENT, result="failure", error="rate_limit", duration_s=None, session=None)
    hook = replace(EVENT, kind="hook", who="", result="", error="", duration_s=None)

    text = told(overview_of(HEALTHY, seen={"default": Seen(Lately(NOW, (failed, hook), None), True)}))

    assert "hand-off deepseek-coder shop failure rate_limit – –" in text.replace("13:46:30 ", "").replace(
        "13:46:30", ""
    )
    assert "hook – shop – – claude_1" in text.replace("13:46:30", "")


def test_old_rows_are_shown_with_their_age() -> None:
    """While a source cannot be read, what was seen last is there, and since when."""
    seen = {"default": Seen(replace(LATELY, at=NOW - 300), fresh=False)}

    text = told(overview_of(replace(HEALTHY, up=False, error="locked"), seen=seen))

    assert "the rows as they were 5 min ago" in text
    assert "deepseek-coder" in text


def test_a_busy_hour_is_said_to_be_a_part() -> None:
    """Where more hand-offs began in the hour than are looked at, nobody takes the number for all."""
    capped = {"default": Seen(replace(LATELY, hour=replace(HOUR, capped=True)), fresh=True)}

    assert "the newest 5,000 hand-offs" in told(overview_of(HEALTHY, seen=capped))
    assert "the newest 5,000 hand-offs" not in told(overview_of(HEALTHY))


def test_a_long_session_id_is_shown_by_its_ends() -> None:
    """Ids that begin alike differ at their ends; the link has all of it."""
    long = {
        "default": Seen(replace(LATELY, events=(replace(EVENT, session="claude_realtime_1891764709_0004db"),)), True)
    }

    page = overview_of(HEALTHY, seen=long)

    assert 'href="sessions/claude_realtime_1891764709_0004db">claude_r…4709_0004db</a>' in page


def test_the_page_can_be_kept_from_renewing_itself() -> None:
    """Who reads slowly is not interrupted: a link stops it, and one starts it again."""
    assert 'href="?refresh=off"' in overview_of(HEALTHY)
    assert 'href="./">resume' in overview_of(HEALTHY, refreshes=False)


# ── money ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_spending_is_shown_first_and_as_bars_with_words_and_a_table() -> None:
    """Three sums; two images with what they show in words; each day in a table."""
    page = overview_of(replace(HEALTHY, spending=SPENDING))
    outline = Outline(page)

    text = told(page)
    assert "Today $1.25 This week $20.50 This month $1,234.56" in text
    labels = [label for label in outline.values("aria-label") if " to Nov 25" in label]
    assert labels == [
        "Spend by day, Oct 27 to Nov 25: $465.00 in all, most on Nov 25: $30.00",
        "Net savings by day, Oct 27 to Nov 25: −$375.00 in all, most on Oct 27: $2.00",
    ]
    assert "Nov 25 $30.00 Nov 24 $29.00" in text
    assert page.count('<rect class="spend"') == 30


def test_without_a_ledger_nothing_is_said_of_spending() -> None:
    """No zero that looks like a sum."""
    assert "This week" not in told(overview_of(HEALTHY))


@pytest.mark.parametrize(
    "spent, projected, kind, words",
    [
        (62.5, 90.0, "spend", ("62.5% used, $90.00 projected", "$37.50 left, ends in 5 d")),
        (62.5, None, "spend", ("62.5% used $37.50 left",)),
        (80.0, 120.0, "near", ("80% used, $120.00 projected", "$20.00 left")),
        (126.0, 150.0, "over", ("126% used", "$26.00 over , ends in 5 d")),
        (99.999, None, "spend", ("99.9% used",)),
        (0.0, 0.0, "spend", ("0% used", "$100.00 left")),
    ],
)
def test_a_budget_is_a_bar_and_words(spent: float, projected: float | None, kind: str, words: tuple[str, ...]) -> None:
    """Spent of the limit, the share, what is projected, what is left or over, and when it ends."""
    budget = replace(BUDGET, spent_usd=spent, projected_usd=projected)

    page = overview_of(replace(HEALTHY, budgets=(budget,)))

    assert f'<rect class="{kind}"' in page
    assert [part for part in ("team", "project shop · per month", *words) if part not in told(page)] == []


def test_a_budget_of_nothing_divides_by_nothing() -> None:
    """A limit of 0 is a limit."""
    assert "all used" in told(overview_of(replace(HEALTHY, budgets=(replace(BUDGET, limit_usd=0.0),))))


def test_spending_of_several_sources_is_one_sum() -> None:
    """Day by day; a source without a ledger adds nothing, and none at all is nothing."""
    later = replace(SPENDING, days=(DaySpend(DAYS[-1].day, 1.0, 1.0), DaySpend(date(2026, 11, 26), 7.0, 1.0)))

    found = summed([SPENDING, None, later])

    assert found is not None
    assert (found.today, found.week, found.month) == (2.5, 41.0, 2_469.12)
    assert found.days[-2:] == (DaySpend(DAYS[-1].day, 31.0, -26.0), DaySpend(date(2026, 11, 26), 7.0, 1.0))
    assert summed([None]) is None


def test_a_budget_that_sources_share_is_one_line() -> None:
    """Added up, of no source; without a projection while one of them has none."""
    shared = replace(BUDGET, shared=True)
    part = replace(shared, spent_usd=10.0, projected_usd=None)
    one, two = replace(HEALTHY, name="one", budgets=(shared, BUDGET)), replace(HEALTHY, name="two", budgets=(shared,))

    assert budgets_of([one, two]) == [
        ("one", BUDGET),
        ("", replace(shared, spent_usd=125.0, projected_usd=180.0)),
    ]
    assert budgets_of([one, replace(two, budgets=(part,))])[1][1].projected_usd is None
    assert told(overview_of(one, two)).count("project shop · per month") == 2


@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [-1.0, -5.0], [1e-9], [1e9, -1e9], [3.0, -0.1]])
def test_bars_stay_inside_their_image(values: list[float]) -> None:
    """Whatever the sums are: all zero, all negative, tiny or huge."""
    drawn = charts.bars([(str(n), value) for n, value in enumerate(values)], kind="spend", what="x")

    for y, height in re.findall(r'y="([\d.-]+)" width="7" height="([\d.-]+)"', drawn):
        assert -0.01 <= float(y) <= 100.01
        assert 0 <= float(height) <= 100.01 - float(y)


@pytest.mark.parametrize(
    "values, marks",
    [
        ([10.4, 3.0], ["$12", "$0", "$6"]),
        ([0.0], ["$1", "$0", "$0.5"]),
        ([0.021], ["$0.03", "$0", "$0.015"]),
        ([1_150.0, -900.0], ["$1,200", "$0", "−$1,000"]),
        ([9.0, -0.1], ["$10", "$0"]),
    ],
)
def test_the_scale_has_round_sums(values: list[float], marks: list[str]) -> None:
    """The top, nothing, and half of it or what is lowest; what would overlap is left out."""
    drawn = charts.bars([(str(n), value) for n, value in enumerate(values)], kind="spend", what="x")

    assert re.findall(r"<text[^>]*>([^<]*)</text>", drawn) == marks


def test_the_last_hour_of_several_sources_is_one() -> None:
    """Counts are added up, durations ranked together; a ratio of nothing is none."""
    both = merged([replace(HOUR, durations_s=(1.0, 2.0)), replace(HOUR, durations_s=(9.0,), capped=True)])

    assert (both.handoffs, both.succeeded, both.failed, both.in_flight, both.p95_s) == (24, 18, 2, 4, 9.0)
    assert both.capped
    assert (merged([]).success_ratio, merged([]).p95_s) == (None, None)


# ── a session ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_session_shows_its_head_and_its_events_in_order() -> None:
    """Project, start, end, duration, cost and counts; then each event."""
    text = told(session_of())

    for part in (
        *("Session claude_1", "ended", "project shop", "Duration 9 min 50 s", "Cost $0.5000", "Hand-offs 2"),
        *("Started 1970-01-12 13:36:40 UTC", "Ended 1970-01-12 13:46:30 UTC"),
    ):
        assert part in text
    assert "Sub-agents" not in text
    assert text.index("success") < text.index("failure timeout")
    assert re.search(r"13:38:20 hand-off deepseek-coder code success 1\.50 s \$0\.0123", text)


def test_a_session_without_an_end_says_how_it_is() -> None:
    """Open, or idle since its last activity; then there is no end."""
    open_ = told(session_of(replace(TIMELINE, state="open", ended=None)))
    idle = told(session_of(replace(TIMELINE, state="idle", ended=None)))

    assert "● open" in open_
    assert "Duration so far 9 min 40 s" in open_
    assert "idle, no end recorded" in idle
    assert "Last activity 1970-01-12 13:46:20 UTC" in idle
    assert "Ended" not in open_ + idle


def test_a_session_of_nothing_but_its_row_is_shown() -> None:
    """Without events, and without a single time."""
    bare = replace(TIMELINE, state="idle", started=None, ended=None, last_activity=None, events=(), counts=())

    assert "Nothing is recorded of it but the session itself." in told(session_of(bare))


def test_a_session_seen_a_while_ago_says_so() -> None:
    """And one that is cut says that, too."""
    text = told(session_of(replace(TIMELINE, at=NOW - 300, capped=True)))

    assert "as it was 5 min ago; only the first 2,000 rows of a table are shown" in text


# ── what the metrics mean ──────────────────────────────────────────────────────────────────────────────────────


def test_every_metric_is_explained() -> None:
    """By name, type, HELP and labels, with the values of those that are closed."""
    text = told(PAGES["docs"]())

    for metric in SCHEMA.metrics:
        assert f"{metric.name.replace('_', '_ ')} {metric.help} {metric.type}" in text
    assert "outcome success, failure, unknown" in text


# ── hostile texts ──────────────────────────────────────────────────────────────────────────────────────────────


def hostile_event() -> Event:
    """An event of which every text is markup."""
    return replace(EVENT, kind=EVIL, session=EVIL, project=EVIL, who=EVIL, what=EVIL, error=EVIL, result="failure")


def hostile_overview() -> str:
    """An overview of which every text is markup."""
    source = replace(
        HEALTHY,
        name=EVIL,
        location=EVIL,
        error=EVIL,
        checkpoint_error=EVIL,
        progress=EVIL,
        notes=(EVIL,),
        rows_read={EVIL: 1},
        last_event={EVIL: float("inf")},
        headlines=((EVIL, EVIL),),
        last_success=1e300,
        counting_since=-1e18,
        spending=SPENDING,
        budgets=(replace(BUDGET, name=EVIL, scope_text=EVIL, period=EVIL),),
    )
    seen = Seen(Lately(NOW, (replace(hostile_event(), session="x"),), HOUR), True)
    return overview_of(source, replace(HEALTHY, name="b"), seen={EVIL: seen})


def hostile_session() -> str:
    """A session's page of which every text is markup."""
    return session_of(
        replace(TIMELINE, session=EVIL, project=EVIL, counts=((EVIL, 1),), events=(hostile_event(),), started=1e300)
    )


@pytest.mark.parametrize("make, times", [(hostile_overview, 17), (hostile_session, 8)])
def test_whatever_is_shown_is_text(make: Callable[[], str], times: int) -> None:
    """Markup, quotes, control and direction-changing characters in any field stay what they are: text."""
    page = make()
    page.encode()

    outline = Outline(page)
    assert "script" not in outline.tags
    assert outline.text.lower().count("<script>alert(1)</script>\"'&") >= times
    assert not re.search("[\x00\x1b\u202e]", page)


@pytest.mark.parametrize(
    "character", ["\u00ad", "\u061c", "\u180e", "\u200b", "\u200e", "\u2028", "\u202e", "\u2060", "\u2066", "\ufeff"]
)
def test_what_nobody_could_see_is_replaced(character: str) -> None:
    """Two names that look the same are not."""
    assert frame.text(f"a{character}b") == "a\ufffdb"


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0, "0 s ago"),
        (119, "119 s ago"),
        (120, "2 min ago"),
        (7_200, "2 h ago"),
        (172_800, "2 d ago"),
        (-5, "in the future"),
    ],
)
def test_ages_are_in_words(seconds: float, words: str) -> None:
    """The unit in which the number is at least two."""
    assert frame.ago(seconds) == words


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0.0, "0 ms"),
        (0.0312, "31 ms"),
        (0.9999, "1.00 s"),
        (1.234, "1.23 s"),
        (9.999, "10.0 s"),
        (119.0, "119.0 s"),
        (125.0, "2 min 5 s"),
        (7_260.0, "2 h 1 min"),
        (864_000.0, "10 d 0 h"),
    ],
)
def test_durations_have_about_three_digits(seconds: float, words: str) -> None:
    """From milliseconds to days."""
    assert frame.duration(seconds) == words


@pytest.mark.parametrize(
    "usd, words", [(0.0, "$0.00"), (1234.5, "$1,234.50"), (-0.001, "$0.00"), (-2.5, "−$2.50"), (1e6, "$1,000,000.00")]
)
def test_sums_are_dollars(usd: float, words: str) -> None:
    """To the cent; what rounds to nothing has no sign; what is no number is a dash."""
    assert frame.money(usd) == words
    assert frame.money(float("inf")) == frame.money(None) == frame.NONE


def test_a_day_that_is_not_today_is_named() -> None:
    """So that yesterday's half past ten is not taken for today's."""
    assert ">13:46:30<" in frame.clock(NOW - 10, NOW)
    assert ">01-11</span> 13:46:40<" in frame.clock(NOW - 86_400, NOW)
    assert frame.clock(1e300, NOW) == frame.NONE


# ── over HTTP ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Polled:
    """Pollers that have nothing to publish."""

    sources: Sequence[str] = ("default",)
    ready: bool = True

    def edition(self, source: str | None = None) -> None:
        """Nobody asks."""

    def statuses(self) -> Sequence[SourceStatus]:
        """Say that all is well."""
        return [HEALTHY]


@dataclass(slots=True)
class Window:
    """What is seen of a source that has these sessions; none where it cannot be read."""

    name: str = "default"
    sessions: Mapping[str, Timeline] = field(default_factory=dict)
    fresh: bool = True
    closed: bool = False

    async def lately(self) -> Seen[Lately]:
        """Always the same."""
        return Seen(LATELY if self.fresh else None, fresh=self.fresh)

    async def timeline(self, session: str) -> Seen[Timeline]:
        """The session, if it is there."""
        return Seen(self.sessions.get(session), fresh=self.fresh)


@dataclass(frozen=True, slots=True)
class House:
    """All windows there are."""

    windows: Sequence[Window]

    async def of_sources(self) -> Sequence[Window]:
        """Always the same."""
        return self.windows

    async def close(self) -> None:
        """Close them."""
        for window in self.windows:
            window.closed = True


@asynccontextmanager
async def answered(
    path: str, *windows: Window, settings: WebSettings | None = None
) -> AsyncIterator[tuple[ClientResponse, str, bytes]]:
    """Ask once; give the answer, its text, and the metrics afterwards."""
    telemetry = Telemetry({"default": {}}, now=1.0)
    app = make_app(
        settings=settings or WebSettings(),
        poller=Polled(),
        telemetry=telemetry,
        reload=lambda: "",
        windows=House(windows),
        metrics=SCHEMA.metrics,
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = URL(f"http://127.0.0.1:{runner.addresses[0][1]}{path}", encoded=True)
        async with ClientSession() as client, client.get(address) as answer:
            text = await answer.text()
            yield answer, text, telemetry.render(Format.TEXT)
    finally:
        await runner.cleanup()


async def test_the_overview_is_served_with_a_policy_and_renews_itself() -> None:
    """Not kept anywhere, fetched again, and no leave to load anything."""
    window = Window()
    async with answered("/", window) as (answer, text, _):
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Refresh"] == "15"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Security-Policy"] == frame.SECURITY_POLICY
        assert "default-src 'none'" in frame.SECURITY_POLICY
        assert "deepseek-coder" in text
    assert window.closed


async def test_the_metrics_are_explained_at_docs() -> None:
    """Those that the application is made with; the overview links there."""
    async with answered("/docs") as (answer, text, _):
        assert answer.status == 200
        assert answer.headers["Content-Security-Policy"] == frame.SECURITY_POLICY
        assert "orchestration_ handoffs_ total" in told(text)
    async with answered("/") as (_, text, _metrics):
        assert 'href="docs"' in text


async def test_the_overview_stays_when_asked_to() -> None:
    """`?refresh=off` has no Refresh header."""
    async with answered("/?refresh=off", Window()) as (answer, text, _):
        assert "Refresh" not in answer.headers
        assert "resume" in text


async def test_grafana_is_linked_to_when_it_is_configured() -> None:
    """From the overview and from sessions; the rest of the page is unchanged."""
    settings = WebSettings(grafana_url="https://grafana.example/d/x")
    for path in ("/", "/sessions/a"):
        async with answered(path, Window(sessions={"a": TIMELINE}), settings=settings) as (_, text, _metrics):
            assert '<a href="https://grafana.example/d/x">Grafana</a>' in text
        async with answered(path, Window(sessions={"a": TIMELINE})) as (_, text, _metrics):
            assert "Grafana" not in text


@pytest.mark.parametrize(
    "session",
    ["claude_1", "a b", "a/b", "a?b=c#d", "100%", "%2F", "<script>", "ünï", "a;b", "{id}", "a\\b", "'\"", "+"],
)
async def test_a_session_is_found_by_the_address_that_links_to_it(session: str) -> None:
    """Whatever characters its id has."""
    path = "/" + events.session_address(session, "")

    async with answered(path, Window(sessions={session: replace(TIMELINE, session=session)})) as (
        answer,
        text,
        metrics,
    ):
        assert answer.status == 200
        assert answer.headers["Content-Security-Policy"] == frame.SECURITY_POLICY
        assert f"Session {session}" in told(text)
        assert b'code="200",route="/sessions/{id}"} 1.0' in metrics


async def test_an_unknown_session_is_404_in_the_same_style() -> None:
    """It says what it looked for nowhere, and the way back."""
    async with answered("/sessions/%3Cb%3Enobody", Window()) as (answer, text, _):
        assert answer.status == 404
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "No such session" in told(text)
        assert "nobody" not in text
        assert '<a href="/">' in text


async def test_all_sources_are_tried_for_a_session() -> None:
    """Without `?source=`, whichever has it; with it, that one alone."""
    windows = (Window("one"), Window("two", sessions={"a": TIMELINE}))
    codes = {}
    for asked in ("", "?source=one", "?source=two", "?source=three"):
        async with answered(f"/sessions/a{asked}", *windows) as (answer, text, _):
            codes[asked] = (answer.status, "source two" in told(text))

    assert codes == {
        "": (200, True),
        "?source=one": (404, False),
        "?source=two": (200, True),
        "?source=three": (404, False),
    }


async def test_a_session_that_may_be_in_a_source_that_cannot_be_read_is_503() -> None:
    """Nobody is told that it is not there when nobody could look."""
    async with answered("/sessions/a", Window("one"), Window("two", fresh=False)) as (answer, text, _):
        assert answer.status == 503
        assert "cannot be read now" in text


async def test_pages_are_below_the_prefix() -> None:
    """Links back lead there, too."""
    settings = WebSettings(external_url="https://host/x/")
    async with answered("/x/sessions/a", Window(sessions={"a": TIMELINE}), settings=settings) as (answer, text, _):
        assert answer.status == 200
        assert 'href="/x/"' in text
        assert 'href="/x/metrics"' in text


# ── a real process ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_serving_exporter_shows_what_the_platform_writes(tmp_path: Path) -> None:
    """What runs now, what happened last, and its session; while the platform locks all of it, what was seen before."""
    path = tmp_path / "p.db"
    with running(Platform(path, "delete")) as platform, Serving(tmp_path / "x", path) as exporter:
        for statement in TABLES.split(";"):
            platform.sql(" ".join(statement.split()))
        platform.sql("INSERT INTO orchestration_sessions (session_id, project_name) VALUES ('s/1', 'shop')")
        platform.sql("INSERT INTO handoff_events (session_id, target_model) VALUES ('s/1', 'opus')")
        exporter.start()
        exporter.until(lambda: "Hand-offs in flight 1 " in told(exporter.get("/")), "the hand-off in flight")
        exporter.until(lambda: "hand-off opus shop in flight" in told(exporter.get("/")), "the activity")
        page = told(exporter.get("/"))
        timeline_page = told(exporter.get("/sessions/s%2F1"))
        platform.sql("BEGIN EXCLUSIVE")
        began = time.monotonic()
        locked = told(exporter.get("/"))
        took_s = time.monotonic() - began
        platform.sql("COMMIT")
        metrics = exporter.get()

    assert "Active sessions 1 " in page
    assert "● open project shop source default" in timeline_page
    assert "hand-off opus shop in flight" in locked
    assert took_s < 5
    assert 'orchestration_exporter_http_requests_total{code="200",route="/sessions/{id}"} 1.0' in metrics

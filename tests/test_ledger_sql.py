"""The ledger and the budgets by `once` equal plain SQL: fourteen months by hand, in UTC and in Europe/Berlin.

Berlin's clocks went forward on 2026-03-29 (a day of 23 hours) and back on 2025-10-26 and 2026-10-25 (25 hours).
"""

import random
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from exporter import demo
from tests.againstsql import LEDGER, Family, Oracle, Series, differences, once, parse, seconds
from tests.cases import later
from tests.demoruns import connect

pytestmark = pytest.mark.bulk

BERLIN = "Europe/Berlin"
ZONES = ("UTC", BERLIN)
HOUR_S, DAY_S = 3_600, 86_400
FIRST_DAY_AGO = 430

# Berlin's time is beside each. A day whose counterpart in the month before is the one of 23 hours, later than
# 23:00, is left out: where its `previous_month_to_date` ends is not settled.
CLOCKS = {
    "31 March, 15:20": "2026-03-31T13:20:00Z",
    "1 March, 10:05": "2026-03-01T09:05:00Z",
    "1 January, 01:00": "2026-01-01T00:00:00Z",
    "a day of 23 hours, 22:10": "2026-03-29T20:10:00Z",
    "a day of 25 hours, the second 02:30": "2026-10-25T01:30:00Z",
    "a day of 25 hours, 23:30": "2026-10-25T22:30:00Z",
    "the day after 23 hours, a Monday, 00:30": "2026-03-29T22:30:00Z",
    "the day after 25 hours, a Monday, 00:30": "2026-10-25T23:30:00Z",
    "a week after 23 hours, 23:30": "2026-04-05T21:30:00Z",
    "a month after 25 hours, 23:30": "2026-11-25T22:30:00Z",
    "an hour's edge": "2026-07-15T12:00:00Z",
}

EDGES = (
    "31 March, 15:20",
    "a day of 23 hours, 22:10",
    "a day of 25 hours, 23:30",
    "the day after 25 hours, a Monday, 00:30",
)
"""The clocks that every change is held to; `make test-all` has the others."""
BUDGETS = (
    "budget_limit_usd",
    "budget_spent_usd",
    "budget_projected_usd",
    "budget_period_start_timestamp_seconds",
    "budget_period_end_timestamp_seconds",
)
# budget, project, model, period, limit in USD
DECLARED = (
    ("everything", None, None, "month", 500.0),
    ("alpha", "alpha", None, "week", 20.0),
    ("sonnet", None, "claude-sonnet", "day", 1.5),
    ("idle", "nobody", None, "month", 1.0),
)

SOUND = {"cost": (0.25, 1.5, 0.031), "savings": (0.5, -0.125, 0), "tokens": (100, 0, 2_500), "success": (1, 1, 0)}
HOSTILE: Mapping[str, tuple[object, ...]] = {
    "cost": (None, 0, -1, "text", 2e6, 9e999, b"1", *SOUND["cost"] * 3),
    "savings": (None, None, "text", 2e6, -2e6, -0.5, b"1", *SOUND["savings"] * 3),
    "tokens": (None, -1, "text", 2e12, 2.5, *SOUND["tokens"] * 3),
    "success": (None, 2, "text", *SOUND["success"] * 4),
}
SESSIONS = {"a1": "alpha", "a2": " alpha\t", "b": "beta", "n": None, "recent": "of 390 days ago", "past": "too old"}
MODELS = ("claude-sonnet", "deepseek-coder", "deepseek-coder", None)
BAD_TIMES = (None, "yesterday", "", "2031-01-01 00:00:00")


def local(time: float, zone: str) -> datetime:
    """A moment on the zone's clocks."""
    return datetime.fromtimestamp(time, ZoneInfo(zone))


def midnight(day: datetime) -> datetime:
    """The beginning of a local day."""
    return day.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)


class Periods(NamedTuple):
    """First midnights of the running periods of a clock, of those before them, and of those after."""

    before: dict[str, datetime]
    first: dict[str, datetime]
    next: dict[str, datetime]


def periods(now: float, zone: str) -> Periods:
    """By the calendar of the standard library."""
    today = midnight(local(now, zone))
    monday, month = today - timedelta(days=today.weekday()), today.replace(day=1)
    first = {"day": today, "week": monday, "month": month}
    lengths = {"day": timedelta(days=1), "week": timedelta(days=7)}
    after = {name: first[name] + length for name, length in lengths.items()}
    before = {name: first[name] - length for name, length in lengths.items()}
    after["month"] = (month + timedelta(days=31)).replace(day=1)
    before["month"] = (month - timedelta(days=1)).replace(day=1)
    return Periods(before, first, after)


def counterpart(found: Periods, period: str) -> datetime:
    """The day of the period before that is as far into it as today is."""
    return found.before[period] + (found.first["day"].replace(tzinfo=None) - found.first[period].replace(tzinfo=None))


# ── the rows ────────────────────────────────────────────────────────────────────────────────────────────────


def moments(now: float, rng: random.Random) -> Iterator[float]:
    """When something happened: in every part of fourteen months, and on each edge there is."""
    yield from (now - rng.uniform(0, FIRST_DAY_AGO * DAY_S) for _ in range(1_200))
    yield from (now - rng.uniform(0, 65 * DAY_S) for _ in range(1_500))
    edges = [seconds(text) for text in ("2025-10-26T01:00Z", "2026-03-29T01:00Z", "2026-10-25T01:00Z")]
    for zone in ZONES:
        found = periods(now, zone)
        edges += [start.timestamp() for starts in found[:2] for start in starts.values()]
        days = [counterpart(found, period) for period in found.first]
        edges += [day.timestamp() + hour * HOUR_S for day in days for hour in range(26)]
    yield from (edge + offset for edge in edges for offset in (-1, 0, 1, 1_800) if edge + offset <= now)


def written(time: float, rng: random.Random) -> str:
    """A time as one writer or another puts it."""
    moment = datetime.fromtimestamp(time, UTC).replace(microsecond=0)
    shifted = moment.astimezone(ZoneInfo(rng.choice((BERLIN, "America/St_Johns"))))
    return rng.choice(
        (moment.strftime("%Y-%m-%d %H:%M:%S"), moment.strftime("%Y-%m-%dT%H:%M:%SZ"), shifted.isoformat())
    )


def project_session(time: float, now: float, rng: random.Random) -> str | None:
    """A session; two projects have nothing but what is 390 days old, and what is too old for the ledger."""
    age = (now - time) / DAY_S
    if age > 405:
        return "past"
    return "recent" if 385 < age < 395 else rng.choice(("a1", "a2", "b", "n", None, "of no row"))


def write(path: Path, now: float, *, values: Mapping[str, tuple[object, ...]], days: float = FIRST_DAY_AGO) -> None:
    """A database as of `now`: sessions, hand-offs and sub-agents, of the last `days` only, in order of time."""
    rng = random.Random(7)
    hostile = values is HOSTILE
    with closing(connect(path)) as connection:
        demo.create_schema(connection)
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO orchestration_sessions (session_id, start_time, end_time, project_name) VALUES (?, ?, ?, ?)",
            [(key, "2025-01-01 00:00:00", "2025-01-01 00:00:10", name) for key, name in SESSIONS.items()],
        )
        quiet = {counterpart(periods(now, zone), name).date() for zone in ZONES for name in ("day", "week", "month")}
        row: dict[str, object] = {}
        for number, time in enumerate(sorted(moments(now, rng))):
            if time < now - days * DAY_S:
                continue
            row = {name: rng.choice(choices) for name, choices in values.items()}
            row["session"] = project_session(time, now, rng)
            row["model"], row["tool"] = rng.choice(MODELS), rng.random() < 0.4
            row["time"] = written(time, rng)
            _insert(connection, row, is_handoff=rng.random() < 0.6)
            # What has no time is booked where the row before it is: to which hour of that day, nobody says.
            if hostile and number % 40 == 5 and not {local(time, zone).date() for zone in ZONES} & quiet:
                _insert(connection, row | {"time": rng.choice(BAD_TIMES), "success": 1}, is_handoff=True)
                _insert(connection, row | {"time": rng.choice(BAD_TIMES), "success": 0}, is_handoff=False)
        if hostile and row:
            ahead = datetime.fromtimestamp(now + 8 * HOUR_S, UTC).isoformat()
            _insert(connection, row | {"time": ahead, "success": 1, "cost": 0.75, "session": "b"}, is_handoff=True)
        connection.execute("COMMIT")


def _insert(connection: sqlite3.Connection, row: Mapping[str, object], *, is_handoff: bool) -> None:
    if is_handoff:
        connection.execute(
            "INSERT INTO handoff_events (session_id, timestamp, target_model, success, cost, savings, tokens_used)"
            " VALUES (:session, :time, :model, :success, :cost, :savings, :tokens)",
            row,
        )
    else:
        kind = "'mcp_tool', 'server.tool'" if row["tool"] else "'general', 'general-purpose'"
        connection.execute(
            "INSERT INTO subagent_invocations"
            " (session_id, timestamp, agent_type, agent_name, success, cost, tokens_used)"
            f" VALUES (:session, :time, {kind}, :success, :cost, :tokens)",
            row,
        )


@contextmanager
def looking(database: Path, now: str, zone: str) -> Iterator[Oracle]:
    """The SQL of tests/oracle/ over a database, with the declared budgets."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        oracle = Oracle(connection, now, time_zone=zone)
        connection.execute("CREATE TEMP TABLE declared (budget, project, model, period, limit_usd)")
        connection.executemany("INSERT INTO declared VALUES (?, ?, ?, ?, ?)", DECLARED)
        yield oracle


def configuration(path: Path, zone: str) -> Path:
    """A file with the zone and the declared budgets."""
    lines = [f"time_zone: {zone}", "budgets:"]
    for name, project, model, period, limit in DECLARED:
        scope = f"{{project: {project}}}" if project else f"{{model: {model}}}" if model else "all"
        lines.append(f"  - {{name: {name}, scope: {scope}, limit_usd: {limit}, period: {period}}}")
    path.write_text("\n".join(lines) + "\n")
    return path


def found_wrong(oracle: Oracle, page: Mapping[str, Family], families: tuple[str, ...]) -> list[str]:
    """All differences of these families."""
    nothing = Family("absent", {})
    return [line for family in families for line in differences(oracle, family, page.get(family, nothing).values)]


def of(oracle: Oracle, family: str, **labels: str) -> float:
    """The sum of the series with these labels."""
    wanted = set(labels.items())
    return sum(value for series, value in oracle.series(family).items() if wanted <= series.labels)


# ── the SQL, by a second way: these hold without the command ────────────────────────────────────────────────


@pytest.fixture(
    scope="module",
    params=[*EDGES, *later(*(name for name in CLOCKS if name not in EDGES))],
)
def now(request: pytest.FixtureRequest) -> str:
    """Each clock in turn."""
    return CLOCKS[request.param]


@pytest.fixture(scope="module")
def database(now: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen months before the clock, with values of every kind."""
    path = tmp_path_factory.mktemp("ledger") / "orchestration.db"
    write(path, seconds(now), values=HOSTILE)
    return path


@pytest.mark.parametrize("zone", ZONES)
def test_the_periods_of_the_sql_are_those_of_the_calendar(database: Path, now: str, zone: str) -> None:
    """Starts and ends of all nine, by the time zones of the standard library."""
    found = periods(seconds(now), zone)
    elapsed = seconds(now) - found.first["day"].timestamp()
    expected: dict[str, tuple[float, float]] = {}
    for name, start in found.first.items():
        before = found.before[name].timestamp()
        expected[name] = start.timestamp(), found.next[name].timestamp()
        expected[f"previous_{name}"] = before, start.timestamp()
        day = counterpart(found, name)
        point = min(day.timestamp() + elapsed, (day + timedelta(days=1)).timestamp(), start.timestamp())
        expected[f"previous_{name}_to_date"] = before, point

    with looking(database, now, zone) as oracle:
        starts, ends = (
            {dict(series.labels)["period"]: value for series, value in oracle.series(family).items()}
            for family in ("ledger_period_start_timestamp_seconds", "ledger_period_end_timestamp_seconds")
        )

    assert {name: (starts[name], ends[name]) for name in starts} == expected


@pytest.mark.parametrize("zone", ZONES)
def test_the_database_holds_what_it_is_made_for(database: Path, now: str, zone: str) -> None:
    """Each period has money, tokens and hand-offs; some values are hostile; a project is too old to be known."""
    with looking(database, now, zone) as oracle:
        projects = {dict(series.labels)["project"] for series in oracle.series("ledger_cost_usd")}
        assert projects == {"alpha", "beta", "unknown", "of 390 days ago"}
        for period in {dict(series.labels)["period"] for series in oracle.series("ledger_cost_usd")}:
            for family in ("ledger_cost_usd", "ledger_tokens", "ledger_handoffs"):
                # On the first day of a week or month, at its first half hour, there is little to date.
                assert of(oracle, family, period=period) > 0 or "to_date" in period or period == "day"
        assert of(oracle, "ledger_cost_usd", project="of 390 days ago") == 0
        assert oracle.scalar("SELECT count(*) FROM ledger WHERE baseline = 0 AND cost > 0") > 10
        rejected = {row["reason"] for row in oracle.rows("exporter_rows_rejected_total")}
        assert rejected >= {"not_a_number", "negative", "out_of_range", "bad_time", "bad_flag"}
        for family in BUDGETS:
            assert len(oracle.series(family)) == len(DECLARED)
        for name in ("everything", "alpha", "sonnet"):
            spent, projected = (of(oracle, f"budget_{what}_usd", budget=name) for what in ("spent", "projected"))
            assert 0 <= spent <= projected
            assert projected > 0


class Line(NamedTuple):
    """What a row of sound values books: its local midnight, the hours elapsed since then, its cost."""

    project: str
    midnight: datetime
    hour: int
    cost: float


def lines(path: Path, zone: str) -> list[Line]:
    """The rows of a database of sound values, by the time zones of the standard library."""
    with closing(connect(path)) as connection:
        rows = connection.execute(
            "SELECT coalesce(trim(project_name, ' ' || char(9)), 'unknown'), strftime('%s', timestamp), cost"
            " FROM (SELECT session_id, timestamp, cost FROM handoff_events"
            "       UNION ALL SELECT session_id, timestamp, cost FROM subagent_invocations)"
            " LEFT JOIN orchestration_sessions USING (session_id)"
        ).fetchall()
    found = []
    for project, time, cost in rows:
        start = midnight(local(int(time), zone))
        found.append(Line(project, start, int((int(time) - start.timestamp()) // HOUR_S), cost))
    return found


def to_date(found: list[Line], now: float, zone: str, period: str) -> dict[str, float]:
    """Cost by project of the period before, to the same point."""
    calendar = periods(now, zone)
    day, elapsed_h = counterpart(calendar, period), (now - calendar.first["day"].timestamp()) / HOUR_S
    sums: dict[str, float] = {}
    for line in found:
        whole = calendar.before[period] <= line.midnight < day
        share = 1.0 if whole else min(1.0, max(0.0, elapsed_h - line.hour)) if line.midnight == day else 0.0
        if line.midnight < calendar.first[period]:
            sums[line.project] = sums.get(line.project, 0.0) + share * line.cost
    return sums


def projected(found: list[Line], now: float, zone: str, period: str) -> float:
    """Cost of the running period, and of each hour left of it what it cost in the mean of its last four weeks."""
    calendar = periods(now, zone)
    today, at = calendar.first["day"], calendar.first["day"]
    elapsed_h = (now - today.timestamp()) / HOUR_S
    total = sum(line.cost for line in found if line.midnight >= calendar.first[period])
    while at < calendar.next[period]:
        weekday = [at - timedelta(days=7 * weeks) for weeks in range(1, 12)]
        past = [day for day in weekday if day < today][:4]
        hours = int(((at + timedelta(days=1)).timestamp() - at.timestamp()) // HOUR_S)
        for hour in range(hours):
            share = 1.0 if at > today else min(1.0, max(0.0, hour + 1 - elapsed_h))
            total += share * sum(line.cost for line in found if line.hour == hour and line.midnight in past) / 4
        at += timedelta(days=1)
    return total


@pytest.mark.parametrize("zone", [BERLIN, *later("UTC")])
def test_the_sql_of_parts_of_days_equals_a_walk_through_the_hours(now: str, zone: str, tmp_path: Path) -> None:
    """Costs to the same point of the periods before, and what the month is going to cost."""
    path = tmp_path / "orchestration.db"
    write(path, seconds(now), values=SOUND)
    found = lines(path, zone)

    with looking(path, now, zone) as oracle:
        for period in ("day", "week", "month"):
            sums = to_date(found, seconds(now), zone, period)
            for project in ("alpha", "beta", "unknown"):
                value = of(oracle, "ledger_cost_usd", project=project, period=f"previous_{period}_to_date")
                assert value == pytest.approx(sums.get(project, 0.0), rel=1e-9)
        month = of(oracle, "budget_projected_usd", budget="everything")

    recent = [line for line in found if line.midnight.timestamp() > seconds(now) - 70 * DAY_S]
    assert month == pytest.approx(projected(recent, seconds(now), zone, "month"), rel=1e-9)


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("zone", [BERLIN, *later("UTC")])
def test_ledger_and_budgets_equal_sql(database: Path, now: str, zone: str, tmp_path: Path) -> None:
    """All nine periods, the median, their times; what is spent and projected."""
    page = parse(once(database, now, config=configuration(tmp_path / "config.yml", zone)))

    with looking(database, now, zone) as oracle:
        assert found_wrong(oracle, page, (*LEDGER, *BUDGETS)) == []


# The hours by which Berlin is ahead at a time of the database, and the months at whose last second to look.
AHEAD = {
    "UTC": "'+0 hours'",
    BERLIN: "CASE WHEN at < '2025-10-26 01:00:00' THEN '+2 hours' WHEN at < '2026-03-29 01:00:00'"
    " THEN '+1 hours' WHEN at < '2026-10-25 01:00:00' THEN '+2 hours' ELSE '+1 hours' END",
}
MONTHS = [
    ("2025-10", "2025-11"),
    ("2026-03", "2026-04"),
    ("2026-10", "2026-11"),
    *later(*pairwise(f"2026-{month:02}" for month in range(4, 11))),
]


def by_month(connection: sqlite3.Connection, zone: str) -> dict[tuple[str, str, str], float]:
    """(figure, month, project) → sum, by the plainest SQL there is: for a database of sound values."""
    amounts = "cost, tokens_used, success"
    events = (
        f"SELECT session_id, datetime(timestamp) AS at, {amounts}, savings, 1 AS handoffs FROM handoff_events"
        f" UNION ALL SELECT session_id, datetime(timestamp), {amounts}, 0, 0 FROM subagent_invocations"
    )
    figures = {
        "cost_usd": "sum(cost)",
        "baseline_cost_usd": "sum(max(cost + savings, 0))",
        "net_savings_usd": "sum(CASE success WHEN 1 THEN savings ELSE -cost END)",
        "tokens": "sum(tokens_used)",
        "handoffs": "sum(handoffs)",
    }
    rows = connection.execute(
        f"SELECT strftime('%Y-%m', at, {AHEAD[zone]}), coalesce(trim(project_name, ' ' || char(9)), 'unknown'),"
        f" {', '.join(figures.values())}"
        f" FROM ({events}) LEFT JOIN orchestration_sessions USING (session_id) GROUP BY 1, 2"
    )
    return {
        (f"ledger_{name}", month, project): value
        for month, project, *values in rows
        for name, value in zip(figures, values, strict=True)
    }


def month_end(month: str, zone: str) -> float:
    """The last second of a month, written like 2026-03."""
    year, number = map(int, month.split("-"))
    return datetime(year + number // 12, number % 12 + 1, 1, tzinfo=ZoneInfo(zone)).timestamp() - 1


def not_by_month(
    found: Mapping[str, Mapping[Series, float]], path: Path, zone: str, months: tuple[str, str]
) -> list[str]:
    """Where the gauges of this month and the one before differ from the sums of these months."""
    with closing(connect(path)) as connection:
        sums = by_month(connection, zone)
    wanted = dict(zip(("previous_month", "month"), months, strict=True))
    wrong = []
    for family in LEDGER[:5]:
        of_months = {s: v for s, v in found[family].items() if dict(s.labels)["period"] in wanted}
        assert len(of_months) == 2 * len(("alpha", "beta", "unknown", "of 390 days ago"))
        for series, value in of_months.items():
            labels = dict(series.labels)
            expected = sums.get((family, wanted[labels["period"]], labels["project"]), 0.0)
            if value != pytest.approx(expected, rel=1e-9, abs=1e-12):
                wrong.append(f"{family} {labels}: {value}, by month {expected}")
    return wrong


@pytest.mark.parametrize("months", MONTHS)
@pytest.mark.parametrize("zone", ZONES)
def test_sums_per_month_equal_plain_sql_by_month(months: tuple[str, str], zone: str, tmp_path: Path) -> None:
    """At the last second of a month: that month and the one before, over the changes of the clocks."""
    path, end = tmp_path / "orchestration.db", month_end(months[1], zone)
    clock = datetime.fromtimestamp(end, UTC).isoformat()
    write(path, end, values=SOUND)

    page = parse(once(path, clock, config=configuration(tmp_path / "config.yml", zone)))

    assert not_by_month({family: page[family].values for family in LEDGER[:5]}, path, zone, months) == []


@pytest.mark.parametrize("days, projects", [(12.5, False), (13.5, False), (14.2, True), (20.5, True), (27.5, True)])
def test_a_young_ledger_projects_by_the_weeks_it_has(days: float, projects: bool, tmp_path: Path) -> None:
    """Nothing in the first two weeks; then the days before its first are left out of the means."""
    path, clock = tmp_path / "orchestration.db", "2026-07-15T12:00:00Z"
    write(path, seconds(clock), values=SOUND, days=days)

    page = parse(once(path, clock, config=configuration(tmp_path / "config.yml", BERLIN)))

    with looking(path, clock, BERLIN) as oracle:
        assert len(oracle.series("budget_projected_usd")) == (len(DECLARED) if projects else 0)
        assert found_wrong(oracle, page, BUDGETS) == []


@pytest.mark.parametrize("zone", ZONES)
def test_the_sql_of_the_ledger_adds_up_by_month(zone: str, tmp_path: Path) -> None:
    """Without the command: the ledger's SQL equals the plainest, and by the other zone's days does not."""
    path, months = tmp_path / "orchestration.db", ("2026-03", "2026-04")
    end = month_end(months[1], zone)
    write(path, end, values=SOUND)

    with looking(path, datetime.fromtimestamp(end, UTC).isoformat(), zone) as oracle:
        found = {family: oracle.series(family) for family in LEDGER[:5]}

    assert not_by_month(found, path, zone, months) == []
    [other] = set(ZONES) - {zone}
    assert not_by_month(found, path, other, months) != []


def test_the_comparison_sees_an_hour_booked_on_another_day(tmp_path: Path) -> None:
    """The same rows by the days of UTC and of Berlin differ."""
    path, clock = tmp_path / "orchestration.db", CLOCKS["1 March, 10:05"]
    write(path, seconds(clock), values=SOUND)

    with looking(path, clock, "UTC") as utc, looking(path, clock, BERLIN) as berlin:
        page = {family: Family("gauge", utc.series(family)) for family in LEDGER}
        wrong = found_wrong(berlin, page, LEDGER)

    assert {line.partition("{")[0] for line in wrong} >= {"ledger_cost_usd", "ledger_period_start_timestamp_seconds"}

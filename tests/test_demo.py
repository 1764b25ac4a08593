"""The simulated platform's past: the real tables, believable, the same for one seed at any hour."""

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import demo
from exporter.demo import Settings, hours
from tests.cases import later
from tests.demoruns import NOW_S, SECOND, TIMES, connect, contents, fast, lived, one, tables, written_history

pytestmark = pytest.mark.bulk

# of the sample the platform wrote
SCHEMA = "7d811e97cded2c9279c213350dd840e11b737418c2c269b7ea4175c740ab8b92"


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """A month of the past, ending on a Monday at half past noon."""
    with closing(written_history(tmp_path_factory.mktemp("month") / "demo.db", Settings())) as conn:
        yield conn


def schema_hash(conn: sqlite3.Connection) -> str:
    """A hash of all tables and indexes as declared, but for white space and comments."""
    rows = conn.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
    plain = [
        (name, re.sub(r"\s*([(),])\s*", r"\1", re.sub(r"\s+", " ", re.sub(r"--[^\n]*", "", sql)))) for name, sql in rows
    ]
    return hashlib.sha256(repr(plain).encode()).hexdigest()


def test_the_schema_is_the_platforms_own(tmp_path: Path) -> None:
    """Tables and indexes equal those of the sample; one index less would be noticed."""
    with closing(connect(tmp_path / "demo.db")) as conn:
        demo.create_schema(conn)
        assert schema_hash(conn) == SCHEMA
        assert len(tables(conn)) == 13
        assert one(conn, "PRAGMA synchronous") == 1
        assert conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)

        conn.execute("DROP INDEX idx_handoffs_time")
        assert schema_hash(conn) != SCHEMA


def test_a_month_is_whole(month: sqlite3.Connection) -> None:
    """Tens of thousands of rows; all tables but the roll-up have some."""
    rows = {table: len(found) for table, found in contents(month).items()}
    assert [table for table, number in rows.items() if not number] == ["cost_metrics"]
    assert 50_000 < sum(rows.values()) < 120_000
    assert month.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("history", ["15m", "7h", *later("9d", "40d")])
def test_history_does_not_depend_on_the_hour(tmp_path: Path, history: str) -> None:
    """One seed writes the same ids, values and order, whenever it is run; only the times differ."""
    chosen = Settings(seed=7, history_s=demo.parse_duration(history))
    with (
        closing(written_history(tmp_path / "noon.db", chosen)) as noon,
        closing(written_history(tmp_path / "night.db", chosen, NOW_S + 5.4 * 86_400 + 11.3 * 3_600)) as night,
    ):
        first, second = contents(noon), contents(night)
        # What of the activities is older than seven days, and so deleted, is a matter of times.
        kept = first.pop("live_activities"), second.pop("live_activities")
        common = {row[0] for row in kept[0]} & {row[0] for row in kept[1]}
        assert first == second
        assert [r for r in kept[0] if r[0] in common] == [r for r in kept[1] if r[0] in common]
        assert common
        assert contents(noon, without_times=False) != contents(night, without_times=False)


def test_ids_grow_with_time_and_the_past_ends_now(month: sqlite3.Connection) -> None:
    """No row is older than the one before it; the first is thirty days old, the last is of this second."""
    for table in set(tables(month)) - {"cost_metrics"}:
        [column] = (
            TIMES
            & {"timestamp", "start_time", "created_at", "last_updated"}
            & {row[1] for row in month.execute(f"PRAGMA table_info({table})")}
        )
        times = [at for (at,) in month.execute(f"SELECT {column} FROM {table} ORDER BY id")]
        assert times == sorted(times)
    assert one(month, f"SELECT max({SECOND}) FROM handoff_events") == NOW_S
    assert NOW_S - 30 * 86_400 <= one(month, f"SELECT min({SECOND}) FROM handoff_events") < NOW_S - 29 * 86_400


def test_work_is_done_in_working_hours(month: sqlite3.Connection) -> None:
    """On workdays 25 to 60 hand-offs an hour between nine and five; nights and weekends are quiet."""

    def hourly(condition: str, hours_in_month: int) -> float:
        return one(month, f"SELECT count(*) FROM handoff_events WHERE {condition}") / hours_in_month

    clock, day = "CAST(strftime('%H', timestamp) AS INT)", "strftime('%w', timestamp)"
    assert 25 < hourly(f"{day} BETWEEN '1' AND '5' AND {clock} BETWEEN 9 AND 16", 21 * 8) < 60
    assert hourly(f"{clock} < 7 OR {clock} = 23", 30 * 8) < 4
    assert hourly(f"{day} IN ('0', '6')", 9 * 24) < 8


def test_bursts_and_a_slow_hour(month: sqlite3.Connection) -> None:
    """Some minutes see many hand-offs; some hour answers at less than half the usual speed."""
    per_minute = "SELECT count(*) AS n FROM handoff_events GROUP BY substr(timestamp, 1, 16)"
    assert one(month, f"SELECT max(n) FROM ({per_minute})") >= 6
    per_hour = (
        "SELECT avg(response_time) AS s FROM handoff_events GROUP BY substr(timestamp, 1, 13) HAVING count(*) > 15"
    )
    usual = one(month, "SELECT avg(response_time) FROM handoff_events")
    assert one(month, f"SELECT max(s) FROM ({per_hour})") > 2 * usual


def test_money_is_plausible(month: sqlite3.Connection) -> None:
    """Savings are what Claude would have charged minus the cost; a day costs dollars; sessions add up."""
    final = "FROM handoff_events WHERE success IS NOT NULL"
    assert one(month, f"SELECT count(*) {final} AND (cost < 0 OR savings < 0)") == 0
    assert (
        one(
            month,
            f"SELECT max(abs(cost + savings - 9e-6 * tokens_used)) {final} AND target_model LIKE 'deep%'",
        )
        < 1e-7
    )
    assert one(month, f"SELECT max(savings) {final} AND target_model LIKE 'claude%'") == 0
    assert 2 < one(month, "SELECT sum(cost) / 22 FROM handoff_events") < 20
    same = "session_id = s.session_id"
    handoffs = f"(SELECT sum(cost) FROM handoff_events WHERE {same} AND success IS NOT NULL)"
    agents = f"(SELECT coalesce(sum(cost), 0) FROM subagent_invocations WHERE {same})"
    dearer = f"FROM orchestration_sessions AS s WHERE total_cost > {handoffs} + {agents} + 1e-6"
    assert one(month, f"SELECT count(*) {dearer}") == 0
    assert one(month, "SELECT count(*) FROM orchestration_sessions WHERE total_cost > 0") > 500


def test_some_work_has_no_price(month: sqlite3.Connection) -> None:
    """Now and then tokens are known and the cost is not, of hand-offs and of sub-agents; savings are then NULL, too."""
    unpriced = "SELECT avg(cost IS NULL AND tokens_used > 0) FROM"
    assert 0.002 < one(month, f"{unpriced} handoff_events") < 0.008
    assert 0.005 < one(month, f"{unpriced} subagent_invocations WHERE agent_type <> 'mcp_tool'") < 0.015
    assert one(month, "SELECT count(*) FROM handoff_events WHERE (cost IS NULL) <> (savings IS NULL)") == 0


def test_sub_agents_call_sub_agents(month: sqlite3.Connection) -> None:
    """Nine of ten are called by the orchestrator, others by another agent, a few by nobody known."""
    parents = dict(
        month.execute(
            "SELECT parent_agent, count(*) FROM subagent_invocations WHERE agent_type <> 'mcp_tool' GROUP BY 1"
        )
    )
    assert set(parents) == {"claude_orchestrator", "general-purpose", None}
    assert parents["claude_orchestrator"] > 8 * parents["general-purpose"] > 16 * parents[None] > 0


def test_escalations(month: sqlite3.Connection) -> None:
    """Failed local hand-offs are tried again on the paid model, in the same session and task type."""
    before = "lag(%s) OVER (PARTITION BY session_id, task_type ORDER BY id)"
    chain = f"SELECT target_model AS m, {before % 'target_model'} AS m0, {before % 'success'} AS s0 FROM handoff_events"
    retried = f"SELECT count(*) FROM ({chain}) WHERE m LIKE 'claude%' AND m0 LIKE 'deepseek%' AND s0 = 0"
    assert 100 < one(month, retried) < 1_000


def test_models_projects_and_failures(month: sqlite3.Connection) -> None:
    """Two families with their vendors, hostile project names, failures of every type, all closed reasons."""
    pairs = month.execute("SELECT DISTINCT selected_model LIKE 'claude%', selected_vendor FROM routing_decisions")
    assert set(pairs) == {(1, "anthropic"), (0, "deepseek")}
    projects = {name for (name,) in month.execute("SELECT DISTINCT project_name FROM orchestration_sessions")}
    assert {'Ünïcode "proj"\\x', "data\nplatform"} < projects
    assert one(month, "SELECT count(DISTINCT error_type) FROM task_outcomes") == 5
    assert 0.04 < one(month, "SELECT avg(1 - success) FROM task_outcomes") < 0.15
    reason = "SELECT DISTINCT json_extract(metadata, '$.route_reason') FROM handoff_events"
    assert len(month.execute(reason).fetchall()) == 6
    assert one(month, "SELECT count(*) FROM subagent_invocations WHERE agent_type = 'mcp_tool' AND success IS NULL")


def test_confidence_is_roughly_calibrated(month: sqlite3.Connection) -> None:
    """What is held for likelier succeeds more often, fallbacks (a tenth of it) aside."""
    wanted = "success IS NOT NULL AND metadata NOT LIKE '%deepseek_unavailable%'"
    rows = month.execute(
        f"SELECT avg(confidence_score), avg(success) FROM handoff_events WHERE {wanted}"
        " GROUP BY min(9, max(6, CAST(confidence_score * 10 AS INT))) ORDER BY 1"
    ).fetchall()
    assert len(rows) == 4
    assert all(abs(confidence - success) < 0.12 for confidence, success in rows)
    assert all(low[1] < high[1] for low, high in pairwise(rows))


def test_one_session_in_ten_ends(month: sqlite3.Connection) -> None:
    """Nine of ten never get an end_time."""
    assert 0.07 < one(month, "SELECT avg(end_time IS NOT NULL) FROM orchestration_sessions") < 0.13
    assert one(month, "SELECT count(*) FROM orchestration_sessions WHERE end_time < start_time") == 0


def test_some_events_come_before_their_session(month: sqlite3.Connection) -> None:
    """Some sessions get their row seconds after their first event, a few never."""
    first = "(SELECT min(timestamp) FROM handoff_events AS h WHERE h.session_id = s.session_id)"
    delays = f"SELECT strftime('%s', start_time) - strftime('%s', {first}) AS d FROM orchestration_sessions AS s"
    assert 0.03 < one(month, f"SELECT avg(coalesce(d, 0) > 0) FROM ({delays})") < 0.15
    assert one(month, f"SELECT max(d) FROM ({delays})") <= 5
    stray = "session_id NOT IN (SELECT session_id FROM orchestration_sessions)"
    assert 1 <= one(month, f"SELECT count(DISTINCT session_id) FROM handoff_events WHERE {stray}") < 30


def test_activities_are_deleted_after_seven_days(month: sqlite3.Connection, tmp_path: Path) -> None:
    """Old lines of the feed are gone, and their ids not used again."""
    assert one(month, "SELECT min(id) FROM live_activities") > 1
    assert one(month, f"SELECT min({SECOND}) FROM live_activities") > NOW_S - 9 * 86_400
    with closing(written_history(tmp_path / "demo.db", Settings(history_s=86_400), NOW_S - 8 * 86_400)) as old:
        last = one(old, "SELECT max(id) FROM live_activities")
        with closing(lived(tmp_path / "demo.db", fast(300))) as conn:
            assert one(conn, "SELECT min(id) FROM live_activities") > last


@pytest.mark.parametrize(
    "text,seconds",
    [
        ("30d", 2_592_000),
        ("12h", 43_200),
        ("15m", 900),
        ("1h30m", 5_400),
        ("2.5s", 2.5),
        ("1w", 604_800),
        ("0", 0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    """Numbers with units, added up."""
    assert demo.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1h", "1 h", "1y", "30dd", "1h foo", "٣d", "nan", "1e3s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """And named."""
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        demo.parse_duration(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"history_s": -1},
        {"history_s": float("nan")},
        {"speed": 0},
        {"speed": float("inf")},
        {"incident": "rain"},
        {"projects": ()},
        {"lanes": 0},
        {"duration_s": -1},
        {"max_rows": 0},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    """Each limit holds."""
    with pytest.raises(ValueError, match="must be"):
        Settings(**wrong)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(60, 3_000), min_size=1, max_size=60),
    st.floats(0, 604_800),
    st.floats(1.0, 30.0),
)
def test_blocks_never_overlap(lengths_s: list[float], phase_s: float, room: float) -> None:
    """Blocks lie in order, whole, in the stretch, wherever in the week it begins."""
    start_s, end_s = NOW_S + phase_s, NOW_S + phase_s + room * sum(lengths_s)
    places_s = hours.lay(lengths_s, start_s, end_s)
    assert len(places_s) == len(lengths_s)
    ends_s = [place_s + length_s for place_s, length_s in zip(places_s, lengths_s, strict=True)]
    assert start_s <= places_s[0]
    assert ends_s[-1] <= end_s + 0.01
    assert all(end <= place + 0.01 for end, place in zip(ends_s, places_s[1:], strict=False))


def test_more_work_than_time_is_refused() -> None:
    """An hour does not fit into half an hour."""
    with pytest.raises(ValueError, match="do not fit"):
        hours.lay([3_600.0], 0.0, 1_800.0)

"""The simulated platform live: always alive, the same for one seed, and its incidents to be seen."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import takewhile
from pathlib import Path

import pytest

from exporter import demo
from exporter.demo import Settings
from tests.cases import later
from tests.demoruns import NOW_S, SECOND, connect, contents, fast, lived, one, written_history

SILENT = ("stale-data", "weekend-silence", "monday-silence")


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """A live run without an incident, to hold incidents against."""
    with closing(lived(tmp_path_factory.mktemp("ordinary") / "demo.db", fast())) as conn:
        yield conn


@pytest.mark.bulk
@pytest.mark.parametrize("incident", [None, *later(*(name for name in demo.INCIDENTS if name not in SILENT))])
def test_live_rows_are_the_same_for_one_seed(tmp_path: Path, incident: str | None) -> None:
    """Two live runs of one seed, on two clocks, write the same; another seed does not."""
    chosen = fast(1_500, incident=incident, history_s=3_600)
    with (
        closing(lived(tmp_path / "a.db", chosen)) as first,
        closing(lived(tmp_path / "b.db", chosen, NOW_S + 45_678)) as second,
        closing(lived(tmp_path / "c.db", fast(1_500, incident=incident, seed=2, history_s=3_600))) as other,
    ):
        assert contents(first) == contents(second)
        assert contents(first) != contents(other)


def test_hand_offs_in_flight_finish_later(tmp_path: Path) -> None:
    """The past leaves one in flight; it finishes live, by UPDATE, and so do those begun live."""
    with closing(written_history(tmp_path / "demo.db", Settings(history_s=86_400))) as past:
        [last] = past.execute("SELECT id FROM handoff_events WHERE success IS NULL ORDER BY id DESC").fetchone()
        assert last == one(past, "SELECT max(id) FROM handoff_events")

        with closing(lived(tmp_path / "demo.db", fast(1_000))) as conn:
            assert one(conn, f"SELECT success FROM handoff_events WHERE id = {last}") == 1
            live = f"FROM handoff_events WHERE id > {last}"
            assert one(conn, f"SELECT avg(success IS NOT NULL) {live}") > 0.8
            assert one(conn, f"SELECT count(*) {live} AND success IS NOT NULL AND response_time IS NULL") == 0
            assert one(conn, f"SELECT count(*) {live} AND success IS NULL AND response_time IS NOT NULL") == 0


def test_an_event_in_flight_is_committed_as_such() -> None:
    """In the stream a hand-off's INSERT has no result and comes before the UPDATE that names it."""
    opened: dict[str, float] = {}
    gaps = []
    for event in takewhile(lambda e: e.at_s < 300, demo.events(Settings())):
        for statement in event.statements:
            if statement.keeps and statement.keeps.endswith("handoff"):
                assert "success" not in statement.values
                opened[statement.keeps] = event.at_s
            if statement.uses in opened:
                gaps.append(event.at_s - opened.pop(statement.uses))
    assert len(gaps) > 50
    assert min(gaps) > 0.1
    assert len(opened) < 15


@pytest.mark.bulk
def test_live_is_alive_at_any_time() -> None:
    """At speed 1 a hand-off every 1 to 3 s in each five minutes of six hours, and 5 to 10 sessions."""
    handoffs = [0] * 72
    sessions: list[set[object]] = [set() for _ in handoffs]
    for event in takewhile(lambda e: e.at_s < 72 * 300, demo.events(Settings())):
        for statement in event.statements:
            if "INTO handoff_events" in statement.sql:
                handoffs[int(event.at_s // 300)] += 1
                sessions[int(event.at_s // 300)].add(statement.values["session_id"])
    assert min(handoffs) >= 300 / 3
    assert max(handoffs) <= 300
    assert 5 <= sum(len(found) for found in sessions) / 72 <= 10


@pytest.mark.bulk
def test_live_events_are_in_order_of_time() -> None:
    """The merged stream never steps back."""
    times = [e.at_s for e in takewhile(lambda e: e.at_s < 7_200, demo.events(Settings(incident="runaway-fanout")))]
    assert times == sorted(times)


def test_live_rows_carry_the_time_of_their_writing(tmp_path: Path) -> None:
    """However fast the demo runs, a row has the clock's time."""
    with closing(lived(tmp_path / "demo.db", fast(500))) as conn:
        assert one(conn, f"SELECT min({SECOND}) FROM handoff_events") >= NOW_S
        assert one(conn, f"SELECT max({SECOND}) FROM handoff_events") <= NOW_S + 500 / 10


def incident_run(tmp_path: Path, name: str) -> sqlite3.Connection:
    """A live run of the same length as `ordinary`, with an incident."""
    return lived(tmp_path / "demo.db", fast(incident=name))


def test_model_outage_sends_work_to_claude_and_fails(tmp_path: Path, ordinary: sqlite3.Connection) -> None:
    """Local work is refused or falls back, with the closed reason; the local models are unavailable."""
    away = "SELECT avg(metadata LIKE '%deepseek_unavailable%') FROM handoff_events"
    local = "FROM handoff_events WHERE target_model LIKE 'deepseek%'"
    down = "SELECT max(availability_score) FROM model_capacity_thresholds WHERE vendor = 'deepseek'"
    with closing(incident_run(tmp_path, "model-outage")) as conn:
        assert one(conn, away) > 0.3 > 0.1 > one(ordinary, away)
        assert one(conn, f"SELECT count(*) {local} AND success = 1") == 0
        assert one(conn, f"SELECT count(*) {local} AND success = 0") > 20
        assert one(conn, down) == 0 < 0.9 < one(ordinary, down)
        assert one(conn, "SELECT count(*) FROM task_outcomes WHERE error_type = 'connection_refused'") > 20


def test_latency_creeps_up(tmp_path: Path, ordinary: sqlite3.Connection) -> None:
    """Answers take ever longer."""
    first = "SELECT avg(response_time) FROM handoff_events WHERE id <= 60"
    later = "SELECT avg(response_time) FROM handoff_events WHERE id > 200"
    with closing(incident_run(tmp_path, "latency-creep")) as conn:
        assert one(conn, later) > 2 * one(conn, first)
        assert one(conn, later) > 3 * one(ordinary, later)


def test_cost_spikes(tmp_path: Path, ordinary: sqlite3.Connection) -> None:
    """A hand-off costs over five times as much."""
    mean = "SELECT avg(cost) FROM handoff_events"
    with closing(incident_run(tmp_path, "cost-spike")) as conn:
        assert one(conn, mean) > 5 * one(ordinary, mean)


@pytest.mark.bulk
def test_a_runaway_session_fans_out(tmp_path: Path, ordinary: sqlite3.Connection) -> None:
    """One session has hundreds of sub-agents, called by sub-agents, where others have dozens."""
    by_session = "FROM subagent_invocations WHERE agent_type <> 'mcp_tool' GROUP BY session_id"
    most = f"SELECT max(n) FROM (SELECT count(*) AS n {by_session})"
    with closing(incident_run(tmp_path, "runaway-fanout")) as conn:
        assert one(conn, most) > 5 * one(ordinary, most)
        nested = "SELECT count(*) FROM subagent_invocations WHERE parent_agent = 'general-purpose'"
        assert one(conn, nested) > 100


@pytest.mark.parametrize("incident", SILENT)
def test_a_silence_writes_nothing(tmp_path: Path, incident: str) -> None:
    """After the past nothing is written at all, whatever the day."""
    chosen = Settings(history_s=3_600, speed=1e9, incident=incident, duration_s=0.2)
    result = demo.run(tmp_path / "demo.db", chosen, threading.Event(), lambda: NOW_S)
    assert result.history_rows > 50
    assert result.live_rows == 0


@pytest.mark.bulk
@pytest.mark.parametrize("incident", demo.INCIDENTS)
def test_the_past_has_no_incident(tmp_path: Path, incident: str) -> None:
    """Whatever is to come, history is that of an ordinary time."""
    with (
        closing(written_history(tmp_path / "a.db", Settings(history_s=86_400))) as usual,
        closing(written_history(tmp_path / "b.db", Settings(history_s=86_400, incident=incident))) as before,
    ):
        assert contents(usual, without_times=False) == contents(before, without_times=False)


class Waits(threading.Event):
    """A stop that is never set and notes how long it was to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_s: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Note, and do not wait."""
        assert timeout is not None
        self.waited_s.append(timeout)
        return False


def test_speed_divides_the_gaps(tmp_path: Path) -> None:
    """The same rows come due in a tenth of the time."""
    due_s = []
    for speed in (1.0, 10.0):
        stop = Waits()
        demo.run(tmp_path / f"{speed}.db", Settings(history_s=0, speed=speed, max_rows=2_000), stop, lambda: NOW_S)
        due_s.append(stop.waited_s[-1])
    assert due_s[0] > 60
    assert due_s[0] / due_s[1] == pytest.approx(10, rel=0.3)


def test_a_file_is_continued_without_a_second_past(tmp_path: Path) -> None:
    """A second run adds live rows, with sessions of its own, and no history."""
    path = tmp_path / "demo.db"
    first = demo.run(path, fast(500, history_s=86_400), threading.Event(), lambda: NOW_S)
    second = demo.run(path, fast(500, history_s=86_400), threading.Event(), lambda: NOW_S + 60)
    assert first.history_rows > 500
    assert second.history_rows == 0
    assert second.live_rows >= 500
    with closing(connect(path)) as conn:
        assert one(conn, "SELECT count(*) FROM model_capacity_thresholds") == 4
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_real_platforms_file_is_left_alone(tmp_path: Path) -> None:
    """Invented rows among real ones could never be told apart: refused, unless adopted, and unchanged."""
    path = tmp_path / "real.db"
    with closing(connect(path)) as conn:
        demo.create_schema(conn)
        conn.execute("PRAGMA application_id = 0")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="application_id is 0"):
        demo.run(path, fast(10), threading.Event())
    assert path.read_bytes() == before
    assert demo.run(path, fast(10), threading.Event(), adopt=True).live_rows >= 10

"""Incidents placed in the simulated platform's past: found there, at their time, and nothing else is changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from exporter import demo
from exporter.demo import Incident, Settings
from exporter.demo.command import main
from exporter.demo.incidents import bad_weather, is_silent
from tests.demoruns import NOW_S, SECOND, connect, contents, one, written_history

pytestmark = pytest.mark.bulk

HOUR_S, DAY_S = 3_600.0, 86_400.0
HISTORY_S = 5 * DAY_S
# Friday, ten to sixteen; NOW_S is a Monday, half past noon
SPAN = (74.5 * HOUR_S, 68.5 * HOUR_S)
IN_SPAN = f"{SECOND} >= {NOW_S - SPAN[0]:.0f} AND {SECOND} < {NOW_S - SPAN[1]:.0f}"
LATE = f"{SECOND} >= {NOW_S - SPAN[0] + 4 * HOUR_S:.0f} AND {SECOND} < {NOW_S - SPAN[1]:.0f}"
BEFORE = f"{SECOND} < {NOW_S - SPAN[0] - 2 * HOUR_S:.0f}"


def history(folder: Path, *incidents: str | Incident, **options: float) -> sqlite3.Connection:
    """A past with incidents, those that are only named in the span."""
    placed = tuple(each if isinstance(each, Incident) else Incident(each, *SPAN) for each in incidents)
    chosen = Settings(past=placed, **{"history_s": HISTORY_S, **options})  # type: ignore[arg-type]
    return written_history(folder / f"{'-'.join(each.name for each in placed)}.db", chosen)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """The same past without an incident."""
    with closing(history(tmp_path_factory.mktemp("usual"))) as conn:
        yield conn


WORSE = {
    "model-outage": ("SELECT avg(metadata LIKE '%deepseek_unavailable%') FROM handoff_events WHERE {}", 5, IN_SPAN),
    "latency-creep": ("SELECT avg(response_time) FROM handoff_events WHERE {}", 3, LATE),
    "cost-spike": ("SELECT avg(cost) FROM handoff_events WHERE {}", 8, IN_SPAN),
    "runaway-fanout": ("SELECT count(*) FROM subagent_invocations WHERE {} AND agent_type <> 'mcp_tool'", 20, IN_SPAN),
    "slow-budget-leak": ("SELECT avg(cost) FROM handoff_events WHERE {}", 2, LATE),
    "confidence-drift": ("SELECT 1 - avg(confidence_score) FROM handoff_events WHERE {}", 2, LATE),
    "tool-failure": ("SELECT avg(1 - success) FROM subagent_invocations WHERE {} AND agent_type = 'mcp_tool'", 5, LATE),
    "label-flood": ("SELECT count(DISTINCT task_type) FROM task_outcomes WHERE {}", 20, IN_SPAN),
}


@pytest.mark.slow
@pytest.mark.parametrize("incident", WORSE)
def test_an_incident_of_the_past_is_seen_there_and_only_there(
    tmp_path: Path, usual: sqlite3.Connection, incident: str
) -> None:
    """What it makes worse is worse at its time and as usual before; sessions that it did not meet are as without it."""
    measure, times, when = WORSE[incident]
    tasks = "SELECT session_id, task_id, task_type, model_used, success, cost FROM task_outcomes"
    spared = f"{tasks} WHERE session_id NOT IN (SELECT session_id FROM task_outcomes WHERE {IN_SPAN}) ORDER BY task_id"

    with closing(history(tmp_path, incident)) as conn:
        assert one(conn, measure.format(when)) > times * one(usual, measure.format(when))
        assert one(conn, measure.format(BEFORE)) == one(usual, measure.format(BEFORE))
        assert conn.execute(spared).fetchall() == usual.execute(spared).fetchall() != []
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "incident, silent",
    [
        (Incident("stale-data", *SPAN), IN_SPAN),
        (Incident("weekend-silence", HISTORY_S, 0), "strftime('%w', timestamp) IN ('0', '6')"),
        (Incident("monday-silence", HISTORY_S, 0), "strftime('%w', timestamp) = '1'"),
    ],
)
def test_in_a_silence_nothing_is_written(
    tmp_path: Path, usual: sqlite3.Connection, incident: Incident, silent: str
) -> None:
    """No row of its time, and most of those of other times."""
    with closing(history(tmp_path, incident)) as conn:
        for table in ("handoff_events", "task_outcomes", "claude_code_hooks", "subagent_invocations"):
            assert one(usual, f"SELECT count(*) FROM {table} WHERE {silent}") > 5
            assert one(conn, f"SELECT count(*) FROM {table} WHERE {silent}") == 0
            spoken = f"SELECT count(*) FROM {table} WHERE NOT ({silent})"
            assert one(conn, spoken) > 0.9 * one(usual, spoken)
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.slow
def test_the_exporters_death_changes_no_row(tmp_path: Path, usual: sqlite3.Connection) -> None:
    """It is no incident of the platform."""
    with closing(history(tmp_path, "exporter-death")) as conn:
        assert contents(conn, without_times=False) == contents(usual, without_times=False)


@pytest.mark.slow
def test_a_past_with_all_incidents_is_the_same_for_one_seed(tmp_path: Path) -> None:
    """Twelve in one past, some at once; the same again, another with another seed, and ids grow with time."""
    starts = [HISTORY_S - 8 * HOUR_S * n for n in range(len(demo.INCIDENTS))]
    every = [Incident(name, start, start - 10 * HOUR_S) for name, start in zip(demo.INCIDENTS, starts, strict=True)]
    once, again, other = (tmp_path / name for name in ("once", "again", "other"))
    for folder in (once, again, other):
        folder.mkdir()
    with (
        closing(history(once, *every)) as first,
        closing(history(again, *every)) as second,
        closing(history(other, *every, seed=2)) as third,
    ):
        assert contents(first, without_times=False) == contents(second, without_times=False)
        assert contents(first) != contents(third)
        times = [at for (at,) in first.execute("SELECT timestamp FROM subagent_invocations ORDER BY id")]
        assert times == sorted(times)


def test_weathers_add_up() -> None:
    """Two incidents at once are both there; at its end an incident is over."""
    placed = [Incident("latency-creep", 1_000, 0).place(NOW_S), Incident("cost-spike", 500, 0).place(NOW_S)]
    assert bad_weather(placed, NOW_S - 1_001).latency == 1.0
    assert bad_weather(placed, NOW_S - 800).latency == pytest.approx(2.0)
    assert (bad_weather(placed, NOW_S - 400).latency, bad_weather(placed, NOW_S - 400).tokens) == (4.0, 8.0)
    assert bad_weather(placed, NOW_S).tokens == 1.0


def test_silences_know_the_day() -> None:
    """Saturday and Sunday, Monday, or any."""
    friday = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
    days = {
        name: [
            is_silent([Incident(name, 7 * DAY_S, 0).place(friday + 7 * DAY_S)], friday + n * DAY_S) for n in range(7)
        ]
        for name in ("weekend-silence", "monday-silence", "stale-data", "model-outage")
    }
    assert [n for n, silent in enumerate(days["weekend-silence"]) if silent] == [1, 2]
    assert [n for n, silent in enumerate(days["monday-silence"]) if silent] == [3]
    assert all(days["stale-data"])
    assert not any(days["model-outage"])


def test_token_budgets_mostly_hold(usual: sqlite3.Connection) -> None:
    """Some sessions use up what they were given; most of them do not."""
    assert 0.02 < one(usual, "SELECT avg(budget_exhausted) FROM token_budgets") < 0.2
    spent = "claude_tokens_used + deepseek_tokens_used"
    assert 0.3 < one(usual, f"SELECT avg(1.0 * ({spent}) / initial_budget) FROM token_budgets") < 0.8


@pytest.mark.parametrize(
    "text, said",
    [
        ("rain@2d/1d", "must be one of .*: 'rain'"),
        ("stale-data@2d", "NAME@FROM/TO"),
        ("stale-data@2d/1d/0", "NAME@FROM/TO"),
        ("stale-data@1d/2d", "longer ago"),
        ("stale-data@1d/1d", "longer ago"),
        ("stale-data@soon/0", "a duration is .*: 'soon'"),
    ],
)
def test_what_is_no_incident_is_refused(text: str, said: str) -> None:
    """And the rule named."""
    with pytest.raises(ValueError, match=said):
        demo.parse_incident(text)


@pytest.mark.parametrize("incident", [Incident("stale-data", 2 * DAY_S, 0), Incident("rain", DAY_S, 0)])
def test_an_incident_outside_the_past_is_refused(incident: Incident) -> None:
    """It would not be found."""
    with pytest.raises(ValueError, match=r"must lie in the past, which begins|must be one of"):
        Settings(history_s=DAY_S, past=(incident,))


def test_incidents_of_the_past_by_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Several may be placed; of two that are live the line says that one is too many."""
    path = tmp_path / "demo.db"
    placed = ["--incident", "label-flood@2d/0", "--incident", "stale-data@1h/0"]
    assert main([str(path), "--history", "2d", "--duration", "0s", *placed]) == 0
    with closing(connect(path)) as conn:
        assert one(conn, "SELECT count(DISTINCT task_type) FROM task_outcomes") > 10
    assert main([str(path), "--incident", "stale-data", "--incident", "cost-spike"]) == 2
    assert "one incident at most can be live: stale-data, cost-spike" in capfd.readouterr().err

"""The poller's own loop: what is rescanned when, what ends when, what is saved, and what happens when that fails."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter import catalogue
from exporter.advance import Engine
from exporter.catalogue import handoffs, sessions, tasks
from exporter.catalogue.tables import HANDOFFS, TASKS
from exporter.config import Settings
from exporter.once import read_once
from exporter.source import SourceDiscarded, SourceError
from exporter.spec import Col, Counter, Feed, Gauge, Label, Ledger, Metric, Schema
from exporter.state import FORMAT
from tests.model import EPOCH, Platform
from tests.model import HANDOFFS as HANDOFF_EVENTS
from tests.model import SESSIONS as SESSION_ROWS
from tests.processes import OF_ROWS, Looping, Moody, scan_of, text
from tests.running import Shown

HOUR_S = 3600.0
SINCE = EPOCH
"""The first scan's time, and so when counting began."""
HANDOFFS_TOTAL, TOKENS = handoffs.HANDOFFS_TOTAL.name, handoffs.HANDOFF_TOKENS.name
DURATION, IN_FLIGHT = handoffs.HANDOFF_DURATION.name, handoffs.HANDOFFS_IN_FLIGHT.name
TASKS_TOTAL, STARTED, ENDED = tasks.TASKS_TOTAL.name, sessions.SESSIONS_STARTED.name, sessions.SESSIONS_ENDED.name
CALLS, ACTIVITIES = "orchestration_model_calls_total", "orchestration_activities_total"
OVERFLOW, UP = "orchestration_exporter_label_overflow_total", "orchestration_up"
REJECTED, ROWS_READ = "orchestration_exporter_rows_rejected_total", "orchestration_exporter_rows_read_total"


def at(seconds: float) -> str:
    """A time, so long after the tests' first moment, as the platform writes it."""
    return datetime.fromtimestamp(EPOCH + seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def session(platform: Platform, key: str, project: str = "p", seconds: float = -60.0, **values: Any) -> None:
    """A session starts."""
    platform.insert(SESSION_ROWS, session_id=key, start_time=at(seconds), project_name=project, **values)


def handoff(platform: Platform, key: str = "s", model: str = "m", seconds: float = -30.0, **values: Any) -> int:
    """A hand-off with a result, unless `success` is given as None."""
    row = {"success": 1, "tokens_used": 10, "cost": 0.5, "savings": 0.25, "response_time": 1.5, "confidence_score": 0.5,
           **values}  # fmt: skip
    row = {"task_type": "t", "source_model": "o", "target_model": model, **row}
    return platform.insert(HANDOFF_EVENTS, session_id=key, timestamp=at(seconds), **row)


def task(platform: Platform, key: str = "s", model: str = "m", seconds: float = -30.0, **values: Any) -> int:
    """A task with an outcome."""
    row = {"success": 1, "task_type": "t", "model_used": model, "cost": 0.25, "execution_time": 2.0,
           "quality_score": 4.0, **values}  # fmt: skip
    return platform.insert("task_outcomes", session_id=key, timestamp=at(seconds), **row)


def traffic(platform: Platform, count: int = 3) -> None:
    """Sessions of two projects with hand-offs of two models, a task each, and one hand-off in flight."""
    for number in range(count):
        session(platform, f"s{number}", f"p{number % 2}")
        for model in ("m0", "m1", "m1"):
            handoff(platform, f"s{number}", model, success=number % 2, metadata=json.dumps({"route_reason": "r"}))
        task(platform, f"s{number}", "m1", success=number % 2, error_type="e")
    handoff(platform, "s0", "m1", success=None)


def others(platform: Platform) -> None:
    """Rows of other tables, in flight, timed out and rejected ones among them; escalations; what has no price."""
    for model, success, reason in (("deepseek", 0, "r"), ("claude", 1, "r"), ("claude", 1, "deepseek_unavailable")):
        handoff(platform, "s1", model, success=success, metadata=json.dumps({"route_reason": reason}))
    handoff(platform, "s1", cost=None)
    for ago_s, success in ((30.0, 1), (30.0, None), (8 * HOUR_S, None), (30.0, 7)):
        platform.insert("routing_decisions", session_id="s0", timestamp=at(-ago_s), selected_model="m", actual_cost=0.5,
                        execution_success=success, task_complexity="c", confidence_score=0.5, actual_tokens=5,
                        actual_duration=1.5)  # fmt: skip
    platform.insert("model_performance", model_name="m", timestamp=at(-30.0), task_type="t", response_time=0.5,
                    quality_score=0.5, error_count=2, retry_count=1)  # fmt: skip
    platform.insert("claude_code_hooks", session_id="s0", timestamp=at(-30.0), hook_type="h", success=1,
                    processing_time=0.5)  # fmt: skip
    platform.insert("live_activities", session_id="s0", timestamp=at(-30.0), event_type="e")


OF_LEDGER = [metric for metric in catalogue.METRICS if isinstance(metric, Gauge) and metric.reading == "ledger"]


@pytest.fixture
def platform() -> Platform:
    """An empty database."""
    return Platform()


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A folder for the state, not made yet."""
    return tmp_path / "state"


async def scanned(
    platform: Platform, *, schema: Schema = catalogue.SCHEMA, wall: float = EPOCH, **chosen: Any
) -> Shown:
    """What one read of everything makes of the database."""
    given = {"sources": [{"name": "default", "database": "memory"}], **chosen}
    chosen_settings, source = Settings.model_validate(given), Moody(platform)
    return Shown.of(
        text(
            await read_once(
                settings=chosen_settings, of=chosen_settings.sources[0], schema=schema, source=source, now=wall
            )
        )
    )


def changed(metric: Metric, **values: Any) -> Schema:
    """The schema with one metric declared otherwise."""
    others = (replace(metric, **values) if each.name == metric.name else each for each in catalogue.SCHEMA.counted)
    return catalogue.SCHEMA.only(others)


def without(*metrics: Metric) -> Schema:
    """The schema without some metrics."""
    left = [metric for metric in catalogue.SCHEMA.counted if metric not in metrics]
    return catalogue.SCHEMA.only(
        replace(each, known_by=None) if isinstance(each, Gauge) and each.known_by in metrics else each for each in left
    )


BY_TASK_TYPE = Counter(
    TOKENS,
    "Tokens, by type of task.",
    (Label("task_type"),),
    (Feed(HANDOFFS, {"task_type": Col("task_type")}, "tokens_used"),),
)
"""The tokens' counter as another version of the catalogue might have it."""
OTHER_TOKENS = catalogue.SCHEMA.only(
    BY_TASK_TYPE if metric.name == TOKENS else metric for metric in catalogue.SCHEMA.counted
)


# ── metrics that change ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_changed_metric_alone_is_scanned_anew(platform: Platform, storage: Path) -> None:
    """It equals a fresh scan up to the present; the others keep what retention took, and counting begins anew."""
    traffic(platform)
    async with Looping(platform, storage) as looping:
        before = looping.shown
        platform.sql(f"DELETE FROM {HANDOFF_EVENTS} WHERE id <= 4")
        await looping.stop()
        looping.schema = OTHER_TOKENS
        looping.wall += 100.0
        handoff(platform, "s1", "m0", 50.0)
        await looping.start()
        after = looping.shown

    fresh = await scanned(platform, schema=OTHER_TOKENS, wall=looping.wall)
    assert after.by_labels(TOKENS) == fresh.by_labels(TOKENS) == {frozenset({("task_type", "t")}): 10.0 * (9 - 4 + 1)}
    assert after.total(HANDOFFS_TOTAL) == before.total(HANDOFFS_TOTAL) + 1 == 10
    assert after.total(DURATION + "_count") == 10
    assert after.total(ROWS_READ) == before.total(ROWS_READ) + 1
    assert before.total("orchestration_counting_since_timestamp_seconds") == SINCE
    assert looping.counting_since == SINCE + 100.0


def by_kind(metrics: Iterable[Metric]) -> Iterator[Any]:
    """As parameters: of metrics of one type, made of the same tables at the same moments, all but the first are left to
    `make test-all`.
    """
    known = set()
    for metric in metrics:
        kind = (type(metric), *((feed.table.name, feed.at) for feed in metric.feeds))
        marks = pytest.mark.slow if kind in known else ()
        yield pytest.param(metric, marks=marks, id=metric.name.removeprefix("orchestration_"))
        known.add(kind)


@pytest.mark.bulk
@pytest.mark.parametrize("metric", list(by_kind(metric for metric in catalogue.SCHEMA.counted if metric.feeds)))
async def test_each_metric_can_be_scanned_alone(platform: Platform, storage: Path, metric: Metric) -> None:
    """Of open and ended sessions, rows in flight and rejected ones it makes what a first scan makes of them."""
    traffic(platform)
    session(platform, "old", "p0", -3 * HOUR_S)
    handoff(platform, "old", "m0", -3 * HOUR_S)
    session(platform, "over", "p1", -HOUR_S, end_time=at(-600.0), failed_tasks=1)
    handoff(platform, "over", "m1", -700.0, cost=-1.0)
    handoff(platform, "old", "m1", -8 * HOUR_S, success=None)
    platform.insert("subagent_invocations", session_id="s1", timestamp=at(-20.0), agent_name="a", cost=0.5, success=1,
                    execution_time=0.5, tokens_used=7)  # fmt: skip
    platform.insert("subagent_invocations", session_id="s1", timestamp=at(-20.0), agent_type="mcp_tool", cost=0.25,
                    agent_name="server.tool", execution_time=0.5)  # fmt: skip
    others(platform)
    async with Looping(platform, storage, schema=without(metric)) as looping:
        rejected = looping.shown.by_labels(REJECTED)
        await looping.stop()
        looping.schema = catalogue.SCHEMA
        await looping.start()
        shown = looping.shown

    fresh = await scanned(platform)
    names = [gauge.name for gauge in OF_LEDGER] if metric is catalogue.SCHEMA.ledger else [metric.name]
    assert scan_of(shown, *names) == scan_of(fresh, *names) != {}
    # what others reject is not counted again
    assert shown.by_labels(REJECTED) == rejected


async def test_an_upgrade_adds_changes_and_removes_metrics(platform: Platform, storage: Path) -> None:
    """The unchanged keep their totals to the last digit, retention or not; what is new appears complete, unheld."""
    traffic(platform)
    others(platform)
    old = catalogue.SCHEMA.only(
        changed_buckets if metric.name == DURATION else metric
        for metric in (*without(handoffs.HANDOFF_ESCALATIONS).counted, RETIRED)
        if metric is not catalogue.SCHEMA.ledger
    )
    async with Looping(platform, storage, schema=old, new_series_hold=60.0) as looping:
        before = looping.shown
        await looping.stop()
        platform.sql("DELETE FROM task_outcomes WHERE id = 1")
        handoff(platform, "s0", "claude", 40.0)
        looping.schema, looping.wall = catalogue.SCHEMA, looping.wall + 50.0
        await looping.start(new_series_hold=0.0)
        shown = looping.shown

    fresh = await scanned(platform, wall=looping.wall)
    assert before.total(RETIRED.name) == 3
    assert before.by_labels("orchestration_ledger_cost_usd") == {}
    assert before.by_labels(handoffs.HANDOFF_ESCALATIONS.name) == {}
    assert RETIRED.name not in text_names(shown)
    for name in (DURATION, handoffs.HANDOFF_ESCALATIONS.name, *(gauge.name for gauge in OF_LEDGER)):
        assert scan_of(shown, name) == scan_of(fresh, name) != {}
    assert scan_of(shown, TASKS_TOTAL) == scan_of(before, TASKS_TOTAL) != scan_of(fresh, TASKS_TOTAL)
    assert shown.total(HANDOFFS_TOTAL) == before.total(HANDOFFS_TOTAL) + 1
    assert looping.counting_since == SINCE + 50.0


RETIRED = Counter(
    "orchestration_retired_total",
    "Tasks, as an older version counted them.",
    (),
    (Feed(TASKS, {}),),
)
changed_buckets = replace(handoffs.HANDOFF_DURATION, buckets=(1.0, 2.0))


async def test_a_ledger_that_changes_leaves_counting_alone(platform: Platform, storage: Path) -> None:
    """It is made anew from the rows there are, older days stay; its gauges tell no increase that could be wrong."""
    session(platform, "old", "p0", -50 * HOUR_S)
    old_one = handoff(platform, "old", "m0", -49 * HOUR_S, cost=8.0)
    traffic(platform)
    assert catalogue.SCHEMA.ledger is not None
    async with Looping(platform, storage) as looping:
        await looping.stop()
        platform.sql(f"DELETE FROM {HANDOFF_EVENTS} WHERE id = {old_one}")
        looping.schema = catalogue.SCHEMA.only(
            replace(metric, of=metric.of[:1]) if isinstance(metric, Ledger) else metric
            for metric in catalogue.SCHEMA.counted
        )
        looping.wall += 100.0
        await looping.start()
        shown = looping.shown

    cost = "orchestration_ledger_cost_usd"
    assert shown.total(cost, project="p0", period="week") == shown.total(cost, project="p0", period="day")
    assert shown.total(cost, project="p0", period="month") == 0.5 * 6
    assert shown.total(cost, project="p0", period="previous_month") == 8.0
    assert looping.counting_since == SINCE


async def test_an_added_metric_appears_at_its_full_value(platform: Platform, storage: Path) -> None:
    """It is not held, though others of the source were shown before; counting does not begin anew."""
    traffic(platform)
    async with Looping(platform, storage, schema=without(handoffs.HANDOFF_TOKENS), new_series_hold=60.0) as looping:
        assert TOKENS not in text_names(looping.shown)
        await looping.stop()
        looping.schema = catalogue.SCHEMA
        looping.wall += 100.0
        await looping.start()

        assert looping.shown.total(TOKENS) == 90.0
        assert looping.counting_since == SINCE


async def test_a_removed_metric_is_dropped(platform: Platform, storage: Path) -> None:
    """It is not shown, and when it comes back it is made from the rows there are then."""
    traffic(platform)
    async with Looping(platform, storage) as looping:
        await looping.stop()
        looping.schema = without(handoffs.HANDOFF_TOKENS)
        await looping.start()
        assert TOKENS not in text_names(looping.shown)
        assert looping.counting_since == SINCE
        await looping.stop()
        platform.sql(f"DELETE FROM {HANDOFF_EVENTS} WHERE id <= 4")
        looping.schema = catalogue.SCHEMA
        await looping.start()

        assert looping.shown.total(TOKENS) == 50.0
        assert looping.shown.total(HANDOFFS_TOTAL) == 9
        assert looping.counting_since == SINCE


def text_names(shown: Shown) -> set[str]:
    """The names of all series shown."""
    return {series.partition("{")[0] for series in shown.samples}


@pytest.mark.bulk
@pytest.mark.parametrize(
    "setting, value",
    [
        ("session_idle_timeout", 1800.0),
        ("in_flight_timeout", HOUR_S),
        ("naive_time_zone", "Europe/Berlin"),
        ("max_label_values", 99),
        ("max_series_per_metric", 9_999),
        ("labels", {"drop": {TOKENS: ["project"]}}),
    ],
)
async def test_a_setting_that_makes_the_numbers_begins_counting_anew(
    platform: Platform, storage: Path, setting: str, value: Any
) -> None:
    """What it touches is scanned anew: what retention took leaves those totals; and nothing that is there is missed."""
    traffic(platform)
    others(platform)
    async with Looping(platform, storage) as looping:
        platform.sql(f"DELETE FROM {HANDOFF_EVENTS} WHERE id <= 4")
        looping.wall += 100.0
        await looping.restart(**{setting: value})

        assert looping.shown.total(TOKENS) == 90.0
        assert looping.counting_since == SINCE + 100.0
        assert scan_of(looping.shown, TOKENS, CALLS, ACTIVITIES) == scan_of(
            await scanned(platform, wall=looping.wall, **{setting: value}), TOKENS, CALLS, ACTIVITIES
        )


@pytest.mark.bulk
@pytest.mark.parametrize(
    "setting, value", [("new_series_hold", 5.0), ("max_in_flight", 50), ("query_timeout", 2.0), ("poll_interval", 2.0)]
)
async def test_another_setting_leaves_the_totals_alone(
    platform: Platform, storage: Path, setting: str, value: Any
) -> None:
    """Nothing is scanned again."""
    traffic(platform)
    async with Looping(platform, storage) as looping:
        platform.sql(f"DELETE FROM {HANDOFF_EVENTS} WHERE id <= 4")
        await looping.restart(**{setting: value})

        assert looping.shown.total(TOKENS) == 90.0
        assert looping.counting_since == SINCE


async def test_another_help_is_no_change(platform: Platform, storage: Path) -> None:
    """Words do not make numbers."""
    traffic(platform)
    async with Looping(platform, storage) as looping:
        platform.sql(f"DELETE FROM {HANDOFF_EVENTS} WHERE id <= 4")
        await looping.stop()
        looping.schema = changed(handoffs.HANDOFF_TOKENS, help="Said otherwise.")
        await looping.start()

        assert looping.shown.total(TOKENS) == 90.0
        assert "# HELP orchestration_handoff_tokens_total Said otherwise." in published(looping)


def published(looping: Looping) -> str:
    """The exposition."""
    assert looping.poller.publication is not None
    return text(looping.poller.publication)


async def test_buckets_can_change(platform: Platform, storage: Path) -> None:
    """A checkpoint with other buckets of a metric is taken up, but for that metric."""
    traffic(platform)
    async with Looping(platform, storage) as looping:
        await looping.stop()
        looping.schema = changed(handoffs.HANDOFF_DURATION, buckets=(1.0, 2.0))
        await looping.start()

        buckets = looping.shown.by_labels(DURATION + "_bucket")
        assert {dict(labels)["le"] for labels in buckets} == {"1.0", "2.0", "+Inf"}
        assert looping.shown.total(DURATION + "_count") == 9


async def test_rows_in_flight_count_once_in_a_metric_that_was_scanned_alone(platform: Platform, storage: Path) -> None:
    """They are left out of the scan, and counted when they have their result."""
    traffic(platform)
    async with Looping(platform, storage) as looping:
        await looping.stop()
        looping.schema = OTHER_TOKENS
        await looping.start()
        assert looping.shown.total(TOKENS) == 90.0
        platform.sql(f"UPDATE {HANDOFF_EVENTS} SET success = 1 WHERE success IS NULL")
        shown = await looping.polled()

    assert shown.total(TOKENS) == 100.0
    assert shown.total(HANDOFFS_TOTAL) == 10
    assert shown.total(IN_FLIGHT) == 0


async def test_a_scan_that_fails_is_begun_anew(platform: Platform, storage: Path) -> None:
    """However often a changed metric's scan fails, each row is in it once; nothing half is shown."""
    traffic(platform)
    async with Looping(platform, storage) as looping:
        await looping.stop()
        looping.schema = OTHER_TOKENS
        looping.source.error = SourceError("gone in the middle")
        await looping.start()
        await looping.polled(5)
        assert looping.shown.total(UP) == 0
        assert looping.shown.total(TOKENS) == 0
        looping.source.error = None
        shown = await looping.polled()

    assert shown.total(UP) == 1
    assert shown.total(TOKENS) == 90.0
    assert shown.total(HANDOFFS_TOTAL) == 9


async def test_a_first_scan_that_fails_shows_nothing_half(platform: Platform, storage: Path) -> None:
    """The tables read before it failed are not shown, and counted once when it succeeds."""
    traffic(platform)
    looping = Looping(platform, storage)
    left = iter(range(100))

    def fail() -> None:
        if next(left) == 6:
            raise SourceError("gone in the middle")

    looping.source.on_leave = fail
    async with looping:
        assert looping.polls("failure") == 1
        assert not looping.poller.ready
        assert looping.shown.by_labels(UP) == {frozenset(): 0.0}
        assert not text_names(looping.shown) & set(OF_ROWS)
        looping.source.on_leave = lambda: None
        shown = await looping.polled()

    assert scan_of(shown, *OF_ROWS) == scan_of(await scanned(platform), *OF_ROWS)


async def test_a_reopened_session_is_counted_once_by_a_metric_that_was_scanned_alone(
    platform: Platform, storage: Path
) -> None:
    """It ended before; that a metric is scanned while it is active again neither loses that end nor counts it twice."""
    session(platform, "s", seconds=-60.0)
    async with Looping(platform, storage) as looping:
        shown = await looping.advance(HOUR_S)
        assert shown.total(ENDED, end="idle") == 1
        handoff(platform, seconds=HOUR_S - 10.0)
        assert (await looping.polled()).total("orchestration_sessions_active") == 1
        await looping.stop()
        looping.schema = changed(sessions.SESSION_COST, buckets=(0.1, 1.0))
        await looping.start()
        await looping.advance(70.0)
        shown = await looping.advance(2 * HOUR_S)

    assert shown.total(ENDED) == 1
    assert shown.total("orchestration_session_cost_usd_count") == 1


# ── what ends by time ────────────────────────────────────────────────────────────────────────────────────────


async def test_rows_of_a_first_scan_time_out_at_once(platform: Platform, storage: Path) -> None:
    """What was due before the exporter came is not waited for."""
    session(platform, "s", seconds=-8 * HOUR_S)
    handoff(platform, seconds=-8 * HOUR_S, success=None)
    async with Looping(platform, storage) as looping:
        assert looping.shown.total(HANDOFFS_TOTAL, outcome="unknown") == 1
        assert looping.shown.total(ENDED, end="idle") == 1


async def test_nothing_times_out_in_the_first_minute_after_a_start(platform: Platform, storage: Path) -> None:
    """A result or an event written while the exporter was down is found before the deadline is judged."""
    session(platform, "s")
    handoff(platform, success=None)
    async with Looping(platform, storage) as looping:
        await looping.stop()
        looping.wall += 8 * HOUR_S
        looping.monotonic += 8 * HOUR_S
        await looping.start()
        for _ in range(3):
            shown = await looping.advance(19.0)
            assert shown.total(HANDOFFS_TOTAL) == shown.total(ENDED) == 0
            assert shown.total(IN_FLIGHT) == shown.total("orchestration_sessions_active") == 1
        shown = await looping.advance(4.0)

    assert shown.total(HANDOFFS_TOTAL, outcome="unknown") == 1
    assert shown.total(ENDED, end="idle") == 1
    assert shown.total(IN_FLIGHT) == 0


async def test_a_session_with_an_end_ends_in_the_first_minute_too(platform: Platform, storage: Path) -> None:
    """Only what ends for want of activity waits."""
    session(platform, "s")
    async with Looping(platform, storage) as looping:
        platform.sql(f"UPDATE {SESSION_ROWS} SET end_time = ?", (at(10.0),))
        looping.wall += 80.0
        await looping.restart()

        assert looping.shown.total(ENDED, end="closed") == 1


@pytest.mark.parametrize("jump", [8 * HOUR_S, 7 * HOUR_S])
async def test_nothing_times_out_for_a_minute_after_the_clocks_part(
    platform: Platform, storage: Path, jump: float
) -> None:
    """A machine that slept finds what the platform wrote meanwhile first."""
    session(platform, "s")
    handoff(platform, success=None)
    async with Looping(platform, storage) as looping:
        shown = await looping.advance(1.0, jump=jump)
        assert shown.total(HANDOFFS_TOTAL) == shown.total(ENDED) == 0
        shown = await looping.advance(58.0)
        assert shown.total(HANDOFFS_TOTAL) == shown.total(ENDED) == 0
        shown = await looping.advance(2.0)

    assert shown.total(HANDOFFS_TOTAL, outcome="unknown") == 1
    assert shown.total(ENDED, end="idle") == 1


async def test_nothing_times_out_when_the_clocks_part_during_a_read(platform: Platform, storage: Path) -> None:
    """A machine may fall asleep in the middle of a poll, too."""
    session(platform, "s")
    handoff(platform, success=None)
    async with Looping(platform, storage) as looping:

        def sleep() -> None:
            looping.wall += 8 * HOUR_S
            looping.source.on_leave = lambda: None

        looping.source.on_leave = sleep
        platform.sql("SELECT 1")
        shown = await looping.polled()
        assert shown.total(HANDOFFS_TOTAL) == shown.total(ENDED) == 0
        platform.sql(f"UPDATE {HANDOFF_EVENTS} SET success = 1")
        shown = await looping.polled()

    assert shown.total(HANDOFFS_TOTAL, outcome="success") == 1


async def test_a_clock_set_back_ends_nothing(platform: Platform, storage: Path) -> None:
    """And when it is set right again, nothing ends for a minute either."""
    session(platform, "s")
    handoff(platform, success=None)
    async with Looping(platform, storage) as looping:
        before = looping.shown
        shown = await looping.advance(1.0, jump=-3 * HOUR_S)
        assert before.falls(shown) == []
        shown = await looping.advance(1.0, jump=10 * HOUR_S)
        assert shown.total(HANDOFFS_TOTAL) == shown.total(ENDED) == 0
        assert before.falls(shown) == []


async def test_nothing_times_out_on_a_source_that_cannot_be_read(platform: Platform, storage: Path) -> None:
    """What is in flight stays so until a read has shown that it still is."""
    session(platform, "s")
    handoff(platform, success=None)
    async with Looping(platform, storage) as looping:
        looping.source.error = SourceError("no")
        platform.sql(f"UPDATE {HANDOFF_EVENTS} SET success = 1")
        shown = await looping.advance(8 * HOUR_S)
        assert shown.total(UP) == 0
        assert shown.total(HANDOFFS_TOTAL) == shown.total(ENDED) == 0
        looping.source.error = None
        shown = await looping.polled()

    assert shown.total(HANDOFFS_TOTAL, outcome="success") == 1
    assert shown.total(HANDOFFS_TOTAL) == 1


async def test_a_read_that_was_discarded_is_no_reading_of_rows_in_flight(platform: Platform, storage: Path) -> None:
    """Old ones are read once a minute: if that read comes to nothing, it is due at the next."""
    session(platform, "s")
    handoff(platform, success=None)
    async with Looping(platform, storage) as looping:
        await looping.advance(HOUR_S / 2)
        platform.sql(f"UPDATE {HANDOFF_EVENTS} SET success = 1")
        looping.source.error = SourceDiscarded("it moved")
        await looping.advance(61.0)
        looping.source.error = None
        shown = await looping.polled()

    assert shown.total(HANDOFFS_TOTAL, outcome="success") == 1


@pytest.mark.parametrize("still_s", [0.0, 20.0])
async def test_a_result_just_before_the_deadline_is_found(platform: Platform, storage: Path, still_s: float) -> None:
    """Read, finalise by columns, then time out: old rows in flight are read before they end, however quiet it is."""
    session(platform, "s", seconds=6 * HOUR_S - 60.0)
    handoff(platform, seconds=0.0, success=None)
    async with Looping(platform, storage) as looping:
        await looping.advance(6 * HOUR_S - 30.0)
        platform.sql(f"UPDATE {HANDOFF_EVENTS} SET success = 1")
        await looping.advance(5.0)
        if not still_s:
            platform.insert("claude_code_hooks", session_id="s", timestamp=at(6 * HOUR_S))
        shown = await looping.advance(26.0 + still_s)

    assert by(shown, HANDOFFS_TOTAL, "outcome") == {"success": 1, "failure": 0, "unknown": 0}


@pytest.mark.parametrize("still_s", [0.0, 20.0])
async def test_an_end_just_before_the_deadline_is_found(platform: Platform, storage: Path, still_s: float) -> None:
    """A session that was closed before it was idle for too long is closed."""
    session(platform, "s", seconds=0.0)
    async with Looping(platform, storage) as looping:
        await looping.advance(HOUR_S - 30.0)
        platform.sql(f"UPDATE {SESSION_ROWS} SET end_time = ?", (at(HOUR_S - 25.0),))
        await looping.advance(5.0)
        if not still_s:
            session(platform, "s2", seconds=HOUR_S)
        await looping.advance(26.0 + still_s)
        shown = await looping.advance(60.0)

    assert by(shown, ENDED, "end") == {"closed": 1, "idle": 0, "lost": 0}


async def test_a_look_that_finds_nothing_moved_is_a_read(platform: Platform, storage: Path) -> None:
    """Sessions end by time without the source being connected to; that happens every minute anyway."""
    session(platform, "s")
    async with Looping(platform, storage) as looping:
        await looping.advance(HOUR_S - 90.0)
        snapshots = looping.source.snapshots
        shown = await looping.advance(31.0)
        assert shown.total(ENDED, end="idle") == 1
        assert looping.source.snapshots == snapshots
        await looping.advance(30.0)
        assert looping.source.snapshots > snapshots


# ── a source that cannot be read ─────────────────────────────────────────────────────────────────────────────


async def test_a_source_that_is_down_keeps_its_totals(platform: Platform, storage: Path) -> None:
    """They are shown with `up 0`, over a restart, too; what was committed meanwhile counts once when it is back."""
    traffic(platform)
    async with Looping(platform, storage) as looping:
        before = looping.shown
        looping.source.error = SourceError("no")
        handoff(platform, "s0")
        shown = await looping.polled()
        assert (shown.total(UP), before.falls(shown)) == (0, [])
        assert scan_of(shown, *OF_ROWS) == scan_of(before, *OF_ROWS)
        looping.source.error = None
        shown = await looping.polled()

        assert (shown.total(UP), shown.total(HANDOFFS_TOTAL)) == (1, 10)
        assert looping.counting_since == SINCE
        status = looping.poller.status()
        assert (status.error, status.last_error) == ("", (looping.wall, "no"))


async def test_a_start_while_the_source_is_down_shows_what_was_saved(platform: Platform, storage: Path) -> None:
    """The last totals are served with `up 0`, by a process that was started meanwhile, too."""
    traffic(platform)
    async with Looping(platform, storage) as looping:
        before = looping.shown
        looping.source.error = SourceError("no")
        platform.sql("SELECT 1")
        await looping.restart()

        assert looping.shown.total(UP) == 0
        assert scan_of(looping.shown, *OF_ROWS) == scan_of(before, *OF_ROWS)


async def test_what_is_discarded_is_read_again(platform: Platform, storage: Path) -> None:
    """Nothing of it counts; `up` stays 1 for a quarter of a minute, and no longer."""
    traffic(platform)
    async with Looping(platform, storage) as looping:
        before = looping.shown
        looping.source.error = SourceDiscarded("it moved")
        handoff(platform, "s0")
        shown = await looping.advance(14.0)
        assert (shown.total(UP), shown.total(HANDOFFS_TOTAL)) == (1, 9)
        assert looping.polls("discarded") > 0
        assert looping.polls("failure") == 0
        shown = await looping.advance(2.0)
        assert shown.total(UP) == 0
        assert before.falls(shown) == []
        looping.source.error = None
        shown = await looping.polled()

    assert (shown.total(UP), shown.total(HANDOFFS_TOTAL)) == (1, 10)


async def test_a_bug_ends_the_loop(platform: Platform, storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is no trouble of the source or the disk is raised: old numbers are not served as new."""
    async with Looping(platform, storage) as looping:
        monkeypatch.setattr(Engine, "advance", lambda engine, batch: 1 / 0)
        platform.sql("SELECT 1")

        with pytest.raises(ZeroDivisionError):
            await looping.polled(100)
        # and the state directory is free again
        monkeypatch.undo()
        await looping.start()
        assert looping.shown.total(UP) == 1


async def test_once_makes_what_polls_make(platform: Platform, storage: Path) -> None:
    """After the same history, read in one go or as it was written, every series of rows is the same."""
    async with Looping(platform, storage) as looping:
        for number in range(4):
            session(platform, f"s{number}", f"p{number % 2}", looping.wall - EPOCH)
            for model in ("m0", "m1"):
                handoff(platform, f"s{number}", model, looping.wall - EPOCH, success=number % 2)
                await looping.advance(10.0)
            task(platform, f"s{number}", "m1", looping.wall - EPOCH, success=number % 2, error_type="e")
            await looping.advance(10.0)
        handoff(platform, "s0", "m1", looping.wall - EPOCH, success=None)
        platform.sql(f"UPDATE {SESSION_ROWS} SET end_time = ? WHERE id = 1", (at(looping.wall - EPOCH),))
        await looping.polled()
        shown = await looping.advance(2 * HOUR_S)

    once = await scanned(platform, wall=looping.wall)
    gauges = (IN_FLIGHT, "orchestration_sessions_active", "orchestration_handoff_in_flight_oldest_timestamp_seconds")
    assert scan_of(shown, *OF_ROWS, *gauges) == scan_of(once, *OF_ROWS, *gauges)
    assert shown.total(ENDED) == 4


# ── a checkpoint that cannot be used ─────────────────────────────────────────────────────────────────────────


def generations(storage: Path) -> list[Path]:
    """The files that hold the state, the older one first."""
    return sorted(storage.glob("default-*.sqlite"))


def damage(path: Path) -> None:
    """Put zeros over a file's middle."""
    content = path.read_bytes()
    half = len(content) // 2
    path.write_bytes(content[:half] + bytes(2_000) + content[half + 2_000 :])


async def with_two_generations(looping: Looping, platform: Platform) -> None:
    """Let the state be written as a snapshot twice: a hand-off and a minute apart."""
    await looping.advance(30.0)
    handoff(platform, "s0", "m0", 10.0)
    await looping.advance(30.0)
    await looping.stop()
    looping.schema = changed(tasks.TASK_ERRORS, help="Said otherwise.")
    await looping.start(max_in_flight=99)
    looping.poller._needs_snapshot = True
    handoff(platform, "s0", "m0", 40.0)
    await looping.polled()
    await looping.stop()
    assert len(generations(looping.storage)) == 2


async def test_the_older_generation_takes_over(platform: Platform, storage: Path) -> None:
    """Its cursor and totals agree: what came later is read again, once. Counting begins anew."""
    traffic(platform)
    async with Looping(platform, storage) as looping:
        await with_two_generations(looping, platform)
        damage(generations(storage)[1])
        looping.wall += 100.0
        await looping.start()

        assert looping.shown.total(HANDOFFS_TOTAL) == 11
        assert scan_of(looping.shown, *OF_ROWS) == scan_of(await scanned(platform, wall=looping.wall), *OF_ROWS)
        assert looping.counting_since == looping.wall
        assert list(storage.glob("*.damaged-1"))
        await looping.restart()
        assert looping.counting_since == looping.wall


async def test_rows_deleted_meanwhile_are_missed_by_the_older_generation(platform: Platform, storage: Path) -> None:
    """That is why counting begins anew: a total may be lower than what was shown before."""
    traffic(platform)
    async with Looping(platform, storage) as looping:
        await with_two_generations(looping, platform)
        platform.sql(f"DELETE FROM {HANDOFF_EVENTS} WHERE id = 12")
        damage(generations(storage)[1])
        await looping.start()

        assert looping.shown.total(HANDOFFS_TOTAL) == 10


async def test_without_any_generation_it_is_rebuilt(platform: Platform, storage: Path) -> None:
    """Everything is counted from the tables as they are, at once and without a hold."""
    traffic(platform)
    async with Looping(platform, storage, new_series_hold=60.0) as looping:
        await with_two_generations(looping, platform)
        platform.sql(f"DELETE FROM {HANDOFF_EVENTS} WHERE id <= 2")
        for path in generations(storage):
            damage(path)
        looping.wall += 100.0
        await looping.start()

        assert looping.shown.total(HANDOFFS_TOTAL) == 9
        assert scan_of(looping.shown, *OF_ROWS) == scan_of(await scanned(platform, wall=looping.wall), *OF_ROWS)
        assert looping.counting_since == looping.wall
        assert len(list(storage.glob("*.damaged-1"))) == 2


async def test_another_format_is_rebuilt(platform: Platform, storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state written by another version, in a form that is not known, is not guessed at."""
    traffic(platform)
    async with Looping(platform, storage) as looping:
        await looping.stop()
        monkeypatch.setattr("exporter.state.FORMAT", FORMAT + 1)
        looping.wall += 100.0
        await looping.start()

        assert looping.shown.total(HANDOFFS_TOTAL) == 9
        assert looping.counting_since == looping.wall


async def test_what_cannot_be_saved_is_not_shown(
    platform: Platform, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`up` is 0 and the totals are the last ones that were saved; a restart goes on from those."""
    from exporter.checkpoint import Checkpoint, CheckpointError

    def full(checkpoint: Checkpoint, record: bytes) -> None:
        raise CheckpointError(Path("state"), "no space is left")

    traffic(platform)
    async with Looping(platform, storage) as looping:
        with monkeypatch.context() as patched:
            patched.setattr(Checkpoint, "save_delta", full)
            patched.setattr(Checkpoint, "save_snapshot", full)
            handoff(platform, "s0")
            shown = await looping.polled()
            assert (shown.total(UP), shown.total(HANDOFFS_TOTAL)) == (0, 9)
            assert looping.poller.status().checkpoint_error == "state: no space is left"
            assert looping.telemetry.registry.get_sample_value("orchestration_exporter_checkpoint_failures_total")
        shown = await looping.polled()
        assert (shown.total(UP), shown.total(HANDOFFS_TOTAL)) == (1, 10)
        await looping.restart()
        assert (looping.shown.total(UP), looping.shown.total(HANDOFFS_TOTAL)) == (1, 10)


async def test_one_cause_is_told_once_whatever_file_meets_it(
    platform: Platform, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk fails the delta, then the snapshot meant to replace it: one line. Another cause is another."""
    from exporter.checkpoint import Checkpoint, CheckpointError

    def failing(file: str, reason: str) -> Callable[[Checkpoint, bytes], None]:
        def fail(checkpoint: Checkpoint, record: bytes) -> None:
            raise CheckpointError(Path(file), reason)

        return fail

    traffic(platform)
    async with Looping(platform, storage) as looping:
        with monkeypatch.context() as patched, capture_logs() as logs:
            patched.setattr(Checkpoint, "save_delta", failing("1.sqlite", "no space"))
            for number in (2, 3):
                patched.setattr(Checkpoint, "save_snapshot", failing(f"{number}.tmp", "no space"))
                handoff(platform, "s0")
                await looping.polled()
            patched.setattr(Checkpoint, "save_snapshot", failing("4.tmp", "read-only"))
            await looping.polled()
        told = [line["error"] for line in logs if line["event"] == "state cannot be saved"]
        assert told == ["1.sqlite: no space", "4.tmp: read-only"]


# ── labels ───────────────────────────────────────────────────────────────────────────────────────────────────


def by(shown: Shown, name: str, label: str) -> dict[str, float]:
    """A metric's totals by one label."""
    found: dict[str, float] = {}
    for labels, value in shown.by_labels(name).items():
        key = dict(labels)[label]
        found[key] = found.get(key, 0.0) + value
    return found


async def test_a_first_scan_admits_the_newest_then_by_name(platform: Platform, storage: Path) -> None:
    """Models are admitted by their last event; of two at one time, the first by name. The rest is one."""
    session(platform, "s")
    for model, seconds in {"e": -50.0, "d": -40.0, "b": -30.0, "c": -30.0, "a": -45.0}.items():
        for _ in range(3):
            handoff(platform, "s", model, seconds, source_model=None)
    handoff(platform, "s", "e", -55.0, success=None)
    async with Looping(platform, storage, max_label_values=2) as looping:
        shown = looping.shown
        await looping.restart()
        again = looping.shown

    assert by(shown, HANDOFFS_TOTAL, "model") == {"b": 3, "c": 3, "__other__": 9}
    assert by(shown, TOKENS, "model") == {"b": 30, "c": 30, "__other__": 90}
    assert by(shown, DURATION + "_count", "model") == {"b": 3, "c": 3, "__other__": 9}
    # overflow counts rows, those in flight not yet
    assert shown.total(OVERFLOW, metric=HANDOFFS_TOTAL, label="model") == 9
    assert shown.total(OVERFLOW, metric=TOKENS, label="model") == 9
    assert shown.total(OVERFLOW, metric=DURATION, label="model") == 9
    assert shown.total(OVERFLOW, metric=HANDOFFS_TOTAL, label="project") == 0
    # gauges that add up are folded, the others left out
    assert by(shown, IN_FLIGHT, "model") == {"b": 0, "c": 0, "__other__": 1}
    assert by(shown, "orchestration_handoff_in_flight_oldest_timestamp_seconds", "model") == {}
    assert scan_of(again, *OF_ROWS) == scan_of(shown, *OF_ROWS)


async def test_values_are_admitted_until_there_is_no_room(platform: Platform, storage: Path) -> None:
    """While it runs, the first ones are, for good; the same after a restart. Sums stay right."""
    session(platform, "s")
    async with Looping(platform, storage, max_label_values=2) as looping:
        for number, model in enumerate(["a", "b", "c", "c", "a", "d"]):
            handoff(platform, "s", model, float(number))
            await looping.polled()
        assert by(looping.shown, HANDOFFS_TOTAL, "model") == {"a": 2, "o": 0, "__other__": 4} or by(
            looping.shown, HANDOFFS_TOTAL, "model"
        ) == {"a": 2, "__other__": 4}
        before = by(looping.shown, HANDOFFS_TOTAL, "model")
        overflown = looping.shown.by_labels(OVERFLOW)
        await looping.restart()
        assert looping.shown.by_labels(OVERFLOW) == overflown
        handoff(platform, "s", "c", 7.0)
        handoff(platform, "s", "a", 7.0)
        shown = await looping.polled()

    assert by(shown, HANDOFFS_TOTAL, "model") == {**before, "a": 3, "__other__": 5}
    assert shown.total(OVERFLOW, metric=HANDOFFS_TOTAL, label="model") == 5
    assert {dict(labels)["metric"] for labels in overflown} <= {metric.name for metric in catalogue.METRICS}


async def test_maxima_of_projects_beyond_the_cap_are_left_out(platform: Platform, storage: Path) -> None:
    """`sessions_active` adds up and is folded; the most expensive of several projects is nobody's."""
    for number in range(4):
        session(platform, f"s{number}", f"p{number}", -60.0 + number)
        handoff(platform, f"s{number}", "m", -30.0 + number)
    async with Looping(platform, storage, max_label_values=2) as looping:
        shown = looping.shown

    assert by(shown, "orchestration_sessions_active", "project") == {"p2": 1, "p3": 1, "__other__": 2}
    assert by(shown, "orchestration_active_session_cost_usd_max", "project") == {"p2": 0.5, "p3": 0.5}
    assert by(shown, STARTED, "project") == {"p2": 1, "p3": 1, "__other__": 2}


def label_sets(shown: Shown, name: str, *closed: str) -> set[tuple[str, ...]]:
    """The values of a metric's open labels that are no fold."""
    found = [dict(labels) for labels in shown.by_labels(name)]
    sets = {tuple(sorted(value for key, value in labels.items() if key not in (*closed, "le"))) for labels in found}
    return {values for values in sets if set(values) != {"__other__"}}


async def test_label_sets_beyond_the_cap_are_folded(platform: Platform, storage: Path) -> None:
    """Open labels become `__other__`, closed ones stay; rows are counted as overflow of each label that changed."""
    session(platform, "s")
    async with Looping(platform, storage, max_series_per_metric=6) as looping:
        for number in range(5):
            handoff(platform, "s", f"m{number}", float(number), success=number % 2)
            await looping.polled()
        shown = looping.shown

    assert label_sets(shown, HANDOFFS_TOTAL, "outcome") == {("m0", "p"), ("m1", "p")}
    assert shown.total(HANDOFFS_TOTAL) == 5
    assert shown.total(HANDOFFS_TOTAL, project="__other__", model="__other__", outcome="success") == 1
    assert shown.total(HANDOFFS_TOTAL, project="__other__", model="__other__", outcome="failure") == 2
    assert shown.total(OVERFLOW, metric=HANDOFFS_TOTAL, label="model") == 3
    assert shown.total(OVERFLOW, metric=HANDOFFS_TOTAL, label="project") == 3
    assert shown.total(TOKENS) == 50


@pytest.mark.parametrize("when", ["scanned", "polled"])
async def test_label_sets_of_histograms_have_the_same_cap(platform: Platform, storage: Path, when: str) -> None:
    """However many come in one batch."""
    session(platform, "s")

    def arrive() -> None:
        for number in range(8):
            handoff(platform, "s", f"m{number}", float(number))

    if when == "scanned":
        arrive()
    async with Looping(platform, storage, max_series_per_metric=3) as looping:
        if when == "polled":
            arrive()
        shown = await looping.polled()

    assert len(label_sets(shown, DURATION + "_count", "outcome")) <= 3
    assert shown.total(DURATION + "_count") == 8
    assert shown.total(OVERFLOW, metric=DURATION, label="model") == shown.total(DURATION + "_count", model="__other__")


async def test_a_value_is_normalised_before_it_is_looked_up(platform: Platform, storage: Path) -> None:
    """Spellings that differ by white space, or beyond the 128th character, are one value and take one place."""
    session(platform, "s")
    for model in ("m", " m", "m\t", "x" * 128, "x" * 128 + "y", "", None):
        handoff(platform, "s", model, source_model=None)  # type: ignore[arg-type]
    async with Looping(platform, storage, max_label_values=2) as looping:
        assert by(looping.shown, HANDOFFS_TOTAL, "model") == {"m": 3, "x" * 128: 2, "unknown": 2}
        assert looping.shown.total(OVERFLOW) == 0


@pytest.mark.parametrize(
    "name, labels",
    [
        (HANDOFFS_TOTAL, ["project"]),
        (HANDOFFS_TOTAL, ["project", "model"]),
        (STARTED, ["project"]),
        (DURATION, ["model"]),
        ("orchestration_cost_usd_total", ["project", "model"]),
    ],
)
async def test_a_dropped_label_leaves_sums(platform: Platform, storage: Path, name: str, labels: Sequence[str]) -> None:
    """What is left is the sum over it; gauges and all others are as they were."""
    traffic(platform)
    whole = await scanned(platform)
    async with Looping(platform, storage, labels={"drop": {name: list(labels)}}) as looping:
        shown = looping.shown

    assert not any(key in labels for found in shown.by_labels(name) for key, _ in found)
    for end in ("", "_count", "_sum"):
        assert shown.total(name + end) == pytest.approx(whole.total(name + end))
    others = [other for other in OF_ROWS if other not in (name, ROWS_READ, REJECTED, OVERFLOW)]
    assert scan_of(shown, *others) == scan_of(whole, *others)
    gauges = [metric.name for metric in catalogue.METRICS if metric.type == "gauge" and "active" in metric.name]
    assert scan_of(shown, IN_FLIGHT, *gauges) == scan_of(whole, IN_FLIGHT, *gauges)
    outcomes = {"success", "failure", "unknown"}
    assert not outcomes & set(by(shown, IN_FLIGHT, "model"))


async def test_a_label_that_is_dropped_later_begins_counting_anew(platform: Platform, storage: Path) -> None:
    """And one that is taken back as well."""
    traffic(platform)
    async with Looping(platform, storage) as looping:
        looping.wall += 10.0
        await looping.restart(labels={"drop": {TOKENS: ["project"]}})
        assert by(looping.shown, TOKENS, "model") == {"m0": 30.0, "m1": 60.0}
        assert looping.counting_since == SINCE + 10.0
        looping.wall += 10.0
        await looping.restart(labels={"drop": {}})
        assert by(looping.shown, TOKENS, "project") == {"p0": 60.0, "p1": 30.0}
        assert looping.counting_since == SINCE + 20.0


@pytest.mark.parametrize("most, models", [(3, {"a", "b", "c", "__other__"}), (1, {"c", "__other__"})])
async def test_another_cap_admits_anew(platform: Platform, storage: Path, most: int, models: set[str]) -> None:
    """As a first scan does: with more room further values are, with less those with the newest events stay."""
    session(platform, "s")
    async with Looping(platform, storage, max_label_values=2) as looping:
        for number, model in enumerate(["a", "b", "c", "a", "d", "c"]):
            handoff(platform, "s", model, float(number), source_model=None)
            await looping.advance(1.0)
        assert set(by(looping.shown, HANDOFFS_TOTAL, "model")) == {"a", "b", "__other__"}
        await looping.restart(max_label_values=most)
        shown = looping.shown

    assert len(set(by(shown, HANDOFFS_TOTAL, "model")) - {"__other__"}) == most
    assert set(by(shown, HANDOFFS_TOTAL, "model")) <= {"a", "b", "c", "d", "__other__"}
    assert shown.total(HANDOFFS_TOTAL) == 6
    if most == 1:
        assert set(by(shown, HANDOFFS_TOTAL, "model")) == models


@pytest.mark.bulk
async def test_the_page_can_be_asked_for_while_rows_are_counted(platform: Platform, storage: Path) -> None:
    """A long batch is counted in a thread of its own: meanwhile the status is what it was, and no error."""
    session(platform, "s")
    handoff(platform, "s", "m0")
    interval = sys.getswitchinterval()
    async with Looping(platform, storage, max_label_values=100_000) as looping:
        try:
            sys.setswitchinterval(1e-6)
            for batch in range(2):
                for number in range(700):
                    handoff(platform, "s", f"m{batch}-{number}")
                enough = looping.polls() + 2
                while looping.polls() < enough:
                    status = looping.poller.status()
                    assert status.headlines
                    assert status.rows_read["handoff_events"] >= 1
                    await asyncio.sleep(0)
        finally:
            sys.setswitchinterval(interval)

        assert looping.shown.total(HANDOFFS_TOTAL) == 1_401

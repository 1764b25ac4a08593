"""New series are shown as 0 until that 0 was seen, or `increase()` would never see what they begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from exporter.births import Births
from exporter.catalogue import handoffs
from exporter.checkpoint import Checkpoint, CheckpointError
from exporter.exposition import Format
from exporter.publisher import Publisher
from exporter.series import Cell, Series
from exporter.source import SourceError
from tests.model import HANDOFFS as HANDOFF_EVENTS
from tests.model import Exporter, Platform, profile, settings, small
from tests.processes import OF_ROWS, Looping
from tests.running import Shown
from tests.test_poller import at, by, handoff, session

HOLD_S = 60.0
NAME, DURATION = handoffs.HANDOFFS_TOTAL.name, handoffs.HANDOFF_DURATION.name


# ── the rule ─────────────────────────────────────────────────────────────────────────────────────────────────


def series(name: str = "a") -> Series:
    """A series that is not released."""
    return Cell("metric", (name,), released=False)


def test_what_nobody_has_seen_is_held_for_ever() -> None:
    """The hold begins with the first scrape, not with the publish."""
    births = Births(HOLD_S)
    births.shown([series()], 1)

    assert births.due(1e9) == set()


@pytest.mark.parametrize(
    "scrapes, now, is_due",
    [
        ([0.0, 15.0], 60.0, True),
        ([0.0, 15.0], 59.9, False),
        ([0.0], 600.0, False),
        ([0.0, 600.0], 600.0, True),
        ([100.0, 159.0], 159.9, False),
        ([100.0, 159.0], 160.0, True),
    ],
)
def test_two_scrapes_and_the_hold_since_the_first(scrapes: list[float], now: float, is_due: bool) -> None:
    """Both are needed, and in no case is it released twice."""
    births, held = Births(HOLD_S), series()
    births.shown([held], 1)
    for time in scrapes:
        births.served(1, time)

    assert births.due(now) == ({held} if is_due else set())
    if is_due:
        assert births.due(now + HOLD_S) == set()


def test_a_scrape_that_began_before_does_not_show_it() -> None:
    """What counts is the publication that was served, not when."""
    births, held = Births(HOLD_S), series()
    births.shown([held], 5)
    for time in (0.0, 15.0, 30.0):
        births.served(4, time)
    assert births.due(1e9) == set()

    births.served(6, 60.0)
    births.served(7, 75.0)

    assert births.due(119.0) == set()
    assert births.due(120.0) == {held}


def test_each_has_a_time_of_its_own() -> None:
    """Series that come one after the other are released one after the other; shown again, they go on waiting."""
    births, first, second = Births(HOLD_S), series("a"), series("b")
    births.shown([first], 1)
    births.served(1, 0.0)
    births.shown([first, second], 2)
    births.served(2, 30.0)
    births.served(3, 45.0)
    births.shown([first, second], 4)

    assert births.due(60.0) == {first}
    assert births.due(89.0) == set()
    assert births.due(90.0) == {second}


@pytest.mark.parametrize("gap, too_short", [(15.0, False), (20.0, False), (20.1, True), (60.0, True)])
def test_a_hold_needs_three_scrapes(gap: float, too_short: bool) -> None:
    """Where they are further apart it is too short; without a hold, or a gap, there is nothing to say."""
    births, none = Births(HOLD_S), Births(0.0)
    assert not births.too_short()
    for each in (births, none):
        each.served(1, 100.0)
        each.served(2, 100.0 + gap)

    assert births.too_short() is too_short
    assert not none.too_short()


# ── in the poller ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def platform() -> Platform:
    """A session, with one hand-off of the model `old`."""
    made = Platform()
    session(made, "s")
    handoff(made, "s", "old", task_type="t")
    return made


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A folder for the state, not made yet."""
    return tmp_path / "state"


async def seen(looping: Looping, seconds: float = HOLD_S) -> Shown:
    """What a scraper saw for long enough, every 15 s."""
    looping.serve()
    for _ in range(round(seconds / 15)):
        await looping.advance(15.0)
        looping.serve()
    return await looping.polled()


async def test_a_new_series_is_0_until_it_was_seen(platform: Platform, storage: Path) -> None:
    """The first publish shows all there is; what comes later begins at 0, with every outcome it may have."""
    async with Looping(platform, storage, new_series_hold=HOLD_S) as looping:
        assert by(looping.shown, NAME, "model") == {"old": 1}
        for _ in range(5):
            handoff(platform, "s", "new")
        shown = await looping.polled()
        assert by(shown, NAME, "model") == {"old": 1, "new": 0}
        assert {dict(labels)["outcome"] for labels in shown.by_labels(NAME)} == {"success", "failure", "unknown"}
        handoff(platform, "s", "new")
        shown = await seen(looping, 45.0)
        assert by(shown, NAME, "model") == {"old": 1, "new": 0}
        shown = await seen(looping, 15.0)
        assert by(shown, NAME, "model") == {"old": 1, "new": 6}
        # the outcomes that were born with it are known, too
        handoff(platform, "s", "new", success=0)
        assert (await looping.polled()).total(NAME, model="new", outcome="failure") == 1


async def test_time_alone_releases_nothing(platform: Platform, storage: Path) -> None:
    """Without scrapes the value waits; nor do wall clocks matter."""
    async with Looping(platform, storage, new_series_hold=HOLD_S) as looping:
        handoff(platform, "s", "new")
        await looping.polled()
        assert (await looping.advance(1e4)).total(NAME, model="new") == 0
        looping.serve()
        looping.serve()
        assert (await looping.advance(1.0, jump=1e4)).total(NAME, model="new") == 0
        assert (await looping.advance(58.0, jump=-2e4)).total(NAME, model="new") == 0
        assert (await looping.advance(1.0)).total(NAME, model="new") == 1


async def test_without_a_hold_values_show_at_once(platform: Platform, storage: Path) -> None:
    """`new_series_hold: 0` turns it off, for what was held before as well."""
    async with Looping(platform, storage, new_series_hold=HOLD_S) as looping:
        handoff(platform, "s", "new")
        await looping.polled()
        await looping.restart(new_series_hold=0)
        assert looping.shown.total(NAME, model="new") == 1
        handoff(platform, "s", "newer")
        assert (await looping.polled()).total(NAME, model="newer") == 1


async def test_a_start_begins_the_hold_anew(platform: Platform, storage: Path) -> None:
    """What was scraped of the process before may have been lost with it."""
    async with Looping(platform, storage, new_series_hold=HOLD_S) as looping:
        handoff(platform, "s", "new")
        await looping.polled()
        await seen(looping, 45.0)
        await looping.restart()
        assert looping.shown.total(NAME, model="new") == 0
        assert (await seen(looping, 45.0)).total(NAME, model="new") == 0
        assert (await seen(looping, 15.0)).total(NAME, model="new") == 1


async def test_what_was_released_is_never_held_again(platform: Platform, storage: Path) -> None:
    """Its value shows at once after a restart, and so does what was counted while the exporter was down."""
    async with Looping(platform, storage, new_series_hold=HOLD_S) as looping:
        handoff(platform, "s", "new")
        await looping.polled()
        assert (await seen(looping)).total(NAME, model="new") == 1
        await looping.stop()
        handoff(platform, "s", "new")
        await looping.start()
        assert looping.shown.total(NAME, model="new") == 2


async def test_what_came_while_it_was_down_is_held(platform: Platform, storage: Path) -> None:
    """A label set that is new since the last publish begins at 0, whenever that was."""
    async with Looping(platform, storage, new_series_hold=HOLD_S) as looping:
        await looping.stop()
        handoff(platform, "s", "new")
        await looping.start()
        assert by(looping.shown, NAME, "model") == {"old": 1, "new": 0}
        assert (await seen(looping)).total(NAME, model="new") == 1


async def test_released_is_saved_before_it_is_shown(
    platform: Platform, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it cannot be saved that a series is released, it stays 0: a restart would take its value back."""

    def full(checkpoint: Checkpoint, record: bytes) -> None:
        raise CheckpointError(Path("state"), "no space is left")

    async with Looping(platform, storage, new_series_hold=HOLD_S) as looping:
        handoff(platform, "s", "new")
        await looping.polled()
        with monkeypatch.context() as patched:
            patched.setattr(Checkpoint, "save_delta", full)
            patched.setattr(Checkpoint, "save_snapshot", full)
            assert (await seen(looping)).total(NAME, model="new") == 0
            assert looping.shown.total("orchestration_up") == 0
        assert (await looping.polled()).total(NAME, model="new") == 1


async def test_a_release_that_was_saved_but_never_shown_holds(
    platform: Platform, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends between the two shows the value when it is back: its 0 was seen."""

    def stop(publisher: Publisher, *args: Any) -> None:
        raise KeyError("killed here")

    async with Looping(platform, storage, new_series_hold=HOLD_S) as looping:
        handoff(platform, "s", "new")
        await looping.polled()
        await seen(looping, 45.0)
        with monkeypatch.context() as patched:
            patched.setattr(Publisher, "publish", stop)
            with pytest.raises(KeyError):
                await looping.advance(15.0)
        await looping.start()
        assert looping.shown.total(NAME, model="new") == 1


async def test_a_source_that_is_down_releases_nothing(platform: Platform, storage: Path) -> None:
    """The 0 stays until it is back."""
    async with Looping(platform, storage, new_series_hold=HOLD_S) as looping:
        handoff(platform, "s", "new")
        await looping.polled()
        looping.source.error = SourceError("no")
        platform.sql("SELECT 1")
        assert (await seen(looping, 120.0)).total(NAME, model="new") == 0
        looping.source.error = None
        assert (await looping.polled()).total(NAME, model="new") == 1


async def test_a_row_in_flight_lets_its_counters_be_born(platform: Platform, storage: Path) -> None:
    """By the time it has its result, their 0 was seen long ago: the first value shows in the same poll."""
    async with Looping(platform, storage, new_series_hold=HOLD_S) as looping:
        handoff(platform, "s", "new", success=None)
        shown = await looping.polled()
        assert by(shown, NAME, "model") == {"old": 1, "new": 0}
        await seen(looping)
        platform.sql(f"UPDATE {HANDOFF_EVENTS} SET success = 0 WHERE success IS NULL")
        shown = await looping.polled()

    assert shown.total(NAME, model="new", outcome="failure") == 1


async def test_a_histogram_is_held_whole(platform: Platform, storage: Path) -> None:
    """Buckets, count and sum are 0, and no exemplar tells of what is not shown."""
    async with Looping(platform, storage, new_series_hold=HOLD_S) as looping:
        handoff(platform, "s", "new")
        shown = await looping.polled()
        assert looping.poller.publication is not None
        openmetrics = looping.poller.publication.answer(Format.OPENMETRICS, b"").decode()
        for end in ("_bucket", "_count", "_sum"):
            assert shown.total(DURATION + end, model="new") == 0
            assert any(("model", "new") in labels for labels in shown.by_labels(DURATION + end))
        lines = [line for line in openmetrics.splitlines() if line.startswith(DURATION) and 'model="new"' in line]
        assert lines
        assert not any("# {" in line for line in lines)
        shown = await seen(looping)

    assert (shown.total(DURATION + "_count", model="new"), shown.total(DURATION + "_sum", model="new")) == (1, 1.5)


async def test_the_exporters_own_counters_are_not_held(platform: Platform, storage: Path) -> None:
    """They are born at 0 with the first publish, and tell of rows when these are read."""
    async with Looping(platform, storage, new_series_hold=HOLD_S) as looping:
        assert looping.shown.total("orchestration_exporter_rows_read_total", table="task_outcomes") == 0
        platform.insert("task_outcomes", session_id="s", timestamp=at(-3600.0), model_used="m", success=7, cost="x")
        shown = await looping.polled()

    assert shown.total("orchestration_exporter_rows_read_total", table="task_outcomes") == 1
    assert shown.total("orchestration_exporter_rows_rejected_total", reason="bad_flag") == 1
    assert shown.total("orchestration_exporter_late_rows_total") == 1


async def test_a_hold_too_short_is_warned_of_once(platform: Platform, storage: Path) -> None:
    """With the hold, and the gap that was seen."""
    async with Looping(platform, storage, new_series_hold=30.0) as looping:
        with capture_logs() as logs:
            for _ in range(3):
                looping.serve()
                await looping.advance(15.0)

    told = [entry for entry in logs if "new_series_hold" in entry["event"]]
    assert [(entry["log_level"], entry["hold_s"], entry["scrape_gap_s"]) for entry in told] == [("warning", 30.0, 15.0)]


# ── whatever happens ─────────────────────────────────────────────────────────────────────────────────────────

MODELS = ("a", "b")
STEPS = st.one_of(
    st.tuples(st.just("row"), st.sampled_from(MODELS)),
    st.tuples(st.just("flight"), st.sampled_from(MODELS)),
    st.tuples(st.sampled_from(["poll", "poll", "scrape", "scrape", "result", "restart", "disk"]), st.none()),
    st.tuples(st.just("tick"), st.sampled_from([1.0, 15.0, 30.0, 61.0])),
)


class Scraper:
    """A Prometheus: what it saw of each series, and when."""

    def __init__(self, exporter: Exporter) -> None:
        self.exporter = exporter
        self.points: dict[str, list[tuple[float, float]]] = {}

    def scrape(self) -> None:
        """Scrape once."""
        publication = self.exporter.poller.publication
        if publication is None:
            return
        shown = Shown.of(publication.answer(Format.TEXT, b"").decode())
        self.exporter.poller.note_served(publication)
        for key, value in shown.samples.items():
            if key.startswith(OF_ROWS) and not key.startswith("orchestration_exporter_"):
                self.points.setdefault(key, []).append((self.exporter.monotonic, value))

    def faults(self, hold_s: float, known: set[str]) -> list[str]:
        """Series that fell, and series whose beginning `increase()` would not see."""
        found = []
        for key, points in self.points.items():
            values = [value for _, value in points]
            if values != sorted(values):
                found.append(f"{key} fell: {values}")
            zeros = [time for time, value in points if not value]
            above = [time for time, value in points if value]
            if above and key not in known and (len(zeros) < 2 or above[0] - zeros[0] < hold_s):
                found.append(f"{key}: {points[:6]}")
        return found


def live(exporter: Exporter, scraper: Scraper, step: tuple[str, Any]) -> None:
    """Let one thing happen."""
    kind, value = step
    platform = exporter.source.platform
    match kind:
        case "row" | "flight":
            handoff(platform, "s", value, source_model=None, success=1 if kind == "row" else None)
        case "result":
            platform.sql(f"UPDATE {HANDOFF_EVENTS} SET success = 0 WHERE success IS NULL")
        case "poll":
            exporter.poll()
        case "scrape":
            scraper.scrape()
        case "tick":
            exporter.tick(value)
        case "restart":
            exporter.start()
        case "disk":
            exporter.disk.fails = not exporter.disk.fails


@profile(30)
@given(steps=st.lists(STEPS, min_size=5, max_size=40))
def test_no_beginning_is_missed(steps: list[tuple[str, Any]]) -> None:
    """Whatever is polled, scraped, restarted or not saved: two zeros and a hold come before a value, and none falls."""
    platform = Platform()
    session(platform, "s")
    handoff(platform, "s", "old", source_model=None)
    with small():
        exporter = Exporter(platform, settings(new_series_hold=HOLD_S))
        scraper = Scraper(exporter)
        exporter.poll()
        scraper.scrape()
        known = set(scraper.points)
        for step in steps:
            live(exporter, scraper, step)
        exporter.disk.fails = False
        for step in [("result", None), ("poll", None), *[("scrape", None), ("tick", 61.0), ("poll", None)] * 3]:
            live(exporter, scraper, step)
        scraper.scrape()

    assert scraper.faults(HOLD_S, known) == []
    counted = sum(points[-1][1] for key, points in scraper.points.items() if key.startswith(f"{NAME}{{"))
    assert counted == platform.rows(f"SELECT count(*) AS n FROM {HANDOFF_EVENTS}")[0]["n"]


def test_a_missed_beginning_would_be_noticed() -> None:
    """Without a hold, the check above finds the series that begin above 0."""
    platform = Platform()
    session(platform, "s")
    with small():
        exporter = Exporter(platform, settings(new_series_hold=0.0))
        scraper = Scraper(exporter)
        for step in [("poll", None), ("scrape", None), ("row", "a"), ("poll", None), ("scrape", None)]:
            live(exporter, scraper, step)

    assert any(NAME in fault for fault in scraper.faults(HOLD_S, set()))

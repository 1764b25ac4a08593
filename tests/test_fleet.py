"""Several sources in one process: what is shown of them together, who waits for whom, and another configuration.

The pollers, their loops and their state are real, the databases in memory, and the clocks those that a test moves.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from exporter import catalogue
from exporter.config import Settings, SourceSettings
from exporter.exposition import Format
from exporter.fleet import Edition, Fleet
from exporter.poller import STALE_S
from exporter.source import Snapshot, Source, SourceError
from exporter.telemetry import Telemetry
from tests.model import EPOCH, Platform
from tests.processes import Moody
from tests.running import DEADLINE_S, Shown
from tests.test_poller import handoff, session, traffic

SESSIONS = "orchestration_sessions_started_total"
HANDOFFS = "orchestration_handoffs_total"
UP = "orchestration_up"


class Named(Moody):
    """A database in memory under a name of its own."""

    def __init__(self, name: str, platform: Platform) -> None:
        super().__init__(platform)
        self.name = name


class Hanging(Named):
    """One whose file does not answer, until the event is set: a thread waits for it."""

    def __init__(self, name: str, event: Event) -> None:
        super().__init__(name, Platform())
        self._event = event

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        await asyncio.to_thread(self._event.wait)
        async with super().snapshot() as snapshot:
            yield snapshot


class Sources:
    """A fleet that runs for as long as the `async with` around it lasts."""

    def __init__(self, storage: Path, *, budgets: Sequence[object] = (), **sources: Mapping[str, str]) -> None:
        self.platforms = {name: Platform() for name in sources}
        self.opened: dict[str, Named] = {}
        self.hanging: dict[str, Event] = {}
        self.errors: dict[str, SourceError] = {}
        self.offset_s = 0.0
        self.storage = storage
        self.settings = self.chosen(sources, budgets=budgets)
        self.telemetry = Telemetry({of.name: of.labels for of in self.settings.sources}, now=EPOCH)
        self.fleet = Fleet(
            settings=self.settings,
            schema=catalogue.SCHEMA,
            open_source=self._open,
            telemetry=self.telemetry,
            wall=lambda: EPOCH + self.offset_s,
            monotonic=lambda: 1000.0 + self.offset_s,
        )
        self._task: asyncio.Task[None] | None = None

    def chosen(self, sources: Mapping[str, Mapping[str, str]], **values: Any) -> Settings:
        """Settings for these sources."""
        listed = [{"name": name, "database": f"{name}.db", "labels": labels} for name, labels in sources.items()]
        given = {"sources": listed, "storage": {"path": str(self.storage)}, "new_series_hold": 0.0, **values}
        # polls as fast as it can, which no user may set
        return Settings.model_validate(given).model_copy(update={"poll_interval": 0.0})

    def _open(self, of: SourceSettings, _settings: Settings) -> Source:
        platform = self.platforms.setdefault(of.name, Platform())
        source = Hanging(of.name, self.hanging[of.name]) if of.name in self.hanging else Named(of.name, platform)
        source.error = self.errors.get(of.name)
        self.opened[of.name] = source
        return source

    async def __aenter__(self) -> Sources:
        self._task = asyncio.create_task(self.fleet.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        for event in self.hanging.values():
            event.set()
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def apply(self, sources: Mapping[str, Mapping[str, str]], **values: Any) -> None:
        """Go on by other settings."""
        self.fleet.apply(self.chosen(sources, **values))

    async def until(self, condition: Callable[[], object]) -> None:
        """Return once that holds."""
        assert self._task is not None
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            if self._task.done():
                self._task.result()
            assert time.monotonic() < deadline, self.fleet.statuses()
            await asyncio.sleep(0)

    async def polled(self, *sources: str) -> None:
        """Return after a poll of each of these, or of all, that began after this call."""
        enough = {name: self.polls(name) + 2 for name in sources or self.fleet.sources}
        await self.until(lambda: all(self.polls(name) >= number for name, number in enough.items()))

    def polls(self, source: str) -> float:
        """How many polls of it have ended."""
        lines = self.telemetry.render_source(Format.TEXT, source).decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if "_polls_total{" in line)

    def edition(self, source: str | None = None) -> Edition:
        """What is to be shown now."""
        edition = self.fleet.edition(source)
        assert edition is not None
        return edition

    def text(self, source: str | None = None) -> str:
        """The same in the text format."""
        return self.edition(source).publication.answer(Format.TEXT, b"").decode()

    def shown(self, source: str | None = None) -> Shown:
        """The samples of it."""
        return Shown.of(self.text(source))


# ── together, and each alone ─────────────────────────────────────────────────────────────────────────────────


async def test_all_are_shown_as_one_and_each_alone(tmp_path: Path) -> None:
    """Every family once, in it source by source; what is shown of one alone are its lines, and no others."""
    async with Sources(tmp_path, b={"tenant": "t"}, a={"tenant": "u"}) as running:
        traffic(running.platforms["a"], 2)
        traffic(running.platforms["b"], 3)
        await running.until(lambda: running.fleet.ready)
        await running.polled()

        whole, single = running.text(), {name: running.text(name) for name in running.fleet.sources}

    lines = whole.splitlines()
    helped = [line.split()[2] for line in lines if line.startswith("# HELP")]
    assert len(helped) == len(set(helped))
    assert f'{SESSIONS}{{project="p0",source="a",tenant="u"}} 1.0' in lines
    for name, text in single.items():
        assert [line for line in lines if f'source="{name}"' in line] == [
            line for line in text.splitlines() if not line.startswith("#")
        ]
    of_sessions = [line for line in lines if line.startswith(f"{SESSIONS}{{")]
    assert [line.split('source="')[1][0] for line in of_sessions] == ["a", "a", "b", "b"]


async def test_one_source_alone_is_not_merged(tmp_path: Path) -> None:
    """It costs what it cost when there could be no other."""
    async with Sources(tmp_path, a={}) as running:
        await running.until(lambda: running.fleet.ready)

        [(poller, publication)] = running.edition().members

        assert running.edition().publication is publication is poller.publication


async def test_what_was_made_of_all_is_kept_until_one_changes(tmp_path: Path) -> None:
    """Polls that change nothing cost the next scrape nothing."""
    async with Sources(tmp_path, a={}, b={}) as running:
        await running.until(lambda: running.fleet.ready)
        await running.polled()
        before = running.edition().publication
        assert not before.has(Format.TEXT, gzip=False)
        before.body(Format.TEXT)

        await running.polled()
        assert running.edition().publication is before
        assert before.has(Format.TEXT, gzip=False)

        session(running.platforms["b"], "s")
        await running.polled()
        assert running.edition().publication is not before
        assert running.shown("b").total(SESSIONS) == 1.0


async def test_a_scrape_is_noted_by_those_it_showed(tmp_path: Path) -> None:
    """One of all by all, one of a single source by that one: its new series begin to count from there."""
    async with Sources(tmp_path, a={}, b={}) as running:
        running.apply({"a": {}, "b": {}}, new_series_hold=60.0)
        await running.until(lambda: running.fleet.ready)
        for name in "ab":
            session(running.platforms[name], "s")
        await running.polled()
        for _ in range(2):
            running.edition("a").note_served()
        running.offset_s += 61.0
        await running.polled()

        assert [running.shown(name).total(SESSIONS) for name in "ab"] == [1.0, 0.0]

        for _ in range(2):
            running.edition().note_served()
        running.offset_s += 61.0
        await running.polled()

        assert running.shown("b").total(SESSIONS) == 1.0


async def test_an_unknown_source_is_an_error(tmp_path: Path) -> None:
    """The routes ask first whether there is one."""
    async with Sources(tmp_path, a={}) as running:
        with pytest.raises(KeyError):
            running.fleet.edition("b")


# ── who waits for whom ───────────────────────────────────────────────────────────────────────────────────────


async def hang(storage: Path, number: int) -> Sources:
    """A fleet of one source that answers, and so many that do not."""
    names = [f"hanging{each}" for each in range(number)]
    sources = Sources(storage, well={})
    sources.hanging = {name: Event() for name in names}
    sources.apply({"well": {}, **{name: {} for name in names}})
    return sources


@pytest.mark.bulk
async def test_sources_that_hang_delay_nobody(tmp_path: Path) -> None:
    """Each of forty holds a thread; the one that answers is read, and its bytes are made in a thread."""
    async with await hang(tmp_path, 40) as running:
        session(running.platforms["well"], "s")
        await running.polled("well")
        made = await asyncio.wait_for(asyncio.to_thread(running.text, "well"), DEADLINE_S)

        assert Shown.of(made).total(SESSIONS) == 1.0
        assert [status.up for status in running.fleet.statuses()] == [True] + [False] * 40


@pytest.mark.bulk
async def test_sources_that_hang_would_delay_it_without_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: with Python's own number of threads none is left."""
    monkeypatch.setattr(Fleet, "_provide_threads", lambda self: None)
    async with await hang(tmp_path, 40) as running:
        await running.polled("well")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(running.text, "well"), 0.2)
        for event in running.hanging.values():
            event.set()


async def test_it_is_ready_when_none_is_in_its_first_scan(tmp_path: Path) -> None:
    """One that cannot be read does not keep the others unready; one that is still being read does."""
    sources = await hang(tmp_path, 1)
    sources.errors["broken"] = SourceError("broken")
    sources.apply({"well": {}, "broken": {}, "hanging0": {}})
    async with sources as running:
        await running.polled("well", "broken")
        assert not running.fleet.ready

        running.hanging["hanging0"].set()
        await running.until(lambda: running.fleet.ready)
        assert [status.error for status in running.fleet.statuses()] == ["", "broken", ""]


async def test_it_is_not_ready_while_all_are_down(tmp_path: Path) -> None:
    """Nothing complete was shown; and what is added later does not make it unready again."""
    sources = Sources(tmp_path, broken={})
    sources.opened["broken"].error = SourceError("broken")
    async with sources as running:
        await running.polled()
        assert not running.fleet.ready

        running.opened["broken"].error = None
        await running.until(lambda: running.fleet.ready)
        running.hanging["late"] = Event()
        running.apply({"broken": {}, "late": {}})
        assert running.fleet.ready


async def test_a_bug_in_one_ends_all(tmp_path: Path) -> None:
    """Old numbers must not be served as new."""

    def fail() -> None:
        raise ZeroDivisionError

    sources = Sources(tmp_path, a={}, b={})
    sources.opened["b"].on_leave = fail
    task = asyncio.create_task(sources.fleet.run())

    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(task, DEADLINE_S)
    assert caught.value.subgroup(ZeroDivisionError)


# ── another configuration ────────────────────────────────────────────────────────────────────────────────────


async def test_a_source_that_is_added_appears_at_its_full_value(tmp_path: Path) -> None:
    """The others' pollers go on as they are; its own metrics of the process are born."""
    async with Sources(tmp_path, a={}) as running:
        await running.until(lambda: running.fleet.ready)
        [(poller, _)] = running.edition("a").members
        running.platforms["b"] = Platform()
        traffic(running.platforms["b"], 3)

        running.apply({"a": {}, "b": {}})
        assert running.fleet.sources == ("a", "b")
        await running.polled()

        assert running.shown("b").total(SESSIONS) == 3.0
        assert running.edition("a").members[0][0] is poller


async def test_a_source_that_is_removed_disappears(tmp_path: Path) -> None:
    """Its series, those of the process on it, and its part of the sums; under its name it goes on another time."""
    async with Sources(tmp_path, a={}, b={}) as running:
        traffic(running.platforms["b"], 3)
        await running.until(lambda: running.fleet.ready)
        await running.polled()
        assert 'source="b"' in running.telemetry.render(Format.TEXT).decode()

        running.apply({"a": {}})
        assert running.fleet.sources == ("a",)
        await running.polled()
        assert 'source="b"' not in running.text() + running.telemetry.render(Format.TEXT).decode()
        series = Shown.of(running.telemetry.render(Format.TEXT).decode()).total("orchestration_exporter_series")
        assert series == sum(running.edition().publication.samples.values())

        running.platforms["b"].sql("DELETE FROM orchestration_sessions")
        running.apply({"b": {}, "a": {}})
        await running.polled()
        assert running.shown("b").total(SESSIONS) == 3.0


async def test_what_was_shown_stays_until_there_is_more_to_show(tmp_path: Path) -> None:
    """A setting that has all rows scanned anew makes no gap; what takes long is told not to be current."""
    async with Sources(tmp_path, a={}) as running:
        traffic(running.platforms["a"], 3)
        await running.until(lambda: running.fleet.ready)
        await running.polled()
        before = running.shown()

        running.hanging["a"] = Event()
        running.apply({"a": {}}, labels={"drop": {HANDOFFS: ["project"]}})
        for _ in range(100):
            await asyncio.sleep(0)
        assert running.shown() == before
        running.edition().note_served()

        running.offset_s += STALE_S + 1.0
        assert running.shown().total(UP) == 0.0
        assert before.falls(running.shown()) == []

        running.hanging["a"].set()


async def test_a_change_while_the_source_is_down_takes_nothing_away(tmp_path: Path) -> None:
    """Metrics cannot be made anew from rows that cannot be read: until they can, the last totals are shown."""
    async with Sources(tmp_path, a={}) as running:
        traffic(running.platforms["a"], 3)
        await running.until(lambda: running.fleet.ready)
        await running.polled()
        before = running.shown()

        running.errors["a"] = SourceError("locked")
        running.apply({"a": {}}, labels={"drop": {HANDOFFS: ["project"]}})
        await running.polled()
        [status] = running.fleet.statuses()
        assert (status.up, status.error) == (False, "locked")
        assert before.falls(running.shown()) == []
        assert running.shown().total(UP) == 0.0

        running.opened["a"].error = None
        await running.until(lambda: running.shown().total(UP))
        assert "project" not in str(running.shown().by_labels(HANDOFFS).keys())


async def test_a_setting_of_all_applies_to_all(tmp_path: Path) -> None:
    """Dropped labels are dropped; the counts are those of before, and nothing falls that is still there."""
    async with Sources(tmp_path, a={}, b={}) as running:
        for platform in running.platforms.values():
            traffic(platform, 3)
        await running.until(lambda: running.fleet.ready)
        await running.polled()
        before = {name: running.shown(name) for name in "ab"}

        running.apply({"a": {}, "b": {}}, labels={"drop": {HANDOFFS: ["project"]}})
        await running.until(lambda: "project" not in str(running.shown().by_labels(HANDOFFS).keys()))

        for name in "ab":
            assert running.shown(name).total(HANDOFFS) == before[name].total(HANDOFFS) == 9.0
            gone = [fall for fall in before[name].falls(running.shown(name)) if not fall.endswith("None")]
            assert gone == []


async def test_constant_labels_may_get_other_names(tmp_path: Path) -> None:
    """Then all series of all sources are others, the process's own too."""
    async with Sources(tmp_path, a={"tenant": "t"}, b={"tenant": "u"}) as running:
        await running.until(lambda: running.fleet.ready)

        running.apply({"a": {"region": "r", "zone": "1"}, "b": {"zone": "2", "region": "r"}})
        await running.polled()

        shown = running.text() + running.telemetry.render(Format.TEXT).decode()
        assert "tenant=" not in shown
        assert '_polls_total{outcome="success",region="r",source="b",zone="2"}' in shown


@pytest.mark.bulk
async def test_many_changes_in_a_row_lose_nothing(tmp_path: Path) -> None:
    """A poller begins when the one before has let go of its checkpoint, whenever that is."""
    async with Sources(tmp_path, a={}) as running:
        traffic(running.platforms["a"], 2)
        await running.until(lambda: running.fleet.ready)
        for number in range(20):
            handoff(running.platforms["a"], "s0", "m0")
            running.apply({"a": {}} if number % 3 else {"b": {}}, max_in_flight=10 + number)
            await asyncio.sleep(0)
        running.apply({"a": {}})
        await running.polled()

        assert running.shown("a").total(HANDOFFS) == 6.0 + 20.0
        assert [status.checkpoint_error for status in running.fleet.statuses()] == [""]


async def test_settings_before_the_start_are_those_it_starts_by(tmp_path: Path) -> None:
    """A signal may come before the pollers run."""
    sources = Sources(tmp_path, a={})
    sources.apply({"b": {}})
    async with sources as running:
        await running.until(lambda: running.fleet.ready)

        assert running.fleet.sources == ("b",)

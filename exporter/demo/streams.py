"""The two streams of a run, both pure: the past, laid into the calendar, and the present without end."""

from collections.abc import Iterator
from heapq import merge
from itertools import count, takewhile
from random import Random
from typing import NamedTuple

from exporter.demo import cast, hours, upkeep
from exporter.demo.calls import subagent_call
from exporter.demo.incidents import (
    RUNAWAY,
    Forecast,
    Placed,
    Weather,
    bad_weather,
    forecast,
    is_silent,
    ordinary,
    silences,
)
from exporter.demo.rows import Event, Statement, event_time, insert
from exporter.demo.settings import Settings
from exporter.demo.traffic import Session, dice, open_session, plan_session, session_events

_BLOCK_S = (1_200.0, 2_400.0)
_SHORTEST_S = 600.0
_BURST_SHARE = 0.06
_PAUSE_S = {"history": 130.0, "live": 8.0}
_UPKEEP_BLOCKS = 14  # about once a day
_UPKEEP_S = 300.0
_SPAWN_S = {"history": 4.0, "live": 0.4}
_RUNAWAY_NUMBER = 0xF00000  # sessions of the past keep their numbers, whatever goes wrong beside them


class InFlight(NamedTuple):
    """A hand-off an earlier run (or the past) left without a result."""

    row: int
    session_id: str
    task_type: str
    model: str
    tokens: int
    cost: float


class Resume(NamedTuple):
    """What a stream must know of the tables it continues: rows and sessions ever written, what is open."""

    rows: int = 0
    sessions: int = 0
    configured: bool = False
    in_flight: tuple[InFlight, ...] = ()


_NEW = Resume()


def history(settings: Settings, now_s: float) -> Iterator[Event]:
    """The past: `history_s` seconds of work that end at `now_s`; event times are epochs, in order.

    How many rows, which and in what order depends on seed, length and projects only; when, on the
    calendar too, and so does what the incidents of the past change: their sessions and nothing else.
    The last block is broken off with a hand-off in flight.
    """
    placed = tuple(incident.place(now_s) for incident in settings.past)
    runaways = (incident for incident in placed if incident.name == RUNAWAY)
    extra = [_runaway_past(settings, number, incident) for number, incident in enumerate(runaways)]
    yield from merge(_work(settings, now_s, placed), *extra, key=event_time)


def _work(settings: Settings, now_s: float, placed: tuple[Placed, ...]) -> Iterator[Event]:
    """The blocks at their places. What would begin in a silence is not done, what runs into one is broken off."""
    lengths_s = list(_block_lengths_s(settings))
    places_s = hours.lay(lengths_s, now_s - settings.history_s, now_s)
    numbers = count(1)
    worked_s = 0.0
    for block, (length_s, place_s) in enumerate(zip(lengths_s, places_s, strict=True)):

        def weather(at_s: float, worked_s: float = worked_s, place_s: float = place_s) -> Weather:
            return ordinary(worked_s + at_s).beside(bad_weather(placed, place_s + at_s))

        events = list(_block(settings, block, length_s, weather, numbers))
        if block == len(lengths_s) - 1:
            events = _broken_off(events, length_s)
            place_s = now_s - (events[-1].at_s if events else 0.0)
        laid = (Event(place_s + event.at_s, event.statements) for event in events)
        if not is_silent(placed, place_s):
            yield from takewhile(lambda event: not is_silent(placed, event.at_s), laid)
        worked_s += length_s


def _block_lengths_s(settings: Settings) -> Iterator[float]:
    """Lengths of the blocks of work in a past of this length; together the share of it that is worked."""
    left_s = max(settings.history_s * hours.MEAN_SHARE, min(settings.history_s, _SHORTEST_S))
    rng = dice(f"{settings.seed}/blocks")
    while left_s > 0:
        length_s = rng.uniform(*_BLOCK_S)
        if left_s - length_s < _SHORTEST_S:
            length_s = left_s
        yield length_s
        left_s -= length_s


def _block(
    settings: Settings, block: int, length_s: float, weather: Forecast, numbers: Iterator[int]
) -> Iterator[Event]:
    """Some sessions that all begin and end within `length_s`; about daily, the platform's upkeep first."""
    rng = dice(f"{settings.seed}/block/{block}")
    sessions = []
    for begin in sorted(rng.uniform(0.0, 0.45) for _ in range(rng.choices((1, 2, 3, 4, 6), (1, 2, 4, 3, 1))[0])):
        until = rng.uniform(begin + 0.35, 0.999)
        burst = rng.random() < _BURST_SHARE
        plan = plan_session(
            rng,
            settings.projects,
            number=next(numbers),
            span_s=(begin * length_s, (begin + 0.15 if burst else until) * length_s),
            think_s=_PAUSE_S["history"] / (15 if burst else 1),
        )
        sessions.append(session_events(plan, dice(f"{settings.seed}/session/{plan.number}"), weather))
    if block == 0:
        yield Event(0.0, upkeep.configure())
    if block % _UPKEEP_BLOCKS == _UPKEEP_BLOCKS - 1:
        yield Event(0.0, (upkeep.CLEAN_UP, *upkeep.capacities(rng, weather(0.0)), *upkeep.analyses(rng)))
    yield from merge(*sessions, key=event_time)


def _broken_off(events: list[Event], length_s: float) -> list[Event]:
    """The events up to the first hand-off after three fifths of the block; all of them if there is none."""
    for number, event in enumerate(events):
        if event.at_s >= 0.6 * length_s and any((s.keeps or "").endswith("handoff") for s in event.statements):
            return events[: number + 1]
    return events


def events(settings: Settings, resume: Resume = _NEW) -> Iterator[Event]:
    """The present: an endless stream, its times in simulated seconds (not yet divided by `speed`) from 0 on.

    Around the clock alike, so that a newcomer sees it move: `lanes` sessions at once, a hand-off every 1 to
    3 s. The same settings and resume give the same stream. Under a silence its events are empty.
    """
    if silences(settings.incident):
        yield from (Event(at_s, ()) for at_s in count(0.0, 60.0))
    weather = forecast(settings.incident)
    origin = f"{settings.seed}/live/{resume.rows}"
    numbers = count(resume.sessions + 1)
    streams = [_lane(settings, f"{origin}/{lane}", lane, numbers, weather) for lane in range(settings.lanes)]
    streams += [_upkeep(origin, resume, weather), _finish(origin, resume.in_flight, settings)]
    if settings.incident == RUNAWAY:
        streams.append(_runaway(settings, origin, numbers))
    yield from merge(*streams, key=event_time)


def _lane(settings: Settings, origin: str, lane: int, numbers: Iterator[int], weather: Forecast) -> Iterator[Event]:
    """One developer: session after session, each of five minutes and more, with a pause between."""
    at_s = 0.9 * lane
    for turn in count():
        rng = dice(f"{origin}/{turn}")
        until_s = at_s + 300.0 + rng.expovariate(1 / 2_100)
        think_s = _PAUSE_S["live"] / (5 if rng.random() < _BURST_SHARE else 1)
        plan = plan_session(rng, settings.projects, number=next(numbers), span_s=(at_s, until_s), think_s=think_s)
        yield from session_events(plan, rng, weather)
        at_s = until_s + rng.expovariate(1 / 90)


def _upkeep(origin: str, resume: Resume, weather: Forecast) -> Iterator[Event]:
    """Capacities every five minutes, analyses every fifteen, and the removal of old activities."""
    rng = dice(f"{origin}/upkeep")
    if not resume.configured:
        yield Event(0.0, upkeep.configure())
    for number in count():
        at_s = 1.0 + number * _UPKEEP_S
        analyses = upkeep.analyses(rng) if number % 3 == 0 else ()
        yield Event(at_s, (upkeep.CLEAN_UP, *upkeep.capacities(rng, weather(at_s)), *analyses))


def _finish(origin: str, in_flight: tuple[InFlight, ...], settings: Settings) -> Iterator[Event]:
    """The results of hand-offs that were open when the stream began, one every second or two."""
    rng = dice(f"{origin}/finish")
    down = settings.incident == "model-outage"
    at_s = 1.0
    for handoff in in_flight:
        success = int(not (down and handoff.model.startswith("deepseek")))
        seconds = round(rng.uniform(5.0, 30.0), 4)
        update = Statement(
            "UPDATE handoff_events SET success = :success, response_time = :seconds WHERE id = :id",
            {"success": success, "seconds": seconds, "id": handoff.row},
        )
        outcome = insert(
            "task_outcomes",
            session_id=handoff.session_id,
            task_id=f"task_resumed_{handoff.row}",
            task_type=handoff.task_type,
            model_used=handoff.model,
            success=success,
            error_type=None if success else cast.DOWN[0],
            execution_time=seconds,
            tokens_used=handoff.tokens,
            cost=handoff.cost,
        )
        yield Event(at_s, (update, outcome))
        at_s += rng.uniform(1.0, 2.0)


def _runaway(settings: Settings, origin: str, numbers: Iterator[int]) -> Iterator[Event]:
    """A session whose sub-agents call sub-agents, two or three a second, without end."""
    rng = dice(f"{origin}/runaway")
    plan = plan_session(rng, settings.projects, number=next(numbers), span_s=(0.0, 3_600.0), think_s=_PAUSE_S["live"])
    yield from _fanning_out(rng, plan, _SPAWN_S["live"])


def _runaway_past(settings: Settings, number: int, placed: Placed) -> Iterator[Event]:
    """The same in the past, where somebody or a rate limit slows it, until it is stopped."""
    rng = dice(f"{settings.seed}/runaway/{number}")
    span_s = (placed.begin_s, placed.end_s)
    plan = plan_session(
        rng, settings.projects, number=_RUNAWAY_NUMBER + number, span_s=span_s, think_s=_PAUSE_S["history"]
    )
    yield from takewhile(lambda event: event.at_s < placed.end_s, _fanning_out(rng, plan, _SPAWN_S["history"]))


def _fanning_out(rng: Random, plan: Session, spawn_s: float) -> Iterator[Event]:
    yield Event(plan.start_s, open_session(rng, plan))
    parent = cast.GENERAL
    for number in count(1):
        agent = cast.GENERAL if rng.random() < 0.7 else rng.choice(cast.AGENTS)
        row, _ = subagent_call(rng, plan.session_id, agent, parent=parent.name)
        yield Event(plan.start_s + number * spawn_s, (row,))
        parent = agent

"""Confluence: any split of a history into polls, with crashes anywhere, equals one scan of all of it.

``counting.md``, "Tests that hold it". All polls have one wall clock, and the history keeps to what makes the answer
one and the same: no row changes once it is final, no project and no task type of a hand-off changes, nor anything
of a routing decision but its result, sessions come before (or with) their events, nothing comes after its session is
final, no cap is reached, all rows of a model that name a vendor name the same.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.exposition import Format, Publication
from exporter.state import State
from tests.model import (
    ACTIVITIES,
    CALLS,
    EPOCH,
    EVENTS,
    HANDOFFS,
    ROUTING,
    SESSIONS,
    SUBAGENTS,
    Crash,
    Exporter,
    Platform,
    once,
    profile,
    settings,
    small,
)

CHOSEN = settings(new_series_hold=0)
NOW = EPOCH
HOUR = 3600.0

_PROJECTS = ("alpha", " alpha\t", "beta", None, "", "na\u00efve", "x" * 200, "__other__", b"\xff\xfe", 7)
_MODELS = ("m1", "m2", " m1", None, "", "m.3", b"m\xff", "claude-1", "deepseek-1", " DeepSeek-1")
_VENDORS = (None, "", "acme", " acme ")
_NUMBERS: tuple[object, ...] = (0.5, 0.25, 0.0, 1.0, 3, 1e-3, None, -1.0, "text", "0.5", 1e300, 9e999, b"1", 0.1, 0.7)
_FLAGS: tuple[object, ...] = (1, 1, 1, 0, 0, 0, 1.0, 2, -1, "1", 0.5, b"\x01")
_UNAVAILABLE = '{"route_reason": "deepseek_unavailable"}'
_METADATA = (None, "", "{}", '{"route_reason": "r1"}', _UNAVAILABLE, '{"route_reason": 5}', "not json", b"{}", "[1]",
             '{"mcp_server_name": "srv", "mcp_tool_name": "t"}')  # fmt: skip
_BAD_TIMES = (None, "yesterday", "", 12.0, b"\x00", "2031-01-01 00:00:00", -1e300)


def written(time: float, chance: random.Random) -> object:
    """A time as one writer or another puts it."""
    moment = datetime.fromtimestamp(time, UTC)
    forms = (
        moment.strftime("%Y-%m-%d %H:%M:%S"),
        moment.isoformat(),
        moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        time,
        f"{time * 1000:.0f}",
    )
    return chance.choice(forms)


class Writer:
    """A platform that keeps to the conditions of confluence.

    A *live* session is younger than the idle timeout and has an end only with its last commit; a *past* one is
    committed whole.

    ``undated`` says that money was written without a usable time: the ledger books that on the day it was read, but in
    one scan on the day of the row before it.
    """

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.live: list[tuple[int, str, float]] = []
        self.pending: list[tuple[str, int, object]] = []
        self.sessions = 0
        self.undated = False

    def write(self, kind: str, seed: int) -> None:
        """Commit something of that kind; a seed makes the same each time, as far as it is possible then."""
        chance = random.Random(seed)
        getattr(self, kind)(chance)

    # ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────

    def _session(self, chance: random.Random, start: float, end: object = None) -> tuple[int, str]:
        self.sessions += 1
        key = f"s{self.sessions}"
        began = chance.choice(_BAD_TIMES) if chance.random() < 0.1 else written(start, chance)
        counts = {name: chance.choice((0, 0, 1, 2, None, -1, "x", 1e9)) for name in ("completed_tasks", "failed_tasks")}
        id_ = self.platform.insert(
            SESSIONS, session_id=key, start_time=began, end_time=end, project_name=chance.choice(_PROJECTS), **counts
        )
        return id_, key

    def open(self, chance: random.Random) -> None:
        """A session starts."""
        start = NOW - chance.choice((0.0, 1.0, 59.5, 1800.0, 3599.0))
        id_, key = self._session(chance, start)
        self.live.append((id_, key, start))

    def past(self, chance: random.Random) -> None:
        """A session with all its events, committed together."""
        start = NOW - chance.choice((2 * HOUR, 9 * HOUR, 30 * HOUR, 100 * HOUR)) - chance.randrange(3)
        length = chance.choice((0.0, 30.0, HOUR / 2, HOUR, 7 * HOUR))
        end = start + length
        ended = chance.random() < 0.6
        closed: object = None
        if ended and end <= NOW - 61:
            closed = written(end, chance)
        elif chance.random() < 0.3:
            closed = chance.choice(_BAD_TIMES[1:])
        _, key = self._session(chance, start, closed)
        for _ in range(chance.randrange(5)):
            time = min(start + chance.choice((0.0, length / 2, length, length + 60, length + 61, length + 300)), NOW)
            self._event(chance, key, chance.choice(EVENTS), time, lasting=True)

    def update(self, chance: random.Random) -> None:
        """A live session's row changes."""
        if self.live:
            id_, _, _ = chance.choice(self.live)
            self.platform.sql(
                f"UPDATE {SESSIONS} SET completed_tasks = ?, failed_tasks = ? WHERE id = ?",
                (chance.choice((0, 1, 2, None, "x")), chance.choice((0, 1, 3, None, -2)), id_),
            )

    def close(self, chance: random.Random) -> None:
        """A live session ends: final now (no more of it comes), or within its grace (more may come)."""
        if not self.live:
            return
        place = chance.randrange(len(self.live))
        id_, key, _ = self.live[place]
        end = NOW - chance.choice((60.0, 60.0, 59.0, 0.0, -30.0))
        self.platform.sql(f"UPDATE {SESSIONS} SET end_time = ? WHERE id = ?", (written(end, chance), id_))
        if end <= NOW - 60:
            del self.live[place]
            self.pending = [waiting for waiting in self.pending if waiting[2] != key]

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────

    def event(self, chance: random.Random) -> None:
        """An event of a live session, or of none."""
        table = chance.choice((HANDOFFS, HANDOFFS, ROUTING, *EVENTS, CALLS, ACTIVITIES))
        time = NOW - chance.choice((0.0, 1.0, 1.0, 600.0, 3000.0))
        if self.live and chance.random() < 0.9:
            _, key, start = chance.choice(self.live)
            self._event(chance, key, table, max(time, start))
        else:
            self._event(chance, chance.choice((None, "")), table, time - chance.choice((0.0, 7 * HOUR)))

    def escalate(self, chance: random.Random) -> None:
        """Hand-offs of one task type in a live session, local ones and paid ones; some get their results later."""
        if not self.live:
            return
        _, key, start = chance.choice(self.live)
        task_type = chance.choice(("t1", " t1", None))
        for model in chance.choice((("deepseek-1", "claude-1"), ("deepseek-1", "claude-1", "claude-1"), ("claude-1",))):
            success, metadata = chance.choice((0, 0, 1, None, None)), chance.choice((None, None, _UNAVAILABLE))
            chosen: dict[str, Any] = {
                "task_type": task_type,
                "target_model": model,
                "success": success,
                "metadata": metadata,
            }
            self._event(chance, key, HANDOFFS, max(NOW - chance.choice((0.0, 600.0)), start), **chosen)

    def _event(
        self,
        chance: random.Random,
        key: str | None,
        table: str,
        time: float,
        *,
        lasting: bool = False,
        **chosen: object,
    ) -> None:
        """``lasting``: what has no result never gets one."""
        undated = chance.random() < 0.05
        values: dict[str, object] = {
            "session_id": key,
            "timestamp": chance.choice(_BAD_TIMES) if undated else written(time, chance),
        }
        if table == CALLS:
            del values["session_id"]
        values |= self._columns(chance, table) | chosen
        id_ = self.platform.insert(table, **values)
        self.undated |= undated and table in (HANDOFFS, SUBAGENTS)
        result = {HANDOFFS: "success", ROUTING: "execution_success"}.get(table)
        if result and values[result] is None and not lasting and NOW - time < 6 * HOUR:
            self.pending.append((table, id_, key))

    def _columns(self, chance: random.Random, table: str) -> dict[str, object]:
        def number() -> object:
            return chance.choice(_NUMBERS)

        match table:
            case "handoff_events":
                return {
                    **{name: chance.choice(_MODELS) for name in ("task_type", "source_model", "target_model")},
                    **{name: number() for name in ("confidence_score", "tokens_used", "cost", "savings")},
                    "response_time": number(),
                    "metadata": chance.choice(_METADATA),
                    "success": chance.choice((None, None, *_FLAGS)),
                }
            case "subagent_invocations":
                return {
                    "agent_type": chance.choice(("agent", "mcp_tool", "mcp_tool", None, b"mcp_tool")),
                    "agent_name": chance.choice(("srv.tool", "srv.", ".", "coder", None, "a.b.c", " x . y ")),
                    "parent_agent": chance.choice(_MODELS),
                    "mcp_server_name": chance.choice((None, None, "", "other")),
                    "mcp_tool_name": chance.choice((None, None, "t2")),
                    "metadata": chance.choice(_METADATA),
                    "success": chance.choice((None, *_FLAGS)),
                    **{name: number() for name in ("execution_time", "tokens_used", "cost")},
                }
            case "task_outcomes":
                return {
                    **{name: chance.choice(_MODELS) for name in ("task_type", "model_used", "error_type")},
                    "success": chance.choice((None, *_FLAGS)),
                    **{name: number() for name in ("execution_time", "cost", "quality_score")},
                }
            case "routing_decisions":
                return {
                    **{name: chance.choice(_MODELS) for name in ("selected_model", "task_complexity")},
                    "selected_vendor": chance.choice(_VENDORS),
                    "confidence_score": number(),
                    **self._routing_result(chance, chance.choice((None, None, *_FLAGS))),
                }
            case "claude_code_hooks":
                return {
                    "hook_type": chance.choice(_MODELS),
                    "success": chance.choice((None, *_FLAGS)),
                    "processing_time": number(),
                }
            case "model_performance":
                return {
                    **{name: chance.choice(_MODELS) for name in ("model_name", "task_type")},
                    "vendor": chance.choice(_VENDORS),
                    **{name: number() for name in ("response_time", "quality_score", "error_count", "retry_count")},
                }
            case _:
                return {"event_type": chance.choice(_MODELS)}

    def _routing_result(self, chance: random.Random, flag: object) -> dict[str, object]:
        actual = ("actual_cost", "actual_tokens", "actual_duration")
        return {"execution_success": flag, **{name: chance.choice(_NUMBERS) for name in actual}}

    def result(self, chance: random.Random) -> None:
        """A hand-off or a decision in flight gets its result, with the other values that come with it."""
        if not self.pending:
            return
        table, id_, _ = self.pending.pop(chance.randrange(len(self.pending)))
        if table == ROUTING:
            values = self._routing_result(chance, chance.choice(_FLAGS))
        else:
            values = self._columns(chance, HANDOFFS) | {"success": chance.choice(_FLAGS)}
            del values["task_type"]
            if chance.random() < 0.5:
                values = {name: values[name] for name in ("success", "response_time", "cost")}
        marks = ", ".join(f"{name} = ?" for name in values)
        self.platform.sql(f"UPDATE {table} SET {marks} WHERE id = ?", (*values.values(), id_))


KINDS = ("open", "past", "event", "event", "event", "escalate", "result", "update", "close")
_write = st.tuples(st.sampled_from(KINDS), st.integers(0, 10_000))
_poll = st.tuples(
    st.just("poll"),
    st.sampled_from(("", "", "before saving", "after saving", "at snapshot", "fails", "restart")),
    st.integers(0, 12),
    st.lists(_write, max_size=3),
)
"""How it ends, the number of the snapshot before which it crashes or the platform writes, what that writes."""
HISTORIES = st.lists(st.one_of(_write, _write, _write, _poll), max_size=40)
SIZES = st.sampled_from((None, None, 1, 2, 5))


def poll(exporter: Exporter, writer: Writer, how: str, at: int, meanwhile: list[tuple[str, int]]) -> None:
    """One poll, or the end of the process during it."""
    if how == "restart":
        exporter.start()
    taken = 0

    def before_snapshot() -> None:
        nonlocal taken
        taken += 1
        if taken == at + 1:
            for kind, seed in meanwhile:
                writer.write(kind, seed)
            if how == "at snapshot":
                raise Crash

    exporter.source.before_snapshot = before_snapshot
    exporter.disk.crashes = how if how.endswith("saving") else ""
    exporter.disk.fails = how == "fails"
    exporter.tick(7)
    exporter.wall = NOW
    exporter.poll()
    exporter.source.before_snapshot = lambda: None
    exporter.disk.crashes, exporter.disk.fails = "", False


def differences(history: list[Any], *, rows: int | None = None) -> list[str]:
    """Run a history poll by poll, and say where the outcome is not that of one scan."""
    platform = Platform()
    writer = Writer(platform)
    with small(rows=rows):
        exporter = Exporter(platform, CHOSEN, wall=NOW)
        for step in history:
            if step[0] == "poll":
                poll(exporter, writer, *step[1:])
            else:
                writer.write(*step)
        settle(exporter)
    found = different(exporter.poller.publication, once(platform, CHOSEN, NOW))
    if writer.undated:
        found = [line for line in found if not line.startswith("orchestration_ledger_")]
    return exporter.falls + found


def settle(exporter: Exporter) -> None:
    """Poll until what is suspended after a start has ended, and what is held is shown."""
    for _ in range(3):
        exporter.tick(50)
        exporter.wall = NOW
        assert exporter.poll() == "success"


def different(polled: Publication | None, scanned: Publication) -> list[str]:
    """The series, not 0, in which two publications differ."""
    assert polled is not None
    left, right = series(polled), series(scanned)
    return [
        f"{name}: {left.get(name)} by polls, {right.get(name)} by one scan"
        for name in sorted(left.keys() | right.keys())
        if not same(name, left.get(name, (0.0, "")), right.get(name, (0.0, "")))
    ]


def same(name: str, one: tuple[float, str], other: tuple[float, str]) -> bool:
    """True for equal values and exemplars; sums may differ by what the order of adding does."""
    exact = "_bucket" in name or "_count" in name
    nearly_0 = 1e-12 if "net_savings" in name else 0  # they cancel
    return one[1] == other[1] and one[0] == pytest.approx(other[0], rel=0 if exact else 1e-9, abs=nearly_0)


def series(publication: Publication) -> dict[str, tuple[float, str]]:
    """Values and exemplars by series, without zeros and without what depends on when rows were read.

    That is how many came late, and which models are known: one that a hand-off named while in flight, too.
    Of an exemplar only the time: of several events of one time in a bucket, the one shown first stays.
    """
    found: dict[str, tuple[float, str]] = {}
    for line in publication.body(Format.OPENMETRICS).decode().splitlines():
        if line.startswith(("#", "orchestration_exporter_late_rows", "orchestration_model_info")):
            continue
        line, _, exemplar = line.partition(" # ")
        name, _, value = line.rpartition(" ")
        if float(value):
            found[name] = (float(value), exemplar.rpartition(" ")[2])
    return found


@profile(500)
@given(HISTORIES, SIZES)
def test_any_split_into_polls_with_crashes_anywhere_equals_one_scan(history: list[Any], rows: int | None) -> None:
    """All counters, histograms, exemplars, gauges, rows read and rejected; rows of a transaction few, or all."""
    assert differences(history, rows=rows) == []


HISTORY: list[Any] = [
    *[("open", n) for n in range(3)],
    *[("event", n) for n in range(50)],
    *[("escalate", n) for n in range(10)],
    ("poll", "", 0, []),
    *[("result", n) for n in range(3)],
    *[("event", n) for n in range(50, 70)],
    *[("escalate", n) for n in range(10, 15)],
    ("poll", "after saving", 0, []),
    *[("result", n) for n in range(10)],
    *[("close", n) for n in range(3)],
    ("poll", "before saving", 0, []),
]


def test_a_plain_history_is_confluent() -> None:
    """What the planted mistakes below are found by."""
    assert differences(HISTORY) == []


def _without_cursors(state: State, meta: Any) -> None:
    for table in state.tables.values():
        table.cursor = None


@pytest.mark.bulk
@pytest.mark.parametrize(
    "name, mistake",
    [
        ("exporter.state.State._apply_flight", lambda *_: None),
        ("exporter.state.State._apply_meta", _without_cursors),
        ("exporter.sessions.Sessions.load", lambda *_: None),
        ("exporter.advance.Engine._read_flights_again", lambda *_: None),
    ],
)
def test_a_planted_mistake_is_found(name: str, mistake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows in flight, cursors or sessions that a crash loses; results that are never read."""
    monkeypatch.setattr(name, mistake)

    found = differences(HISTORY)

    assert found

"""Hand-offs that had to go to a paid model: each pair counts once, in whatever order its results come."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.exposition import Publication
from tests.model import HANDOFFS, SESSIONS, Exporter, Platform, once, profile, published, settings, small

pytestmark = pytest.mark.bulk

NAME = b"orchestration_handoff_escalations_total"
HOUR_S = 3600.0
LOCAL, PAID, OTHER = "deepseek-v3", "claude-sonnet", "gpt"
UNAVAILABLE = "deepseek_unavailable"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Nothing is logged, and fingerprints are worked out once."""
    with small():
        yield


class Desk:
    """A platform with sessions of hand-offs, and an exporter that polls it."""

    def __init__(self, **chosen: Any) -> None:
        self.platform = Platform()
        self.exporter = Exporter(self.platform, settings(new_series_hold=0.0, **chosen))
        self.session("s")
        self.poll()

    def now(self, seconds: float = 0.0) -> str:
        """A time, from the present on."""
        return datetime.fromtimestamp(self.exporter.wall + seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")

    def session(self, key: str, project: str = "p", **values: Any) -> None:
        """A session starts."""
        self.platform.insert(SESSIONS, session_id=key, start_time=self.now(), project_name=project, **values)

    def handoff(
        self, model: str, success: int | None, *, key: str | None = "s", task: str | None = "t", reason: str = "r",
        ago_s: float = 0.0,
    ) -> int:  # fmt: skip
        """A hand-off, in flight where success is None; its id."""
        return self.platform.insert(
            HANDOFFS,
            session_id=key,
            timestamp=self.now(-ago_s),
            task_type=task,
            target_model=model,
            success=success,
            metadata=json.dumps({"route_reason": reason}),
        )

    def result(self, id_: int, success: int) -> None:
        """A hand-off gets its result."""
        self.platform.sql(f"UPDATE {HANDOFFS} SET success = ? WHERE id = ?", (success, id_))

    def poll(self, seconds: float = 1.0) -> dict[str, float]:
        """Let time pass and poll; what is counted then."""
        self.exporter.tick(seconds)
        assert self.exporter.poll() == "success"
        assert self.exporter.falls == []
        return self.counted

    @property
    def counted(self) -> dict[str, float]:
        """Escalations by reason, over all projects."""
        return by_reason(self.exporter.poller.publication)

    def scanned(self) -> dict[str, float]:
        """What one scan makes of the tables now."""
        return by_reason(once(self.platform, self.exporter.settings, self.exporter.wall))


def by_reason(publication: Publication | None) -> dict[str, float]:
    shown = published(publication, lambda name: name == NAME)
    return {
        reason: sum(value for series, value in shown.items() if f'reason="{reason}"'.encode() in series)
        for reason in ("retry", "unavailable")
    }


def told(retry: float = 0.0, unavailable: float = 0.0) -> dict[str, float]:
    return {"retry": retry, "unavailable": unavailable}


# ── what is one ──────────────────────────────────────────────────────────────────────────────────────────────

CHAINS: dict[str, tuple[Sequence[tuple[str, int | None]], int]] = {
    "a paid one after a failed local one": ([(LOCAL, 0), (PAID, 1)], 1),
    "whatever becomes of it": ([(LOCAL, 0), (PAID, 0)], 1),
    "not after one that succeeded": ([(LOCAL, 1), (PAID, 1)], 0),
    "not after one of which nobody knows": ([(LOCAL, 7), (PAID, 1)], 0),
    "not after a paid one": ([(PAID, 0), (PAID, 1)], 0),
    "not after one of an unknown tier": ([(OTHER, 0), (PAID, 1)], 0),
    "nor is a local one after a failed one": ([(LOCAL, 0), (LOCAL, 1)], 0),
    "nor one of an unknown tier": ([(LOCAL, 0), (OTHER, 1), (PAID, 1)], 0),
    "the last of several failures": ([(LOCAL, 0), (LOCAL, 0), (LOCAL, 0), (PAID, 1)], 1),
    "one failure is for one": ([(LOCAL, 0), (PAID, 0), (PAID, 1)], 1),
    "each pair": ([(LOCAL, 0), (PAID, 1), (LOCAL, 0), (PAID, 1)], 2),
    "alone it is none": ([(PAID, 1)], 0),
}


@pytest.mark.parametrize("how", ["poll by poll", "at once", "with restarts", "one scan"])
@pytest.mark.parametrize("chain, retries", CHAINS.values(), ids=CHAINS)
def test_a_retry_is_a_paid_one_after_a_failed_local_one(
    chain: Sequence[tuple[str, int | None]], retries: int, how: str
) -> None:
    """Neighbours by id, counted once each, in whatever pieces they are read."""
    desk = Desk()
    for model, success in chain:
        desk.handoff(model, success)
        if how in ("poll by poll", "with restarts"):
            desk.poll()
        if how == "with restarts":
            desk.exporter.start()

    found = desk.scanned() if how == "one scan" else desk.poll()

    assert found == told(retry=retries)


@pytest.mark.parametrize(
    "first, second",
    [
        ({"task": "t"}, {"task": "u"}),
        ({"key": "s"}, {"key": "other"}),
        ({"key": None}, {"key": None}),
        ({"key": "absent"}, {"key": "absent"}),
        ({"task": None}, {"task": "t"}),
    ],
)
def test_a_pair_has_one_session_and_one_type_of_task(first: dict[str, Any], second: dict[str, Any]) -> None:
    """A session that has a row."""
    desk = Desk()
    desk.session("other")
    desk.handoff(LOCAL, 0, **first)
    desk.handoff(PAID, 1, **second)
    desk.poll()

    assert desk.poll(120.0) == told() == desk.scanned()


@pytest.mark.parametrize("task", [None, "", " "])
def test_tasks_without_a_type_are_of_one_type(task: str | None) -> None:
    """What is NULL or empty is `unknown`, as in the labels."""
    desk = Desk()
    desk.handoff(LOCAL, 0, task="unknown")
    desk.handoff(PAID, 1, task=task)

    assert desk.poll() == told(retry=1) == desk.scanned()


def test_others_between_them_part_no_pair() -> None:
    """What another session or another type of task does in between."""
    desk = Desk()
    desk.session("other")
    desk.handoff(LOCAL, 0)
    desk.handoff(LOCAL, 1, task="u")
    desk.handoff(PAID, 1, key="other")
    desk.handoff(PAID, 1)

    assert desk.poll() == told(retry=1) == desk.scanned()


def test_unavailable_needs_no_predecessor_and_wins() -> None:
    """Nor a session; a local model that names that reason is none; nor is one that has no result yet."""
    desk = Desk()
    desk.handoff(PAID, 1, reason=UNAVAILABLE)
    desk.handoff(PAID, 1, reason=UNAVAILABLE, key=None)
    desk.handoff(LOCAL, 1, reason=UNAVAILABLE)
    desk.handoff(OTHER, 1, reason=UNAVAILABLE)
    assert desk.poll() == told(unavailable=2) == desk.scanned()
    desk.handoff(LOCAL, 0)
    late = desk.handoff(PAID, None, reason=UNAVAILABLE)
    assert desk.poll() == told(unavailable=2)
    desk.result(late, 0)

    assert desk.poll() == told(unavailable=3) == desk.scanned()


def test_a_project_has_both_reasons_from_its_first_handoff_on() -> None:
    """At 0, in flight or not; else the first escalation had no beginning."""
    desk = Desk()
    desk.session("q", "q")
    desk.handoff(PAID, None, key="q")
    desk.handoff(LOCAL, 1)
    desk.poll()

    shown = published(desk.exporter.poller.publication, lambda name: name == NAME)
    assert set(shown.values()) == {0.0}
    assert {series.partition(b"{")[2] for series in shown} == {
        f'project="{project}",reason="{reason}",source="default"}}'.encode()
        for project in "pq"
        for reason in ("retry", "unavailable")
    }


# ── in any order ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("success, retries", [(0, 1), (1, 0)])
def test_the_predecessors_result_can_come_last(success: int, retries: int, *, restart: bool) -> None:
    """The pair is decided when both are final."""
    desk = Desk()
    local = desk.handoff(LOCAL, None)
    desk.handoff(PAID, 1)
    assert desk.poll() == told()
    if restart:
        desk.exporter.start()
    desk.result(local, success)

    assert desk.poll() == told(retry=retries) == desk.scanned()


def test_results_in_reverse_order() -> None:
    """Of a long chain all pairs are found, and nothing of it is remembered in the end but the last."""
    desk = Desk()
    ids = [desk.handoff(model, None) for model in (LOCAL, PAID) * 3]
    desk.poll()
    for number, id_ in enumerate(reversed(ids)):
        desk.result(id_, number % 2 ^ 1)
        desk.poll()

    assert desk.counted == told(retry=3) == desk.scanned()
    assert chains(desk) == []


def chains(desk: Desk) -> list[int]:
    """How long the chains are that are remembered."""
    return [len(chain) for tasks in desk.exporter.state.sessions.chains.values() for chain in tasks.values()]


def test_what_is_final_is_not_remembered() -> None:
    """But for a local failure, which the next one may follow."""
    desk = Desk()
    for number in range(50):
        desk.handoff(LOCAL, 0, task=f"t{number % 2}")
        desk.poll()
    assert chains(desk) == [1, 1]
    for number in range(2):
        desk.handoff(PAID, 1, task=f"t{number}")

    assert desk.poll() == told(retry=2)
    assert chains(desk) == []


@pytest.mark.parametrize("gone", ["local", "paid"])
def test_one_that_vanishes_is_final_and_unknown(gone: str) -> None:
    """A predecessor of which nobody knows has not failed; a paid one after a failure is a retry all the same."""
    desk = Desk()
    local = desk.handoff(LOCAL, None)
    paid = desk.handoff(PAID, None)
    desk.handoff(LOCAL, 1)
    desk.poll()
    desk.platform.sql(f"DELETE FROM {HANDOFFS} WHERE id = ?", ({"local": local, "paid": paid}[gone],))
    desk.poll()
    desk.result(paid if gone == "local" else local, 0)

    assert desk.poll() == told(retry=1 if gone == "paid" else 0)


def test_one_that_times_out_is_final() -> None:
    """As a predecessor it has not failed, after a failure it is a retry, if its session is not over by then."""
    desk = Desk(in_flight_timeout=600.0)
    desk.handoff(LOCAL, None, task="a")
    desk.handoff(PAID, 1, task="a")
    desk.handoff(LOCAL, 0, task="b")
    desk.handoff(PAID, None, task="b")
    assert desk.poll() == told()

    assert desk.poll(601.0) == told(retry=1) == desk.scanned()


def test_one_that_times_out_after_its_sessions_end_is_no_retry() -> None:
    """What happens then is not observed of the session."""
    desk = Desk(in_flight_timeout=2 * HOUR_S)
    desk.handoff(LOCAL, 0)
    desk.handoff(PAID, None)
    desk.poll()

    assert desk.poll(3 * HOUR_S) == told() == desk.scanned()
    assert chains(desk) == []


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_pair_that_a_sessions_end_parts_is_none() -> None:
    """What an open session remembers it forgets when it is over; a new pair after it came back is one."""
    desk = Desk()
    desk.handoff(LOCAL, 0)
    desk.poll()
    desk.poll(2 * HOUR_S)
    assert chains(desk) == []
    desk.handoff(PAID, 1)
    assert desk.poll() == told()
    desk.handoff(LOCAL, 0)
    desk.handoff(PAID, 1)

    assert desk.poll() == told(retry=1)


def test_events_after_a_sessions_end_make_no_pair() -> None:
    """Up to a minute after its end_time they do."""
    desk = Desk()
    desk.platform.sql(f"UPDATE {SESSIONS} SET end_time = ?", (desk.now(),))
    desk.handoff(LOCAL, 0, ago_s=-30.0)
    desk.handoff(PAID, 1, ago_s=-50.0)
    desk.handoff(LOCAL, 0, task="late", ago_s=-50.0)
    desk.handoff(PAID, 1, task="late", ago_s=-70.0)
    desk.handoff(LOCAL, 0, task="later", ago_s=-70.0)
    desk.handoff(PAID, 1, task="later", ago_s=-80.0)
    desk.exporter.tick(100.0)
    desk.poll()

    assert desk.poll(10.0) == told(retry=1) == desk.scanned()


@pytest.mark.parametrize("restart", [False, True])
def test_handoffs_that_wait_for_their_session_make_pairs_when_it_comes(*, restart: bool) -> None:
    """The session's row is committed after them."""
    desk = Desk()
    desk.handoff(LOCAL, 0, key="late")
    desk.handoff(PAID, 1, key="late")
    assert desk.poll() == told()
    if restart:
        desk.exporter.start()
    desk.session("late", "q")

    assert desk.poll(2.0) == told(retry=1) == desk.scanned()
    shown = published(desk.exporter.poller.publication, lambda name: name == NAME)
    assert {series for series, value in shown.items() if value} == {
        NAME + b'{project="q",reason="retry",source="default"}'
    }


def test_a_first_scan_goes_on_where_polls_would() -> None:
    """What was in flight, or a failure, when it was first read, makes its pair later."""
    desk = Desk()
    desk.handoff(LOCAL, 0, task="a")
    local = desk.handoff(LOCAL, None, task="b")
    desk.handoff(PAID, 1, task="b")
    desk.handoff(LOCAL, 0, task="c")
    paid = desk.handoff(PAID, None, task="c")
    fresh = Exporter(desk.platform, settings(new_series_hold=0.0), wall=desk.exporter.wall)
    assert fresh.poll() == "success"
    assert by_reason(fresh.poller.publication) == told()
    desk.exporter = fresh
    desk.handoff(PAID, 1, task="a")
    desk.result(local, 0)
    desk.result(paid, 1)

    assert desk.poll() == told(retry=3) == desk.scanned()


# ── tiers ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tiers_are_those_of_the_configuration() -> None:
    """By the name that a spelling is joined to; a name of ours is not what its beginning says."""
    models = {"gpt": {"tier": "paid"}, "llama": {"tier": "local"}, "claude-local": {"tier": "local"}}
    desk = Desk(models=models, model_aliases={"chatty": "gpt", "ds": "deepseek"})
    for number, (first, second) in enumerate(
        [("llama", "gpt"), ("claude-local", "claude"), ("ds", "chatty"), ("chatty", "gpt"), ("llama", "claude-local")]
    ):
        desk.handoff(first, 0, task=f"t{number}")
        desk.handoff(second, 1, task=f"t{number}")

    assert desk.poll() == told(retry=3) == desk.scanned()


# ── any history ──────────────────────────────────────────────────────────────────────────────────────────────

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from([LOCAL, PAID, OTHER]),
            st.sampled_from([0, 0, 1, None, None]),
            st.sampled_from(["s", "q"]),
            st.sampled_from(["t", None]),
            st.sampled_from(["r", "r", "r", UNAVAILABLE]),
        ),
        st.tuples(st.just("result"), st.integers(0, 9), st.sampled_from([0, 0, 1])),
        st.sampled_from(["poll", "poll", "start"]),
    ),
    max_size=30,
)


def lived(steps: Sequence[Any]) -> Desk:
    """A platform and an exporter after all that; everything has its result."""
    desk, flying = Desk(), list[int]()
    desk.session("q", "q")
    for step in steps:
        match step:
            case "poll":
                desk.poll()
            case "start":
                desk.exporter.start()
            case ("result", number, success):
                if flying:
                    desk.result(flying.pop(number % len(flying)), success)
            case (model, success, key, task, reason):
                id_ = desk.handoff(model, success, key=key, task=task, reason=reason)
                flying += [id_] if success is None else []
    for id_ in flying:
        desk.result(id_, 0)
    desk.poll()
    return desk


def pairs(desk: Desk) -> dict[str, float]:
    """By hand: neighbours of one session and type of task."""
    last: dict[tuple[str, str], tuple[str, int]] = {}
    found = told()
    for row in desk.platform.all(HANDOFFS):
        key = row["session_id"], row["task_type"]
        unavailable = row["target_model"] == PAID and UNAVAILABLE in row["metadata"]
        found["unavailable"] += unavailable
        found["retry"] += row["target_model"] == PAID and not unavailable and last.get(key) == (LOCAL, 0)
        last[key] = row["target_model"], row["success"]
    return found


@profile(50)
@given(STEPS)
def test_polls_and_a_scan_find_the_pairs_that_are_there(steps: Sequence[Any]) -> None:
    """In whatever order results come, and wherever the exporter is started anew."""
    with small():
        desk = lived(steps)

        assert desk.counted == desk.scanned() == pairs(desk)


def test_a_pair_that_is_judged_by_time_alone_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison fails where a predecessor in flight is passed over."""
    monkeypatch.setattr("exporter.escalations.Escalations.enter", lambda self, rows, slots: None)

    desk = lived([(LOCAL, 0, "s", "t", "r"), "poll", (PAID, 1, "s", "t", "r")])

    assert desk.counted != pairs(desk) == desk.scanned()

"""What of a state is shown: what was saved, nothing newer, and gauges only while there is something to read."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from exporter import catalogue
from exporter.advance import Engine
from exporter.catalogue import handoffs, sessions
from exporter.catalogue.tables import HANDOFFS
from exporter.context import Rules
from exporter.exposition import Format
from exporter.gauges import Health
from exporter.publisher import Publisher, be_born, shown_value
from exporter.series import Buckets, Cell
from exporter.sessions import SessionRow
from exporter.spec import Histogram, Metric
from exporter.state import Flight, State
from tests.running import Shown

UP = Health(up=True, last_success=100.0, lag_rows=0)
DOWN = Health(up=False, last_success=100.0, lag_rows=0)
NOW = 1_700_000_000.0
TOTAL = handoffs.HANDOFFS_TOTAL
NAME = TOTAL.name


class Desk:
    """A publisher and the state it publishes."""

    def __init__(self, constants: Mapping[str, str] | None = None) -> None:
        self.publisher = Publisher(catalogue.SCHEMA, Rules(), "default", constants or {})
        self.state = State(catalogue.SCHEMA.tables)

    def count(self, *labels: str, amount: float = 1.0, metric: Metric = TOTAL) -> Cell:
        """Count something, as the engine does."""
        cell = self.state.cell(metric, labels)
        assert isinstance(cell, Cell)
        cell.value += amount
        self.state.changed_series.add(cell)
        return cell

    def note(self) -> None:
        """The state is about to be saved."""
        self.publisher.note(self.state)
        self.state.snapshot()

    def saved(self) -> None:
        """The state is saved."""
        self.note()
        self.publisher.show(self.state, NOW)

    def publish(self, health: Health = UP) -> Shown:
        """What is shown now."""
        return Shown.of(self.publisher.publish(health).answer(Format.TEXT, b"").decode())


@pytest.fixture
def desk() -> Desk:
    """An empty state."""
    return Desk()


def flight(model: str, time: float, *, waiting: bool = False, success: int | None = None) -> Flight:
    """A hand-off without a result."""
    values = {"session_id": "s", "timestamp": "", "target_model": model, "success": success}
    row = (1, *(values.get(column.name) for column in HANDOFFS.columns))
    return Flight(row, time, time, None if waiting else "p", waiting)


def test_nothing_is_shown_before_it_is_saved(desk: Desk) -> None:
    """Neither before it is noted, nor between that and the saving."""
    desk.count("p", "m", "success")
    assert desk.publish().by_labels(NAME) == {}
    desk.note()
    assert desk.publish().by_labels(NAME) == {}
    desk.publisher.show(desk.state, NOW)
    assert desk.publish().total(NAME) == 1


def test_what_could_not_be_saved_is_shown_with_what_can(desk: Desk) -> None:
    """The state forgets what changed when it is written down, the publisher does not."""
    desk.count("p", "m", "success")
    desk.saved()
    desk.count("p", "m", "success")
    desk.count("p", "other", "success")
    desk.note()  # and this save failed
    desk.count("p", "m", "success")
    assert desk.publish().total(NAME) == 1
    desk.saved()
    shown = desk.publish()

    assert (shown.total(NAME, model="m"), shown.total(NAME, model="other")) == (3, 1)


def test_a_source_that_is_down_keeps_its_totals_and_gauges(desk: Desk) -> None:
    """Only `up` changes; the time of the last success stays what it was."""
    desk.count("p", "m", "success", amount=7)
    desk.state.counting_since = 50.0
    desk.state.set_flight(HANDOFFS.name, 1, flight("m", 10.0))
    desk.saved()
    up, down = desk.publish(UP), desk.publish(DOWN)

    differing = {series for series in up.samples if up.samples[series] != down.samples.get(series)}
    assert differing == {'orchestration_up{source="default"}'}
    assert up.samples.keys() == down.samples.keys()
    assert down.total("orchestration_exporter_last_success_timestamp_seconds") == 100
    assert down.total("orchestration_counting_since_timestamp_seconds") == 50


def test_before_anything_is_known_only_up_is_shown(desk: Desk) -> None:
    """No totals, no times: there are none yet."""
    shown = desk.publish(Health(up=False))

    assert dict(shown.samples) == {'orchestration_up{source="default"}': 0.0}


def test_gauges_appear_and_disappear(desk: Desk) -> None:
    """Where 0 says something it is shown; the oldest of nothing is not."""
    oldest = handoffs.HANDOFF_OLDEST.name
    desk.count("p", "m", "success")
    desk.state.admit("model", "m", 10)
    desk.saved()
    shown = desk.publish()
    assert (shown.by_labels(handoffs.HANDOFFS_IN_FLIGHT.name), shown.by_labels(oldest)) == (
        {frozenset({("model", "m")}): 0.0},
        {},
    )
    desk.state.set_flight(HANDOFFS.name, 1, flight("m", 10.0))
    desk.state.set_flight(HANDOFFS.name, 2, flight("m", 5.0))
    desk.saved()
    shown = desk.publish()
    assert shown.total(handoffs.HANDOFFS_IN_FLIGHT.name, model="m") == 2
    assert shown.total(oldest, model="m") == 5
    desk.state.end_flight(HANDOFFS.name, 2)
    desk.saved()
    assert desk.publish().total(oldest, model="m") == 10
    desk.state.end_flight(HANDOFFS.name, 1)
    desk.saved()
    shown = desk.publish()
    assert shown.total(handoffs.HANDOFFS_IN_FLIGHT.name, model="m") == 0
    assert shown.by_labels(oldest) == {}


def test_a_row_that_only_waits_for_its_session_is_not_in_flight(desk: Desk) -> None:
    """It has its result; what is not known is its project."""
    desk.state.admit("model", "m", 10)
    desk.state.set_flight(HANDOFFS.name, 1, flight("m", 10.0, waiting=True, success=1))
    desk.state.set_flight(HANDOFFS.name, 2, flight("m", 10.0, waiting=True))
    desk.saved()

    assert desk.publish().total(handoffs.HANDOFFS_IN_FLIGHT.name) == 1


def test_gauges_are_as_of_what_was_saved(desk: Desk) -> None:
    """A session that is open only in what could not be saved is not shown as active."""
    row = SessionRow(1, "s", "p", 10.0, None, 0.0, 0.0, 10.0)
    desk.saved()
    desk.state.sessions.add(row)
    desk.state.changed_sessions.add(row.id)
    desk.state.admit("project", "p", 10)
    desk.note()
    assert desk.publish().total(sessions.SESSIONS_ACTIVE.name) == 0
    desk.publisher.show(desk.state, NOW)
    assert desk.publish().total(sessions.SESSIONS_ACTIVE.name, project="p") == 1


def test_a_held_series_is_shown_as_0(desk: Desk) -> None:
    """And named as held, until it is released and that is saved."""
    desk.state.published.add(NAME)
    cell = desk.count("p", "m", "success", amount=5)
    desk.saved()
    assert desk.publish().by_labels(NAME) == {
        frozenset({("project", "p"), ("model", "m"), ("outcome", "success")}): 0.0
    }
    assert list(desk.publisher.held()) == [cell]
    desk.state.release([cell])
    assert desk.publish().total(NAME) == 0
    desk.saved()
    assert desk.publish().total(NAME) == 5
    assert list(desk.publisher.held()) == []


@pytest.mark.parametrize("metric", [handoffs.HANDOFF_DURATION, handoffs.HANDOFF_CONFIDENCE])
def test_a_held_histogram_has_no_observations(metric: Histogram) -> None:
    """Nor exemplars."""
    size = len(metric.buckets) + 1
    held = Buckets(metric.name, ("m", "success"), False, [1] * size, 4.5, [(1.0, 2.0, "s")] * size)
    value = shown_value(held)
    assert not isinstance(value, float)
    assert (sum(value.counts), value.sum, tuple(value.exemplars)) == (0, 0.0, ())
    held.released = True
    value = shown_value(held)
    assert not isinstance(value, float)
    assert (sum(value.counts), value.sum, len(value.exemplars)) == (size, 4.5, size)


def test_a_metric_that_is_made_anew_replaces_its_series(desk: Desk) -> None:
    """The old ones stay until the new ones are saved, and then those that are no more are gone."""
    desk.count("p", "m", "success", amount=3)
    desk.count("p", "gone", "success", amount=3)
    desk.saved()
    desk.publish()
    desk.state.drop(NAME)
    desk.publisher.drop(NAME)
    desk.count("p", "m", "success", amount=8)
    assert (desk.publish().total(NAME, model="m"), desk.publish().total(NAME, model="gone")) == (3, 3)
    desk.saved()
    shown = desk.publish()

    assert {dict(labels)["model"]: value for labels, value in shown.by_labels(NAME).items()} == {"m": 8}


def test_every_series_carries_its_source_and_constants() -> None:
    """Gauges and the exporter's own as well."""
    desk = Desk({"tenant": 'a"cme'})
    desk.count("p", "m", "success")
    desk.state.admit("model", "m", 10)
    be_born(desk.state, catalogue.SCHEMA, Engine(desk.state, catalogue.SCHEMA, Rules()))
    desk.saved()

    samples = desk.publish().samples
    assert len(samples) > 20
    assert all('source="default"' in series and r'tenant="a\"cme"' in series for series in samples)


def test_the_exporters_own_counters_are_born_at_0(desk: Desk) -> None:
    """With every value of a closed label, so that an alert on their increase sees the first one."""
    be_born(desk.state, catalogue.SCHEMA, Engine(desk.state, catalogue.SCHEMA, Rules()))
    desk.saved()
    shown = desk.publish()

    assert len(shown.by_labels("orchestration_exporter_rows_rejected_total")) == 7 * len(catalogue.TABLES)
    assert len(shown.by_labels("orchestration_exporter_rows_read_total")) == len(catalogue.TABLES)
    for name in ("late_rows", "source_rewinds", "rewind_uncertain_rows"):
        assert shown.by_labels(f"orchestration_exporter_{name}_total") == {frozenset(): 0.0}
    overflow = shown.by_labels("orchestration_exporter_label_overflow_total")
    assert frozenset({("metric", NAME), ("label", "project")}) in overflow
    assert not any(("label", "outcome") in labels for labels in overflow)


def test_what_the_page_shows(desk: Desk) -> None:
    """Rows and times by table; totals by their titles, money with cents."""
    assert desk.publisher.headlines() == ()
    assert desk.publisher.rows_read() == desk.publisher.last_event() == {}
    desk.count("p", "m", "success", amount=1234)
    desk.count("handoff_events", amount=5, metric=catalogue.SCHEMA.own.rows_read)
    desk.state.tables[HANDOFFS.name].newest_time = 7.0
    desk.saved()

    assert dict(desk.publisher.headlines())["Hand-offs"] == "1,234"
    assert dict(desk.publisher.headlines())["Spend (USD)"] == "0.00"
    assert desk.publisher.rows_read() == {"handoff_events": 5}
    assert desk.publisher.last_event() == {HANDOFFS.name: 7.0}

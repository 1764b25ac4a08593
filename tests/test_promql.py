"""Expressions from catalogue objects: what can be written, and what cannot."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from exporter import telemetry
from exporter.catalogue import handoffs, money, own
from exporter.promql import Expr, PromqlError, Recorded, binary, labels_of, quantile, select, vector


def test_counters_are_read_through_their_increase() -> None:
    """A counter's series become an increase or a rate, aggregated by labels, or without some."""
    failed = select(handoffs.HANDOFFS_TOTAL, outcome="failure", model="~deep.*", project='!a"b', source="!~x|y")

    assert str(failed.increase("1h").sum("source", "project")) == (
        "sum by (source, project) (increase(orchestration_handoffs_total"
        '{outcome="failure", model=~"deep.*", project!="a\\"b", source!~"x|y"}[1h]))'
    )
    assert str(failed.rate("$__rate_interval").sum(without=["outcome"])).startswith("sum without (outcome) (rate(")


def test_gauges_are_read_as_they_are() -> None:
    """A gauge has a value and changes; the ledger's has them for one period."""
    assert str(select(own.UP, job="x").value().aggregate("min")) == 'min(orchestration_up{job="x"})'
    assert str(select(own.COUNTING_SINCE).changes("1h30m")).endswith("_timestamp_seconds[1h30m])")
    assert str(select(money.LEDGER_COST, period="day").value()) == 'orchestration_ledger_cost_usd{period="day"}'
    assert str(select(telemetry.CHECKPOINT_SIZE).value()) == "orchestration_exporter_checkpoint_size_bytes"


def test_quantiles_are_of_summed_buckets() -> None:
    """`le` is kept, beside the labels asked for."""
    assert str(quantile(0.5, handoffs.HANDOFF_DURATION, "6h", "source", "model", outcome="success")) == (
        "histogram_quantile(0.5, sum by (le, source, model) (rate("
        'orchestration_handoff_duration_seconds_bucket{outcome="success"}[6h])))'
    )
    assert str(select(handoffs.HANDOFF_CONFIDENCE, "_bucket", le="0.9").rate("1d")).endswith('{le="0.9"}[1d])')


def test_labels_are_added_copied_and_joined() -> None:
    """For what tells vectors apart, and for panels that ask for labels by their names."""
    up = select(own.UP).value("1w")

    assert str(up.labelled("week", "1w")) == 'label_replace(orchestration_up offset 1w, "week", "1w", "", "")'
    assert str(select(own.UP).value().copied("source", "id")) == (
        'label_replace(orchestration_up, "id", "$1", "source", "(.*)")'
    )
    assert str(select(own.UP).value().joined("id", "-", "job", "source")) == (
        'label_join(orchestration_up, "id", "-", "job", "source")'
    )
    assert str(select(own.UP).value().rounded().count_values("number", "job")) == (
        'count_values by (job) ("number", round(orchestration_up))'
    )
    assert str(select(own.UP).value().count_values("number")) == 'count_values("number", orchestration_up)'
    assert str(binary(select(own.UP).value(), "or", vector(0)).top(3)) == "topk(3, orchestration_up or vector(0))"


def test_recorded_series_know_their_labels() -> None:
    """A recording rule is selected by its labels, and by nothing else."""
    failed = select(handoffs.HANDOFFS_TOTAL).rate("5m").sum(without=["outcome"])
    rule = Recorded("model:handoffs:rate5m", failed, ("source", "model"))

    assert str(rule.select(model="a")) == 'model:handoffs:rate5m{model="a"}'
    assert str(binary(rule.select(), ">", 0.5)) == "model:handoffs:rate5m > 0.5"


def test_the_course_of_a_series_is_one_number() -> None:
    """Gauges, recorded series and expressions over time: by a name, or a quantile by its level, and moved back."""
    waiting, rule = select(handoffs.HANDOFFS_IN_FLIGHT), Recorded("a:b:c", Expr("x"), ("source",))

    assert str(waiting.over("max", "1h")) == "max_over_time(orchestration_handoffs_in_flight[1h])"
    assert str(rule.over(0.5, "7d", "1d", source="a")) == 'quantile_over_time(0.5, a:b:c{source="a"}[7d] offset 1d)'
    assert str(binary(Expr("x"), ">", 1).over("avg", "1h", "5m")) == "avg_over_time((x > 1)[1h:5m])"
    assert str(select(handoffs.HANDOFFS_TOTAL).increase("1h", "1w")).endswith("_total[1h] offset 1w)")


@pytest.mark.parametrize(
    "side, bracketed",
    [
        ("a", False),
        ('a{b="(", c!="d"}', False),
        ("sum by (a) (rate(b[5m]))", False),
        ("f(a)", False),
        ("f(a) + f(b)", True),
        ("sum by (a) (b) / c", True),
        ("a offset 5m", True),
        ("-a", True),
        ("a > 1", True),
    ],
)
def test_brackets_are_where_they_are_needed(side: str, bracketed: bool) -> None:
    """One selector or one call needs none; anything else has them."""
    assert str(binary(Expr(side), "*", 1e7)) == (f"({side}) * 10000000" if bracketed else f"{side} * 10000000")


@pytest.mark.parametrize(
    "write, says",
    [
        (lambda: select(handoffs.HANDOFFS_TOTAL, modell="a"), "has no label modell; it has source, project, model"),
        (lambda: select(handoffs.HANDOFFS_TOTAL, outcome="failed"), "outcome of .* is never 'failed'"),
        (lambda: select(handoffs.HANDOFFS_TOTAL, le="1.0"), "has no label le"),
        (lambda: select(handoffs.HANDOFFS_TOTAL).value(), "is a counter: only its rate"),
        (lambda: select(handoffs.HANDOFFS_TOTAL, "_bucket"), "is a counter: part '_bucket'"),
        (lambda: select(handoffs.HANDOFF_DURATION), "is a histogram: part ''"),
        (lambda: select(handoffs.HANDOFF_DURATION, "_bucket", le="7"), "has no bucket 7"),
        (lambda: select(handoffs.HANDOFFS_IN_FLIGHT).rate("5m"), "is a gauge: it has no rate"),
        (lambda: select(telemetry.SERIES).increase("5m"), "is a gauge: it has no increase"),
        (lambda: select(telemetry.POLLS, table="a"), "has no label table"),
        (lambda: select(money.LEDGER_COST, period="day").increase("1h"), "is a gauge: it has no increase"),
        (lambda: select(money.LEDGER_COST), "needs one period"),
        (lambda: select(money.LEDGER_COST, period="~day|week"), "needs one period"),
        (lambda: select(money.PERIOD_END, period="!day"), "needs one period"),
        (lambda: select(handoffs.HANDOFFS_TOTAL).rate("5"), "'5' is no window"),
        (lambda: select(handoffs.HANDOFFS_TOTAL).rate("5m", "week"), "'week' is no window"),
        (lambda: select(handoffs.HANDOFFS_TOTAL).over("max", "5m"), "is a counter: only its rate"),
        (lambda: select(handoffs.HANDOFFS_IN_FLIGHT).over("rate", "5m"), "there is no rate_over_time"),
        (lambda: select(handoffs.HANDOFFS_IN_FLIGHT).over(95, "5m"), "between 0 and 1: 95"),
        (lambda: quantile(95, handoffs.HANDOFF_DURATION, "5m"), "between 0 and 1: 95"),
        (lambda: quantile(0.5, handoffs.HANDOFF_DURATION, "5m", "project"), "has no label project"),
        (lambda: Expr("a").aggregate("sum", "x", without=["y"]), "labels to keep"),
        (lambda: Expr("a").aggregate("topk"), "topk is no aggregation"),
        (lambda: Expr("a").sum("a-b"), "'a-b' is no label's name"),
        (lambda: Recorded("handoffs_rate", Expr("a")), "must be called level:metric:operations"),
        (lambda: Recorded("a:b:c", Expr("a"), ("x",)).select(y="1"), "a:b:c has no label y; it has x"),
    ],
)
def test_what_means_nothing_cannot_be_written(write: Callable[[], object], says: str) -> None:
    """Each kind of expression that could not mean anything is refused, with what is wrong."""
    with pytest.raises(PromqlError, match=says):
        write()


def test_labels_of_a_metric() -> None:
    """Those of a source's metric begin with `source`; those of the process's own are as declared."""
    assert labels_of(handoffs.HANDOFFS_TOTAL) == ("source", "project", "model", "outcome")
    assert labels_of(telemetry.SERIES) == ("metric",)

"""Tests of the renderer: byte for byte what client_python writes, whatever happened before, and for ever."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import accumulate
from typing import Any

import prometheus_client.exposition as text_format
import prometheus_client.openmetrics.exposition as openmetrics_format
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Exemplar as OracleExemplar
from prometheus_client.metrics_core import Metric as OracleMetric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from exporter.exposition import Distribution, Exemplar, Exposition, Format, Publication, Value, merged
from exporter.spec import Counter, Gauge, Histogram, Label, Metric

pytestmark = pytest.mark.bulk

HANDOFFS = Counter(
    "t_handoffs_total",
    'Hand-offs, with "quotes", a \\ and\na second line.',
    (Label("to_agent"), Label("model")),
)
COST = Counter("t_cost_usd_total", "Money spent.", (Label("zone"),))
OPEN = Gauge("t_open_sessions", "Open sessions.", (Label("project"),))
UP = Gauge("t_up", "Whether the source can be read.")
DURATION = Histogram(
    "t_duration_seconds",
    "Duration of hand-offs.",
    (Label("model"), Label("kind")),
    buckets=(0.5, 1, 2.5, 10_000_000.0),
    exemplars=True,
)
TASKS = Histogram("t_tasks", "Tasks of a session.", buckets=(0.0, 100.0))
SAVED = Histogram("t_saved_usd", "Money saved, or not.", (Label("tier"),), buckets=(-1.0, 0.0, 1.0))
METRICS: tuple[Metric, ...] = (HANDOFFS, COST, OPEN, UP, DURATION, TASKS, SAVED)
BY_NAME = {metric.name: metric for metric in METRICS}
SOURCES: Mapping[str, Mapping[str, str]] = {
    "west": {"source": "west", "tenant": 'a "b" \\ c'},
    "east": {"source": "east", "tenant": "ü"},
}
ONE_SOURCE = {"default": {"source": "default"}}

Key = tuple[str, str, tuple[str, ...]]
"""A series: source, metric, label values."""


# ── the oracle ──────────────────────────────────────────────────────────────────────────────────────────────


class Fixed(Collector):
    """A collector of families that were made before."""

    def __init__(self, families: Iterable[OracleMetric]) -> None:
        self.families = list(families)

    def collect(self) -> Iterable[OracleMetric]:
        return self.families


def oracle(
    values: Mapping[Key, Value],
    form: Format,
    metrics: Sequence[Metric] = METRICS,
    sources: Mapping[str, Mapping[str, str]] = SOURCES,
) -> bytes:
    """What client_python writes for these values, without ``# EOF``."""
    families = (oracle_family(metric, values, sources) for metric in metrics)
    collector = Fixed(family for family in families if family.samples)
    if form is Format.TEXT:
        return text_format.generate_latest(collector)
    rendered: bytes = openmetrics_format.generate_latest(collector)  # type: ignore[no-untyped-call]
    return rendered.removesuffix(b"# EOF\n")


def oracle_family(
    metric: Metric, values: Mapping[Key, Value], sources: Mapping[str, Mapping[str, str]]
) -> OracleMetric:
    """The family of one metric, its series sorted by source, then by label values."""
    kinds: dict[str, type[Any]] = {
        "counter": CounterMetricFamily,
        "gauge": GaugeMetricFamily,
        "histogram": HistogramMetricFamily,
    }
    constants = sorted(next(iter(sources.values())))
    family = kinds[metric.type](metric.name, metric.help, labels=[*metric.label_names, *constants])
    family.unit = metric.unit
    for source, _, labels in sorted(key for key in values if key[1] == metric.name):
        value = values[source, metric.name, labels]
        row = [*labels, *(sources[source][name] for name in constants)]
        if isinstance(value, Distribution):
            family.add_metric(row, oracle_buckets(metric, value), value.sum)
        else:
            family.add_metric(row, value)
    assert isinstance(family, OracleMetric)
    return family


def oracle_buckets(metric: Metric, value: Distribution) -> list[tuple[object, ...]]:
    """Upper bound, cumulative count and, where there is one, exemplar of each bucket."""
    assert isinstance(metric, Histogram)
    bounds = [floatToGoString(bound) for bound in (*metric.buckets, math.inf)]  # type: ignore[no-untyped-call]
    exemplars = value.exemplars or [None] * len(bounds)
    return [
        (bound, count, *([] if mark is None else [OracleExemplar(dict(mark.labels), mark.value, mark.timestamp)]))
        for bound, count, mark in zip(bounds, accumulate(value.counts), exemplars, strict=True)
    ]


# ── strategies ──────────────────────────────────────────────────────────────────────────────────────────────

HOSTILE = (
    '"',
    "\\",
    "\n",
    "\r",
    "\r\n",
    "\\n",
    '\\"',
    "\ufffd",
    "ü",
    "日本",
    "\x00",
    "\u2028",
    "😀",
    "x" * 10_000,
    "",
    " ",
    "1.0",
    "}",
    "{",
    ",",
)
texts = st.lists(st.sampled_from(HOSTILE), max_size=4).map("".join) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=8
)
names = st.sampled_from(["a", "b", "c"]) | texts
FLOATS = (math.nan, math.inf, -math.inf, -0.0, 0.1, 1e-7, 1e-4, 5e-324, 1e15, 1e16, 1e300, -1234567.0)
TURNS = (999_999.0, 999_999.5, 1_000_000.0, 123_456_789.0)
WHOLE = (0, 1_000_000, 2**53 + 1, 2**63, True)
special = st.sampled_from((*FLOATS, *TURNS, *WHOLE))
numbers = special | st.floats() | st.integers(-(2**70), 2**70)


exemplars = st.builds(
    Exemplar,
    texts.map(lambda text: (("session_id", text[:60]), ("a", text[:20]))),  # within the 128 that are allowed
    st.floats(),
    st.floats(0, 4e9),
)


def distributions(metric: Histogram) -> st.SearchStrategy[Distribution]:
    """Distributions over the buckets of ``metric``, with exemplars where it has them."""
    size = len(metric.buckets) + 1
    counts = st.lists(st.integers(0, 2**54), min_size=size, max_size=size)
    marks: st.SearchStrategy[Sequence[Exemplar | None]] = st.just(())
    if metric.exemplars:
        marks |= st.lists(st.none() | exemplars, min_size=size, max_size=size)
    return st.builds(Distribution, counts, numbers, marks)


def series_of(metric: Metric) -> st.SearchStrategy[tuple[Key, Value]]:
    """A series of ``metric`` with a value."""
    labels = st.tuples(*[names] * len(metric.labels))
    key = st.tuples(st.sampled_from(sorted(SOURCES)), st.just(metric.name), labels)
    value = distributions(metric) if isinstance(metric, Histogram) else numbers
    return st.tuples(key, value)


any_series = st.sampled_from(METRICS).flatmap(series_of)
states = st.dictionaries(any_series.map(lambda series: series[0]), st.none(), max_size=40).flatmap(
    lambda keys: st.fixed_dictionaries({key: value_of(key) for key in keys})
)


def value_of(key: Key) -> st.SearchStrategy[Value]:
    """A value that the metric of ``key`` can have."""
    metric = BY_NAME[key[1]]
    return distributions(metric) if isinstance(metric, Histogram) else numbers


def filled(values: Mapping[Key, Value]) -> Exposition:
    """An exposition in which these values are set and not yet published."""
    exposition = Exposition(METRICS, SOURCES)
    for key, value in values.items():
        exposition.set(*key, value)
    return exposition


# ── the same bytes ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.bulk
@settings(deadline=None, max_examples=120)
@given(states)
def test_the_bytes_are_those_of_client_python(values: dict[Key, Value]) -> None:
    publication = filled(values).publish()

    assert publication.body(Format.TEXT) == oracle(values, Format.TEXT)
    assert publication.body(Format.OPENMETRICS) == oracle(values, Format.OPENMETRICS)


steps = st.lists(
    st.one_of(
        any_series,
        any_series.map(lambda series: (series[0], None)),
        st.sampled_from(["publish", "read"]),
    ),
    max_size=60,
)


@pytest.mark.bulk
@settings(deadline=None, max_examples=120)
@given(steps)
def test_any_history_ends_in_the_bytes_of_a_fresh_render(history: list[tuple[Key, Value | None] | str]) -> None:
    """Series set, set again, removed and published in any order; and no publication changes afterwards."""
    exposition, values = Exposition(METRICS, SOURCES), dict[Key, Value]()
    published: list[tuple[Publication, dict[Key, Value]]] = []
    for step in history:
        if isinstance(step, str):
            published.append((exposition.publish(), dict(values)))
            if step == "read":
                published[-1][0].body(Format.OPENMETRICS)
        elif step[1] is None:
            exposition.remove(*step[0])
            values.pop(step[0], None)
        else:
            exposition.set(*step[0], step[1])
            values[step[0]] = step[1]
    published.append((exposition.publish(), values))

    for publication, then in published:
        for form in Format:
            assert publication.body(form) == oracle(then, form)
            assert publication.body(form) == filled(then).publish().body(form)


def marked(n: int) -> Distribution:
    """Some distribution with an exemplar in one of its buckets, or with none."""
    exemplars: list[Exemplar | None] = [None] * 5
    exemplars[n % 5] = Exemplar((("session_id", f"s{n}"),), n / 7, 1.7e9 + n)
    return Distribution([n, 1, 0, n * n, 2], n / 3, exemplars if n % 4 else ())


@pytest.mark.parametrize("metric", [COST, DURATION], ids=lambda metric: metric.name)
@pytest.mark.parametrize("count", [1, 2, 3, 15, 16, 17, 32, 33, 500])
def test_every_length_of_page_holds_its_series(count: int, metric: Metric) -> None:
    """Many series of one family, of which some change, some go, and some come between the others."""

    def key(text: str) -> Key:
        return "east", metric.name, (text,) * len(metric.labels)

    def value(n: int) -> Value:
        return marked(n) if metric is DURATION else n * 1e4

    values = {key(f"z{n:03}"): value(n) for n in range(count)}
    exposition = filled(values)
    exposition.publish()
    changes = {key(f"z{n:03}"): value(n + 7) for n in range(0, count, 3)}
    changes |= {key(f"z{n:03}+"): value(n + 8) for n in range(0, count, 7)}
    for at, new in changes.items():
        exposition.set(*at, new)
    between = exposition.publish()
    for n in range(0, count, 5):
        exposition.remove(*key(f"z{n:03}"))
    last = exposition.publish()

    gone = {key(f"z{n:03}") for n in range(0, count, 5)}
    values |= changes
    for form in Format:
        assert between.body(form) == oracle(values, form)
        assert last.body(form) == oracle({at: v for at, v in values.items() if at not in gone}, form)


def test_the_bytes_as_they_are() -> None:
    """A small exposition, as a person would check it against the two formats."""
    metrics = (HANDOFFS, DURATION)
    exposition = Exposition(metrics, ONE_SOURCE)
    exposition.set("default", HANDOFFS.name, ("re\nviewer", "opus"), 3)
    mark = Exemplar((("session_id", 's"1'),), 0.75, 1700000000.5)
    exposition.set(
        "default", DURATION.name, ("opus", "code"), Distribution([1, 2, 0, 0, 4], 12.5, [None, mark, *[None] * 3])
    )

    publication = exposition.publish()

    assert publication.body(Format.TEXT).decode() == (
        '# HELP t_handoffs_total Hand-offs, with "quotes", a \\\\ and\\na second line.\n'
        "# TYPE t_handoffs_total counter\n"
        't_handoffs_total{model="opus",source="default",to_agent="re\\nviewer"} 3.0\n'
        "# HELP t_duration_seconds Duration of hand-offs.\n"
        "# TYPE t_duration_seconds histogram\n"
        't_duration_seconds_bucket{kind="code",le="0.5",model="opus",source="default"} 1.0\n'
        't_duration_seconds_bucket{kind="code",le="1.0",model="opus",source="default"} 3.0\n'
        't_duration_seconds_bucket{kind="code",le="2.5",model="opus",source="default"} 3.0\n'
        't_duration_seconds_bucket{kind="code",le="1e+07",model="opus",source="default"} 3.0\n'
        't_duration_seconds_bucket{kind="code",le="+Inf",model="opus",source="default"} 7.0\n'
        't_duration_seconds_count{kind="code",model="opus",source="default"} 7.0\n'
        't_duration_seconds_sum{kind="code",model="opus",source="default"} 12.5\n'
    )
    openmetrics = publication.body(Format.OPENMETRICS).decode()
    assert "# TYPE t_handoffs counter\n" in openmetrics
    assert "# TYPE t_duration_seconds histogram\n# UNIT t_duration_seconds seconds\n" in openmetrics
    assert 'source="default"} 3.0 # {session_id="s\\"1"} 0.75 1700000000.5\n' in openmetrics


def test_families_come_as_declared_and_those_without_series_do_not_come() -> None:
    exposition = filled({("east", UP.name, ()): 1.0, ("west", COST.name, ("z",)): 2.0})

    body = exposition.publish().body(Format.TEXT).decode()

    assert [line.split()[2] for line in body.splitlines() if line.startswith("# TYPE")] == [COST.name, UP.name]


def test_a_family_whose_last_series_goes_is_not_shown() -> None:
    exposition = filled({("east", UP.name, ()): 1.0})
    exposition.publish()

    exposition.remove("east", UP.name, ())

    assert exposition.publish().body(Format.OPENMETRICS) == b""


def test_without_labels_and_sources_labels_there_are_no_braces() -> None:
    exposition = Exposition((UP, TASKS), {"default": {}})
    exposition.set("default", UP.name, (), 1)
    exposition.set("default", TASKS.name, (), Distribution([1, 0, 0], 0.0))

    lines = exposition.publish().body(Format.TEXT).splitlines()

    assert b"t_up 1.0" in lines
    assert b't_tasks_bucket{le="100.0"} 1.0' in lines
    assert b"t_tasks_sum 0.0" in lines


def test_an_exemplar_longer_than_openmetrics_allows_is_left_out() -> None:
    fits = Exemplar((("session_id", "s" * 118),), 0.1, 1.0)
    too_long = replace(fits, labels=(("session_id", "s" * 119),))
    exposition = Exposition((DURATION,), ONE_SOURCE)
    value = Distribution([1] * 5, 1.0, [fits, too_long, None, None, None])

    exposition.set("default", DURATION.name, ("m", "k"), value)

    body = exposition.publish().body(Format.OPENMETRICS)
    assert body.count(b" # {") == 1
    assert b"s" * 119 not in body


def is_parseable(exemplar: Exemplar) -> bool:
    """Whether client_python's parser can read it: it takes any brace in an exemplar's label for the closing one."""
    return not any("}" in value for _, value in exemplar.labels)


@settings(deadline=None)
@given(
    st.dictionaries(st.tuples(texts, texts), st.floats(0, 1e18), max_size=5),
    st.dictionaries(st.tuples(texts, texts), exemplars.filter(is_parseable), max_size=5),
)
def test_client_pythons_parser_reads_back_what_was_set(
    counts: dict[tuple[str, str], float], marks: dict[tuple[str, str], Exemplar]
) -> None:
    exposition = Exposition((HANDOFFS, DURATION), ONE_SOURCE)
    for labels, value in counts.items():
        exposition.set("default", HANDOFFS.name, labels, value)
    for labels, mark in marks.items():
        exposition.set("default", DURATION.name, labels, Distribution([1, 0, 2, 0, 1], 9.5, [mark, *[None] * 4]))

    text = exposition.publish().answer(Format.OPENMETRICS, b"# TYPE t gauge\nt 1.0\n").decode()

    read = {family.name: family for family in text_string_to_metric_families(text)}  # type: ignore[no-untyped-call]
    samples = [sample for family in read.values() for sample in family.samples]
    assert {
        (sample.labels["to_agent"], sample.labels["model"]): sample.value
        for sample in samples
        if sample.name == HANDOFFS.name
    } == counts
    found = [sample.exemplar for sample in samples if sample.exemplar]
    assert sorted(exemplar.labels["session_id"] for exemplar in found) == sorted(
        mark.labels[0][1] for mark in marks.values()
    )


# ── publications ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_publication_shows_its_moment_when_it_is_first_read_later() -> None:
    mark = Exemplar((("session_id", "first"),), 0.1, 1.0)
    counts = [1, 0, 0, 0, 0]
    values: dict[Key, Value] = {("east", DURATION.name, ("m", "k")): Distribution(counts, 0.1, [mark, *[None] * 4])}
    wanted = oracle(values, Format.OPENMETRICS)
    exposition = filled(values)
    first = exposition.publish()

    counts[0] = 99
    exposition.set("east", DURATION.name, ("m", "k"), Distribution([2, 0, 0, 0, 0], 0.2))
    exposition.set("east", DURATION.name, ("a", "k"), Distribution([2, 0, 0, 0, 0], 0.2))
    second = exposition.publish()

    assert first.body(Format.OPENMETRICS) == wanted
    assert b"first" not in second.body(Format.OPENMETRICS)
    assert (first.samples[DURATION.name], second.samples[DURATION.name]) == (7, 14)


def test_a_value_is_read_at_the_next_publish_and_not_again() -> None:
    counts = [0, 0, 0]
    exposition = filled({("east", TASKS.name, ()): Distribution(counts, 0.0)})
    counts[0] = 1
    first = exposition.publish().body(Format.TEXT)
    counts[0] = 2

    second = exposition.publish().body(Format.TEXT)

    assert b'le="0.0",source="east",tenant="\xc3\xbc"} 1.0\n' in first
    assert second == first


def test_an_exemplar_that_changes_alone_is_shown() -> None:
    value = Distribution([1, 0, 0, 0, 0], 0.1, [Exemplar((), 0.1, 1.0), *[None] * 4])
    exposition = filled({("east", DURATION.name, ("m", "k")): value})
    exposition.publish()

    exposition.set("east", DURATION.name, ("m", "k"), replace(value, exemplars=[Exemplar((), 0.1, 2.0), *[None] * 4]))

    assert b"# {} 0.1 2.0\n" in exposition.publish().body(Format.OPENMETRICS)


def test_a_publish_without_changes_keeps_what_was_made() -> None:
    exposition = filled({("east", UP.name, ()): 1.0})
    first = exposition.publish()
    body = first.body(Format.TEXT)

    exposition.set("east", UP.name, (), 1.0)
    exposition.remove("west", UP.name, ())
    second = exposition.publish()

    assert second.body(Format.TEXT) is body
    assert (first.number, second.number) == (1, 2)


def test_samples_are_the_lines_of_each_metric() -> None:
    exposition = filled(
        {
            ("east", DURATION.name, ("m", "k")): Distribution([0] * 5, 0.0),
            ("west", DURATION.name, ("m", "k")): Distribution([0] * 5, 0.0),
            ("west", SAVED.name, ("t",)): Distribution([0] * 4, 0.0),
            ("west", UP.name, ()): 1.0,
        }
    )

    publication = exposition.publish()

    counted = {name: count for name, count in publication.samples.items() if count}
    assert counted == {DURATION.name: 14, SAVED.name: 4, UP.name: 1}
    assert list(publication.samples) == [metric.name for metric in METRICS]
    lines = [line for line in publication.body(Format.TEXT).splitlines() if not line.startswith(b"#")]
    assert len(lines) == sum(counted.values())


# ── several as one ──────────────────────────────────────────────────────────────────────────────────────────


def of_one(values: Mapping[Key, Value], source: str) -> Publication:
    """What is published of one source in an exposition of its own."""
    exposition = Exposition(METRICS, {source: SOURCES[source]})
    for key, value in values.items():
        if key[0] == source:
            exposition.set(*key, value)
    return exposition.publish()


@settings(deadline=None)
@given(states)
def test_merged_publications_are_those_of_one_exposition(values: dict[Key, Value]) -> None:
    """No family twice, none interleaved; in both formats, compressed too, and counted as well."""
    whole, one = filled(values).publish(), merged([of_one(values, source) for source in sorted(SOURCES)])

    for form in Format:
        assert one.body(form) == oracle(values, form)
        assert gzip.decompress(one.answer(form, b"tail", gzip=True)) == whole.answer(form, b"tail")
    assert one.samples == whole.samples


def test_merging_one_gives_itself() -> None:
    publication = of_one({}, "east")

    assert merged([publication]) is publication


def test_sources_with_different_metrics_can_be_merged() -> None:
    """While a configuration changes, one may be ahead: what both have is together, and the rest stays."""
    east, west = (
        Exposition(metrics, {name: SOURCES[name]}) for name, metrics in (("east", [UP, OPEN]), ("west", [COST, UP]))
    )
    values: dict[Key, Value] = {
        ("east", UP.name, ()): 1.0,
        ("east", OPEN.name, ("p",)): 2.0,
        ("west", UP.name, ()): 0.0,
        ("west", COST.name, ("z",)): 3.0,
    }
    for key, value in values.items():
        (east if key[0] == "east" else west).set(*key, value)

    one = merged([east.publish(), west.publish()])

    assert sorted(one.body(Format.TEXT).splitlines()) == sorted(oracle(values, Format.TEXT).splitlines())
    assert list(one.samples) == [UP.name, OPEN.name, COST.name]


def test_what_is_made_is_known_to_be_there() -> None:
    """Each form by itself, and for as long as nothing changes."""
    exposition = filled({("east", UP.name, ()): 1.0})
    first = exposition.publish()
    forms = [(form, packed) for form in Format for packed in (False, True)]
    assert not any(first.has(form, gzip=packed) for form, packed in forms)

    first.parts(Format.TEXT, b"", gzip=True)
    second = exposition.publish()

    assert [key for key in forms if second.has(key[0], gzip=key[1])] == [(Format.TEXT, True)]
    assert first.shows_the_same(second)
    exposition.set("east", UP.name, (), 0.0)
    assert not first.shows_the_same(exposition.publish())


def test_of_the_plain_bodies_the_one_last_asked_for_is_kept() -> None:
    """What is compressed stays: it is a tenth of them."""
    publication = filled({("east", UP.name, ()): 1.0}).publish()
    forms = [(form, packed) for form in Format for packed in (False, True)]

    for form, packed in forms:
        publication.parts(form, b"", packed)

    last = (Format.OPENMETRICS, False)
    assert {key for key in forms if publication.has(key[0], gzip=key[1])} == {last, *((form, True) for form in Format)}
    assert publication.body(Format.TEXT) == oracle({("east", UP.name, ()): 1.0}, Format.TEXT)


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None)
@given(states, st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.sampled_from(Format))
def test_a_gzipped_answer_is_one_member_of_the_plain_one(
    values: dict[Key, Value], tails: list[bytes], form: Format
) -> None:
    publication = filled(values).publish()
    end = b"# EOF\n" if form is Format.OPENMETRICS else b""

    for tail in tails:
        plain = publication.answer(form, tail)
        packed = publication.answer(form, tail, gzip=True)

        assert plain == oracle(values, form) + tail.removesuffix(end) + end
        assert gzip.decompress(packed) == plain
        member = zlib.decompressobj(wbits=31)
        assert member.decompress(packed) == plain
        assert member.eof
        assert member.unused_data == b""


def test_a_tail_may_have_its_own_end() -> None:
    publication = filled({("east", UP.name, ()): 1.0}).publish()

    for tail in (b"x 1.0\n", b"x 1.0\n# EOF\n"):
        assert publication.answer(Format.OPENMETRICS, tail).endswith(b"\nx 1.0\n# EOF\n")
        assert publication.answer(Format.TEXT, b"x 1.0\n").endswith(b"\nx 1.0\n")


def test_the_body_of_an_answer_is_the_same_object_every_time() -> None:
    publication = filled({("east", UP.name, ()): 1.0}).publish()

    for packed in (False, True):
        first = publication.parts(Format.TEXT, b"a", packed)
        second = publication.parts(Format.TEXT, b"b", packed)

        assert first[0] is second[0]
        assert first[1] != second[1]


def test_answers_made_in_many_threads_are_alike() -> None:
    value = Distribution([1] * 5, 5.0, [Exemplar((("session_id", "s"),), 0.1, 1.0)] * 5)
    values: dict[Key, Value] = {("east", DURATION.name, ("m", f"k{n}")): value for n in range(300)}
    wanted = {form: oracle(values, form) for form in Format}
    publication = filled(values).publish()

    def answer(n: int) -> bool:
        form = Format.TEXT if n % 2 else Format.OPENMETRICS
        got = publication.answer(form, b"", gzip=n % 3 > 0)
        return (gzip.decompress(got) if n % 3 else got).removesuffix(b"# EOF\n") == wanted[form]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(answer, range(48)))


# ── programming errors ──────────────────────────────────────────────────────────────────────────────────────

FIVE = Distribution([0] * 5, 0.0)


@pytest.mark.parametrize(
    "source,metric,labels,value,message",
    [
        ("east", "t_none", (), 1.0, "no metric 't_none'"),
        ("north", UP.name, (), 1.0, "no source 'north', only east, west"),
        ("east", UP.name, ("x",), 1.0, "t_up has 0 labels"),
        ("east", HANDOFFS.name, ("x",), 1.0, r"t_handoffs_total has 2 labels \('to_agent', 'model'\), not 1"),
        ("east", UP.name, (), FIVE, "t_up is a gauge"),
        ("east", DURATION.name, ("m", "k"), 1.0, "t_duration_seconds is a histogram"),
        ("east", DURATION.name, ("m", "k"), Distribution([0] * 4, 0.0), "5 buckets with .Inf, not 4"),
        ("east", DURATION.name, ("m", "k"), replace(FIVE, exemplars=[None]), "5 exemplars, not 1"),
        ("east", TASKS.name, (), Distribution([0] * 3, 0.0, [None] * 3), "0 exemplars, not 3"),
    ],
)
def test_a_series_that_cannot_be_is_named(
    source: str, metric: str, labels: tuple[str, ...], value: Value, message: str
) -> None:
    exposition = Exposition(METRICS, SOURCES)

    with pytest.raises(ValueError, match=message):
        exposition.set(source, metric, labels, value)

    assert exposition.publish().body(Format.TEXT) == b""


def test_removing_what_cannot_be_is_an_error_and_what_is_not_there_is_none() -> None:
    exposition = Exposition(METRICS, SOURCES)

    exposition.remove("east", OPEN.name, ("nobody",))

    with pytest.raises(ValueError, match="t_open_sessions has 1 labels"):
        exposition.remove("east", OPEN.name, ())


@pytest.mark.parametrize(
    "metrics,constants,message",
    [
        ((UP, UP), {"source": "s"}, "a metric is given twice"),
        ((OPEN,), {"source": "s", "project": "p"}, "constant label 'project' is a label of t_open_sessions"),
        ((TASKS,), {"le": "s"}, "constant label 'le' is a label of t_tasks"),
    ],
)
def test_metrics_that_cannot_stand_together_are_named(
    metrics: tuple[Metric, ...], constants: Mapping[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Exposition(metrics, {"default": constants})

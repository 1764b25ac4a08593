"""The process's own metrics: the bytes of client_python, at a fraction of its cost, and right at every scrape."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client.exposition import generate_latest as text_of
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_of
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed_text

from exporter import telemetry as telemetry_module
from exporter.exposition import Format
from exporter.telemetry import AUTH_FAILURES, DECLARATIONS, OUTCOMES, RATE_LIMITED, Telemetry

HOSTILE = 'a "quoted" \\ back\nslash ü'


@pytest.fixture
def without_created() -> Iterator[None]:
    """Let client_python leave `_created` out, as ours always does, for as long as a test compares with it."""
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    yield
    prometheus_client.enable_created_metrics()  # type: ignore[no-untyped-call]


def moved(telemetry: Telemetry, *sources: str) -> Telemetry:
    """Move everything there is to move."""
    for source in sources:
        for outcome in OUTCOMES:
            telemetry.polled(source, outcome, duration_s=0.02)
        telemetry.polled(source, "success", duration_s=None)
        for table in ("sessions", HOSTILE):
            telemetry.queried(source, table, duration_s=0.003, failed=table == HOSTILE)
    telemetry.published(sources[0], {"orchestration_handoffs_total": 1_500, "orchestration_up": 1}, duration_s=0.004)
    telemetry.saved(sources[0], duration_s=0.2, size_bytes=123_456_789)
    telemetry.save_failed()
    telemetry.reloaded("configuration", successful=False, now=2.0)
    for code in (200, 404):
        telemetry.requested("/metrics", code, duration_s=12.5)
    telemetry.refused(AUTH_FAILURES)
    telemetry.refused(RATE_LIMITED)
    telemetry.certified(2e9)
    return telemetry


def of_process(text: bytes) -> bytes:
    """Return the text without `process_*`."""
    return text.partition(b"# HELP process_")[0]


def values(telemetry: Telemetry) -> dict[str, float]:
    """Return each sample's value by its line's beginning."""
    lines = telemetry.render(Format.TEXT).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name.removeprefix("orchestration_exporter_"): float(value) for name, value in pairs}


@pytest.mark.usefixtures("without_created")
def test_the_bytes_are_client_pythons() -> None:
    """In both formats, with hostile label values and constant labels, before and after every kind of change."""
    sources = {"a": {"tenant": HOSTILE, "le_site": "1"}, HOSTILE: {"le_site": "2", "tenant": "u"}}
    telemetry = Telemetry(sources, now=1.5e9)
    telemetry.certified(1.9e9)  # client_python shows it as 0 before

    for _ in range(3):
        assert of_process(telemetry.render(Format.TEXT)) == text_with_series(telemetry)
        openmetrics = openmetrics_of(telemetry.registry)  # type: ignore[no-untyped-call]
        assert of_process(telemetry.render(Format.OPENMETRICS)) == with_series(openmetrics.removesuffix(b"# EOF\n"))
        moved(telemetry, *sources)


def text_with_series(telemetry: Telemetry) -> bytes:
    """Return what client_python renders, in text."""
    return with_series(text_of(telemetry.registry))


def with_series(text: bytes) -> bytes:
    """Return the text without the headers of families that have no series: ours shows none of those."""
    families = re.split(rb"(?m)^(?=# HELP )", text)
    return b"".join(family for family in families if re.search(rb"(?m)^[^#]", family))


def test_the_global_registry_and_its_settings_stay_as_they_are() -> None:
    """No `_created` of ours, and client_python goes on showing that of others."""
    other = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("other", "Of somebody else.", registry=other)

    shown = moved(Telemetry({"a": {}}, now=1.0), "a").render(Format.OPENMETRICS)

    assert b"_created" not in shown
    assert b"other_created" in text_of(other)
    assert b"orchestration" not in text_of(prometheus_client.REGISTRY)


def test_both_formats_can_be_parsed() -> None:
    """Strict parsers read them, each family once."""
    telemetry = moved(Telemetry({"a": {"tenant": HOSTILE}}, now=1.0), "a")

    text = list(parsed_text(telemetry.render(Format.TEXT).decode()))
    openmetrics = list(parsed_openmetrics(telemetry.render(Format.OPENMETRICS).decode() + "# EOF\n"))  # type: ignore[no-untyped-call]

    wanted = {declared.name.removesuffix("_total") for declared in DECLARATIONS}
    for families in (text, openmetrics):
        names = [family.name for family in families if not family.name.startswith("process_")]
        assert sorted(names) == sorted(wanted)
    assert {family.unit for family in openmetrics if family.name.endswith("_seconds")} <= {"seconds", ""}


def test_counters_are_born_at_zero() -> None:
    """What can be counted of a source is there before it happens, so that its first time is seen."""
    found = values(Telemetry({"a": {}}, now=1.0))

    assert [found[f'polls_total{{outcome="{outcome}",source="a"}}'] for outcome in OUTCOMES] == [0.0, 0.0, 0.0]
    assert found['poll_duration_seconds_count{source="a"}'] == 0.0
    assert found["checkpoint_failures_total"] == 0.0
    assert (found["config_last_reload_successful"], found["config_last_reload_success_timestamp_seconds"]) == (1, 1)


def test_every_move_is_in_the_next_scrape() -> None:
    """What is kept of a rendering never outlives a change."""
    telemetry = Telemetry({"a": {}}, now=1.0)
    before = values(telemetry)

    after = values(moved(telemetry, "a"))
    again = values(moved(telemetry, "a"))

    assert before['polls_total{outcome="success",source="a"}'] == 0
    assert [found['polls_total{outcome="success",source="a"}'] for found in (after, again)] == [2, 4]
    assert [found['poll_duration_seconds_count{source="a"}'] for found in (after, again)] == [3, 6]
    assert [found['query_errors_total{source="a",table="sessions"}'] for found in (after, again)] == [0, 0]
    assert [found['http_requests_total{code="404",route="/metrics"}'] for found in (after, again)] == [1, 2]
    assert [found['http_request_duration_seconds_bucket{le="10.0",route="/metrics"}'] for found in (after, again)] == [
        0,
        0,
    ]
    assert after['http_request_duration_seconds_sum{route="/metrics"}'] == 25.0
    assert after["checkpoint_size_bytes"] == 123_456_789
    assert after['series{metric="orchestration_handoffs_total"}'] == 1_500
    assert (after["config_last_reload_successful"], after["config_last_reload_success_timestamp_seconds"]) == (0, 1)


def test_samples_and_sizes_are_sums_over_the_sources() -> None:
    """Each publish and each save counts in place of the source's one before."""
    telemetry = Telemetry({"a": {}, "b": {}}, now=1.0)
    for source, number in (("a", 5), ("b", 7), ("a", 6)):
        telemetry.published(source, {"m": number, f"of_{source}": 1}, duration_s=0.1)
        telemetry.saved(source, duration_s=0.1, size_bytes=number * 100)
    found = values(telemetry)

    assert (found['series{metric="m"}'], found['series{metric="of_a"}'], found['series{metric="of_b"}']) == (13, 1, 1)
    assert found["checkpoint_size_bytes"] == 1_300


@pytest.mark.usefixtures("without_created")
def test_sources_come_and_go() -> None:
    """Of those that are gone nothing is left, what stays goes on, what is new is born; client_python agrees."""
    telemetry = Telemetry({"a": {"tenant": "t"}, "b": {"tenant": "u"}, "c": {"tenant": "v"}}, now=1.0)
    moved(telemetry, "a", "b", "c")

    telemetry.follow({"a": {"tenant": "t"}, "b": {"tenant": "w"}, "d": {"tenant": "x"}})
    found = values(telemetry)

    assert found['polls_total{outcome="success",source="a",tenant="t"}'] == 2
    assert found['polls_total{outcome="success",source="b",tenant="w"}'] == 0
    assert found['poll_duration_seconds_count{source="d",tenant="x"}'] == 0
    assert not [name for name in found if 'source="c"' in name or 'tenant="u"' in name]
    assert found["checkpoint_size_bytes"] == 123_456_789
    assert of_process(telemetry.render(Format.TEXT)) == text_with_series(telemetry)

    telemetry.follow({"a": {}})
    assert 'polls_total{outcome="success",source="a"}' in values(telemetry)
    assert "tenant" not in telemetry.render(Format.TEXT).decode()


def test_one_sources_own_metrics_are_those_that_name_it() -> None:
    """The lines of its series, each under its headers; nothing of the process, nor of others."""
    telemetry = moved(Telemetry({"a": {}, "b": {}}, now=1.0), "a", "b")
    whole = telemetry.render(Format.TEXT).decode().splitlines()

    alone = telemetry.render_source(Format.TEXT, "b").decode().splitlines()

    lines = [line for line in alone if not line.startswith("#")]
    assert lines == [line for line in whole if 'source="b"' in line]
    helped = {line.split()[2] for line in alone if line.startswith("# HELP")}
    assert helped == {declared.name for declared in DECLARATIONS if "source" in declared.labels}


def test_only_what_changed_is_rendered_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape of hundreds of samples formats those of the one route that was asked."""
    telemetry = moved(Telemetry({"a": {}}, now=1.0), "a")
    telemetry.render(Format.TEXT)
    formatted: list[float] = []
    monkeypatch.setattr(telemetry_module, "_text", lambda value: formatted.append(value))

    telemetry.render(Format.OPENMETRICS)
    assert formatted == []

    telemetry.requested("/metrics", 200, duration_s=0.001)
    telemetry.render(Format.TEXT)
    assert len(formatted) == len(telemetry_module.SHORT_BUCKETS_S) + len(["+Inf", "_count", "_sum", "requests"])


def test_the_process_is_shown() -> None:
    """Memory, CPU and file descriptors, by client_python's collector."""
    found = values(Telemetry({}, now=1.0))

    assert found["process_resident_memory_bytes"] > 1e6
    assert {"process_cpu_seconds_total", "process_open_fds", "process_start_time_seconds"} <= set(found)


class Broken:
    """A collector on a system whose /proc lacks what client_python takes for granted."""

    def collect(self) -> Iterator[object]:
        """Fail as it does."""
        raise UnboundLocalError("max_fds")


def test_a_proc_that_cannot_be_read_costs_no_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is served without `process_*`."""
    telemetry = Telemetry({"a": {}}, now=1.0)
    monkeypatch.setattr(telemetry._process, "_collector", Broken())

    for form in Format:
        assert b"process_" not in telemetry.render(form)
        assert b"polls_total" in telemetry.render(form)


def test_every_declaration_keeps_the_rules_of_names() -> None:
    """HELP is a sentence; `_total` marks counters and only those; nothing ends in what a histogram adds."""
    for declared in DECLARATIONS:
        assert re.fullmatch(r"orchestration_exporter_[a-z_]+", declared.name)
        assert declared.help.endswith(".")
        assert declared.name.endswith("_total") == (declared.kind == "counter")
        assert not declared.name.endswith(("_count", "_sum", "_bucket", "_percent"))
        assert declared.kind != "histogram" or declared.unit


def test_promtool_finds_nothing_to_say(promtool: Path) -> None:
    """`promtool check metrics` is silent on all of it."""
    shown = moved(Telemetry({"a": {"tenant": "t"}}, now=1.0), "a").render(Format.TEXT)

    done = subprocess.run([promtool, "check", "metrics"], input=shown, capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_promtool_finds_a_name_that_breaks_the_rules(promtool: Path) -> None:
    """The check can fail: a counter without `_total` is told."""
    shown = b"# HELP polls Polls.\n# TYPE polls counter\npolls 1.0\n"

    done = subprocess.run([promtool, "check", "metrics"], input=shown, capture_output=True, check=False)

    assert done.returncode != 0


def test_a_certificate_that_is_not_there_has_no_end() -> None:
    """Without TLS there is no sample: 0 would be a certificate that ended in 1970."""
    telemetry = Telemetry({"default": {}}, now=1.0)

    before = b"tls_certificate_not_after" in telemetry.render(Format.TEXT)
    telemetry.certified(2e9)

    assert not before
    assert values(telemetry)["tls_certificate_not_after_timestamp_seconds"] == 2e9

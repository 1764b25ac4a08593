"""What a real Prometheus makes of the exporter: every form, every version, over restarts and births, as SQL has it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from exporter import catalogue
from exporter.demo.schema import TABLES
from exporter.exposition import Format
from exporter.spec import Gauge
from tests.processes import Demo, Serving
from tests.realtools import Prometheus, Tools
from tests.sqlite_platform import PLATFORM, REPOSITORY, Child, running

pytestmark = [pytest.mark.bulk, pytest.mark.asyncio(loop_scope="module")]

SAMPLE = REPOSITORY.parent / "shared" / "samples" / "orchestration.db"
INTERVAL_S = 1.0
HOLD_S = 4.0
HANDOFFS = "orchestration_handoffs_total"
PROTOCOLS = {"text": "PrometheusText0.0.4", "openmetrics": "OpenMetricsText1.0.0"}
PROJECTS, MODELS, FIRST = 10, 10, 5
"""A hundred label sets, each of which begins with five hand-offs."""


NO_BUDGETS = [metric for metric in catalogue.METRICS if metric.name.startswith("orchestration_budget_")]
OF_THE_PRESENT = [
    metric
    for metric in catalogue.METRICS
    if isinstance(metric, Gauge) and metric.reading in ("in_flight_oldest", "session_subagents_max", "current")
]
NOT_IN_SAMPLE = [
    metric
    for metric in catalogue.METRICS
    if metric.name in ("orchestration_activities_total", "orchestration_unpriced_events_total")
]
SILENT = {"demo": [*NO_BUDGETS, *OF_THE_PRESENT], "sample": [*NO_BUDGETS, *OF_THE_PRESENT, *NOT_IN_SAMPLE]}
"""What may have nothing to say: there are no budgets, nothing may go on now, and the sample lacks some rows."""


# ── the tools that read an exposition ────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def expositions(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, Format], str]:
    """What is served of the sample and of a demo, in both forms."""
    folder, found = tmp_path_factory.mktemp("expositions"), {}
    databases = {"sample": folder / "sample.db", "demo": folder / "demo.db"}
    shutil.copyfile(SAMPLE, databases["sample"])
    with Demo(databases["demo"], "--history", "3d", "--speed", "100"):
        for name, database in databases.items():
            with Serving(folder / name, database) as serving:
                serving.start()
                for form in Format:
                    # twice: the first tells nothing of requests yet
                    serving.get(form=form)
                    found[name, form] = serving.get(form=form)
                assert serving.end() == 0
    return found


def promtool_check(promtool: Path, text: str) -> str:
    """What `promtool check metrics` has to say; it is silent when all is well."""
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert bool(said) == bool(done.returncode), said
    return said


@pytest.mark.parametrize("name", ["sample", "demo"])
async def test_promtool_has_nothing_to_say(
    promtool: Path, expositions: Mapping[tuple[str, Format], str], name: str
) -> None:
    """Every metric, the process's own included, keeps to the conventions."""
    assert promtool_check(promtool, expositions[name, Format.TEXT]) == ""


async def test_promtool_complains_of_what_is_bad(promtool: Path, expositions: Mapping[tuple[str, Format], str]) -> None:
    """A counter without `_total`, a HELP that is missing, and text that is none are all told."""
    text = expositions["sample", Format.TEXT]

    assert "_total" in promtool_check(promtool, text.replace(HANDOFFS, "orchestration_handoffs"))
    assert "no help text" in promtool_check(promtool, re.sub(rf"# HELP {HANDOFFS} .*\n", "", text))
    assert promtool_check(promtool, text.replace('source="default"', "source=default"))


def parsed(openmetrics: str) -> list[Metric]:
    """What client_python's parser makes of it."""
    return list(text_string_to_metric_families(openmetrics))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("name", ["sample", "demo"])
async def test_client_python_reads_openmetrics(expositions: Mapping[tuple[str, Format], str], name: str) -> None:
    """Its parser is strict; it finds the same samples as there are in the text format, and exemplars."""
    text, openmetrics = (expositions[name, form] for form in (Format.TEXT, Format.OPENMETRICS))

    families = {family.name: family for family in parsed(openmetrics)}

    types = {metric.name.removesuffix("_total"): metric.type for metric in catalogue.METRICS}
    found = {family.name: family.type for family in families.values() if family.name in types}
    assert found.items() <= types.items()
    assert types.keys() - found.keys() <= {metric.name.removesuffix("_total") for metric in SILENT[name]}
    samples = sum(len(families[metric].samples) for metric in found)
    assert samples == sum(line.startswith(tuple(types)) for line in text.splitlines())
    exemplars = [s.exemplar for s in families["orchestration_handoff_duration_seconds"].samples if s.exemplar]
    assert exemplars
    assert all(set(exemplar.labels) == {"session_id"} for exemplar in exemplars)
    for family in families.values():
        assert not family.unit or family.name.endswith(f"_{family.unit}")


async def test_client_python_complains_of_what_is_bad(expositions: Mapping[tuple[str, Format], str]) -> None:
    """Without the end, or with a family in two pieces, it is no OpenMetrics."""
    text = expositions["sample", Format.OPENMETRICS]
    first = re.findall(rf"^{HANDOFFS}.*\n", text, re.MULTILINE)[0]

    for bad in (text.removesuffix("# EOF\n"), text.replace("# EOF", f"{first}# EOF")):
        with pytest.raises(ValueError, match=r"."):
            parsed(bad)


# ── a platform, four exporters, one Prometheus ───────────────────────────────────────────────────────────────

_ROWS = """INSERT INTO handoff_events (session_id, timestamp, source_model, target_model, success, tokens_used, cost,
response_time) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
SELECT '{session}', datetime('now'), 'o', '{model}', 1, 10, 0.5, 1.5 FROM n"""


class Writer:
    """The platform: it has its database open all the time."""

    def __init__(self, child: Child) -> None:
        self._child = child
        for table in filter(str.strip, TABLES.split(";")):
            self.sql(table)

    def sql(self, statement: str) -> list[list[Any]]:
        """Run a statement; the rows it gives."""
        rows = json.loads(self._child.ask(" ".join(statement.split())))
        assert isinstance(rows, list), rows
        return rows

    def session(self, name: str) -> None:
        """A session of a project of the same name."""
        self.sql(f"INSERT INTO orchestration_sessions (session_id, project_name) VALUES ('{name}', '{name}')")

    def handoffs(self, session: str, model: str, count: int) -> None:
        """So many hand-offs, committed at once."""
        self.sql(_ROWS.format(session=session, model=model, count=count))

    def births(self) -> None:
        """A hundred pairs of a project and a model that there were not before, committed at once."""
        self.sql("BEGIN IMMEDIATE")
        for project in range(PROJECTS):
            self.session(f"born{project}")
            for model in range(MODELS):
                self.handoffs(f"born{project}", f"model{model}", FIRST)
        self.sql("COMMIT")

    def count(self, sessions: str) -> int:
        """How many hand-offs there are of sessions named so."""
        [[count]] = self.sql(f"SELECT count(*) FROM handoff_events WHERE session_id GLOB '{sessions}'")
        return int(count)


@dataclass(frozen=True, slots=True)
class Watched:
    """What was watched: a Prometheus that scraped it all, from when to when, and how many rows SQL has."""

    prometheus: Prometheus
    forms: tuple[str, ...]
    began: float
    ended: float
    baseline: int
    steady: int
    born: int

    @property
    def window_s(self) -> int:
        """A window that ends at the end and reaches back to before the first row was written."""
        return math.ceil(self.ended - self.began)

    @property
    def complaints(self) -> list[str]:
        """Warnings and errors in Prometheus's log."""
        return [line for line in self.prometheus.log.splitlines() if re.search(r"level=(warn|error)", line, re.I)]

    async def increase(self, selector: str) -> list[tuple[dict[str, str], float, float, float]]:
        """Of each series: `increase()` over it all, the same by hand from the samples, and how far it may be above."""
        window = f"{self.window_s}s"
        asked = await self.prometheus.query(f"increase({selector}[{window}])", self.ended)
        increases = {frozenset(sample.labels.items()): sample.value for sample in asked}
        raw = (await self.prometheus.api("query", query=f"{selector}[{window}]", time=f"{self.ended:.3f}"))["result"]
        found = []
        for series in raw:
            labels = {key: value for key, value in series["metric"].items() if key != "__name__"}
            values = [float(value) for _, value in series["values"]]
            by_hand = sum(later - earlier if later >= earlier else later for earlier, later in pairwise(values))
            sampled = series["values"][-1][0] - series["values"][0][0]
            # it goes on at both ends for up to 1.1 of the mean gap between samples, in proportion
            most = 1 + 2 * 1.1 * (sampled / max(1, len(values) - 1)) / sampled if sampled else 1.0
            found.append((labels, increases.get(frozenset(labels.items()), 0.0), by_hand, by_hand * most))
        return found


def scrape_config(form: str, exporters: Mapping[str, Serving], tools: Tools) -> dict[str, Any]:
    """A job that scrapes them all in one form; `exporter` is the label that tells them apart."""
    static = [{"targets": [each.address], "labels": {"exporter": name}} for name, each in exporters.items()]
    chosen = {"scrape_protocols": [PROTOCOLS[form]]} if tools.takes_scrape_protocols else {}
    return {"job_name": form, "static_configs": static, **chosen}


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory, prometheus_tools: Tools) -> Iterator[tuple[Path, Writer]]:
    """A platform with a session and seven hand-offs, and its database."""
    database = tmp_path_factory.mktemp(f"platform-{prometheus_tools.version}") / "platform.db"
    with running(Child(PLATFORM, database, "wal", "SELECT 1")) as child:
        made = Writer(child)
        made.session("steady")
        made.handoffs("steady", "old", 7)
        yield database, made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(
    tmp_path_factory: pytest.TempPathFactory, prometheus_tools: Tools, writer: tuple[Path, Writer]
) -> AsyncIterator[Watched]:
    """Restarts, births with a hold and without, and the sample, all at one time."""
    tools, (database, platform), folder = prometheus_tools, writer, tmp_path_factory.mktemp("watched")
    sample = folder / "sample.db"
    shutil.copyfile(SAMPLE, sample)
    quick = {"poll_interval": 0.1}
    exporters = {
        "restarted": Serving(folder / "restarted", database, quick),
        "held": Serving(folder / "held", database, quick | {"new_series_hold": HOLD_S}),
        "unheld": Serving(folder / "unheld", database, quick | {"new_series_hold": 0.0}),
        "sample": Serving(folder / "sample", sample, quick),
    }
    forms = ("text", "openmetrics") if tools.takes_scrape_protocols else ("openmetrics",)
    async with AsyncExitStack() as stack:
        ends = stack.enter_context(ExitStack())
        for each in exporters.values():
            ends.enter_context(each)
        await asyncio.gather(*(asyncio.to_thread(each.start) for each in exporters.values()))
        top = {"scrape_configs": [scrape_config(form, exporters, tools) for form in forms]}
        flags = ["--enable-feature=exemplar-storage"]
        prometheus = await stack.enter_async_context(
            Prometheus(tools, folder / "prometheus", scrape_interval_s=INTERVAL_S, top=top, flags=flags)
        )
        await prometheus.wait_for(f"sum(up) == {len(exporters) * len(forms)}")
        began, baseline = time.time() - INTERVAL_S, platform.count("*")
        await asyncio.to_thread(platform.births)
        await one_second(platform, prometheus)
        await live(platform, exporters["restarted"], prometheus)
        steady, born = platform.count("steady"), platform.count("born*")
        total = f'sum({HANDOFFS}{{exporter="%s", project=~"%s", job="{forms[-1]}"}}) == %d'
        await prometheus.wait_for(total % ("restarted", "steady", steady))
        await prometheus.wait_for(total % ("held", "born.*", born))
        for name in exporters:
            await prometheus.wait_for(f'min(up{{exporter="{name}"}}) == 1')
        await prometheus.scraped()
        yield Watched(prometheus, forms, began, time.time(), baseline, steady, born)
        for each in exporters.values():
            assert await asyncio.to_thread(each.end) == 0


async def one_second(platform: Writer, prometheus: Prometheus) -> None:
    """Hand-offs that began in one and the same second have their results one scrape after the other."""
    stamp = platform.sql("SELECT datetime('now')")[0][0]
    for number in range(4):
        platform.session(f"parallel{number}")
    for rows, number in enumerate((1, 3, 0, 2), 1):
        platform.sql(
            "INSERT INTO handoff_events (session_id, timestamp, target_model, success, response_time)"
            f"VALUES ('parallel{number}', '{stamp}', 'parallel', 1, {1.5 + number / 100})"
        )
        shown = f'orchestration_handoff_duration_seconds_count{{exporter="unheld", model="parallel"}} == {rows}'
        await prometheus.wait_for(shown)
        await prometheus.scraped()


async def live(platform: Writer, serving: Serving, prometheus: Prometheus) -> None:
    """Rows come before, during and after two restarts, one of them by `kill -9`."""

    def lives() -> None:
        platform.handoffs("steady", "old", 10)
        for number, rows in ((signal.SIGKILL, 6), (signal.SIGTERM, 4)):
            assert serving.end(number) in (0, -signal.SIGKILL)
            platform.handoffs("steady", "old", rows)
            serving.start()
            platform.handoffs("steady", "old", 5)

    await prometheus.scraped()
    await asyncio.to_thread(lives)


def selector(exporter: str, form: str, **labels: str) -> str:
    """The hand-offs that exporter shows in that form."""
    texts = [f'exporter="{exporter}"', f'job="{form}"', *(f'{name}=~"{value}"' for name, value in labels.items())]
    return f"{HANDOFFS}{{{', '.join(texts)}}}"


async def test_increase_over_restarts_is_what_sql_counts(watched: Watched) -> None:
    """Rows that come while the exporter is down are in it, and those of before are not in it twice."""
    assert watched.steady - watched.baseline == 10 + 6 + 4 + 2 * 5
    for form in watched.forms:
        found = await watched.increase(selector("restarted", form, project="steady", outcome="success"))
        [(_, increase, by_hand, most)] = found
        assert by_hand == watched.steady - watched.baseline, form
        assert by_hand <= increase <= most, form


async def test_no_counter_was_ever_reset(watched: Watched) -> None:
    """Not one series that is kept over restarts fell, buckets and sums included."""
    window = f"{watched.window_s}s"
    seen = 0
    for metric in catalogue.METRICS:
        ends = {"counter": ("",), "histogram": ("_bucket", "_count", "_sum")}.get(metric.type, ())
        for name in (metric.name + end for end in ends):
            values = await watched.prometheus.query(f"resets({name}[{window}])", watched.ended)
            assert not any(sample.value for sample in values), [sample for sample in values if sample.value]
            seen += len(values)

    assert seen > 1_000


async def test_increase_over_births_is_what_sql_counts(watched: Watched) -> None:
    """Of each of a hundred label sets that began while Prometheus watched, the first five rows are seen."""
    assert watched.born == PROJECTS * MODELS * FIRST
    for form in watched.forms:
        found = await watched.increase(selector("held", form, project="born.*", outcome="success"))
        assert len(found) == PROJECTS * MODELS, form
        for labels, increase, by_hand, most in found:
            assert by_hand == FIRST, labels
            assert by_hand - 1e-9 <= increase <= most, (labels, increase, most)


async def test_the_other_outcomes_are_born_with_them(watched: Watched) -> None:
    """At 0, so that the first failure will be seen."""
    for form in watched.forms:
        [(_, failures)] = await watched.prometheus.query(
            f"count({selector('held', form, project='born.*', outcome='failure')} == 0)"
        )
        assert failures == PROJECTS * MODELS


async def test_without_a_hold_beginnings_are_lost(watched: Watched) -> None:
    """The same rows, shown at once: this is what the hold is for, and that the test above can fail."""
    for form in watched.forms:
        found = await watched.increase(selector("unheld", form, project="born.*", outcome="success"))
        assert len(found) == PROJECTS * MODELS
        assert sum(increase for _, increase, _, _ in found) == 0


async def test_both_forms_say_the_same(watched: Watched) -> None:
    """Every series of the sample, in one form and in the other; but what moves with the clock between two scrapes."""
    still = '__name__=~"orchestration_.*", __name__!~".*_exporter_.*", period!~".*_to_date", exporter="sample"'
    stored = [
        {
            frozenset(item for item in sample.labels.items() if item[0] != "job"): sample.value
            for sample in await watched.prometheus.query(f'{{{still}, job="{form}"}}')
        }
        for form in watched.forms
    ]

    assert len(stored[0]) > 400
    assert stored[0] == stored[-1]


async def test_the_sample_is_up(watched: Watched) -> None:
    """`up` is Prometheus's, `orchestration_up` ours; and totals are those of the file."""
    with contextlib.closing(sqlite3.connect(f"file:{SAMPLE}?immutable=1", uri=True)) as connection:
        [tasks] = connection.execute("SELECT count(*) FROM task_outcomes").fetchone()
    for form in watched.forms:
        where = f'{{exporter="sample", job="{form}"}}'
        assert await watched.prometheus.value(f"up{where}", watched.ended) == 1
        assert await watched.prometheus.value(f"orchestration_up{where}", watched.ended) == 1
        assert await watched.prometheus.value(f"sum(orchestration_tasks_total{where})", watched.ended) == tasks


async def test_prometheus_has_no_complaint(watched: Watched) -> None:
    """Nothing was dropped: no duplicate, nothing out of order, no label or sample that it would not take."""
    complaints = [line for line in watched.complaints if "exemplar" not in line]

    assert complaints == []


async def test_exemplars_of_one_second_raise_no_complaint(watched: Watched) -> None:
    """Of hand-offs that began in one second and ended apart, a bucket names one: Prometheus takes no second one."""
    assert [line for line in watched.complaints if "exemplar" in line] == []


async def test_exemplars_arrive(watched: Watched) -> None:
    """Each names a session of the file and has a value of its bucket."""
    query = 'orchestration_handoff_duration_seconds_bucket{exporter="sample"}'
    found = await watched.prometheus.api("query_exemplars", query=query, start="1790000000", end=f"{time.time():.0f}")
    with contextlib.closing(sqlite3.connect(f"file:{SAMPLE}?immutable=1", uri=True)) as connection:
        sessions = {key for (key,) in connection.execute("SELECT session_id FROM handoff_events")}

    exemplars = [(series["seriesLabels"], exemplar) for series in found for exemplar in series["exemplars"]]
    assert len(exemplars) > 10
    for labels, exemplar in exemplars:
        assert labels["job"] == "openmetrics"
        assert exemplar["labels"]["session_id"] in sessions
        assert float(exemplar["value"]) <= float(labels["le"])

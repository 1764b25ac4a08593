"""Months of a platform's history, judged by the rules as they are shipped: what would have fired, and when.

A history is backfilled into a real Prometheus; recording rules are range queries whose answers become blocks, layer by
layer; alerts are range queries of their expressions, with `for` and `keep_firing_for` applied by tests/alerttimes.py,
and Alertmanager's inhibition by tests/inhibition.py: what is muted for as long as it fires is told to nobody.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from exporter.catalogue import SCHEMA
from tests.alerttimes import Alerting, Firing, Recording, Rules, read_rules, spans
from tests.history import History
from tests.inhibition import is_told, read_inhibitions
from tests.realtools import Prometheus, Series, Tools, prometheus_versions
from tools.bring import REPOSITORY

RULES = REPOSITORY / "provisioning" / "prometheus" / "rules"
ALERTMANAGER = REPOSITORY / "provisioning" / "alertmanager" / "alertmanager.yml"
JOB = "orchestration-exporter"
STEP_S = 300.0
"""Between evaluations: 36 days of it are what one range query answers."""
SAMPLE_S = 150.0
"""Between samples: so that every window of five minutes has two of them."""
SLOW_STEP_S = 3_600.0
"""Between evaluations of what looks back over days, which is held until the next: it moves slowly, and costs much."""
ANSWER_S = 600.0
DAY_S = 86_400.0
BUDGETS = (
    {"name": "all", "limit_usd": 400.0, "period": "month"},
    {"name": "billing", "limit_usd": 15.0, "period": "week", "scope": {"project": "billing-api"}},
)
"""What somebody would have set who looked at what the demo spends: of all, a month of twice that, with room for a bad
day [which costs a quarter of a month, and its weekday is expected to cost more for four weeks]; of a project, a week of
a third more."""
_QUIET = (
    "--storage.tsdb.retention.time=10y",
    # nothing is compacted: the folder is read for a minute
    "--storage.tsdb.min-block-duration=2h",
    "--storage.tsdb.max-block-duration=2h",
    "--query.timeout=10m",
    "--query.max-samples=500000000",
)


def shipped() -> Rules:
    """The rules of this repository."""
    return read_rules(sorted(RULES.glob("*.yaml")))


def newest() -> Tools | None:
    """The newest Prometheus here: a month takes minutes, so that it is judged by one."""
    return prometheus_versions()[-1] if prometheus_versions() else None


def needed(rules: Rules) -> str:
    """A regular expression of the exporter's metrics that the rules ask for."""
    asked = {name.removesuffix(part) for name in rules.asked() for part in ("", "_bucket", "_count", "_sum")}
    return "|".join(sorted({metric.name for metric in SCHEMA.metrics} & asked))


@dataclass(frozen=True, slots=True)
class Month:
    """What was judged: from and to are Unix times; ``told`` are those of ``firings`` that somebody is told of."""

    begin: float
    end: float
    firings: tuple[Firing, ...]
    told: tuple[Firing, ...]

    def described(self) -> str:
        """A line for each alert of a series that fired, by time."""
        return "\n".join(f"{line(firing)}{'' if firing in self.told else ' (muted)'}" for firing in self.firings)


def began(firings: Iterable[Firing], begin: float, end: float) -> list[Firing]:
    """Those that began to fire between two times."""
    return [firing for firing in firings if begin <= firing.span.begin < end]


def line(firing: Firing) -> str:
    """An alert of a series for people."""
    begin, end = (datetime.fromtimestamp(at, UTC) for at in firing.span)
    known = {"alertname", "alert_group", "severity", "job", "instance", "source"}
    labels = ", ".join(f"{name}={value!r}" for name, value in sorted(firing.labels.items()) if name not in known)
    return f"{begin:%a %d %b %H:%M} – {end:%a %d %b %H:%M}  {firing.severity:8} {firing.alert} {labels}".rstrip()


async def judged(tools: Tools, past: History, rules: Rules, folder: Path, *, begin: float) -> Month:
    """Evaluate the rules on a history, the alerts from ``begin`` (Unix time) on.

    Raises: QueryError if Prometheus cannot evaluate a rule.
    """
    storage = past.copied(folder / "storage")
    await record(tools, rules, storage, folder, begin=past.end - STEP_S * 10_999, end=past.end)
    async with _started(tools, folder / "alerts", storage) as prometheus:
        answers = await _all(prometheus, [alert.expr for alert in rules.alerts], begin=begin, end=past.end)
    found = [
        firing
        for alert, series in zip(rules.alerts, answers, strict=True)
        for firing in firings(alert, series, begin=begin, end=past.end)
    ]
    found.sort(key=lambda firing: firing.span)
    inhibitions = read_inhibitions(ALERTMANAGER)
    told = tuple(firing for firing in found if is_told(inhibitions, firing, found))
    return Month(begin, past.end, tuple(found), told)


async def record(
    tools: Tools,
    rules: Rules,
    storage: Path,
    folder: Path,
    *,
    begin: float,
    end: float,
    step_s: float = STEP_S,
    flags: Sequence[str] = (),
) -> None:
    """Add to a Prometheus's data folder what its recording rules would have recorded between two Unix times.

    Raises: QueryError if Prometheus cannot evaluate a rule.
    """
    for number, layer in enumerate(rules.layers()):
        async with _started(tools, folder / f"layer-{number}", storage, flags) as prometheus:
            answers = await _all(
                prometheus, [rule.expr for rule in layer], begin=begin, end=end, step_s=step_s, recorded=True
            )
        _store(tools, layer, answers, storage, folder / "recorded.om")


def _started(tools: Tools, folder: Path, storage: Path, flags: Sequence[str] = ()) -> Prometheus:
    return Prometheus(tools, folder, storage=storage, flags=[*_QUIET, *flags], answer_s=ANSWER_S)


def firings(alert: Alerting, answer: Iterable[Series], *, begin: float, end: float) -> list[Firing]:
    """When an alert fires, by series."""
    evaluations = [begin + STEP_S * number for number in range(int((end - begin) // STEP_S) + 1)]
    return [
        Firing({**series.labels, **alert.labels, "alertname": alert.name}, span)
        for series in nameless(answer)
        for span in spans([at for at, _ in series.points], evaluations, for_s=alert.for_s, keep_s=alert.keep_s)
    ]


def nameless(answer: Iterable[Series]) -> list[Series]:
    """Series as rules have them, without the metric's name: one that lost it for a while (`up or 0 * up`) is one."""
    found: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for series in answer:
        labels = tuple(sorted((name, value) for name, value in series.labels.items() if name != "__name__"))
        found.setdefault(labels, []).extend(series.points)
    return [Series(dict(labels), sorted(points)) for labels, points in found.items()]


async def _all(
    prometheus: Prometheus,
    exprs: Sequence[str],
    *,
    begin: float,
    end: float,
    step_s: float = STEP_S,
    recorded: bool = False,
) -> list[list[Series]]:
    """The answers to range queries, two at a time; what is ``recorded`` over days at `SLOW_STEP_S`, and held."""
    turn = asyncio.Semaphore(2)

    async def answer(expr: str) -> list[Series]:
        async with turn:
            if recorded and step_s < SLOW_STEP_S and re.search(r"\[(?:[3-9]|[1-9][0-9]+)d[\]:]", expr):
                slow = await prometheus.query_range(expr, start=begin, end=end, step_s=SLOW_STEP_S)
                return [held(series, until=end) for series in slow]
            return await prometheus.query_range(expr, start=begin, end=end, step_s=step_s)

    return await asyncio.gather(*map(answer, exprs))


def held(series: Series, *, until: float) -> Series:
    """A series of `SLOW_STEP_S` at `STEP_S`: each value holds until the next one is due."""
    steps = range(int(SLOW_STEP_S // STEP_S))
    points = [(at + STEP_S * step, value) for at, value in series.points for step in steps]
    return Series(series.labels, [(at, value) for at, value in points if at <= until])


def _store(
    tools: Tools, rules: Sequence[Recording], answers: Sequence[Sequence[Series]], storage: Path, text: Path
) -> None:
    """Make blocks of what was recorded."""
    with text.open("w") as out:
        for rule, answer in zip(rules, answers, strict=True):
            out.write(f"# TYPE {rule.name} unknown\n")
            for series in nameless(answer):
                labels = ",".join(f"{name}={_quoted(value)}" for name, value in series.labels.items())
                out.writelines(f"{rule.name}{{{labels}}} {value!r} {at:.0f}\n" for at, value in series.points)
        out.write("# EOF\n")
    command = [tools.promtool, "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=256h", text, storage]
    subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)


def _quoted(value: str) -> str:
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'

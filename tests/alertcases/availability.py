"""Histories of the alerts in alerting/groups/availability.py."""

from __future__ import annotations

from collections.abc import Mapping

from alerting import foreign
from exporter import telemetry
from exporter.catalogue import own
from tests.alertcases.courses import hourly, steep
from tests.promtool import SOURCE, TARGET, Expect, History, below, ends, fires, healthy, of_source, series

MAIN = "Source main of a:10477"


def history(name: str, found: Mapping[str, str], *expect: Expect, step: str = "1m", evaluated: str = "1m") -> History:
    """A history of this group."""
    return History(name, "availability", found, expect, step=step, evaluated=evaluated)


WATCHDOG = history(
    "alerting works",
    {series(own.UP): "1x10"},
    fires(
        "OrchestrationWatchdog",
        "5m",
        severity="info",
        description="Alerting works from Prometheus to the receiver. A dead man's switch expects this and calls "
        "without it.",
    ),
)
ELSEWHERE = History(
    "a site says where its Grafana and its runbooks are",
    "availability",
    {series(own.UP): "1x10"},
    WATCHDOG.expect,
    external={"grafana_url": "https://grafana.example.org", "runbooks_url": "https://example.org/runbooks"},
)
EXPORTER_DOWN = history(
    "an exporter that cannot be scraped for a while; of another job, nobody here is told",
    {
        series(foreign.UP, TARGET): "1x10 0x20 1x20",
        series(foreign.UP, {"job": "node", "instance": "a:9100"}): "0x60",
    },
    healthy("OrchestrationExporterDown", "5m"),
    below("OrchestrationExporterDown", "15m"),
    fires(
        "OrchestrationExporterDown",
        "20m",
        severity="critical",
        description="Prometheus has not been able to scrape a:10477 for 5 minutes: up is 0. All other alerts on it "
        "are blind.",
        **TARGET,
    ),
    ends("OrchestrationExporterDown", "40m"),
)
EXPORTER_ABSENT = history(
    "an exporter that is no target any more",
    {series(foreign.UP, TARGET): "1x10 _x30 1x20"},
    healthy("OrchestrationExporterAbsent", "5m"),
    below("OrchestrationExporterAbsent", "22m"),
    fires(
        "OrchestrationExporterAbsent",
        "35m",
        severity="critical",
        description="Prometheus has known no target of job orchestration-exporter for 10 minutes (1 job missing): "
        "nothing about the platform is watched.",
        job="orchestration-exporter",
    ),
    ends("OrchestrationExporterAbsent", "50m"),
)
SOURCE_DOWN = history(
    "a source that cannot be read for a while",
    {series(own.UP): "1x10 0x20 1x20", series(own.UP, {**TARGET, "source": "other", "tenant": "b"}): "1x60"},
    healthy("OrchestrationSourceDown", "5m"),
    below("OrchestrationSourceDown", "15m"),
    fires(
        "OrchestrationSourceDown",
        "20m",
        severity="critical",
        description=f"{MAIN} has not been current for 5 minutes: orchestration_up is 0. What is shown is as old as "
        "its last success.",
        **SOURCE,
    ),
    ends("OrchestrationSourceDown", "40m"),
)

HOURS = 15 * 24
"""Two weeks and a day."""


def silence(rows: float, lasts: int = 4, holidays: range = range(0)) -> dict[str, str]:
    """Two weeks and a day with so many rows an hour but in some hours, then some hours without, and work again."""

    def rate(hour: float) -> float:
        return 0.0 if HOURS <= hour < HOURS + lasts or int(hour) in holidays else rows

    return {
        series(own.ROWS_READ, table="handoff_events"): hourly(rate, HOURS + 36, 2),
        series(own.UP): "1x900",
    }


STALE = "OrchestrationDataStale"


def stale(at: str, rows: int, source: str = "main") -> Expect:
    """So many rows were expected."""
    return fires(
        STALE,
        at,
        severity="warning",
        description=f"Source {source} of a:10477 is read without error, but no row came in the last hour (or in the "
        f"last day, where hours have few); at the same time of the weeks before it was {rows} or more.",
        **{**SOURCE, "source": source},
    )


DATA_STALE = history(
    "a platform that writes nothing when it usually does: hours where there are many rows, a day where there are few",
    silence(80)
    | of_source("few", silence(69, 4))
    | of_source("little", silence(4, 25))
    | of_source("down", silence(80) | {series(own.UP): f"1x{2 * HOURS} 0x90"})
    # one of the weeks before had no rows either at that time: they come in lumps
    | of_source("lumps", silence(80, 4, range(HOURS - 7 * 24, HOURS - 7 * 24 + 4))),
    healthy(STALE, f"{HOURS - 4}h"),
    *(below(STALE, f"{HOURS + 3}h", source=source) for source in ("few", "little", "lumps")),
    healthy(STALE, f"{HOURS + 3}h", source="down"),
    stale(f"{HOURS + 3}h", 80),
    ends(STALE, f"{HOURS + 6}h"),
    stale(f"{HOURS + 25}h", 96, "little"),
    ends(STALE, f"{HOURS + 29}h"),
    step="30m",
    evaluated="1h",
)


def polls(failed: float) -> dict[str, str]:
    """Sixty polls a minute, of which so many fail from minute 30 to 60."""
    return {
        series(telemetry.POLLS, outcome="failure"): steep((0, 30), (failed, 30), (0, 60)),
        series(telemetry.POLLS, outcome="success"): steep((60, 30), (60 - failed, 30), (60, 60)),
        series(telemetry.POLLS, outcome="discarded"): steep((60, 120)),
    }


POLLS_FAILING = history(
    "most polls fail for half an hour",
    polls(45),
    healthy("OrchestrationPollsFailing", "25m"),
    fires(
        "OrchestrationPollsFailing",
        "55m",
        severity="warning",
        description=f"{MAIN}: 75% of the polls failed in the last 15 minutes (more than 50%).",
        **SOURCE,
    ),
    ends("OrchestrationPollsFailing", "95m"),
)
POLLS_SOMETIMES_FAILING = history("nearly half of the polls fail", polls(29), below("OrchestrationPollsFailing", "55m"))


def slow_polls(slow: float) -> dict[str, str]:
    """Ten polls a minute, of which so many take between 5 and 10 s from minute 30 to 70; the others up to 0.1 s."""
    quick = steep((10, 30), (10 - slow, 40), (10, 60))
    return {
        series(telemetry.POLL_DURATION, part="_bucket", le="0.1"): quick,
        series(telemetry.POLL_DURATION, part="_bucket", le="5.0"): quick,
        series(telemetry.POLL_DURATION, part="_bucket", le="10.0"): steep((10, 130)),
        series(telemetry.POLL_DURATION, part="_bucket", le="+Inf"): steep((10, 130)),
    }


POLLS_SLOW = history(
    "two polls of ten are slow for a while",
    slow_polls(2),
    healthy("OrchestrationPollsSlow", "25m"),
    fires(
        "OrchestrationPollsSlow",
        "65m",
        severity="warning",
        description=f"{MAIN}: one poll in ten took more than 7.5s in the last 15 minutes (limit 5 s).",
        **SOURCE,
    ),
    ends("OrchestrationPollsSlow", "110m"),
)
POLLS_SELDOM_SLOW = history(
    "fewer than one poll in ten is slow", slow_polls(0.9), below("OrchestrationPollsSlow", "65m")
)


def rejected(negative: float, rows: float) -> dict[str, str]:
    """So many unusable values a minute in so many rows, from minute 60 to 150."""
    return {
        series(own.ROWS_REJECTED, table="task_outcomes", reason="negative"): steep((0, 60), (negative, 90), (0, 120)),
        series(own.ROWS_REJECTED, table="handoff_events", reason="bad_json"): steep((0, 270)),
        series(own.ROWS_READ, table="task_outcomes"): steep((rows, 270)),
        series(own.ROWS_READ, table="handoff_events"): steep((rows, 270)),
    }


ROWS_REJECTED = history(
    "one value in twenty cannot be used",
    rejected(0.5, 10),
    healthy("OrchestrationRowsRejected", "50m"),
    fires(
        "OrchestrationRowsRejected",
        "140m",
        severity="warning",
        description=f"{MAIN}: values unusable in the last hour are 5% of the rows read from task_outcomes (more than "
        "2%). What depends on them is too low.",
        **SOURCE,
        table="task_outcomes",
    ),
    ends("OrchestrationRowsRejected", "250m"),
)
FEW_REJECTED_OF_MANY = history(
    "just under one value in fifty cannot be used", rejected(0.19, 10), below("OrchestrationRowsRejected", "140m")
)
FEW_REJECTED = history(
    "four of twelve rows have an unusable value: too few to tell",
    rejected(4 / 60, 12 / 60),
    below("OrchestrationRowsRejected", "140m"),
)


def overflow(rows: float) -> dict[str, str]:
    """So many rows a minute that get no label value of their own, from minute 60 to 150."""
    where = series(own.LABEL_OVERFLOW, metric="orchestration_handoffs_total", label="project")
    return {where: steep((0, 60), (rows, 90), (0, 120))}


LABEL_OVERFLOW = history(
    "a flood of label values",
    overflow(2),
    healthy("OrchestrationLabelOverflow", "50m"),
    fires(
        "OrchestrationLabelOverflow",
        "140m",
        severity="warning",
        description=f"{MAIN}: orchestration_handoffs_total counted 120 rows of the last hour under __other__ (more "
        "than 10).",
        **SOURCE,
        metric="orchestration_handoffs_total",
    ),
    ends("OrchestrationLabelOverflow", "250m"),
)
LABEL_TRICKLE = history("a few rows of a new project", overflow(9 / 60), below("OrchestrationLabelOverflow", "140m"))

REWOUND = history(
    "a database is restored, and an hour later all is as before",
    {
        series(own.SOURCE_REWINDS): "0x60 1x120",
        series(own.COUNTING_SINCE): "1000x180",
        series(own.LATE_ROWS): "0x180",
        series(own.COUNTING_SINCE, {**TARGET, "source": "other", "tenant": "b"}): "1000x180",
    },
    healthy("OrchestrationSourceRewound", "30m"),
    healthy("OrchestrationCountingDisturbed", "30m"),
    fires(
        "OrchestrationSourceRewound",
        "90m30s",
        severity="warning",
        description=f"{MAIN}: its past changed 1 times in the last hour. Totals stay; rows read again are told "
        "apart by their digests.",
        **SOURCE,
    ),
    fires(
        "OrchestrationCountingDisturbed",
        "90m30s",
        severity="info",
        description=f"{MAIN}: 1 times in the last hour counting began anew, a database was restored or rows came "
        "late. Alerts on increases are silent for as long as they look back.",
        **SOURCE,
    ),
    ends("OrchestrationSourceRewound", "150m"),
    ends("OrchestrationCountingDisturbed", "150m"),
    evaluated="30s",
)
NOT_REWOUND = history(
    "a rewind long ago, and rows that come in time, disturb nothing",
    {
        series(own.SOURCE_REWINDS): "1x180",
        series(own.COUNTING_SINCE): "1000x180",
        series(own.LATE_ROWS): "7x180",
    },
    below("OrchestrationSourceRewound", "90m"),
    below("OrchestrationCountingDisturbed", "90m"),
)
ROWS_DROPPED = history(
    "rows are dropped from flight",
    {series(own.IN_FLIGHT_DROPPED, table="handoff_events"): steep((0, 30), (1, 60), (0, 120))},
    healthy("OrchestrationRowsDropped", "20m"),
    fires(
        "OrchestrationRowsDropped",
        "89m",
        severity="warning",
        description=f"{MAIN}: 59 rows of handoff_events were counted without their result in the last hour, because "
        "max_in_flight was reached.",
        **SOURCE,
        table="handoff_events",
    ),
    ends("OrchestrationRowsDropped", "180m"),
)
ROWS_NOT_DROPPED = history(
    "rows that were dropped before are no news",
    {series(own.IN_FLIGHT_DROPPED, table="handoff_events"): "400x120"},
    below("OrchestrationRowsDropped", "90m"),
)
CHECKPOINT_FAILING = history(
    "the state cannot be saved for half an hour",
    {series(telemetry.CHECKPOINT_FAILURES, TARGET): steep((0, 30), (1, 30), (0, 60))},
    healthy("OrchestrationCheckpointFailing", "20m"),
    fires(
        "OrchestrationCheckpointFailing",
        "55m",
        severity="warning",
        description="a:10477: saving failed 15 times in the last 15 minutes.",
        **TARGET,
    ),
    ends("OrchestrationCheckpointFailing", "90m"),
)
CHECKPOINT_FAILED = history(
    "saving fails now and then",
    {series(telemetry.CHECKPOINT_FAILURES, TARGET): steep((0, 30), (0.19, 60))},
    below("OrchestrationCheckpointFailing", "80m"),
)
RELOAD_FAILED = history(
    "a configuration that cannot be used, until it is mended",
    {series(telemetry.RELOAD_SUCCESSFUL, TARGET): "1x10 0x20 1x20"},
    healthy("OrchestrationReloadFailed", "5m"),
    below("OrchestrationReloadFailed", "15m"),
    fires(
        "OrchestrationReloadFailed",
        "20m",
        severity="warning",
        description="a:10477 goes on with the configuration before: its last reload failed (successful is 0).",
        **TARGET,
    ),
    ends("OrchestrationReloadFailed", "40m"),
)
SCRAPE_TOO_BIG = history(
    "a scrape that grows, and shrinks again",
    {series(foreign.SAMPLES_SCRAPED, TARGET): "30000x30 39999x30 45000x30 30000x30"},
    healthy("OrchestrationScrapeTooBig", "20m"),
    below("OrchestrationScrapeTooBig", "55m"),
    fires(
        "OrchestrationScrapeTooBig",
        "85m",
        severity="warning",
        description="a:10477 gives 90% of the 50000 samples that a scrape may have (more than 80%).",
        **TARGET,
    ),
    ends("OrchestrationScrapeTooBig", "100m"),
)
LOGINS_FAILING = history(
    "somebody tries passwords for ten minutes",
    {series(telemetry.AUTH_FAILURES, TARGET): steep((0, 20), (3.9, 20), (10, 10), (0, 60))},
    healthy("OrchestrationLoginsFailing", "15m"),
    below("OrchestrationLoginsFailing", "35m"),
    fires(
        "OrchestrationLoginsFailing",
        "48m",
        severity="warning",
        description="a:10477 refused 50 log-ins in 5 minutes (more than 20).",
        **TARGET,
    ),
    ends("OrchestrationLoginsFailing", "80m"),
)
CERTIFICATE_EXPIRING = history(
    "a certificate is renewed late",
    # 14 days after the epoch and six hours: the limit is passed at 6h; renewed at 10h
    {series(telemetry.CERTIFICATE_END, TARGET): f"{14 * 86400 + 6 * 3600}x40 {90 * 86400}x20"},
    healthy("OrchestrationCertificateExpiring", "1h"),
    below("OrchestrationCertificateExpiring", "5h45m"),
    fires(
        "OrchestrationCertificateExpiring",
        "9h",
        severity="warning",
        description="The certificate of a:10477 is valid for 13d 21h 0m 0s more (less than 14 days).",
        **TARGET,
    ),
    ends("OrchestrationCertificateExpiring", "12h"),
    step="15m",
    evaluated="15m",
)

HISTORIES: tuple[History, ...] = tuple(each for each in globals().values() if isinstance(each, History))

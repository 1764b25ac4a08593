"""Exporter: is what the other dashboards show current, complete and cheap."""

from __future__ import annotations

from dashboards.board import Board, Row
from dashboards.panels import COUNT, PER_HOUR, Column, Look, Query, bars, stat, states, steps, table, timeseries
from dashboards.process import CPU, FILES, FILES_MOST, MEMORY, STARTED
from dashboards.questions import as_date, ask, since
from exporter import telemetry
from exporter.catalogue import own
from exporter.promql import Expr, binary
from exporter.telemetry import Declaration


def _of_build(metric: Declaration) -> Expr:
    """A time of each instance in milliseconds, with the versions that it runs."""
    versions = ask.now(telemetry.BUILD_INFO, "instance", "version", "python_version", how="max")
    return as_date(binary(versions, "* on (instance) group_left", ask.now(metric, "instance", how="max")))


HEALTH = (("1", "Current", "green"), ("0", "Not current", "red"))

headline = (
    stat(
        "Current",
        "Whether all that is served is current. A source that cannot be read shows its last totals meanwhile.",
        Query(ask.now(own.UP, how="min")),
        Look("none", steps("red", (1, "green")), mappings=HEALTH),
    ),
    stat(
        "Counting since",
        "Since when totals are counted without a break: a rebuild or a lost state moves it, and increase() over it is "
        "not to be trusted.",
        Query(as_date(ask.now(own.COUNTING_SINCE, how="max"))),
        Look("dateTimeFromNow"),
    ),
    stat(
        "Last read",
        "How long ago the source was read last, the longest of all sources.",
        Query(since(ask.now(own.LAST_SUCCESS, how="min"))),
        Look("s", decimals=0),
    ),
    stat(
        "Rows behind",
        "Rows that the sources had beyond those read, at the last poll.",
        Query(ask.now(own.SOURCE_LAG)),
        Look(COUNT, decimals=0),
    ),
    stat(
        "Values rejected",
        "Values in the time range that could not be used: text where a number belongs, negative costs. Their rows "
        "count otherwise.",
        Query(ask.total(own.ROWS_REJECTED)),
        Look(COUNT, steps("green", (1, "orange")), decimals=0),
    ),
    stat(
        "Configuration",
        "Whether the configuration could be read when it was last asked for.",
        Query(ask.now(telemetry.RELOAD_SUCCESSFUL, how="min")),
        Look("none", steps("red", (1, "green")), mappings=(("1", "Read", "green"), ("0", "Refused", "red"))),
    ),
)

reading = (
    states(
        "Current",
        "When which source was current, and when not: while its database is locked, missing or half copied.",
        Query(ask.now(own.UP, "source", how="min"), "{{source}}"),
        Look("none", steps("red", (1, "green")), mappings=HEALTH),
    ),
    timeseries(
        "Rows read per hour",
        "Rows first read, by table.",
        [Query(ask.per_hour(own.ROWS_READ, "table"), "{{table}}")],
        Look(PER_HOUR, low=0),
        stacked=True,
    ),
    timeseries(
        "Polls per hour",
        "How polls went: a discarded one was read while the database changed under it, and is read again.",
        [Query(ask.per_hour(telemetry.POLLS, "outcome"), "{{outcome}}")],
        Look(PER_HOUR, low=0),
        colours={"discarded": "orange"},
    ),
    timeseries(
        "Rows behind",
        "Rows that each source had beyond those read, at the last poll.",
        [Query(ask.now(own.SOURCE_LAG, "source", how="max"), "{{source}}")],
        Look(COUNT, low=0, decimals=0),
    ),
    timeseries(
        "Age of the newest row",
        "How long ago the newest event of each table happened. It grows when nobody works: compare with the hour of "
        "the day.",
        [Query(since(ask.now(own.DATA_LAST_EVENT, "table", how="max")), "{{table}}")],
        Look("s", low=0),
    ),
)

times = (
    timeseries(
        "Polls, 95th percentile",
        "95 of 100 polls that connected took at most so long.",
        [Query(ask.quantile(0.95, telemetry.POLL_DURATION, "source"), "{{source}}")],
        Look("s", low=0),
    ),
    timeseries(
        "Queries, 95th percentile",
        "95 of 100 queries of each table took at most so long; it must not grow with the table.",
        [Query(ask.quantile(0.95, telemetry.QUERY_DURATION, "table"), "{{table}}")],
        Look("s", low=0),
    ),
    timeseries(
        "Publish and checkpoint, 95th percentile",
        "What a poll that found something costs beside its queries: rendering what changed, and saving the state.",
        [
            Query(ask.quantile(0.95, telemetry.PUBLISH_DURATION), "publish"),
            Query(ask.quantile(0.95, telemetry.CHECKPOINT_DURATION), "checkpoint"),
        ],
        Look("s", low=0),
    ),
    timeseries(
        "HTTP, 95th percentile",
        "95 of 100 requests were answered within so long, by route; a scrape costs the same however large the tables.",
        [Query(ask.quantile(0.95, telemetry.HTTP_DURATION, "route"), "{{route}}")],
        Look("s", low=0),
    ),
    timeseries(
        "HTTP requests per hour",
        "Requests answered, by route and status code.",
        [Query(ask.per_hour(telemetry.HTTP_REQUESTS, "route", "code"), "{{route}} {{code}}")],
        Look(PER_HOUR, low=0),
    ),
    timeseries(
        "Size of the saved state",
        "What the checkpoint takes on disk.",
        [Query(ask.now(telemetry.CHECKPOINT_SIZE), "checkpoint")],
        Look("bytes", low=0),
    ),
)

troubles = (
    timeseries(
        "Rejected values per hour",
        "By reason: what stood in the tables and could not be used.",
        [Query(ask.per_hour(own.ROWS_REJECTED, "reason"), "{{reason}}")],
        Look(PER_HOUR, low=0, quiet="series appear with the first value that is rejected"),
    ),
    timeseries(
        "Failures per hour",
        "Queries that failed or took too long, attempts to save the state that failed, and requests that were refused: "
        "for wrong credentials, or because their client sent too many.",
        [
            Query(ask.per_hour(telemetry.QUERY_ERRORS, "table"), "queries of {{table}}"),
            Query(ask.per_hour(telemetry.CHECKPOINT_FAILURES), "checkpoint"),
            Query(ask.per_hour(telemetry.AUTH_FAILURES), "wrong credentials"),
            Query(ask.per_hour(telemetry.RATE_LIMITED), "too many requests"),
        ],
        Look(PER_HOUR, low=0),
    ),
    timeseries(
        "Labels over the limit per hour",
        "Rows counted as __other__ because max_label_values or max_series_per_metric was reached.",
        [Query(ask.per_hour(own.LABEL_OVERFLOW, "metric", "label"), "{{metric}} {{label}}")],
        Look(PER_HOUR, low=0, quiet="series appear with the first row over a limit"),
    ),
    timeseries(
        "Late, uncertain and dropped rows per hour",
        "late: read more than ten minutes after their event, as after an outage. uncertain: read after a rewind, and "
        "only their time tells whether they had counted. dropped: made final without a result for want of room.",
        [
            Query(ask.per_hour(own.LATE_ROWS), "late"),
            Query(ask.per_hour(own.REWIND_UNCERTAIN), "uncertain"),
            Query(ask.per_hour(own.IN_FLIGHT_DROPPED), "dropped"),
            Query(ask.per_hour(own.SOURCE_REWINDS), "rewinds"),
        ],
        Look(PER_HOUR, low=0),
    ),
)

process = (
    timeseries(
        "Memory",
        "Resident memory of the exporter, by instance.",
        [Query(ask.now(MEMORY, "instance"), "{{instance}}")],
        Look("bytes", low=0),
    ),
    timeseries(
        "CPU",
        "How much of one processor the exporter uses, by instance.",
        [Query(ask.per_second(CPU, "instance"), "{{instance}}")],
        Look("percentunit", low=0),
    ),
    timeseries(
        "Open files",
        "Files and sockets that are open, by instance, and how many may be (dashed).",
        [
            Query(ask.now(FILES, "instance"), "{{instance}}"),
            Query(ask.now(FILES_MOST, "instance"), "{{instance}} limit"),
        ],
        Look(COUNT, low=0, decimals=0),
        dashed="limit",
        log=True,
    ),
    bars(
        "Series",
        "The twenty metrics with the most series.",
        [Query(ask.now(telemetry.SERIES, "metric").top(20), "{{metric}}")],
        Look(COUNT, low=0, decimals=0),
    ),
    table(
        "Versions",
        "What runs, since when, and since when its configuration is the one it has.",
        ("instance", "version", "python_version"),
        (
            Column("Started", _of_build(STARTED), "dateTimeFromNow"),
            Column("Configuration read", _of_build(telemetry.RELOAD_TIMESTAMP), "dateTimeFromNow"),
        ),
        Look(),
    ).sized(24, 5),
)

EXPORTER = Board(
    "exporter",
    "Operations",
    "Orchestration / Exporter",
    "Whether what the other dashboards show is current, complete and cheap: polls, queries, lag, rejected rows, the "
    "process.",
    (
        Row("Now", headline),
        Row("Reading", reading),
        Row("How long", times),
        Row("What is not as it should be", troubles),
        Row("The process", process),
    ),
    step="5m",  # polls and scrapes are seconds apart, and a new exporter is to be seen at once
    filters=(),
)

"""Metrics of the exporter on a source: how current it is, what it read, what it could not use."""

from __future__ import annotations

from exporter.catalogue.money import BUDGET_SPEND
from exporter.catalogue.vocabulary import METRIC, OVERFLOWN, REJECTION, TABLE
from exporter.spec import Counter, Gauge, Metric, OwnCounters

UP = Gauge(
    "orchestration_up",
    "1 while what is served is current: the last poll could read the source and its result could be saved.",
    reading="up",
)
COUNTING_SINCE = Gauge(
    "orchestration_counting_since_timestamp_seconds",
    "Unix time since which the totals are counted without a break: the first complete publish, or the latest "
    "rescan, rebuild or fall-back. Guards alerts on increase().",
    reading="counting_since",
)
ROWS_READ = Counter(
    "orchestration_exporter_rows_read_total",
    "Rows first read from each table; a row that is read again is not counted again.",
    (TABLE,),
)
LATE_ROWS = Counter(
    "orchestration_exporter_late_rows_total",
    "Rows first read more than ten minutes after their event time, without those of a first scan or rebuild. "
    "Guards alerts on increase().",
)
ROWS_REJECTED = Counter(
    "orchestration_exporter_rows_rejected_total",
    "Values that could not be used, once per row and column; the rest of the row counts.",
    (TABLE, REJECTION),
)
LABEL_OVERFLOW = Counter(
    "orchestration_exporter_label_overflow_total",
    "Rows counted under the label value __other__ because max_label_values or max_series_per_metric was reached.",
    (METRIC, OVERFLOWN),
)
SOURCE_REWINDS = Counter(
    "orchestration_exporter_source_rewinds_total",
    "Times the source's past was found changed (a restore or a replacement) and reading went back. Guards alerts "
    "on increase().",
)
REWIND_UNCERTAIN = Counter(
    "orchestration_exporter_rewind_uncertain_rows_total",
    "Rows read after a rewind of which only their event time tells whether they had been counted already.",
)
IN_FLIGHT_DROPPED = Counter(
    "orchestration_exporter_in_flight_dropped_total",
    "Rows that were made final without a result because max_in_flight was reached.",
    (TABLE,),
)
LAST_SUCCESS = Gauge(
    "orchestration_exporter_last_success_timestamp_seconds",
    "Unix time of the last poll that could read the source.",
    reading="last_success",
)
SOURCE_LAG = Gauge(
    "orchestration_exporter_source_lag_rows",
    "Rows the source had beyond those read, by its highest ids, at the last poll.",
    reading="lag",
)
DATA_LAST_EVENT = Gauge(
    "orchestration_exporter_data_last_event_timestamp_seconds",
    "Unix time of the newest event read from the table.",
    (TABLE,),
    reading="last_event",
)

HEALTH: tuple[Metric, ...] = (UP, COUNTING_SINCE)

METRICS: tuple[Metric, ...] = (
    ROWS_READ,
    LATE_ROWS,
    ROWS_REJECTED,
    LABEL_OVERFLOW,
    SOURCE_REWINDS,
    REWIND_UNCERTAIN,
    IN_FLIGHT_DROPPED,
    LAST_SUCCESS,
    SOURCE_LAG,
    DATA_LAST_EVENT,
)

COUNTERS = OwnCounters(
    rows_read=ROWS_READ,
    late_rows=LATE_ROWS,
    rejected=ROWS_REJECTED,
    overflow=LABEL_OVERFLOW,
    rewinds=SOURCE_REWINDS,
    uncertain=REWIND_UNCERTAIN,
    dropped=IN_FLIGHT_DROPPED,
    budget_spend=BUDGET_SPEND,
)

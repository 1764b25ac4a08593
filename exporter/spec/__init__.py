"""The vocabulary in which tables and metrics are declared.

A declaration is data: the reader makes its SQL from it, the state its arithmetic, the exposition its HELP, the
reference its documentation. Nothing here touches a database, a clock or a file.
"""

from __future__ import annotations

from exporter.spec.columns import (
    OTHER,
    UNKNOWN,
    Col,
    Column,
    Const,
    FirstOf,
    Flag,
    Is,
    Json,
    LabelValue,
    Lacks,
    Number,
    OneOf,
    Outcome,
    Part,
    Project,
    SpecError,
    Table,
    Tally,
    Text,
    Time,
    columns_of,
    stored_in,
)
from exporter.spec.metrics import Counter, Current, Feed, Gauge, Histogram, Label, Ledger, Metric, Plus, Reading, Value
from exporter.spec.schema import Escalation, OwnCounters, Schema

__all__ = [
    "OTHER",
    "UNKNOWN",
    "Col",
    "Column",
    "Const",
    "Counter",
    "Current",
    "Escalation",
    "Feed",
    "FirstOf",
    "Flag",
    "Gauge",
    "Histogram",
    "Is",
    "Json",
    "Label",
    "LabelValue",
    "Lacks",
    "Ledger",
    "Metric",
    "Number",
    "OneOf",
    "Outcome",
    "OwnCounters",
    "Part",
    "Plus",
    "Project",
    "Reading",
    "Schema",
    "SpecError",
    "Table",
    "Tally",
    "Text",
    "Time",
    "Value",
    "columns_of",
    "stored_in",
]

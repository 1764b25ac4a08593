"""Settings of the user's own tables: what is read, and the metrics that are made of it.

Here stands what can be said of one value. What holds between values, and the declarations that follow, are in
`owntables`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr

from exporter.options import Model
from exporter.settingtypes import LabelName, LabelValue, Matches, SourceName, listed
from exporter.spec import OTHER
from exporter.yamlfile import Path as KeyPath

MAX_NUMBER = 1e12
_STRICT: dict[str, Any] = {"additionalProperties": False}
_STEP = r'\.(?:[A-Za-z_][A-Za-z0-9_]*|"[^"\\\x00-\x1f]+")|\[(?:0|[1-9][0-9]{0,5})\]'


def _frozen(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(mapping))


def _increasing(buckets: tuple[float, ...]) -> tuple[float, ...]:
    for lower, upper in pairwise(buckets):
        if upper <= lower:
            raise ValueError(f"must increase: {upper:g} after {lower:g}")
    return buckets


def _no_other(values: tuple[str, ...]) -> tuple[str, ...]:
    if OTHER in values:
        raise ValueError(f"must not have {OTHER}, which stands for what is beyond a cap")
    return values


def _lower(name: str) -> str:
    return name.lower()


SqlName = Annotated[
    str, Matches(r"[!-~](?:[ -~]{0,126}[!-~])?", "must be 1 to 128 characters of ASCII, no space first or last")
]
ColumnName = Annotated[SqlName, AfterValidator(_lower)]
"""A column, in lower case: to SQLite its name is the same in any."""
JsonPath = Annotated[
    str, Matches(rf"\$(?:{_STEP}){{1,16}}", 'must be a JSON path such as $.region, $.tags[0] or $."a b".c')
]
OwnName = Annotated[str, Matches(r"[a-z][a-z0-9_]{0,199}", "must be a metric's name: a-z 0-9 _, a letter first")]
Sentence = Annotated[
    str, Matches(r"[^\x00-\x1f\x7f]{1,999}\.", "must be a sentence: it ends in a full stop, and is one line")
]
Names = Annotated[tuple[LabelName, ...], BeforeValidator(listed)]
Limit = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]
Scale = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
Bounds = Annotated[
    tuple[Limit, ...], Field(min_length=1, max_length=100), BeforeValidator(listed), AfterValidator(_increasing)
]


class OwnLabelSettings(Model):
    """Where a label's values come from."""

    column: ColumnName
    """The column whose text it is; NULL and empty are `unknown`."""
    path: JsonPath | None = None
    """Where in the JSON of that column, such as `$.region`."""
    values: Annotated[
        tuple[LabelValue, ...], Field(max_length=50), BeforeValidator(listed), AfterValidator(_no_other)
    ] = ()
    """All the values it has, beside `unknown`, as which any other counts; by default any, up to `max_label_values`."""


class _MetricSettings(Model):
    """What every metric has."""

    name: OwnName
    """Its name, with the unit of its values, in base units: `shop_order_duration_seconds`."""
    help: Sentence
    """What it means: its HELP."""
    labels: Names = ()
    """Labels of the table that it has."""
    minimum: Limit = 0.0
    """Least value that is used; one below it is rejected."""
    maximum: Limit = MAX_NUMBER
    """Greatest value that is used; one above it is rejected."""
    scale: Scale = 1.0
    """What values are multiplied by first, such as 0.001 for milliseconds."""


class OwnCounterSettings(_MetricSettings):
    """A total of rows, or of a column's values; its name ends in `_total`."""

    value: ColumnName | None = None
    """The column whose values are added up; by default rows are counted."""


class OwnHistogramSettings(_MetricSettings):
    """A distribution of a column's values."""

    value: ColumnName
    """The column whose values are observed."""
    buckets: Bounds
    """Upper bounds of the buckets, increasing; `+Inf` comes with them."""


class OwnGaugeSettings(_MetricSettings):
    """A reading of the rows as they are now."""

    reading: Literal["newest", "sum_open"]
    """`newest`: of each label set the newest row's value. `sum_open`: the sum over rows that are not final yet."""
    value: ColumnName | None = None
    """The column that is read; without it `sum_open` counts rows."""


class TableSettings(Model):
    """A table, and the metrics made from its rows."""

    table: SqlName
    """Its name."""
    source: SourceName | None = None
    """The source that has it; by default every one."""
    cursor: ColumnName = "id"
    """Its INTEGER PRIMARY KEY, by which new rows are found."""
    time: ColumnName | None = None
    """The column that says when a row's event was; needed where rows are counted."""
    identity: Annotated[tuple[ColumnName, ...], BeforeValidator(listed)] = ()
    """Columns written once and never changed, by which a row is known again; needed where rows are counted."""
    final_when: ColumnName | None = None
    """The column that is not NULL when a row is final, and counts; by default rows count at once."""
    append_only: bool = False
    """Whether the newest rows are never deleted: ids may then be given without AUTOINCREMENT."""
    labels: Annotated[Mapping[LabelName, OwnLabelSettings], AfterValidator(_frozen)] = Field(
        default_factory=lambda: MappingProxyType({}), json_schema_extra=_STRICT
    )
    """Labels that its metrics may have, by name."""
    counters: Annotated[tuple[OwnCounterSettings, ...], BeforeValidator(listed)] = ()
    """Totals."""
    histograms: Annotated[tuple[OwnHistogramSettings, ...], BeforeValidator(listed)] = ()
    """Distributions."""
    gauges: Annotated[tuple[OwnGaugeSettings, ...], BeforeValidator(listed)] = ()
    """Readings of the present."""
    _given: Mapping[KeyPath, str] = PrivateAttr(default_factory=dict)

    @property
    def given(self) -> Mapping[KeyPath, str]:
        """Where in the configuration its keys stand, by their path within it: `exporter.yml:7 tables[0].time`."""
        return self._given

    def locate(self, given: Mapping[KeyPath, str]) -> None:
        """Let it know where its keys stand."""
        self._given = given

    @property
    def is_counted(self) -> bool:
        """Whether its rows are read one after the other, rather than only the newest."""
        return bool(self.counters or self.histograms) or any(gauge.reading == "sum_open" for gauge in self.gauges)

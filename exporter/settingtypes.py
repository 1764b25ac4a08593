"""The types that settings are made of: each checks a value, says its rule in words, gives its JSON Schema."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

HOUR_S, DAY_S = 3_600.0, 86_400.0
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": HOUR_S, "d": DAY_S, "": 1.0}


@dataclass(frozen=True, slots=True)
class Matches:
    """Text that matches ``pattern`` as a whole, which ``rule`` says in words."""

    pattern: str
    rule: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, core_schema.str_schema(strict=True))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^(?:{self.pattern})$"}

    def _checked(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text):
            raise ValueError(self.rule)
        return text


@dataclass(frozen=True, slots=True)
class Seconds:
    """Seconds from ``low`` to ``high``: a number, or text such as `500ms`, `30s`, `5m`, `1h`, `2d`.

    The JSON Schema cannot hold text to the limits.
    """

    low: float
    high: float

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._parsed)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        number = {"type": "number", "minimum": self.low, "maximum": self.high}
        return {"anyOf": [number, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?$"}]}

    def _parsed(self, value: object) -> float:
        if isinstance(value, str) and (found := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|)", value)):
            value = float(found[1]) * _UNITS_S[found[2]]
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            limits = f"{short(self.low)} to {short(self.high)}"
            raise ValueError(f"must be a duration from {limits}: seconds, or text such as 500ms, 30s, 5m, 1h, 2d")
        return float(value)


def short(seconds: float) -> str:
    """``seconds`` in the largest unit that it is a whole number of, such as `6h`; `0s`, `0.5s`."""
    unit = next((unit for unit in ("d", "h", "m") if seconds and seconds % _UNITS_S[unit] == 0), "s")
    return f"{seconds / _UNITS_S[unit]:g}{unit}"


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise ValueError("must be a time zone of the IANA database, such as UTC or Europe/Berlin") from None
    return name


def _path(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not value or "\0" in value:
        raise ValueError("must be a path")
    return Path(value)


def listed(value: object) -> object:
    """A list as a tuple, for types that never change; anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


def one_or_more(value: object) -> object:
    """One text as a list of one."""
    return (value,) if isinstance(value, str) else listed(value)


_SEGMENTS = r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9_.~-]+)+"
_SEGMENTS_RULE = "letters, digits and _ . ~ - between /"
_PORT = r"(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"

SourceName = Annotated[
    str,
    Matches(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "must be 1 to 64 of A-Z a-z 0-9 _ . -, a letter or digit first"),
]
LabelName = Annotated[
    str, Matches(r"(?!__)[A-Za-z_][A-Za-z0-9_]*", "must be a label name: A-Z a-z 0-9 _, no digit or __ first")
]
LabelValue = Annotated[
    str, Matches(r"[^\x00-\x1f\x7f]{1,128}", "must be 1 to 128 characters, none of them a control character")
]
MetricName = Annotated[str, Matches(r"[a-z][a-z0-9_]*", "must be the full name of a metric")]
Address = Annotated[
    str,
    Matches(
        rf"(?:[A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\]):{_PORT}",
        "must be HOST:PORT, [IPV6]:PORT or :PORT, the port from 0 to 65535",
    ),
]
UrlPath = Annotated[str, Matches(_SEGMENTS, f"must be a path such as /metrics: {_SEGMENTS_RULE}")]
RoutePrefix = Annotated[str, Matches(f"/?|{_SEGMENTS}/?", f"must be a path such as /exporter: {_SEGMENTS_RULE}")]
Url = Annotated[
    str,
    Matches(
        rf"|https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::{_PORT})?(?:{_SEGMENTS})?/?",
        "must be an http:// or https:// URL of host, port and path only",
    ),
]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
FilePath = Annotated[Path, BeforeValidator(_path), WithJsonSchema({"type": "string", "minLength": 1})]


def reachable(address: str) -> str:
    """Where what listens on ``address`` can be reached from this machine."""
    host, _, port = address.rpartition(":")
    return f"{'127.0.0.1' if host in ('', '0.0.0.0') else '[::1]' if host == '[::]' else host}:{port}"  # noqa: S104


def moment(value: object) -> object:
    """Unix time of a number or of ISO 8601 text; a naive one is UTC."""
    rule = "must be a time from 1970 to 2999: ISO 8601 such as 2026-11-21T17:40:00Z, or Unix seconds"
    text = str(value)
    try:
        at = float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else _iso(text)
    except (ValueError, OverflowError):
        raise ValueError(rule) from None
    if not 0 <= at < 32_503_680_000:
        raise ValueError(rule)
    return at


def _iso(text: str) -> float:
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()

"""What a database hands over, made usable or named as unusable: times, numbers, label texts.

The functions take whole columns: a column without a bad value, the common case, is checked at C speed and handed
back as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import repeat
from operator import sub
from typing import cast

from exporter.spec import UNKNOWN

Rejected = list[tuple[int, str]]
"""Positions in a column whose value is unusable, each with the reason (label ``reason`` of rows_rejected_total)."""

MAX_LABEL_LENGTH = 128

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - what naive times are measured from
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_2000 = 946684800.0
_DAY_S = 86400.0
_ASCII_SPACE = " \t\n\r\v\f"


def numbers(column: Sequence[object], *, minimum: float, maximum: float) -> tuple[Sequence[float | None], Rejected]:
    """The column's numbers, None where there is none, and what was rejected.

    Text, NaN and infinity are ``not_a_number``; below the minimum is ``negative`` where the minimum is 0, else
    ``out_of_range``, as is above the maximum.
    """
    if column and set(map(type, column)) <= {int, float}:
        plain = cast("Sequence[float]", column)
        if not math.isnan(sum(plain)) and min(plain) >= minimum and max(plain) <= maximum:
            return plain, []
    clean: list[float | None] = []
    rejected: Rejected = []
    for position, value in enumerate(column):
        reason = _number_fault(value, minimum, maximum)
        clean.append(None if reason is not None else value)  # type: ignore[arg-type]
        if reason:
            rejected.append((position, reason))
    return clean, rejected


def _number_fault(value: object, minimum: float, maximum: float) -> str | None:
    """Why ``value`` is not used: a reason, the empty string for NULL, None where it is fine."""
    if value is None:
        return ""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "not_a_number"
    if value < minimum:
        return "negative" if minimum == 0.0 else "out_of_range"
    return "out_of_range" if value > maximum else None


def times(column: Sequence[object], *, now: float, zone: tzinfo = UTC) -> list[float | None]:
    """The column's times as Unix seconds, not later than ``now``; None where one is NULL or unusable.

    Unusable is what cannot be parsed or lies more than a day ahead of ``now``. Naive times are in ``zone``.
    """
    if zone is UTC:
        try:
            found = list(map(timedelta.total_seconds, map(sub, map(datetime.fromisoformat, column), repeat(_EPOCH))))  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            pass
        else:
            if not found or max(found) <= now:
                return found  # type: ignore[return-value]
    return [None if (time := parse_time(value, now=now, zone=zone)) is None else min(time, now) for value in column]


def parse_time(value: object, *, now: float, zone: tzinfo = UTC) -> float | None:
    """One time as Unix seconds; None where it is NULL, cannot be parsed or lies more than a day ahead of ``now``."""
    time: float | None = None
    if isinstance(value, str):
        time = _parse_text(value.strip(_ASCII_SPACE), zone)
    elif isinstance(value, int | float) and math.isfinite(value):
        time = _parse_epoch(float(value))
    if time is None:
        return None
    return time if time <= now + _DAY_S else None


def _parse_text(text: str, zone: tzinfo) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        return (moment - _EPOCH_UTC) / timedelta(seconds=1)
    except (ValueError, OverflowError):
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    return _parse_epoch(number) if math.isfinite(number) else None


def _parse_epoch(number: float) -> float | None:
    """Nanoseconds from 1e17, microseconds from 1e14, milliseconds from 1e11, else seconds; nothing before 2000."""
    for least, per_second in ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3)):
        if number >= least:
            number /= per_second
            break
    return number if number >= _YEAR_2000 else None


@lru_cache(maxsize=1024, typed=True)
def label_text(value: object) -> tuple[str, bool]:
    """``value`` as a label value, and whether its text was damaged (invalid UTF-8, replaced by U+FFFD).

    ASCII white space around it is trimmed, what is beyond 128 characters cut; NULL and empty are ``unknown``.
    """
    if value is None:
        return UNKNOWN, False
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    text = str(value).strip(_ASCII_SPACE)[:MAX_LABEL_LENGTH]
    damaged = not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)
    if damaged:
        text = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    return text or UNKNOWN, damaged

"""What `backfill` takes beside the settings."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

from exporter.options import Model, of_command
from exporter.settingtypes import DAY_S, Seconds, moment


def _pattern(value: object) -> object:
    try:
        return re.compile(str(value))
    except re.error as exc:
        raise ValueError(f"must be a regular expression of whole metric names: {exc}") from None


def _outages(value: object) -> object:
    texts = value if isinstance(value, list) else str(value).split(",")
    found = []
    for text in texts:
        first, slash, last = str(text).partition("/")
        if not slash or not moment(first) < moment(last):  # type: ignore[operator]
            raise ValueError("must be FROM/TO, two times of which the first is earlier")
        found.append((moment(first), moment(last)))
    return tuple(found)


class BackfillOptions(Model):
    """Options of `backfill`."""

    output: str = ""
    start: Annotated[float | None, BeforeValidator(moment)] = None
    to: Annotated[float | None, BeforeValidator(moment)] = None
    step: Annotated[float, Seconds(1.0, DAY_S)] = 60.0
    metric: Annotated[re.Pattern[str] | None, BeforeValidator(_pattern)] = None
    source: str | None = None
    job: str = "orchestration"
    instance: str = "localhost:10477"
    promtool: str = ""
    outage: Annotated[tuple[tuple[float, float], ...], BeforeValidator(_outages)] = ()


BACKFILL = (
    of_command(
        ("backfill", "output"),
        "text",
        "--output",
        "DIR",
        "an empty or new folder for a file a UTC day; - is stdout",
    ),
    of_command(
        ("backfill", "start"),
        "text",
        "--from",
        "TIME",
        "the first sample's time, ISO 8601 or Unix seconds",
    ),
    of_command(
        ("backfill", "to"),
        "text",
        "--to",
        "TIME",
        "the last sample's time (the exporter's first publish, else now)",
    ),
    of_command(("backfill", "step"), "text", "--step", "TIME", "from one sample to the next (1m)"),
    of_command(
        ("backfill", "metric"),
        "text",
        "--metric",
        "REGEX",
        "only the metrics whose whole name it matches",
    ),
    of_command(
        ("backfill", "promtool"), "text", "--promtool", "PATH", "make blocks of each day at once, in place of its file"
    ),
    of_command(("backfill", "source"), "text", "--source", "NAME", "the source, where there are several"),
    of_command(("backfill", "job"), "text", "--job", "NAME", "the label job that a scrape adds (orchestration)"),
    of_command(
        ("backfill", "instance"),
        "text",
        "--instance",
        "HOST:PORT",
        "the label instance (localhost:10477)",
    ),
    of_command(
        ("backfill", "outage"),
        "list",
        "--outage",
        "FROM/TO",
        "a time without samples, in which up is 0; repeatable",
    ),
)

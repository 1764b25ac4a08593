"""Logs on stderr: a fixed phrase and keys, as logfmt or JSON, one line each; times in UTC.

What libraries log through `logging` takes the same form, from level info on. No record carries a secret or a query
string.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["logfmt", "json"]

_FIRST = ("ts", "level", "msg")
_PLAIN = re.compile(r"[^\s\"=\\\x00-\x1f\x7f-\x9f]+")

_SHARED: tuple[Processor, ...] = (
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    structlog.processors.format_exc_info,
)


def configure(level: Level, form: Format) -> None:
    """Log from now on at that level and in that form; may be called again."""
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(form))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.root.setLevel(max(logging.INFO, logging.root.level))  # aiosqlite would tell of every row
    logging.getLogger("exporter").setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for the module of that name: ``log.info("database restored", table=…)``."""
    return structlog.stdlib.get_logger(name)


def _formatter(form: Format) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *_SHARED],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.EventRenamer("msg"),
            _json if form == "json" else _logfmt,
        ],
    )


def _ordered(event: EventDict) -> EventDict:
    return {key: event[key] for key in (*_FIRST, *(key for key in event if key not in _FIRST)) if key in event}


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return json.dumps(_ordered(event), default=str)


def _logfmt(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """``ts=… level=info msg="a phrase" key=value``; the phrase is always quoted, a value where it must be.

    Control characters are escaped: no value can begin a line of its own (structlog's lets some through).
    """
    return " ".join(f"{key}={_value(value, quote=key == 'msg')}" for key, value in _ordered(event).items())


def _value(value: object, *, quote: bool) -> str:
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    text = str(value)
    return text if _PLAIN.fullmatch(text) and not quote else json.dumps(text, ensure_ascii=not text.isprintable())

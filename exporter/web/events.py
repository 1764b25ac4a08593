"""Rows of events, as the overview and a session's page show them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from exporter.view import Event, Result
from exporter.web.frame import NONE, clock, duration, money, text

_PILLS = {"success": "good", "failure": "bad", "in flight": "busy", "unknown": "plain"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column's title and its cells' class."""

    title: str
    kind: str = ""


def table(name: str, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> str:
    """A table of events, one row each of cells in markup; on a narrow page each row becomes a block.

    The roles say what the elements are where the style makes blocks of them.
    """
    head = "".join(
        f'<th scope="col" role="columnheader" class="{column.kind}">{column.title}</th>' for column in columns
    )
    body = "".join(
        '<tr role="row">'
        + "".join(
            f'<td role="cell" class="{column.kind}{"" if cell else " empty"}">{cell or NONE}</td>'
            for column, cell in zip(columns, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{text(name)}"><table class="events" role="table" '
        f'aria-label="{text(name)}"><thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table></div>'
    )


def result(event: Event) -> str:
    """How it went, and of a failure what kind it was; empty where no outcome is recorded."""
    if not event.result:
        return ""
    error = f' <span class="soft">{text(event.error)}</span>' if event.error and event.result == "failure" else ""
    return f"{pill(event.result)}{error}"


def pill(said: Result) -> str:
    """An outcome as a word on its colour."""
    return f'<span class="pill {_PILLS.get(said, "plain")}">{text(said)}</span>'


def who(event: Event) -> str:
    """Model, agent or tool; empty where none is recorded."""
    return text(event.who)


def took(event: Event) -> str:
    """How long it took; empty where that is not recorded."""
    return "" if event.duration_s is None else duration(event.duration_s)


def cost(event: Event) -> str:
    """Its money to a hundredth of a cent; empty where none is recorded."""
    return "" if event.cost_usd is None else money(event.cost_usd, digits=4)


def when(event: Event, now: float) -> str:
    """The clock's time of it."""
    return clock(event.at, now)


def session_address(session: str, source: str) -> str:
    """Where the session's page is, from the overview; ``source`` is empty where there is only one."""
    asked = f"?source={quote(source, safe='', errors='replace')}" if source else ""
    return f"sessions/{quote(session, safe='', errors='replace')}{asked}"

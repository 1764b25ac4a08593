"""What all pages have in common: the document, its style, and how times, sums and texts are written.

Pure: plain values in, text out. Everything that is not markup of ours is escaped. No script, nothing from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import html
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from exporter import __version__
from exporter.web.style import STYLE

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy under which the pages work."""

NONE = '<span class="soft">–</span>'
_INVISIBLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\ud800-\udfff\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)
_MARK = (
    '<svg class="mark" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true"><rect x="1" y="10" width="4" '
    'height="9" rx="1"/><rect x="8" y="5" width="4" height="14" rx="1"/><rect x="15" y="1" width="4" height="18" '
    'rx="1"/></svg>'
)

HOME = '<a href="{home}">Orchestration exporter</a>'
"""The heading of every page but the overview, where it is the h1."""

Links = Iterable[tuple[str, str]]
"""(text, address) pairs."""


def document(*, title: str, heading: str, links: Links, main: str, foot: str) -> str:
    """A whole page; ``title`` is text, ``heading``, ``main`` and ``foot`` are markup, ``links`` what else there is."""
    listed = "".join(f'<li><a href="{text(address)}">{text(name)}</a></li>' for name, address in links)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="robots" content="noindex">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">Skip to content</a>\n'
        f'<header class="top"><div class="brand">{_MARK}{heading}</div>'
        f'<nav aria-label="Served here"><ul>{listed}</ul></nav></header>\n'
        f'<main id="main" tabindex="-1">\n{main}</main>\n'
        f"<footer><p>{foot}</p><p>orchestration-exporter {text(__version__)}</p></footer>\n"
        "</body>\n</html>\n"
    )


def section(name: str, title: str, body: str, *, note: str = "", kind: str = "") -> str:
    """A part of a page under a heading of its own; nothing where there is nothing in it."""
    if not body:
        return ""
    said = f'<p class="note">{note}</p>' if note else ""
    return (
        f'<section class="{kind}" aria-labelledby="{name}"><div class="head"><h2 id="{name}">{text(title)}</h2>{said}'
        f"</div>{body}</section>\n"
    )


def tiles(items: Iterable[tuple[str, str, str]], *, kind: str = "") -> str:
    """Numbers large, each with its name before and a remark after it: (text, markup, markup)."""
    shown = "".join(
        f'<div class="tile"><dt>{text(name)}</dt><dd class="big">{value}</dd><dd class="sub">{remark}</dd></div>'
        if remark
        else f'<div class="tile"><dt>{text(name)}</dt><dd class="big">{value}</dd></div>'
        for name, value, remark in items
    )
    return f'<dl class="tiles {kind}">{shown}</dl>' if shown else ""


def text(value: str) -> str:
    """``value`` as text of the page; what nobody could see in it becomes U+FFFD."""
    return html.escape(_INVISIBLE.sub("\ufffd", value))


def moment(at: float | None, now: float) -> str:
    """A point in time and how long ago it is; a dash for none, or one that no calendar has."""
    found = _calendar(at)
    if at is None or found is None:
        return NONE
    shown = f'<time datetime="{found:%Y-%m-%dT%H:%M:%SZ}">{found:%Y-%m-%d %H:%M:%S} UTC</time>'
    return shown if at == now else f'{shown} <span class="soft nowrap">({ago(now - at)})</span>'


def clock(at: float | None, now: float) -> str:
    """A point in time by the clock, in UTC, with its day where that is not today's."""
    found, today = _calendar(at), _calendar(now)
    if found is None or today is None:
        return NONE
    day = "" if found.date() == today.date() else f'<span class="soft">{found:%m-%d}</span> '
    return f'<time class="nowrap" datetime="{found:%Y-%m-%dT%H:%M:%SZ}">{day}{found:%H:%M:%S}</time>'


def _calendar(at: float | None) -> datetime | None:
    try:
        return None if at is None else datetime.fromtimestamp(at, UTC)
    except (OSError, OverflowError, ValueError):
        return None


def ago(seconds: float) -> str:
    """How long ago something was, in the unit of which it is at least two."""
    return "in the future" if seconds < 0 else f"{_rough(seconds)} ago"


def _rough(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def duration(seconds: float | None) -> str:
    """How long something took, in about three digits; from two minutes on in the two largest units."""
    if seconds is None:
        return NONE
    if seconds < 120:
        return _seconds(seconds)
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    if minutes < 2 * 1440:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440:,} d {minutes % 1440 // 60} h"


def _seconds(seconds: float) -> str:
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"


def money(usd: float | None, *, digits: int = 2) -> str:
    """US dollars; ``digits`` after the point."""
    if usd is None or not math.isfinite(usd):
        return NONE
    sign = "−" if round(usd, digits) < 0 else ""
    return f"{sign}${abs(usd):,.{digits}f}"


def percent(ratio: float) -> str:
    """A ratio in per cent; never 100 when it is less."""
    return f"{math.floor(ratio * 1000) / 10:g}%"

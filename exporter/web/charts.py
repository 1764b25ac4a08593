"""Inline SVG: bars by day, a budget's meter, an event's span. What it shows always stands beside it in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from exporter.web.frame import money, text

_SLOT, _BAR, _HEIGHT = 10.0, 7.0, 100.0
_SCALE = 144.0


def bars(values: Sequence[tuple[str, float]], *, kind: str, what: str) -> str:
    """Bars of (day, USD) on a common zero line, ``what`` in words; widths follow the page, heights are to scale."""
    top, bottom = _bounds([value for _, value in values])
    scale = _HEIGHT / (top - bottom)
    zero = top * scale
    drawn = "".join(
        f'<rect class="{kind}" x="{place * _SLOT + (_SLOT - _BAR) / 2:g}" y="{zero - max(value, 0.0) * scale:.2f}" '
        f'width="{_BAR:g}" height="{abs(value) * scale:.2f}"><title>{text(day)}: {money(value)}</title></rect>'
        for place, (day, value) in enumerate(values)
    )
    width = _SLOT * len(values)
    lines = "".join(
        f'<rect class="grid" x="0" y="{min(y, _HEIGHT - 0.6):.2f}" width="{width:g}" height="0.6"/>'
        for y in {0.0, zero, _HEIGHT / 2 if not bottom else _HEIGHT, _HEIGHT}
    )
    first, last = values[0][0], values[-1][0]
    return (
        f'<figure><div class="plot">{_scale(top, bottom)}<svg class="bars" role="img" aria-label="{text(what)}" '
        f'viewBox="0 0 {width:g} {_HEIGHT:g}" preserveAspectRatio="none">{lines}{drawn}</svg>'
        f'<div class="dates" aria-hidden="true"><span>{text(first)}</span><span>{text(last)}</span></div></div>'
        "</figure>"
    )


def _scale(top: float, bottom: float) -> str:
    """The sums beside the bars, in an image of its own, for theirs is stretched; what would overlap is left out."""
    marks = {mark: (top - mark) / (top - bottom) for mark in (top, 0.0, bottom or top / 2)}
    shown = "".join(
        f'<text x="48" y="{min(max(part * _SCALE, 6.0), _SCALE - 6.0):.1f}">{_axis(mark)}</text>'
        for mark, part in marks.items()
        if not mark or abs(part - marks[0.0]) * _SCALE > 16
    )
    return f'<svg class="scale" aria-hidden="true" viewBox="0 0 48 {_SCALE:g}">{shown}</svg>'


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """A round number at or above the highest value and one at or below the lowest; where all are 0, 1 and 0."""
    top, bottom = _round_up(max(0.0, *values)), -_round_up(-min(0.0, *values))
    return (top, bottom) if top > bottom else (1.0, 0.0)


def _round_up(value: float) -> float:
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(
        step * power for step in (1.0, 1.2, 1.6, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0) if step * power >= value
    )


def _axis(value: float) -> str:
    """A round sum, with no more digits than it has."""
    return f"{'−' if value < 0 else ''}${abs(value):,.10g}"


def meter(*, spent: float, limit: float, projected: float | None, words: str) -> str:
    """How much of a limit is used, with a tick where it is projected to end."""
    whole = max(limit, spent, projected or 0.0) or 1.0
    used = 100 * spent / whole
    kind = "over" if spent > limit else "near" if max(spent, projected or 0.0) > limit else "spend"
    ticks = [100 * limit / whole] if whole > limit else []
    drawn = "".join(f'<rect class="mark-line" x="{min(at, 99.4):.2f}" y="0" width="0.6" height="8"/>' for at in ticks)
    return (
        f'<svg class="meter" role="img" aria-label="{text(words)}" viewBox="0 0 100 8" preserveAspectRatio="none">'
        f'<rect class="track" x="0" y="0" width="100" height="8"/>'
        f'<rect class="{kind}" x="0" y="0" width="{used:.2f}" height="8"/>{drawn}</svg>'
    )


def span(*, start: float, end: float, kind: str) -> str:
    """Where between 0 and 1 something lay; its times stand in the same row, so that nobody needs to be told."""
    left = 100 * min(max(start, 0.0), 0.99)
    width = max(100 * min(end, 1.0) - left, 1.0)
    return (
        '<svg class="span" aria-hidden="true" viewBox="0 0 100 8" preserveAspectRatio="none">'
        '<rect class="track" x="0" y="3.5" width="100" height="1"/>'
        f'<rect class="{kind}" x="{left:.2f}" y="0" width="{width:.2f}" height="8"/></svg>'
    )

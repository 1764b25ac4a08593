"""The page a person sees at `/`: one HTML document, without scripts and without anything from elsewhere.

Pure: plain values in, text out. Everything that is not markup of ours is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from exporter import __version__

if TYPE_CHECKING:
    from exporter.poller import SourceStatus

REFRESH_S = 15
"""How often the page is to be fetched again."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #555d66; --back: #f5f6f8; --card: #ffffff;
  --line: #d9dde2; --link: #0b57b0; --good: #11683a; --bad: #a8221f; --busy: #7a4b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaee; --soft: #a4adb8; --back: #14171b;
  --card: #1d2126; --line: #363c44; --link: #7db7ff; --good: #5fd08e; --bad: #ff8d85; --busy: #f2b95c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem; max-width: 64rem; background: var(--back); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
a { color: var(--link); }
header { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; align-items: baseline; margin-bottom: 1rem; }
h1 { margin: 0; font-size: 1.5rem; } h2 { margin: 0; font-size: 1.2rem; }
h3 { margin: 1.25rem 0 .25rem; font-size: 1rem; }
header p, footer, .soft { color: var(--soft); } header p { margin: 0; flex: 1; }
nav ul { display: flex; gap: 1rem; margin: 0; padding: 0; list-style: none; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.25rem;
  margin-bottom: 1rem; }
.head { display: flex; flex-wrap: wrap; gap: .25rem .75rem; align-items: baseline; }
.state { font-weight: 600; } .up { color: var(--good); } .down, .error { color: var(--bad); }
.starting, .progress { color: var(--busy); }
.head .soft { overflow-wrap: anywhere; }
.error, .progress { margin: .5rem 0; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .75rem 1.25rem;
  margin: 1rem 0 0; }
dl div { border-left: 3px solid var(--line); padding-left: .75rem; }
dt { color: var(--soft); font-size: .875rem; } dd { margin: 0; font-variant-numeric: tabular-nums; }
dl.headlines dd { font-size: 1.35rem; font-weight: 600; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 1.25rem 0 .25rem; }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); }
tr > :nth-child(2) { text-align: right; padding-right: 2rem; } th { font-weight: 500; }
thead th { color: var(--soft); font-size: .875rem; }
th[scope=row] { overflow-wrap: anywhere; min-width: 6rem; } .ago { white-space: nowrap; }
footer { font-size: .875rem; }
@media (max-width: 40rem) { section { padding: .75rem 1rem; } tr > :nth-child(2) { padding-right: 1rem; }
  dl { grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); } table { font-size: .9rem; } }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy under which the page works."""

_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def page(sources: Sequence[SourceStatus], *, now: float, links: Iterable[tuple[str, str]]) -> str:
    """The whole page at Unix time ``now``; ``links`` are (text, address) of what else is served."""
    listed = "".join(f'<li><a href="{_text(address)}">{_text(name)}</a></li>' for name, address in links)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="robots" content="noindex">\n'
        f"<title>{_title(sources)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<header><h1>Orchestration exporter</h1><p>version {_text(__version__)}</p>"
        f'<nav aria-label="Served here"><ul>{listed}</ul></nav></header>\n'
        f"<main>\n{''.join(_source(source, now) for source in sources)}</main>\n"
        f"<footer><p>As of {_time(now, now)}. Renews itself every {REFRESH_S} seconds.</p></footer>\n"
        "</body>\n</html>\n"
    )


def _title(sources: Sequence[SourceStatus]) -> str:
    down = sum(not source.up for source in sources)
    return "Orchestration exporter" if not down else f"Orchestration exporter: {down} of {len(sources)} sources down"


def _source(source: SourceStatus, now: float) -> str:
    parts = (
        _head(source),
        _paragraph("error", "Error", source.error),
        _paragraph("error", "The state cannot be saved, so nothing newer is shown", source.checkpoint_error),
        _paragraph("progress", "Reading", source.progress),
        _list("headlines", [(_text(what), _text(value)) for what, value in source.headlines]),
        _list("facts", _facts(source, now)),
        _tables(source, now),
        _notes(source.notes),
    )
    return f'<section aria-labelledby="source-{_text(source.name)}">{"".join(parts)}</section>\n'


def _head(source: SourceStatus) -> str:
    if source.up:
        state = '<span class="state up">● up</span>'
    elif source.progress and not source.error:
        state = '<span class="state starting">◐ starting</span>'
    else:
        state = '<span class="state down">▲ down</span>'
    name = _text(source.name)
    title = f'<h2 id="source-{name}">Source {name}</h2>'
    return f'<div class="head">{title}{state}<span class="soft">{_text(source.location)}</span></div>'


def _facts(source: SourceStatus, now: float) -> list[tuple[str, str]]:
    return [
        ("Last read with success", _time(source.last_success, now)),
        ("Counting without a break since", _time(source.counting_since, now)),
        ("Rows not read yet", f"{source.lag_rows:,}"),
    ]


def _paragraph(kind: str, label: str, text: str) -> str:
    return f'<p class="{kind}"><strong>{label}:</strong> {_text(text)}</p>' if text else ""


def _list(kind: str, pairs: Iterable[tuple[str, str]]) -> str:
    items = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in pairs)
    return f'<dl class="{kind}">{items}</dl>' if items else ""


def _tables(source: SourceStatus, now: float) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_text(table).replace("_", "_<wbr>")}</th><td>{number:,}</td>'
        f"<td>{_time(source.last_event.get(table), now)}</td></tr>"
        for table, number in source.rows_read.items()
    )
    if not rows:
        return ""
    head = '<tr><th scope="col">Table</th><th scope="col">Rows</th><th scope="col">Newest event</th></tr>'
    return (
        '<div class="scroll" tabindex="0" role="group" aria-label="Rows read, by table"><table>'
        f"<caption>Rows read</caption><thead>{head}</thead><tbody>{rows}</tbody></table></div>"
    )


def _notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{_text(note)}</li>" for note in notes)
    return f"<h3>Left out</h3><ul>{items}</ul>" if items else ""


def _time(at: float | None, now: float) -> str:
    """A point in time and how long ago it is; a dash for none, or one that no calendar has."""
    if at is None:
        return "–"
    try:
        moment = datetime.fromtimestamp(at, UTC)
    except (OSError, OverflowError, ValueError):
        return "–"
    shown = f'<time datetime="{moment:%Y-%m-%dT%H:%M:%SZ}">{moment:%Y-%m-%d %H:%M:%S} UTC</time>'
    return shown if at == now else f'{shown} <span class="soft ago">({_ago(now - at)})</span>'


def _ago(seconds: float) -> str:
    if seconds < 0:
        return "in the future"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _text(text: str) -> str:
    return html.escape(_INVISIBLE.sub("\ufffd", text))

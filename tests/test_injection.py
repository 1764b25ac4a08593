"""SQL, markup and pieces of an exposition in every string column and every configured name: all of it stays text.

A real `serve` reads two sources full of them, each with a mark of its own, and is asked with every token there is. The
tables' columns are those of the platform's schema: a column that is added is attacked without a change here.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import sqlite3
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.demo.schema import TABLES
from exporter.web.events import session_address
from tests.processes import until
from tests.test_cli import Served
from tests.test_pages import Outline

pytestmark = pytest.mark.bulk

HOSTILE = (
    "'; DROP TABLE handoff_events; --",
    '" OR "1"="1',
    "x') UNION SELECT 1, 2 --",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></table><svg/onload=alert(1)>",
    "javascript:alert(1)",
    'x"} 1\nevil_total{a="b"} 666\n# EOF\n',
    "x\n# TYPE evil_total counter\nevil_total 1\n",
    'x\\"} 1 # {evil="1"} 1',
    "ends in \\",
    "a\nb\\n\\\\",
    "a\r\nSet-Cookie: evil=1\r\n\r\n<p>",
    "\x00\x01\x07\x1b[31mred\x7f",
    "\u202eevil\u2028\u2029\u0085\ufeff",
    "{{7*7}}${7*7}%s%n",
    "../../../../etc/passwd",
    "ünïcode \U0001f4a5 名前",
    "A" * 100_000,
)
MARKS = {"a": "OF-A", "b": "OF-B"}
TOKENS = {"all": "v" * 20, "a": "a" * 20, "b": "b" * 20, "scraper": "s" * 20}
TEXT, OPENMETRICS = "text/plain", "application/openmetrics-text"
EVIL = "\"} 1 <script>alert(1)</script> \\ '; DROP TABLE x; --"
TABLE_NAMES = re.findall(r"CREATE TABLE (\w+)", TABLES)
OWN = 'my "table"; DROP TABLE x --'
COLUMN = "col\"umn'); --"
ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "header", "nav", "main", "section", "footer", "div", "span"),
    *("p", "a", "h1", "h2", "h3", "ul", "li", "dl", "dt", "dd", "table", "caption", "thead", "tbody", "tr", "th", "td"),
    *("strong", "small", "code", "time", "svg", "g", "path", "rect", "line", "text", "desc", "figure", "wbr"),
    *("details", "summary"),
}


# ── what is written ──────────────────────────────────────────────────────────────────────────────────────────


def fill(path: Path, mark: str) -> None:
    """A database with each string in every text column of every table, beside good values and beside bad ones."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(TABLES)
        own = OWN.replace('"', '""')
        column = COLUMN.replace('"', '""')
        connection.execute(
            f'CREATE TABLE "{own}" (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT, "{column}" TEXT, amount REAL)'
        )
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in names:
            if table != "sqlite_sequence":
                _attack(connection, table, mark)
        connection.commit()


def _attack(connection: sqlite3.Connection, table: str, mark: str) -> None:
    quoted = table.replace('"', '""')
    columns = [(name, kind) for _, name, kind, *_ in connection.execute(f'PRAGMA table_info("{quoted}")')]
    for text in HOSTILE:
        for everywhere in (False, True):
            row = {name: _value(name, kind, f"{mark} {text}", everywhere) for name, kind in columns if name != "id"}
            if everywhere and "session_id" in row and table == "orchestration_sessions":
                row["session_id"] = f"{mark} again {text}"
            names = ", ".join('"{}"'.format(name.replace('"', '""')) for name in row)
            places = ", ".join("?" * len(row))
            connection.execute(f'INSERT INTO "{quoted}" ({names}) VALUES ({places})', list(row.values()))
    if table == "subagent_invocations":
        connection.execute("UPDATE subagent_invocations SET agent_type = 'mcp_tool' WHERE id % 4 < 2")


def _value(name: str, kind: str, text: str, everywhere: bool) -> object:
    """The text where the platform has one; ``everywhere``: in times, JSON and numbers as well."""
    if everywhere and name != "session_id":
        return text
    if kind in ("TIMESTAMP", "DATETIME") or name == "at":
        return datetime.now(UTC).isoformat()
    if name == "metadata" or kind == "JSON":
        return json.dumps(dict.fromkeys(("route_reason", "mcp_server_name", "mcp_tool_name", text[:40]), text))
    return text if kind == "TEXT" else 1


def configuration(folder: Path) -> dict[str, Any]:
    """Every name that can be configured, as hostile as it can be."""
    return {
        "sources": [
            {"name": name, "database": str(folder / f"{name}.db"), "labels": {"tenant": f"{mark} {EVIL}"}}
            for name, mark in MARKS.items()
        ],
        "poll_interval": "100ms",
        "new_series_hold": "0s",
        "session_idle_timeout": "10m",
        "models": {HOSTILE[0]: {"vendor": EVIL, "tier": "paid"}},
        "model_aliases": {HOSTILE[1]: EVIL},
        "budgets": [
            {"name": f"{mark} {EVIL}", "source": name, "limit_usd": 1, "period": "day", "scope": {"project": EVIL}}
            for name, mark in MARKS.items()
        ],
        "tables": [
            {
                "table": OWN,
                "time": "at",
                "identity": ["at"],
                "labels": {"kind": {"column": COLUMN}, "which": {"column": COLUMN, "values": [EVIL]}},
                "counters": [{"name": "own_rows_total", "help": f"{EVIL} # HELP x.", "labels": ["kind", "which"]}],
            }
        ],
        "web": {"grafana_url": "https://grafana.example/"},
    }


# ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    code: int
    head: str
    body: str


@dataclass(frozen=True, slots=True)
class Attacked:
    """An exporter over both sources."""

    folder: Path
    server: Served

    def get(self, path: str, who: str = "all", *, accept: str = TEXT, encoding: str = "identity") -> Answer:
        """Ask with a token."""
        headers = {"Authorization": f"Bearer {TOKENS[who]}", "Accept": accept, "Accept-Encoding": encoding}
        request = urllib.request.Request(self.server.url + path, headers=headers)
        try:
            answer = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            data = answer.read()
            body = gzip.decompress(data) if answer.headers["Content-Encoding"] == "gzip" else data
            return Answer(answer.status, str(answer.headers), body.decode())


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """One exporter for all tests: once everything was read."""
    folder = tmp_path_factory.mktemp("attacked")
    for name, mark in MARKS.items():
        fill(folder / f"{name}.db", mark)
    tokens = [{"token_file": name, "role": "metrics" if name == "scraper" else "viewer"} for name in TOKENS]
    for token in tokens:
        (folder / token["token_file"]).write_text(TOKENS[token["token_file"]])
        if token["token_file"] in MARKS:
            token["source"] = token["token_file"]
    (folder / "web.yml").write_text(yaml.safe_dump({"bearer_tokens": tokens}))
    (folder / "exporter.yml").write_text(yaml.safe_dump(configuration(folder), allow_unicode=True))
    files = ("--config.file", folder / "exporter.yml", "--web.config.file", folder / "web.yml")
    with Served(folder, *files, "--storage.path", folder / "state") as server:
        until(server.is_ready, "both sources are read")
        found = Attacked(folder, server)
        until(lambda: "own_rows_total" in found.get("/metrics", "scraper").body, "the series are shown")
        yield found


def samples(answer: Answer, accept: str) -> dict[str, list[Mapping[str, str]]]:
    """The label sets of all samples by name, exemplars' included, as client_python reads them."""
    found: dict[str, list[Mapping[str, str]]] = {}
    for family in (parse_openmetrics if accept == OPENMETRICS else parse_text)(answer.body):
        for sample in family.samples:
            exemplar = sample.exemplar.labels if sample.exemplar else {}
            found.setdefault(sample.name, []).append({**sample.labels, **exemplar})
    return found


# ── the exposition ───────────────────────────────────────────────────────────────────────────────────────────


def shown_as(mark: str, text: str) -> str:
    """Return the label value that a column with this text has: trimmed and cut, the rest as it is.

    A NUL ends it: SQLite's own functions read no further.
    """
    return f"{mark} {text}".partition("\0")[0].strip()[:128]


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("accept", [TEXT, OPENMETRICS])
def test_nothing_breaks_out_of_the_exposition(attacked: Attacked, accept: str, encoding: str) -> None:
    """Every sample is one of ours, and every hostile string is one label value, whole."""
    answer = attacked.get("/metrics", "scraper", accept=accept, encoding=encoding)
    found = samples(answer, accept)

    projects = {labels["project"] for labels in found["orchestration_sessions_started_total"]}
    assert answer.code == 200
    assert [name for name in found if not re.match(r"orchestration_|process_|own_rows_total$", name)] == []
    assert {shown_as(mark, text) for mark in MARKS.values() for text in HOSTILE} <= projects
    assert {labels["tenant"] for labels in found["orchestration_up"]} == {f"{mark} {EVIL}" for mark in MARKS.values()}
    assert {labels["budget"] for labels in found["orchestration_budget_limit_usd"]} == {
        f"{mark} {EVIL}" for mark in MARKS.values()
    }
    assert {labels["kind"] for labels in found["own_rows_total"]} >= {shown_as(MARKS["a"], HOSTILE[0])}


def test_promtool_has_nothing_to_say(attacked: Attacked, promtool: Path) -> None:
    """Prometheus' own parser and linter read it as well; of our names alone it may complain."""
    text = attacked.get("/metrics", "scraper").body
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("accept", [TEXT, OPENMETRICS])
@pytest.mark.parametrize("name", MARKS)
def test_a_sources_token_never_shows_anothers_value(attacked: Attacked, name: str, accept: str, encoding: str) -> None:
    """In no label and no exemplar, in either format, whichever source it asks for."""
    (other,) = MARKS.keys() - {name}
    seen = {
        path: attacked.get(path, name, accept=accept, encoding=encoding)
        for path in ("/metrics", f"/metrics?source={name}", f"/metrics?source={other}")
    }

    assert [answer.code for answer in seen.values()] == [200, 200, 404]
    assert all(MARKS[other] not in answer.body + answer.head for answer in seen.values())
    assert all(f'source="{other}"' not in answer.body for answer in seen.values())
    assert MARKS[name] in seen["/metrics"].body
    assert (" # {session_id=" in seen["/metrics"].body) == (accept == OPENMETRICS)


def test_a_sources_exemplars_are_there_to_be_leaked(attacked: Attacked) -> None:
    """With a token of all sources there are exemplars of both: the test above looks at something."""
    exemplars = re.findall(r" # \{(.*?)\} ", attacked.get("/metrics", "scraper", accept=OPENMETRICS).body)

    assert all(any(mark in exemplar for exemplar in exemplars) for mark in MARKS.values())


# ── the pages ────────────────────────────────────────────────────────────────────────────────────────────────


def assert_harmless(page: str) -> None:
    """Hold that it has no element but ours, and no address or handler of somebody else's."""
    outline = Outline(page)
    assert set(outline.tags) <= ELEMENTS
    assert [name for name, _ in outline.attributes if name.startswith("on")] == []
    addresses = [*outline.values("href"), *outline.values("src")]
    assert [
        to
        for to in addresses
        if not re.match(r"(?:/|\./|\.\./|sessions/|#|\?refresh=off$|https://grafana|[a-z/-]+$)", to)
    ] == []
    assert not re.search("[\x00\x07\x1b\x7f\u202e\u2028]", page)


def test_pages_show_no_markup(attacked: Attacked) -> None:
    """Neither the overview nor the sessions with these ids make an element of what they show."""
    ids = [f"{MARKS['a']} {text}" for text in HOSTILE if "\0" not in text and len(text) < 500]
    pages = [attacked.get(path) for path in ("/", *("/" + session_address(key, "a") for key in ids))]

    assert [page.code for page in pages] == [200] * len(pages)
    for page in pages:
        assert_harmless(page.body)
        assert "Set-Cookie" not in page.head
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in "".join(page.body for page in pages)


@pytest.mark.parametrize("markup", ["<script>1</script>", "<p onclick=x>", "<a href='javascript:x'>", "a\x1bb"])
def test_markup_on_a_page_is_noticed(markup: str) -> None:
    """What the test above looks for is found where it is."""
    closed = markup if markup.endswith(("script>", "b")) else f"{markup}</{markup[1]}>"

    with pytest.raises(AssertionError):
        assert_harmless(f"<html>{closed}</html>")


def test_a_sources_pages_never_show_anothers_value(attacked: Attacked) -> None:
    """Not on the overview, and a session of the other source is none."""
    session = session_address(f"{MARKS['b']} {HOSTILE[0]}", "")
    answers = [attacked.get(path, "a") for path in ("/", "/" + session, f"/{session.partition('?')[0]}?source=b")]
    theirs = attacked.get("/" + session, "b")

    assert [answer.code for answer in answers] == [200, 404, 404]
    assert theirs.code == 200
    assert MARKS["b"] not in answers[0].body
    assert all(MARKS["b"] not in answer.body or answer.code == 404 for answer in answers)
    assert MARKS["b"] in theirs.body


NO_SESSIONS = (
    *(
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "..%5c..%5c",
        "%00",
        "a%00b",
        "%ff%fe",
        "%ED%A0%80",
        "%u0041",
        "%",
        "%zz",
    ),
    *("a%0d%0aSet-Cookie:%20evil=1", "%3Cscript%3Ealert(1)%3C/script%3E", "'%20OR%20'1'='1", "'%3BDROP%20TABLE%20x--"),
    *(quote("ünï\u202e名"), "a" * 4_000, "%25" * 1_000, "1%20UNION%20SELECT%20sql%20FROM%20sqlite_master", "*", "-1"),
    *("{id}", "a?source='%20OR%201=1", "a?source=%3Cscript%3E", "a?source=..%2f..", "a?source=a&source=b"),
)


@pytest.mark.parametrize("key", NO_SESSIONS)
def test_a_session_id_that_is_none_finds_nothing(attacked: Attacked, key: str) -> None:
    """No file, no row, no header and no element comes of it: a page that says so."""
    answer = attacked.get(f"/sessions/{key}")

    assert answer.code == 404
    assert not any(mark in answer.body for mark in (*MARKS.values(), "root:", "CREATE TABLE", "Traceback"))
    assert "Set-Cookie" not in answer.head
    if answer.body.startswith("<!"):
        assert_harmless(answer.body)


# ── what is left ─────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_was_written_and_no_line_forged(attacked: Attacked) -> None:
    """The tables are all there, no answer was a 5xx, and each line of the log is one of ours."""
    text = attacked.get("/metrics", "scraper").body
    lines = attacked.server.log.splitlines()

    codes = re.findall(r'http_requests_total\{code="(\d+)"', text)
    assert codes
    assert [code for code in codes if code.startswith("5")] in ([], ["503"])
    assert [line for line in lines if not re.match(r"ts=\S+ level=\w+ ", line)] == []
    assert not any(token in line for line in lines for token in TOKENS.values())
    assert "Traceback" not in attacked.server.log
    for name in MARKS:
        with contextlib.closing(sqlite3.connect(f"file:{attacked.folder / name}.db?mode=ro", uri=True)) as connection:
            counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLE_NAMES]
        assert counts == [2 * len(HOSTILE)] * len(TABLE_NAMES)

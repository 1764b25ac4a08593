"""A platform that writes anything into any column: all of it is counted or rejected by reason, none of it is fatal.

What must be rejected is told by hand from `counting.md`, "Values", over what the database holds after SQLite's own
conversions. Open where that leaves it: empty `metadata` is none; a blob is no JSON; a text column that decides which
metric counts a row (`agent_type`) is used like a label.
"""

from __future__ import annotations

import asyncio
import functools
import math
import pickle
import random
import shutil
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.demo.schema import TABLES
from exporter.exposition import Format
from tests.running import Clock, Polling, Shown
from tests.sqlite_platform import Child

pytestmark = pytest.mark.slow

SEED = 20261123
BATCHES = 8
NOW_S = datetime(2026, 11, 23, 12, 0, tzinfo=UTC).timestamp()
ALL_OVER_S = 2 * 86400.0
REJECTED = "orchestration_exporter_rows_rejected_total"
READ = "orchestration_exporter_rows_read_total"
ESCALATIONS = "orchestration_handoff_escalations_total"
ROWS = {
    "orchestration_sessions": 1500,
    "handoff_events": 6000,
    "subagent_invocations": 5000,
    "task_outcomes": 4000,
    "routing_decisions": 1500,
    "claude_code_hooks": 1500,
    "model_performance": 1500,
    "live_activities": 1500,
    # as they are now: nothing of them is counted as rejected
    "claude_account_analysis": 200,
    "pattern_analysis": 200,
    "token_budgets": 200,
    "model_capacity_thresholds": 200,
    # not read, and no reason to stumble
    "cost_metrics": 100,
}

# Makes the tables, then commits one batch of a pickled file for each line it gets; its answer is how many are left.
FEEDER = """
import pickle, sqlite3, sys
with open(sys.argv[2], "rb") as file:
    schema, batches = pickle.load(file)
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.executescript(schema)
print("ready", flush=True)
for line in sys.stdin:
    connection.execute("BEGIN")
    for sql, values in batches.pop(0):
        connection.execute(sql, values)
    connection.execute("COMMIT")
    print(len(batches), flush=True)
connection.close()
"""


class Frozen(Clock):
    """A clock that stands, but for what the test moves it."""

    def wall(self) -> float:
        return NOW_S + self.offset_s

    def monotonic(self) -> float:
        return 1e6 + self.offset_s


# ── what is written ──────────────────────────────────────────────────────────────────────────────────────────


class Written(NamedTuple):
    """A value as SQL writes it: an expression, and what is bound to its question mark."""

    expression: str = "?"
    bound: Any = None

    @classmethod
    def text(cls, raw: bytes) -> Written:
        """Text of any bytes."""
        return cls("CAST(? AS TEXT)", raw)


Make = Callable[[random.Random], Written]


def one_of(*values: object) -> Make:
    """One of these, as they are."""
    made = [value if isinstance(value, Written) else Written("?", value) for value in values]
    return lambda chance: chance.choice(made)


def mostly(share: float, usual: Make, other: Make) -> Make:
    """The usual in so many of all cases."""
    return lambda chance: usual(chance) if chance.random() < share else other(chance)


NULL, INFINITE = Written("NULL"), Written("9e999")
INVALID = (b"\xff", b"a\xffb", b"\xed\xa0\x80", b"ok \xc3", b"\xf5\x80\x80\x80", b"\xc0\xaf")
"""Not UTF-8; the third is a lone surrogate."""
NUMBERS = one_of(
    *(NULL, INFINITE, Written("-9e999"), Written("9e999-9e999"), 0, -0.0, 1, -1, -1e-9, 1e-320, 0.5, 1.0, 1.00001),
    *(5.0, 5.01, 1e6, 1e6 + 1, -1e6, -1e6 - 1, 1e9, 1.1e9, 1e12, 1.1e12, 1e15, 1e308, -1e308, 2**63 - 1, -(2**63)),
    *("12", "1e3", "1e400", " 7 ", "0x10", "12abc", "NaN", "inf", "", "\0", "1,5", "١٢", "x" * 1000),
    *(b"", b"1", b"\xff\x00", Written("CAST(x'ff' AS TEXT)"), Written.text(b"1\x002"), True, False),
)
FLAGS = one_of(
    *(NULL, NULL, NULL, 0, 1, 1.0, 0.0, -0.0, 2, -1, 0.5, INFINITE, 2**63 - 1, "1", "0", "yes", "true", "", "\0"),
    *(b"\x01", b"", Written.text(b"\xff")),
)
NAMES = [f"name-{number}" for number in range(6)]
TEXTS = one_of(
    *(
        NULL,
        "",
        "   ",
        "\t name-0 \r\n",
        "name-0 ",
        '"quotes"',
        "back\\slash",
        "two\nlines",
        "größe",
        "名前",
        "🎉",
        "{}",
    ),
    *("\0", "a\0b", "unknown", "__other__", "le", "+Inf", "NaN", "\x7f\x1b[31m", "\u2028", "\ufeffbom", "x" * 128),
    *("y" * 129, "é" * 600, 5, -1, 2.5, INFINITE, 2**63 - 1, b"", b"blob", "größe".encode(), b"\0"),
    *map(Written.text, INVALID),
    *INVALID,
)
HUGE = one_of("z" * 1_000_000, b"\x01" * 1_000_000, "é" * 500_000)
"""For a few rows."""
LABELS = mostly(0.9, one_of(*NAMES), mostly(0.97, TEXTS, lambda chance: Written("?", chance.random())))


def nested(depth: int) -> str:
    """JSON that deep."""
    return '{"a":' * depth + "1" + "}" * depth


GOOD_JSON = (
    *("{}", "[]", "null", "5", '"text"', " {} ", '{"route_reason": "simple_coding_task"}', '{"route_reason": null}'),
    '{"route_reason": "deepseek_unavailable"}',
    *('{"route_reason": 5}', '{"route_reason": ["a", {}]}', '{"route_reason": "\\"q\\" \\u00e9"}', nested(300)),
    *('{"mcp_server_name": "files", "mcp_tool_name": "read"}', '{"mcp_server_name": {"a": 1}}', '{"a": 1, "a": 2}'),
    '{"route_reason": "' + "r" * 10_000 + '"}',
)
BAD_JSON = (
    *("{", "{'a': 1}", "nan", '{"a": NaN}', '{"a": 1,}', "{]", "text", "\0", " ", "{}{}", '{"a": 01}', nested(3_000)),
    *("\ufeff{}", '{"route_reason": "two\nlines"}x', "[" * 5_000),
)
DAMAGED_JSON = (b'{"route_reason": "\xff", "mcp_server_name": "\xff", "mcp_tool_name": "\xff"}',)
"""JSON to SQLite, of which the texts are not UTF-8."""
JSONS = one_of(
    *(NULL, NULL, "", b"{}", b"\xff", 5, 2.5, INFINITE),
    *GOOD_JSON,
    *BAD_JSON,
    *map(Written.text, DAMAGED_JSON),
)

BAD_TIMES = (
    *("", "yesterday", "2026-13-01 00:00:00", "2026-02-30 00:00:00", "2026-11-23 25:00:00", "23.11.2026", "NaN", "inf"),
    *("2026-11-23T10:00:00+99:00", "2999-01-01 00:00:00", "9999-12-31T23:59:59-23:59", "2027-12-31T00:00:00Z", "\0"),
    *("x" * 5_000, "now", "T10:00:00Z", "2026-11-23 10:00:00 PST", "0x6b000000"),
)
EPOCHS = (
    *(0, -1, 946684799, -(2**63), 2**63 - 1, 1e300, -1e300, NOW_S + 400 * 86400, (NOW_S + 400 * 86400) * 1e3, 5.5),
    *(99_999_999_999, INFINITE, Written("-9e999")),
)


def good_time(chance: random.Random, *, past: bool = False) -> Written:
    """A moment of the last three years, often of the last hours or soon, in one of the forms that writers use."""
    ago_s = chance.choice([chance.random() * 7200, chance.random() * 1e8, -chance.random() * 43200])
    ago_s = abs(ago_s) if past else ago_s
    moment = datetime.fromtimestamp(round(NOW_S - ago_s), UTC)
    naive, s = moment.replace(tzinfo=None), round(NOW_S - ago_s)
    east, west = (timezone(timedelta(hours=hours)) for hours in (5.5, -8))
    forms: list[object] = [
        *(f"{naive}", f"{naive}", naive.isoformat(), f"{naive}.5", f"{naive}.123456", f"{naive.isoformat()}.123"),
        *(f"{naive.isoformat()}Z", f"{naive}Z", f"{naive}+00:00", moment.isoformat(), f"{naive.isoformat()}.000001Z"),
        *(moment.astimezone(east).isoformat(), moment.astimezone(west).isoformat(), f"{naive}+0000"),
        *(s, s + 0.25, s * 1000, s * 10**6, s * 10**9, float(s * 1000), str(s), str(s * 1000), f"{s}.5"),
    ]
    return Written("?", chance.choice(forms))


ODD_TIMES = mostly(0.7, one_of(NULL, b"", b"2026-11-23", *BAD_TIMES), one_of(*EPOCHS))
TIMES = mostly(0.7, good_time, ODD_TIMES)

MONEY = mostly(0.6, lambda c: Written("?", c.uniform(0, 2)), NUMBERS)
SECONDS = mostly(0.6, lambda c: Written("?", c.expovariate(0.1)), NUMBERS)
COLUMNS: Mapping[str, Make] = {
    "timestamp": TIMES,
    "start_time": mostly(0.7, lambda chance: good_time(chance, past=True), ODD_TIMES),
    "end_time": mostly(0.5, one_of(NULL), TIMES),
    **dict.fromkeys(("success", "execution_success"), mostly(0.6, one_of(0, 1), FLAGS)),
    "cost": MONEY,
    "savings": MONEY,
    "actual_cost": MONEY,
    **dict.fromkeys(("confidence_score", "quality_score"), mostly(0.6, lambda c: Written("?", c.random()), NUMBERS)),
    **dict.fromkeys(("response_time", "execution_time", "actual_duration", "processing_time"), SECONDS),
    **dict.fromkeys(
        ("tokens_used", "actual_tokens"), mostly(0.6, lambda c: Written("?", c.randrange(10_000)), NUMBERS)
    ),
    **dict.fromkeys(("completed_tasks", "failed_tasks"), mostly(0.6, one_of(0, 0, 1, 5), NUMBERS)),
    **dict.fromkeys(("error_count", "retry_count"), mostly(0.6, one_of(0, 0, 1, 5), NUMBERS)),
    **dict.fromkeys(("project_name", "task_type", "source_model", "model_used", "agent_name", "parent_agent"), LABELS),
    **dict.fromkeys(("model_name", "selected_model", "task_complexity", "hook_type", "event_type"), LABELS),
    **dict.fromkeys(("vendor", "selected_vendor", "pattern_type", "pattern_name", "period_type"), LABELS),
    "target_model": mostly(0.4, one_of("claude-paid", "deepseek-local"), LABELS),
    **dict.fromkeys(("error_type", "mcp_server_name", "mcp_tool_name"), mostly(0.5, one_of(NULL), LABELS)),
    "agent_type": mostly(0.6, one_of("mcp_tool", "reviewer"), TEXTS),
    "metadata": JSONS,
}
ANYTHING = mostly(0.5, TEXTS, mostly(0.5, NUMBERS, JSONS))
"""For columns that no metric is made from."""


def some_key(chance: random.Random, number: int) -> Written:
    """A session id that is no other's, of any type."""
    key = f"session-{number}"
    if chance.random() < 0.9:
        return Written("?", key)
    tail = chance.choice(INVALID)
    odd = [f"{key} ' \" \n", f"{key}é", key + "x" * 300, f"{key}{'y' * 1_000}", f" {key}", key.encode()]
    return chance.choice([Written("?", chance.choice(odd)), Written.text(key.encode() + tail)])


def batches_of(seed: int, rows: Mapping[str, int] = ROWS) -> list[list[tuple[str, list[object]]]]:
    """INSERTs, sessions before their events; those of a batch name sessions of the same batch, or none there is."""
    chance = random.Random(seed)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(TABLES)
        columns = {
            table: [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})") if name != "id"]
            for table in rows
        }
    batches: list[list[tuple[str, list[object]]]] = []
    for batch in range(BATCHES):
        keys: list[Written] = []
        inserts: list[tuple[str, list[object]]] = []
        for table, count in rows.items():
            for number in range(batch * count // BATCHES, (batch + 1) * count // BATCHES):
                values = {name: COLUMNS.get(name, ANYTHING)(chance) for name in columns[table]}
                if chance.random() < 0.002:
                    values[chance.choice(columns[table])] = HUGE(chance)
                if table == "orchestration_sessions":
                    keys.append(some_key(chance, number))
                    values["session_id"] = keys[-1]
                elif "session_id" in values:
                    values["session_id"] = chance.choice(keys) if chance.random() < 0.9 else TEXTS(chance)
                inserts.append(insert(table, values))
        batches.append(inserts)
    return batches


def insert(table: str, values: Mapping[str, Written]) -> tuple[str, list[object]]:
    """The statement; what a NOT NULL column refuses is left out, and its row with it."""
    expressions = ", ".join(value.expression for value in values.values())
    bound = [value.bound for value in values.values() if "?" in value.expression]
    return f"INSERT OR IGNORE INTO {table} ({', '.join(values)}) VALUES ({expressions})", bound


# ── what must become of it ───────────────────────────────────────────────────────────────────────────────────


class Stored(NamedTuple):
    """A value as the database holds it; text as its bytes."""

    kind: str
    value: Any


Row = Mapping[str, Stored]


def rows_in(path: Path, table: str) -> Iterator[Row]:
    """All rows of a table."""
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        names = [name.decode() for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
        chosen = ", ".join(f"typeof({name}), {name}" for name in names)
        for row in connection.execute(f"SELECT {chosen} FROM {table} ORDER BY id"):
            pairs = zip(row[::2], row[1::2], strict=True)
            yield {name: Stored(kind.decode(), value) for name, (kind, value) in zip(names, pairs, strict=True)}


def is_number(stored: Stored) -> bool:
    """Whether it is a number at all; SQLite holds no NaN."""
    return stored.kind in ("integer", "real") and math.isfinite(stored.value)


def number_fault(stored: Stored, highest: float, lowest: float = 0.0) -> str:
    """Why a number is not used; empty where it is, or is NULL."""
    if stored.kind == "null":
        return ""
    if not is_number(stored):
        return "not_a_number"
    if stored.value < lowest:
        return "out_of_range" if lowest else "negative"
    return "out_of_range" if stored.value > highest else ""


def usable(stored: Stored, highest: float, lowest: float = 0.0) -> float | None:
    """The number, where it is one and in its range."""
    return None if stored.kind == "null" or number_fault(stored, highest, lowest) else stored.value


def flag_fault(stored: Stored) -> str:
    """Anything but 0, 1 and NULL."""
    return "" if stored.kind == "null" or (is_number(stored) and stored.value in (0, 1)) else "bad_flag"


def text_fault(stored: Stored) -> str:
    """A label that is not UTF-8, be it text or blob. (Here such bytes stand early, before any NUL and any cut.)"""
    if stored.kind not in ("text", "blob"):
        return ""
    try:
        stored.value[:100].decode()
    except UnicodeDecodeError as exc:
        return "bad_text" if exc.start < 90 else ""
    return ""


def json_fault(stored: Stored) -> str:
    """What is no JSON; or whose texts are not UTF-8."""
    if stored.kind == "null" or stored == Stored("text", b""):
        return ""
    if stored.kind == "text" and stored.value in DAMAGED_JSON:
        return "bad_text"
    numbers = (b"5", b"2.5")
    is_good = stored.kind == "text" and (stored.value in numbers or stored.value.decode(errors="replace") in GOOD_JSON)
    return "" if is_good else "bad_json"


def time_of(stored: Stored) -> float | None:
    """Unix seconds; None where there is none that can be used."""
    if stored.kind in ("null", "blob"):
        return None
    if stored.kind == "text" and (len(stored.value) > 1000 or stored.value.decode() in BAD_TIMES):
        return None
    if stored.kind == "text":
        text = stored.value.decode().replace("Z", "+00:00")
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(stored.value):
        return None
    at = stored.value
    divisor = 1e9 if at >= 1e17 else 1e6 if at >= 1e14 else 1e3 if at >= 1e11 else 1
    return at / divisor if 946684800 <= at / divisor <= NOW_S + 86400 else None


def time_fault(stored: Stored) -> str:
    """A time that is there and cannot be used."""
    return "bad_time" if stored.kind != "null" and time_of(stored) is None else ""


def handoff_faults(row: Row) -> list[str]:
    """Of a hand-off."""
    cost, savings = usable(row["cost"], 1e6), usable(row["savings"], 1e6, -1e6)
    is_in_baseline = not number_fault(row["cost"], 1e6)
    return [
        time_fault(row["timestamp"]),
        flag_fault(row["success"]),
        number_fault(row["confidence_score"], 1),
        number_fault(row["tokens_used"], 1e12),
        number_fault(row["cost"], 1e6),
        number_fault(row["savings"], 1e6, -1e6),
        number_fault(row["response_time"], 1e9),
        "negative" if is_in_baseline and (cost or 0) + (savings or 0) < 0 else "",
        *(text_fault(row[name]) for name in ("task_type", "source_model", "target_model")),
        json_fault(row["metadata"]),
    ]


def is_tool(row: Row) -> bool:
    """Whether a sub-agent's row is an MCP tool call."""
    return row["agent_type"] == Stored("text", b"mcp_tool")


def subagent_faults(row: Row) -> list[str]:
    """Of a sub-agent or a tool: metadata and server are read of tools, the parent of sub-agents only."""
    own = (
        [json_fault(row["metadata"]), *(text_fault(row[name]) for name in ("mcp_server_name", "mcp_tool_name"))]
        if is_tool(row)
        else [text_fault(row["parent_agent"])]
    )
    return [
        time_fault(row["timestamp"]),
        flag_fault(row["success"]),
        number_fault(row["cost"], 1e6),
        number_fault(row["execution_time"], 1e9),
        number_fault(row["tokens_used"], 1e12),
        *(text_fault(row[name]) for name in ("agent_type", "agent_name")),
        *own,
    ]


def has_failed(row: Row) -> bool:
    """Whether a task's success is 0."""
    return is_number(row["success"]) and row["success"].value == 0


def task_faults(row: Row) -> list[str]:
    """Of a task: its type of error is read where it failed."""
    return [
        time_fault(row["timestamp"]),
        flag_fault(row["success"]),
        number_fault(row["execution_time"], 1e9),
        number_fault(row["cost"], 1e6),
        number_fault(row["quality_score"], 5),
        *(text_fault(row[name]) for name in ("model_used", "task_type")),
        text_fault(row["error_type"]) if has_failed(row) else "",
    ]


def session_faults(row: Row) -> list[str]:
    """Of a session that has ended; its duration is rejected where it ends before it starts."""
    start, end = time_of(row["start_time"]), time_of(row["end_time"])
    return [
        time_fault(row["start_time"]),
        time_fault(row["end_time"]),
        text_fault(row["project_name"]),
        number_fault(row["completed_tasks"], 1e6),
        number_fault(row["failed_tasks"], 1e6),
        "negative" if start is not None and end is not None and end < min(start, NOW_S) else "",
    ]


def routing_faults(row: Row) -> list[str]:
    """Of a routing decision; its confidence is looked at when it is first read and when it is final, rejected once."""
    return [
        time_fault(row["timestamp"]),
        flag_fault(row["execution_success"]),
        number_fault(row["confidence_score"], 1),
        number_fault(row["actual_cost"], 1e6),
        number_fault(row["actual_tokens"], 1e12),
        number_fault(row["actual_duration"], 1e9),
        *(text_fault(row[name]) for name in ("selected_model", "task_complexity")),
    ]


def call_faults(row: Row) -> list[str]:
    """Of a model's call; the vendor is nobody's label but that of a gauge."""
    return [
        time_fault(row["timestamp"]),
        number_fault(row["response_time"], 1e9),
        number_fault(row["quality_score"], 1),
        *(number_fault(row[name], 1e6) for name in ("error_count", "retry_count")),
        *(text_fault(row[name]) for name in ("model_name", "task_type")),
    ]


def hook_faults(row: Row) -> list[str]:
    """Of a hook."""
    return [
        time_fault(row["timestamp"]),
        flag_fault(row["success"]),
        number_fault(row["processing_time"], 1e9),
        text_fault(row["hook_type"]),
    ]


FAULTS: Mapping[str, Callable[[Row], Sequence[str]]] = {
    "orchestration_sessions": session_faults,
    "handoff_events": handoff_faults,
    "subagent_invocations": subagent_faults,
    "task_outcomes": task_faults,
    "routing_decisions": routing_faults,
    "model_performance": call_faults,
    "claude_code_hooks": hook_faults,
    "live_activities": lambda row: [time_fault(row["timestamp"]), text_fault(row["event_type"])],
}


def rejections(path: Path) -> Counter[tuple[str, str]]:
    """How many values must be rejected, by table and reason."""
    found: Counter[tuple[str, str]] = Counter()
    for table, faults in FAULTS.items():
        for row in rows_in(path, table):
            found.update((table, fault) for fault in faults(row) if fault)
    return found


def sums(path: Path) -> dict[str, float]:
    """What metrics come to over all their labels: the rest of each row counts."""
    handoffs, tasks = list(rows_in(path, "handoff_events")), list(rows_in(path, "task_outcomes"))
    invoked = list(rows_in(path, "subagent_invocations"))
    tools, agents = [row for row in invoked if is_tool(row)], [row for row in invoked if not is_tool(row)]
    sessions = list(rows_in(path, "orchestration_sessions"))
    routed, calls = list(rows_in(path, "routing_decisions")), list(rows_in(path, "model_performance"))
    hooks, activities = list(rows_in(path, "claude_code_hooks")), list(rows_in(path, "live_activities"))
    unpriced = [row for row in (*handoffs, *agents) if row["cost"].kind == "null"]

    def total(rows: Sequence[Row], name: str, highest: float) -> float:
        return math.fsum(usable(row[name], highest) or 0.0 for row in rows)

    def known(rows: Sequence[Row], name: str, highest: float) -> float:
        return sum(usable(row[name], highest) is not None for row in rows)

    baseline = [
        (usable(row["cost"], 1e6) or 0.0) + (usable(row["savings"], 1e6, -1e6) or 0.0)
        for row in handoffs
        if not number_fault(row["cost"], 1e6)
    ]
    return {
        "sessions_started_total": len(sessions),
        "sessions_ended_total": len(sessions),
        "session_handoffs_count": len(sessions),
        "handoffs_total": len(handoffs),
        "handoff_routes_total": len(handoffs),
        "handoff_task_types_total": len(handoffs),
        "handoff_tokens_total": total(handoffs, "tokens_used", 1e12),
        "handoff_duration_seconds_count": known(handoffs, "response_time", 1e9),
        "handoff_duration_seconds_sum": total(handoffs, "response_time", 1e9),
        "handoff_confidence_ratio_count": known(handoffs, "confidence_score", 1),
        "cost_usd_total": total([*handoffs, *invoked], "cost", 1e6),
        "baseline_cost_usd_total": math.fsum(max(0.0, value) for value in baseline) + total(invoked, "cost", 1e6),
        "subagent_invocations_total": len(agents),
        "subagent_tokens_total": total(agents, "tokens_used", 1e12),
        "subagent_cost_usd_total": total(agents, "cost", 1e6),
        "mcp_tool_calls_total": len(tools),
        "mcp_tool_cost_usd_total": total(tools, "cost", 1e6),
        "mcp_tool_duration_seconds_count": known(tools, "execution_time", 1e9),
        "tasks_total": len(tasks),
        "task_errors_total": sum(map(has_failed, tasks)),
        "task_quality_score_count": known(tasks, "quality_score", 5),
        "task_cost_usd_total": total(tasks, "cost", 1e6),
        "unpriced_events_total": sum((usable(row["tokens_used"], 1e12) or 0.0) > 0.0 for row in unpriced),
        "subagent_spawns_total": len(agents),
        "routing_decisions_total": len(routed),
        "routing_results_total": len(routed),
        "routing_confidence_ratio_count": known(routed, "confidence_score", 1),
        "routing_result_confidence_ratio_count": known(
            [row for row in routed if row["execution_success"].kind != "null"], "confidence_score", 1
        ),
        "routing_duration_seconds_count": known(routed, "actual_duration", 1e9),
        "routing_cost_usd_total": total(routed, "actual_cost", 1e6),
        "routing_tokens_total": total(routed, "actual_tokens", 1e12),
        "model_calls_total": len(calls),
        "model_call_errors_total": total(calls, "error_count", 1e6),
        "model_call_retries_total": total(calls, "retry_count", 1e6),
        "model_call_duration_seconds_count": known(calls, "response_time", 1e9),
        "model_quality_ratio_count": known(calls, "quality_score", 1),
        "hook_executions_total": len(hooks),
        "hook_duration_seconds_count": known(hooks, "processing_time", 1e9),
        "activities_total": len(activities),
        "handoffs_in_flight": 0,
        "sessions_active": 0,
    }


# ── the runs ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Run:
    """What an exporter came to once all was over: in both formats, the process's own metrics included."""

    database: Path
    text: bytes
    openmetrics: bytes

    @functools.cached_property
    def shown(self) -> Shown:
        """Its samples."""
        return Shown.of(self.text.decode())


async def run(
    folder: Path, batches: list[list[tuple[str, list[object]]]], *, at_once: bool = False, **settings: Any
) -> Run:
    """Have it all written, and read: in one scan, or after every batch, with a restart now and then."""
    folder.mkdir()
    path, pickled, clock = folder / "orchestration.db", folder / "batches", Frozen()
    pickled.write_bytes(pickle.dumps((TABLES, batches)))
    feeder = Child(FEEDER, path, pickled)
    if at_once:
        await asyncio.to_thread(feed, feeder)
    async with Polling(path, folder / "state", clock, **settings) as polling:
        left = 0 if at_once else len(batches)
        while left:
            left = int(await asyncio.to_thread(feeder.ask))
            await polling.polled()
            if left % 3 == 0:
                await polling.restart()
        if not at_once:
            await asyncio.to_thread(feeder.close)
        clock.advance(ALL_OVER_S)
        await polling.polled()
        await polling.polled()
        assert polling.poller.status().up, polling.poller.status()
        assert polling.falls == []
        publication = polling.poller.publication
        assert publication is not None
        text, openmetrics = (publication.answer(form, polling.telemetry.render(form)) for form in Format)
    return Run(path, text, openmetrics)


def feed(feeder: Child) -> None:
    """Have all of it written."""
    while feeder.ask() != "0":
        pass
    feeder.close()


@pytest.fixture(scope="module")
def written() -> list[list[tuple[str, list[object]]]]:
    """What the platform writes."""
    return batches_of(SEED)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory, written: list[list[tuple[str, list[object]]]]) -> Run:
    """All of it read in one scan."""
    return asyncio.run(run(tmp_path_factory.mktemp("hostile") / "scan", written, at_once=True))


@pytest.fixture(scope="module")
def polls(tmp_path_factory: pytest.TempPathFactory, written: list[list[tuple[str, list[object]]]]) -> Run:
    """All of it read batch by batch."""
    return asyncio.run(run(tmp_path_factory.mktemp("hostile") / "polls", written))


@pytest.fixture(scope="module")
def few() -> list[list[tuple[str, list[object]]]]:
    """A twentieth of it: promtool 3 takes 20 s for the series of all."""
    return batches_of(SEED, {table: count // 20 for table, count in ROWS.items()})


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, few: list[list[tuple[str, list[object]]]]) -> Run:
    """That read in one scan."""
    return asyncio.run(run(tmp_path_factory.mktemp("hostile") / "small", few, at_once=True))


@pytest.fixture(scope="module")
def capped(tmp_path_factory: pytest.TempPathFactory, few: list[list[tuple[str, list[object]]]]) -> Run:
    """That read batch by batch, with room for few label values."""
    caps = {"max_label_values": 5, "max_series_per_metric": 40}
    return asyncio.run(run(tmp_path_factory.mktemp("hostile") / "capped", few, **caps))


@pytest.fixture(params=["scan", "polls"])
def any_run(request: pytest.FixtureRequest) -> Run:
    """Either."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Run)
    return found


# ── the tests ────────────────────────────────────────────────────────────────────────────────────────────────


def published_rejections(shown: Shown) -> Counter[tuple[str, str]]:
    """What was rejected, by table and reason."""
    found = {(dict(labels)["table"], dict(labels)["reason"]): v for labels, v in shown.by_labels(REJECTED).items()}
    return Counter({key: int(value) for key, value in found.items() if value})


def wrong_sums(wanted: Mapping[str, float], shown: Shown) -> dict[str, tuple[float, float]]:
    """The metrics that come to something else: what was written, what is published."""
    found = {name: (value, shown.total(f"orchestration_{name}")) for name, value in wanted.items()}
    return {name: pair for name, pair in found.items() if not math.isclose(*pair, rel_tol=1e-9, abs_tol=1e-12)}


def test_what_is_written_is_hostile_enough(scan: Run, wanted_rejections: Counter[tuple[str, str]]) -> None:
    """Twenty thousand rows; every reason occurs, in each table all that can."""
    counted = {table: sum(1 for _ in rows_in(scan.database, table)) for table in ROWS}
    assert sum(counted.values()) > 20_000, counted
    reasons = {"not_a_number", "negative", "out_of_range", "bad_time", "bad_text", "bad_flag", "bad_json"}
    expected = {
        "orchestration_sessions": reasons - {"bad_flag", "bad_json"},
        "handoff_events": reasons,
        "subagent_invocations": reasons,
        "task_outcomes": reasons - {"bad_json"},
        "routing_decisions": reasons - {"bad_json"},
        "model_performance": reasons - {"bad_flag", "bad_json"},
        "claude_code_hooks": reasons - {"bad_json"},
        "live_activities": {"bad_time", "bad_text"},
    }
    assert wanted_rejections.keys() == {(table, each) for table, found in expected.items() for each in found}


@pytest.fixture(scope="module")
def wanted_rejections(scan: Run) -> Counter[tuple[str, str]]:
    """What must be rejected; every run has the same rows."""
    return rejections(scan.database)


@pytest.fixture(scope="module")
def wanted_sums(scan: Run) -> dict[str, float]:
    """What metrics must come to."""
    return sums(scan.database)


def test_every_rejected_value_is_counted_by_its_reason(
    any_run: Run, wanted_rejections: Counter[tuple[str, str]]
) -> None:
    """Once per row and column, and when a metric counts the row."""
    assert published_rejections(any_run.shown) == wanted_rejections


def test_the_rest_of_each_row_counts(any_run: Run, wanted_sums: dict[str, float]) -> None:
    """Counts, sums and observations over all labels; and every row was read, once."""
    shown = any_run.shown
    assert wrong_sums(wanted_sums, shown) == {}
    for table in FAULTS:
        assert shown.total(READ, table=table) == sum(1 for _ in rows_in(any_run.database, table))


def test_one_value_more_is_noticed(scan: Run, tmp_path: Path) -> None:
    """The two tests above fail where the database holds one row more than was read."""
    path = shutil.copyfile(scan.database, tmp_path / "more.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO handoff_events (timestamp, cost) VALUES ('2026-11-23 10:00:00', 'text')")
        connection.commit()
    found, wanted = published_rejections(scan.shown), rejections(path)
    assert wanted - found == Counter({("handoff_events", "not_a_number"): 1})
    wrong = wrong_sums(sums(path), scan.shown)
    assert wrong.keys() == {"handoffs_total", "handoff_routes_total", "handoff_task_types_total"}


CLOSED = {"outcome", "end", "component", "table", "le"}
OF_THE_PROCESS = ("polls", "poll_", "query_", "publish_", "checkpoint_", "http_", "config_", "series")
ELSEWHERE = (
    "process_",
    *(f"orchestration_exporter_{name}" for name in ("late_rows", "label_overflow", *OF_THE_PROCESS)),
)
"""What a scan does not count, or in another way."""


def folded(shown: Shown) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Totals and buckets over their open labels, whose values a scan admits in another order."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for name in shown.names():
        if not name.endswith(("_total", "_bucket", "_count", "_sum")) or name.startswith(ELSEWHERE):
            continue
        closed = CLOSED | {"reason"} if name in (REJECTED, ESCALATIONS) else CLOSED
        for labels, value in shown.by_labels(name).items():
            key = name, frozenset(pair for pair in labels if pair[0] in closed)
            found[key] = found.get(key, 0.0) + value
    return found


def differences(one: Run, other: Run) -> dict[object, tuple[float, float]]:
    """The totals in which two runs differ."""
    first, second = folded(one.shown), folded(other.shown)
    pairs = {key: (first.get(key, 0.0), second.get(key, 0.0)) for key in first.keys() | second.keys()}
    return {key: pair for key, pair in pairs.items() if not math.isclose(*pair, rel_tol=1e-9, abs_tol=1e-12)}


def test_several_polls_come_to_what_one_scan_does(scan: Run, polls: Run, small: Run, capped: Run) -> None:
    """With restarts between them, and with few label values: every total and every bucket."""
    assert len(folded(scan.shown)) > 200
    assert scan.shown.total(ESCALATIONS, reason="retry") > 5
    assert scan.shown.total(ESCALATIONS, reason="unavailable") > 5
    assert differences(scan, polls) == {}
    assert differences(small, capped) == {}


def test_another_run_is_told_from_it(scan: Run, small: Run) -> None:
    """The comparison above fails where the platform wrote something else."""
    assert differences(scan, small)


def test_the_exposition_can_be_parsed(polls: Run, capped: Run) -> None:
    """In both formats the same, by client_python's own parsers; every value is a number, none below 0."""
    for each in (polls, capped):
        text = {s for family in parse_text(each.text.decode()) for s in keys(family)}
        openmetrics = {s for family in parse_openmetrics(each.openmetrics.decode()) for s in keys(family)}
        assert len(text) > 1000
        assert text == openmetrics


def test_few_label_values_reject_nothing_more(capped: Run) -> None:
    """What is folded into `__other__` counts all the same."""
    assert published_rejections(capped.shown) == rejections(capped.database)
    assert wrong_sums(sums(capped.database), capped.shown) == {}
    assert capped.shown.total("orchestration_handoffs_total", model="__other__") > 0


def keys(family: Any) -> Iterator[tuple[str, frozenset[tuple[str, str]], float]]:
    """A family's samples, those of the process apart, which go on between two formats."""
    for sample in family.samples:
        assert math.isfinite(sample.value), sample
        assert sample.value >= 0 or family.type == "gauge", sample
        if not sample.name.startswith("process_"):
            labels = {name: f"{float(v)}" if name == "le" else v for name, v in sample.labels.items()}
            yield sample.name, frozenset(labels.items()), sample.value


def complaints(promtool: Path, text: bytes) -> str:
    """What promtool has to say."""
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=60)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0 or said
    return said


def test_promtool_has_nothing_to_say(small: Run, capped: Run, promtool: Path) -> None:
    """Not of a single name, label or value."""
    assert complaints(promtool, small.text) == ""
    assert complaints(promtool, capped.text) == ""


def test_a_broken_exposition_is_noticed(small: Run, promtool: Path) -> None:
    """By the parsers and by promtool: a value that is no number, a family that comes twice."""
    broken = small.text.replace(b'source="default"} ', b'source="default"} many', 1)
    with pytest.raises(ValueError, match=r".*"):
        list(parse_text(broken.decode()))
    with pytest.raises(ValueError, match=r".*"):
        list(parse_openmetrics((small.openmetrics + small.openmetrics).decode()))
    assert complaints(promtool, broken)

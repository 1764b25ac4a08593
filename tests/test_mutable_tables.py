"""Tables updated in place: after any inserts, updates and deletes, the gauges equal plain SQL over what is there.

Token budgets (of sessions that open, end and vanish), capacities, the account and patterns; every poll sees all of it.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.exposition import Format
from tests.againstsql import Family, Oracle, Series, differences, parse
from tests.model import (
    ACCOUNTS,
    BUDGETS,
    CAPACITIES,
    EPOCH,
    PATTERNS,
    SESSIONS,
    Exporter,
    Platform,
    profile,
    settings,
    small,
)

FAMILIES = (
    *("sessions_active", "token_budget_tokens", "token_budget_used_tokens", "token_budgets_exhausted"),
    *("model_capacity_threshold_ratio", "model_cost_per_token_usd", "model_availability_ratio"),
    *("account_cost_usd", "account_projected_savings_usd", "account_transition_confidence_ratio"),
    *("pattern_frequency", "pattern_impact_score"),
)
NAMES = ("a", " a\t", "b", "c", "", None)
NUMBERS: tuple[object, ...] = (0, 1, 0.5, 0.25, 2, 1_000, None, "text", "0.5", -1, 9e999, b"1")
IMPACTS: tuple[object, ...] = (0.5, 0.5, 0.25, 0.75, 1, 3, None, "text", 9e999)


class Writer:
    """A platform that changes its mutable tables, as a seed says."""

    def __init__(self) -> None:
        self.platform = Platform()
        self.sessions = 0

    def write(self, kind: str, seed: int, now: float) -> None:
        """Commit something of that kind."""
        getattr(self, kind)(random.Random(seed), now)

    def session(self, chance: random.Random, now: float) -> None:
        """A session starts."""
        self.sessions += 1
        project = chance.choice(NAMES)
        self.platform.insert(SESSIONS, session_id=f"s{self.sessions}", start_time=told(now), project_name=project)

    def end(self, chance: random.Random, now: float) -> None:
        """A session is over, or its row is gone."""
        if rows := self.platform.all(SESSIONS):
            id_ = chance.choice(rows)["id"]
            if chance.random() < 0.7:
                self.platform.sql(f"UPDATE {SESSIONS} SET end_time = ? WHERE id = ?", (told(now - 61), id_))
            else:
                self.platform.sql(f"DELETE FROM {SESSIONS} WHERE id = ?", (id_,))

    def insert(self, chance: random.Random, now: float) -> None:
        """A new row, or many."""
        table = chance.choice((BUDGETS, BUDGETS, CAPACITIES, ACCOUNTS, PATTERNS))
        for number in range(chance.choice((1, 1, 1, 60)) if table == PATTERNS else 1):
            values = self._values(chance, table)
            if number:
                values["pattern_name"] = f"p{number}"
            self.platform.insert(table, **values)

    def update(self, chance: random.Random, now: float) -> None:
        """Some columns of a row, or of all rows, change."""
        table = chance.choice((BUDGETS, BUDGETS, CAPACITIES, ACCOUNTS, PATTERNS))
        if rows := self.platform.all(table):
            values = self._values(chance, table)
            chosen = chance.sample(sorted(values), chance.randint(1, len(values)))
            marks = ", ".join(f"{name} = ?" for name in chosen)
            where = "" if chance.random() < 0.1 else f" WHERE id = {chance.choice(rows)['id']}"
            self.platform.sql(f"UPDATE {table} SET {marks}{where}", [values[name] for name in chosen])

    def delete(self, chance: random.Random, now: float) -> None:
        """A row is gone: any one, the newest, or all."""
        table = chance.choice((BUDGETS, CAPACITIES, ACCOUNTS, PATTERNS))
        if rows := self.platform.all(table):
            where = chance.choice((f"id = {chance.choice(rows)['id']}", f"id = {rows[-1]['id']}", "1"))
            self.platform.sql(f"DELETE FROM {table} WHERE {where}")

    def _values(self, chance: random.Random, table: str) -> dict[str, Any]:
        labels, numbers = {
            BUDGETS: (
                ("priority_level",),
                ("initial_budget", "claude_tokens_used", "deepseek_tokens_used", "other_tokens_used"),
            ),
            CAPACITIES: (("model_name", "vendor"), ("capacity_threshold", "cost_per_token", "availability_score")),
            ACCOUNTS: (
                ("period_type", "current_tier", "recommended_tier"),
                (
                    *("claude_cost_actual", "claude_cost_if_pro", "deepseek_cost_actual"),
                    *("projected_savings", "transition_confidence"),
                ),
            ),
            PATTERNS: (("pattern_type", "pattern_name"), ("frequency",)),
        }[table]
        values: dict[str, Any] = {name: chance.choice(NAMES) for name in labels}
        values |= {name: chance.choice(NUMBERS) for name in numbers}
        if table == BUDGETS:
            values["session_id"] = chance.choice((None, *(f"s{n}" for n in range(1, self.sessions + 2))))
            values["budget_exhausted"] = chance.choice((0, 1, 1, None, 2, "text"))
        elif table == PATTERNS:
            values["impact_score"] = chance.choice(IMPACTS)
        return values


def told(time: float) -> str:
    """A time as the platform writes it."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S")


def expected(platform: Platform, now: float) -> Oracle:
    """The SQL over a copy of what is there."""
    copy = sqlite3.connect(":memory:")
    copy.deserialize(platform.copy())
    return Oracle(copy, datetime.fromtimestamp(now, UTC).isoformat(), ledger=False)


def outcome_of(steps: list[tuple[str, int]]) -> list[str]:
    """Write these steps, polling in between, and say where a gauge is not what the tables say."""
    writer = Writer()
    with small():
        exporter = Exporter(writer.platform, settings(new_series_hold=0), wall=EPOCH)
        for kind, seed in [*steps, ("poll", 0)]:
            exporter.tick(1)
            if kind == "restart":
                exporter.start()
            elif kind != "poll":
                writer.write(kind, seed, exporter.wall)
            elif exporter.poll() == "success" and (found := wrong(exporter, writer.platform)):
                return found
    return []


def wrong(exporter: Exporter, platform: Platform) -> list[str]:
    """The differences of all families."""
    publication = exporter.poller.publication
    assert publication is not None
    page = parse(publication.body(Format.TEXT).decode())
    oracle = expected(platform, exporter.wall)
    with closing(oracle):
        return [line for family in FAMILIES for line in differences(oracle, family, printed(page, family))]


def printed(page: Mapping[str, Family], family: str) -> dict[Series, float]:
    """A family's series; a project stays known, with 0 active sessions, when the rows of its sessions are gone."""
    values = page[family].values if family in page else {}
    return {series: value for series, value in values.items() if value or family != "sessions_active"}


KINDS = ("session", "end", "insert", "insert", "insert", "update", "update", "delete", "poll", "poll", "restart")
STEPS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 10_000)), max_size=40)


@profile(50)
@given(STEPS)
def test_gauges_equal_the_tables_after_any_changes(steps: list[tuple[str, int]]) -> None:
    """After every poll: each series that the SQL gives, no other."""
    assert outcome_of(steps) == []


PLAIN: list[tuple[str, int]] = [
    *[("session", n) for n in range(5)],
    *[("insert", n) for n in range(80)],
]


def test_a_plain_history_has_every_family() -> None:
    """What the comparison below stands on: none is empty."""
    writer = Writer()
    for kind, seed in PLAIN:
        writer.write(kind, seed, EPOCH)

    with closing(expected(writer.platform, EPOCH)) as oracle:
        assert [family for family in FAMILIES if not any(oracle.series(family).values())] == []


@pytest.mark.parametrize("kind", ["insert", "update", "delete", "end"])
def test_the_comparison_sees_what_was_not_read_again(kind: str) -> None:
    """Gauges of before are found wrong after rows were added, changed, deleted, or a session ended."""
    writer = Writer()
    for step, seed in PLAIN:
        writer.write(step, seed, EPOCH)
    with closing(expected(writer.platform, EPOCH)) as oracle:
        before = {family: oracle.series(family) for family in FAMILIES}
    for seed in range(100, 110):
        writer.write(kind, seed, EPOCH)

    with closing(expected(writer.platform, EPOCH)) as oracle:
        assert [line for family in FAMILIES for line in differences(oracle, family, before[family])] != []

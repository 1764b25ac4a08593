"""A tenant's budget: what several sources spend together, shown while all are current, and never less than before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from exporter.exposition import Format
from exporter.source import SourceError
from tests.running import Shown
from tests.test_fleet import Sources
from tests.test_poller import handoff, session

SPENT, SPEND = "orchestration_budget_spent_usd", "orchestration_budget_spend_usd_total"
LIMIT, PROJECTED = "orchestration_budget_limit_usd", "orchestration_budget_projected_usd"
BUDGET = {"name": "acme", "scope": {"tenant": "acme"}, "limit_usd": 50, "period": "day"}
EU = {"tenant": "acme", "region": "eu"}
US = {"tenant": "acme", "region": "us"}
OTHER = {"tenant": "b", "region": "us"}
SERIES = f'{SPEND}{{budget="acme",tenant="acme"}}'


def spending(storage: Path, **sources: Mapping[str, str]) -> Sources:
    """Sources that share a budget, each with a session."""
    found = Sources(storage, budgets=[BUDGET], **sources)
    for platform in found.platforms.values():
        session(platform, "s")
    return found


async def spend(sources: Sources, name: str, cost: float) -> Shown:
    """A source spends; what is shown then."""
    handoff(sources.platforms[name], cost=cost)
    await sources.polled(name)
    return sources.shown()


async def test_it_adds_up_its_sources_and_no_other(tmp_path: Path) -> None:
    """Without `source`, with the constant labels that they have alike; not in what is shown of one source."""
    async with spending(tmp_path, one=EU, two=US, three=OTHER) as sources:
        await sources.polled()
        for name, cost in (("one", 2.0), ("two", 3.0), ("three", 100.0)):
            shown = await spend(sources, name, cost)

        assert shown.samples[SERIES] == 5.0
        assert shown.total(SPENT) == 5.0
        assert shown.total(LIMIT) == 50.0
        assert PROJECTED not in shown.names()
        assert SPEND not in sources.shown("one").names()
        assert 'budget="acme",source=' not in sources.text()


async def test_what_was_there_before_is_no_spend_since_it_was_declared(tmp_path: Path) -> None:
    """The first scan is in what was spent in the period, and not in the running counter."""
    sources = spending(tmp_path, one=EU, two=US)
    handoff(sources.platforms["one"], cost=7.0)
    async with sources:
        await sources.polled()
        shown = await spend(sources, "two", 1.0)

        assert shown.total(SPENT) == 8.0
        assert shown.samples[SERIES] == 1.0


async def test_it_is_shown_only_while_all_are_current(tmp_path: Path) -> None:
    """One source that cannot be read takes it away, and brings it back with all that was spent."""
    async with spending(tmp_path, one=EU, two=US) as sources:
        await sources.polled()
        await spend(sources, "one", 2.0)
        sources.opened["two"].error = SourceError("two.db: gone")
        sources.opened["two"].platform.version += 1
        await sources.polled("two")

        assert {SPENT, SPEND, LIMIT}.isdisjoint(sources.shown().names())

        sources.opened["two"].error = None
        await sources.polled("two")
        shown = await spend(sources, "two", 3.0)
        assert shown.samples[SERIES] == 5.0


async def test_a_source_that_is_taken_away_leaves_what_it_spent(tmp_path: Path) -> None:
    """The running counter does not fall, now or after a restart; the period's spend is that of who is there."""
    async with spending(tmp_path, one=EU, two=US) as sources:
        await sources.polled()
        await spend(sources, "one", 2.0)
        await spend(sources, "two", 3.0)
        sources.edition()
        sources.apply({"one": EU}, budgets=[BUDGET])
        await sources.polled("one")
        after = await spend(sources, "one", 1.0)

    assert after.total(SPEND) == 6.0
    assert after.total(SPENT) == 3.0
    again = spending(tmp_path, one=EU)
    again.opened["one"].platform = sources.platforms["one"]
    async with again:
        await again.polled("one")
        assert again.shown().total(SPEND) == 6.0


async def test_what_cannot_be_saved_is_not_shown(tmp_path: Path) -> None:
    """A counter that was shown and forgotten would fall."""
    async with spending(tmp_path, one=EU, two=US) as sources:
        await sources.polled()
        (tmp_path / "tenants.tmp").mkdir()
        shown = await spend(sources, "one", 2.0)
        assert SPEND not in shown.names()

        (tmp_path / "tenants.tmp").rmdir()
        assert sources.shown().samples[SERIES] == 2.0


@pytest.mark.parametrize("content", ["", "{", "\xff"])
async def test_a_file_that_cannot_be_read_is_begun_anew(tmp_path: Path, content: str) -> None:
    """What the sources that are there have spent is in their own states."""
    (tmp_path / "tenants.json").write_text(content, "latin-1")
    async with spending(tmp_path, one=EU, two=US) as sources:
        await sources.polled()
        shown = await spend(sources, "one", 2.0)

        assert shown.samples[SERIES] == 2.0
        assert json.loads((tmp_path / "tenants.json").read_text()) == {"acme": {"one": 2.0, "two": 0.0}}


async def test_both_formats_have_it_once(tmp_path: Path) -> None:
    """The family is not torn apart: the sources' own budgets and the tenant's stand together."""
    async with spending(tmp_path, one=EU, two=US) as sources:
        await sources.polled()
        own = {"name": "own", "limit_usd": 5, "period": "day", "source": "one"}
        sources.apply({"one": EU, "two": US}, budgets=[BUDGET, own])
        await sources.polled()
        await spend(sources, "one", 2.0)

        for form in Format:
            lines = sources.edition().publication.answer(form, b"").decode().splitlines()
            assert sum(line.startswith(f"# TYPE {SPENT} ") for line in lines) == 1
            at = [n for n, line in enumerate(lines) if line.startswith(f"{SPENT}{{")]
            assert at == list(range(at[0], at[0] + 2))

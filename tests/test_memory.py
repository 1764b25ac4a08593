"""The remembered rows of a table, and what they say of a past that changed: one case after the other."""

from __future__ import annotations

from itertools import pairwise

import pytest

from exporter.catalogue import SCHEMA
from exporter.memory import COMPARED, EVERY, NEWEST, Digests, Memory, Verdict, digest
from exporter.state import State

HANDOFFS = next(table for table in SCHEMA.tables if table.name == "handoff_events")


def row(session: object, time: object) -> Digests:
    return digest(session), digest(time)


def rows(*ids: int, kind: str = "") -> dict[int, Digests]:
    """Rows under these ids: of a session of their own, at a time of their own."""
    return {id_: row(f"s{id_}{kind}", f"t{id_}{kind}") for id_ in ids}


def remembering(found: dict[int, Digests], *, newest: int = NEWEST, every: int = EVERY) -> Memory:
    memory = Memory(2, newest=newest, every=every)
    memory.add(list(found), list(found.values()))
    return memory


TEN = rows(*range(1, 11))


def test_a_digest_is_0_for_null_alone() -> None:
    """Texts, bytes and numbers have others, the same in every process."""
    assert digest(None) == 0
    assert digest("") > 0
    assert digest("abc") == digest(b"abc") != digest("abd")
    assert digest(5) == digest("5")


@pytest.mark.parametrize("gone", [range(1, 5), range(1, 11), range(3, 7)])
def test_rows_that_are_merely_gone_change_nothing(gone: range) -> None:
    """Retention, whatever it takes."""
    memory = remembering(TEN)
    present = {id_: found for id_, found in TEN.items() if id_ not in gone}

    assert not memory.differs(present)
    assert memory.judge(present, cursor=10, sequence=10) is None


@pytest.mark.parametrize("edited", [range(1, 11), range(5, 11), range(1, 4), range(2, 11, 2)])
@pytest.mark.parametrize("column", [0, 1])
def test_rows_edited_in_one_column_are_edited_wherever_they_stand(edited: range, column: int) -> None:
    """All, the newest, the oldest, every other one."""
    memory = remembering(TEN)
    other = {0: digest("new"), 1: digest("new")}
    present = TEN | {n: tuple(other[column] if c == column else TEN[n][c] for c in (0, 1)) for n in edited}

    assert memory.differs(present)
    assert memory.judge(present, cursor=10, sequence=12) == Verdict("edited")


def test_an_edit_may_miss_one_row_in_ten() -> None:
    """Nine of ten rows above the last known one agree in a column; with eight it is a rewind."""
    memory = remembering(TEN)
    nine = {n: row(f"s{n}", "new") for n in range(1, 10)} | rows(10, kind="'")
    eight = nine | rows(9, kind="'")

    assert memory.judge(nine, cursor=10, sequence=10) == Verdict("edited")
    assert memory.judge(eight, cursor=10, sequence=10) == Verdict("rewound", None, 1)


def test_nulls_do_not_speak_for_an_edit() -> None:
    """Rows that agree only in being NULL may as well be others."""
    memory = remembering({n: row(None, f"t{n}") for n in range(1, 11)})
    present = {n: row(None, f"u{n}") for n in range(1, 11)}

    assert memory.judge(present, cursor=10, sequence=10) == Verdict("rewound", None, 1)


def test_a_row_that_is_null_in_every_column_is_known_by_that() -> None:
    """NULL is a value like any other."""
    memory = remembering({1: row(None, None)})

    assert not memory.differs({1: row(None, None)})
    assert memory.differs({1: row(None, "t")})


def test_a_restore_that_grew_differently_is_a_rewind_to_the_last_known_row() -> None:
    """K is 6, M the first row above that is there under a remembered id."""
    memory = remembering(TEN)
    present = rows(*range(1, 7)) | rows(7, 8, kind="'")

    assert memory.judge(present, cursor=10, sequence=8) == Verdict("rewound", 6, 7)


def test_a_restore_that_grew_past_the_cursor_is_found_too() -> None:
    """The sequence says nothing then; the digests do."""
    memory = remembering(TEN)
    present = rows(*range(1, 7)) | rows(7, 8, 9, 10, kind="'")

    assert memory.judge(present, cursor=10, sequence=40) == Verdict("rewound", 6, 7)


def test_ids_given_back_are_a_rewind_though_no_row_differs() -> None:
    """A restored copy to which nothing was added; the sequence, not the highest id, is below the cursor."""
    memory = remembering(TEN)

    assert memory.judge(rows(*range(1, 7)), cursor=10, sequence=6) == Verdict("rewound", 6, None)
    assert memory.judge(rows(*range(1, 7)), cursor=10, sequence=10) is None


def test_another_database_is_a_rewind_to_nothing() -> None:
    """No K; M is its first row."""
    memory = remembering(TEN)

    assert memory.judge(rows(3, 4, kind="'"), cursor=10, sequence=4) == Verdict("rewound", None, 3)
    assert memory.judge({}, cursor=10, sequence=-(2**63)) == Verdict("rewound", None, None)


def test_a_row_remembered_twice_is_known_either_way() -> None:
    """After an edit or a rewind, its older form is still one that was counted."""
    memory = remembering(TEN)
    memory.add([5, 6], [TEN[5], row("s6", "new")])

    assert memory.known(5) == [TEN[5]]
    assert memory.known(6) == [TEN[6], row("s6", "new")]
    assert not memory.differs({6: TEN[6]})
    assert not memory.differs({6: row("s6", "new")})
    assert memory.differs({6: row("s6", "other")})
    assert list(memory.ids) == sorted(memory.ids)


def test_what_is_added_between_stays_in_order() -> None:
    """Rows read after a rewind have ids among the remembered ones."""
    memory = remembering(rows(1, 2, 9))
    memory.add([3, 10], [row("s3", "t3"), row("s10", "t10")])

    assert list(memory.ids) == [1, 2, 3, 9, 10]
    assert memory.known(9) == [row("s9", "t9")]
    assert memory.known(3) == [row("s3", "t3")]
    assert memory.known(4) == []


def test_the_newest_64_at_or_below_the_cursor_are_compared() -> None:
    """Not those above it: after a rewind they are of another past."""
    memory = remembering(rows(*range(1, 201)))

    assert memory.last(150) == list(range(150 - COMPARED + 1, 151))
    assert memory.last(3) == [1, 2, 3]
    assert memory.last(0) == []


def test_thinning_keeps_the_newest_the_first_and_every_so_manyth() -> None:
    """In its own time, and the digests stay with their rows."""
    memory = Memory(2, newest=100, every=10)
    for start in range(1, 1001, 50):
        found = rows(*range(start, start + 50))
        memory.add(list(found), list(found.values()))
        memory.thin()

    kept = list(memory.ids)
    old = [id_ for id_ in kept if id_ <= 900]
    assert kept[-100:] == list(range(901, 1001))
    assert old[0] == 1
    assert max(later - earlier for earlier, later in pairwise(old)) <= 10
    assert len(old) <= 900 // 10 + 10
    assert all(memory.known(id_) == [row(f"s{id_}", f"t{id_}")] for id_ in kept)


def test_by_default_65536_rows_and_every_1024th_are_kept() -> None:
    """The rule's own numbers."""
    memory = remembering({n: (n, n + 1) for n in range(1, 100_001)})
    memory.thin()

    old = [id_ for id_ in memory.ids if id_ <= 100_000 - 65_536]
    assert list(memory.ids)[-65_536:] == list(range(100_000 - 65_535, 100_001))
    assert old[:3] == [1, 1025, 2049]
    assert len(old) == 34


def reloaded(records: list[bytes]) -> Memory:
    state = State(SCHEMA.tables)
    state.load(records, {metric.name: metric for metric in SCHEMA.metrics})
    return state.tables[HANDOFFS.name].memory


def test_what_is_remembered_outlives_the_process() -> None:
    """A snapshot, and deltas with new rows and with a second form of an old one."""
    state = State(SCHEMA.tables)
    state.remember(HANDOFFS.name, list(TEN), list(TEN.values()))
    records = [*state.snapshot()]
    more = rows(11, 12)
    state.remember(HANDOFFS.name, list(more), list(more.values()))
    records.append(state.delta() or b"")
    state.remember(HANDOFFS.name, [5], [row("s5", "new")])
    records.append(state.delta() or b"")

    memory, before = reloaded(records), state.tables[HANDOFFS.name].memory

    assert memory.ids == before.ids
    assert memory.digests == before.digests
    assert memory.known(5) == [TEN[5], row("s5", "new")]
    assert reloaded([*state.snapshot()]).digests == before.digests


def test_thinning_keeps_all_forms_of_a_row_or_none() -> None:
    """An id that stays remembered without its older form would be counted again when a restore brings that back."""
    memory = Memory(2, newest=16, every=100)
    for start in range(1, 60, 3):
        for kind in ("", "'"):
            found = rows(*range(start, start + 3), kind=kind)
            memory.add(list(found), list(found.values()))
        memory.thin()

    forms = {id_: memory.known(id_) for id_ in memory.ids}
    assert all(len(found) == 2 for found in forms.values()), forms

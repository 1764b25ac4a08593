"""How a table's rows are shown to people: which of their columns say who, what, how it went, how long and how much.

A row is shown by its label values only: a column in which people write is not to be named here.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.spec import Is, LabelValue, SpecError, Table, columns_of


@dataclass(frozen=True, slots=True)
class Shown:
    """The rows of a table that are ``where``, as events of a ``kind``.

    ``who`` did it (model, agent, tool; several are joined), ``what`` is what it was about (the task type), ``error``
    the kind of a failure; ``outcome`` is the column of a flag, ``duration`` and ``cost`` are columns of numbers.
    Where ``is_model``, who did it is shown under the name its spelling is counted under. ``waits`` is False where a
    row without a result does not say that something is going on.
    """

    table: Table
    kind: str
    who: tuple[LabelValue, ...] = ()
    what: LabelValue | None = None
    error: LabelValue | None = None
    outcome: str | None = None
    duration: str | None = None
    cost: str | None = None
    where: Is | None = None
    is_model: bool = False
    waits: bool = True

    def __post_init__(self) -> None:
        if self.table.session is None:
            raise SpecError(f"{self.kind}: rows of {self.table.name} belong to no session")
        values = (*self.who, *(value for value in (self.what, self.error) if value is not None))
        named = [name for value in values for name in columns_of(value)]
        named += [name for name in (self.outcome, self.duration, self.cost) if name is not None]
        for name in (*named, *([self.where.column] if self.where else [])):
            self.table.column(name)

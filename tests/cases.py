"""Which of a test's cases `make test` has, and which are left to `make test-all`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def later(*cases: object) -> list[Any]:
    """As parameters: cases that `make test-all` has, besides those given as they are."""
    return [pytest.param(case, marks=pytest.mark.slow) for case in cases]


def first(cases: Iterable[object], *, rest: Iterable[object]) -> list[Any]:
    """As parameters, all cases but the ``rest``, which are left to `make test-all`."""
    left = list(rest)
    return [*(case for case in cases if case not in left), *later(*left)]

"""How far a backfill is, on stderr: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

_LINE_EVERY_S = 10.0
_BAR_EVERY_S = 0.2
_WIDTH = 30


class Progress:
    """Tells at most five times a second on a terminal, else every ten seconds."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._bar = out.isatty()
        self._began = self._told = clock()

    def sorted(self, rows: int) -> None:
        """So many rows were put in order."""
        self._tell(f"sorting rows by time: {rows:,}")

    def written(self, done: float, samples: int, size: int) -> None:
        """``done`` of 1 is written, so many samples and bytes."""
        spent = self._clock() - self._began
        left = spent / done * (1 - done) if done else 0.0
        bar = f"[{'#' * int(done * _WIDTH):{_WIDTH}}] " if self._bar else ""
        rate = samples / spent / 1e6 if spent else 0.0
        self._tell(f"{bar}{done:4.0%}  {size / 1e6:,.0f} MB, {rate:.1f} million samples/s, {left:.0f} s left")

    def begin(self) -> None:
        """What is written from now on is what the rate is of."""
        self._began = self._clock()

    def say(self, line: str) -> None:
        """A line that stays."""
        self._out.write(f"\r\x1b[K{line}\n" if self._bar else f"{line}\n")
        self._out.flush()

    def _tell(self, line: str) -> None:
        now = self._clock()
        if now - self._told >= (_BAR_EVERY_S if self._bar else _LINE_EVERY_S):
            self._told = now
            self._out.write(f"\r\x1b[K{line}" if self._bar else f"{line}\n")
            self._out.flush()

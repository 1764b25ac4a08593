"""Where the lines go: a file for each UTC day, whole under its final name or not there, or one stream."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

_DAY_S = 86400
_EOF = b"# EOF\n"
_BUFFER = 1 << 20
CREATE_BLOCKS = ("tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=744h")
"""What promtool is told: it cuts at multiples of the longest of 2 h, 6 h, 18 h, 54 h … that is allowed, and reads its
whole input again for every block. So hardly a day is cut."""


class Sink(Protocol):
    """Takes the steps in the order of their times."""

    size: int

    def write(self, at: float, texts: Iterable[bytes]) -> None:
        """Write a step. Raises: OSError."""


class PromtoolError(Exception):
    """promtool did not make a block: says what it said last."""


def blocks_by(promtool: str, folder: Path) -> Callable[[Path], None]:
    """What makes blocks of a day's file in that folder, and removes the file. It raises PromtoolError, OSError."""

    def make(path: Path) -> None:
        command = [promtool, *CREATE_BLOCKS, "--quiet", str(path), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - by the user
        if done.returncode:
            lines = (done.stderr + done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
            raise PromtoolError(f"{promtool}: {path.name}: {lines[-1]}")
        path.unlink()

    return make


class Stream:
    """All days in one, as they come: what ``-`` is."""

    def __init__(self, file: BinaryIO, header: bytes) -> None:
        self._file = file
        self.size = len(header)
        file.write(header)

    def write(self, at: float, texts: Iterable[bytes]) -> None:
        """Write a step. Raises: OSError."""
        for text in texts:
            self._file.write(text)
            self.size += len(text)

    def end(self) -> None:
        """Say that it is whole. Raises: OSError."""
        self._file.write(_EOF)
        self._file.flush()


class Days:
    """A folder with ``YYYY-MM-DD.om`` for every UTC day, each written beside its name and renamed when it is whole."""

    def __init__(self, folder: Path, header: bytes, then: Callable[[Path], None] | None = None) -> None:
        """``then`` is called with each file that is whole."""
        self.folder = folder
        self._then = then
        self.size = 0
        self.written: list[Path] = []
        self._header = header
        self._day: int | None = None
        self._file: BinaryIO | None = None

    def write(self, at: float, texts: Iterable[bytes]) -> None:
        """Write a step. Raises: OSError."""
        day = int(at // _DAY_S)
        if day != self._day or self._file is None:
            self.end()
            self._day = day
            self._file = self._part(day).open("xb", buffering=_BUFFER)
            self._file.write(self._header)
            self.size += len(self._header)
        for text in texts:
            self._file.write(text)
            self.size += len(text)

    def end(self) -> None:
        """The day is whole: it gets its name. Raises: OSError."""
        if self._file is not None and self._day is not None:
            self._file.write(_EOF)
            self._file.close()
            part = self._part(self._day)
            self.written.append(part.rename(part.with_suffix("")))
            self._file = None
            if self._then is not None:
                self._then(self.written[-1])

    def discard(self) -> None:
        """What is half-written goes."""
        if self._file is not None and self._day is not None:
            with contextlib.suppress(OSError):  # what it still holds may not fit either
                self._file.close()
            self._part(self._day).unlink(missing_ok=True)
            self._file = None

    def _part(self, day: int) -> Path:
        return self.folder / f"{datetime.fromtimestamp(day * _DAY_S, UTC):%Y-%m-%d}.om.part"


@contextlib.contextmanager
def days(folder: Path, header: bytes, then: Callable[[Path], None] | None = None) -> Iterator[Days]:
    """A folder's days; what is half-written when the body fails is removed. Raises: OSError."""
    sink = Days(folder, header, then)
    try:
        yield sink
        sink.end()
    finally:
        sink.discard()

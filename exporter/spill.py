"""A file for what would only fill memory: bytes are put into it, and read again when somebody asks for them.

It has no name: it is gone when the process ends, however that ends. Nothing is in it that a start could not make again
from the checkpoint.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import IO
from weakref import WeakSet

from exporter.options import OperationError

_SLACK_BYTES = 8 << 20
"""So much of the file, beside as much as is wanted, may be of no use any more."""


class SpillError(OperationError):
    """The disk does not give back what it took: the process is to end. A start makes it again from the checkpoint."""


class Spill:
    """The bytes that one source has put aside, in a file below ``folder`` that is made when there are some.

    Calls come one at a time, from any thread. The file is closed when nobody has the spill or a piece of it any more.
    """

    def __init__(self, folder: Path, *, slack_bytes: int = _SLACK_BYTES) -> None:
        self._folder = folder
        self._slack_bytes = slack_bytes
        self._file: IO[bytes] | None = None
        self._end = self._renew_above = 0
        self._pieces: WeakSet[Spilled] = WeakSet()
        """What somebody has: who lets go of a piece need not say so."""

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()

    def put(self, data: bytes) -> Spilled | bytes:
        """Write the bytes into the file; they themselves where it does not take them: a full disk, a missing folder.

        Raises:
            SpillError: the file was to be made anew, and what is in it cannot be read.
        """
        try:
            if self._file is None or self._end >= self._renew_above:
                self._file = self._renewed(self._file)
            _write(self._file, data, self._end)
        except OSError:
            return data
        piece = Spilled(self, self._end, len(data))
        self._end += piece.size
        self._pieces.add(piece)
        return piece

    def read(self, piece: Spilled) -> bytes:
        """The piece's bytes. Raises: SpillError."""
        assert self._file is not None  # noqa: S101 - the piece is in it
        try:
            data = os.pread(self._file.fileno(), piece.size, piece.offset)
        except OSError as exc:
            raise self._lost(exc.strerror or str(exc)) from exc
        if len(data) != piece.size:
            raise self._lost("it ends too early")
        return data

    def _lost(self, why: str) -> SpillError:
        return SpillError(f"{self._folder}: a file without a name cannot be read again: {why}; look after its disk")

    def _renewed(self, before: IO[bytes] | None) -> IO[bytes]:
        """A file of what somebody has alone.

        Raises:
            OSError: it is not to be had; all stays as it is.
            SpillError: what is in the old one cannot be read.
        """
        wanted = sum(piece.size for piece in self._pieces)
        self._renew_above = max(self._end, 2 * wanted) + self._slack_bytes  # if this fails, it is not tried at once
        offsets: dict[Spilled, int] = {}
        end = 0
        # no buffer: what was written is in the file, or the error is told
        file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - kept for as long as its pieces
        try:
            for piece in self._pieces:
                _write(file, self.read(piece), end)
                offsets[piece] = end
                end += piece.size
        except (OSError, SpillError):
            file.close()
            raise
        for piece, offset in offsets.items():
            piece.offset = offset
        self._end = end
        if before is not None:
            before.close()
        return file


class Spilled:
    """Some bytes in the file of a spill."""

    __slots__ = ("__weakref__", "_spill", "offset", "size")

    def __init__(self, spill: Spill, offset: int, size: int) -> None:
        self._spill = spill
        self.offset = offset
        self.size = size

    def read(self) -> bytes:
        """The bytes. Raises: SpillError."""
        return self._spill.read(self)


def _write(file: IO[bytes], data: bytes, offset: int) -> None:
    if os.pwrite(file.fileno(), data, offset) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

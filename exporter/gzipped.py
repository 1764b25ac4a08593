"""A gzip member (RFC 1952) whose beginning is made once, and whose end each time."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple, Self

_LEVEL = 5
"""Three quarters of the time of zlib's own 6, for a twentieth more bytes."""
_END_LEVEL = 1
"""27 µs for 9 kB; at level 5 it is 70 for 7% less, at level 0 it is 4."""


class Begun(NamedTuple):
    """A gzip member without its last blocks, and the checksum and length of what is in it so far."""

    data: bytes
    checksum: int
    size: int

    @classmethod
    def of(cls, pieces: Iterable[bytes]) -> Self:
        """Begin one with these."""
        compressor, compressed, checksum, size = zlib.compressobj(_LEVEL, wbits=31), [], 0, 0
        for piece in pieces:
            compressed.append(compressor.compress(piece))
            checksum, size = zlib.crc32(piece, checksum), size + len(piece)
        return cls(b"".join([*compressed, compressor.flush(zlib.Z_SYNC_FLUSH)]), checksum, size)

    def end(self, tail: bytes) -> bytes:
        """What follows `data`: ``tail``, in blocks that refer to nothing before them, and the trailer.

        A scrape waits for it: it is compressed only where that makes what is sent shorter by a tenth or so.
        """
        level = _END_LEVEL if len(tail) > len(self.data) // 10 else 0
        compressor = zlib.compressobj(level, wbits=-zlib.MAX_WBITS)
        checksum, size = zlib.crc32(tail, self.checksum), (self.size + len(tail)) & 0xFFFFFFFF
        return compressor.compress(tail) + compressor.flush() + struct.pack("<LL", checksum, size)

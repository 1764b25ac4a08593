"""Reading a source now, by who has not a next poll: what has to be discarded is read again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from exporter.source import Snapshot, Source, SourceDiscarded

_ATTEMPTS, _AGAIN_S = 5, 0.2
_T = TypeVar("_T")


async def reading(source: Source, work: Callable[[Snapshot], Awaitable[_T]]) -> _T:
    """What ``work`` makes of one snapshot; one that has to be discarded is taken again.

    Raises:
        SourceError: the source cannot be read, or was changed under every snapshot.
    """
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(SourceDiscarded):
            async with source.snapshot() as snapshot:
                return await work(snapshot)
        await asyncio.sleep(_AGAIN_S)
    async with source.snapshot() as snapshot:
        return await work(snapshot)

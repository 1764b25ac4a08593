"""The simulated platform as a child process, for as long as somebody looks at it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from exporter import logs
from exporter.options import OperationError

log = logs.get(__name__)

_STOP_S = 2.0


class PlatformError(OperationError):
    """The simulated platform did not start, or stopped by itself."""


@contextlib.contextmanager
def folder(storage: Path | None) -> Iterator[tuple[Path, Path]]:
    """Where the simulated database and the exporter's state are: in ``storage``, or in a folder gone afterwards.

    Raises:
        PlatformError: the folder cannot be made.
    """
    with contextlib.ExitStack() as kept:
        try:
            if storage is None:
                made = Path(kept.enter_context(tempfile.TemporaryDirectory(prefix="orchestration-demo-")))
                storage = made / "state"
            storage.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise PlatformError(f"{storage}: cannot be made: {exc.strerror}") from exc
        yield storage / "demo.db", storage


class Platform:
    """A simulated platform that is running."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def runs(self) -> None:
        """Wait until it ends, which it should not.

        Raises:
            PlatformError: it did.
        """
        code = await self._process.wait()
        raise PlatformError(f"the simulated platform stopped by itself, with exit code {code}")


@contextlib.asynccontextmanager
async def platform(database: Path, arguments: Sequence[str]) -> AsyncIterator[Platform]:
    """Start it, wait until its past is written, and stop it in the end, whatever happens.

    It has a session of its own, so that a Ctrl-C reaches it through us: by the end of its stdin.

    Raises:
        PlatformError: it did not come up.
    """
    command = [sys.executable, "-m", "exporter.demo", str(database), *arguments, "--stop-on-stdin-eof"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, start_new_session=True)
    try:
        log.info("simulated platform writes its past", database=str(database))
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        if not await process.stdout.readline():
            raise PlatformError(f"the simulated platform did not start: exit code {await process.wait()}")
        yield Platform(process)
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()

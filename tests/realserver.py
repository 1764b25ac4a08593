"""A real server of somebody else's, run as long as a test needs it: the port it was given stands in its log."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import aiohttp

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0
POLL_S = 0.02


class RealServer(AbstractAsyncContextManager["RealServer"]):
    """A program that lives as long as the `async with` around it, and logs into its folder.

    ``name`` is what messages call it, ``program`` the executable; ``env`` is added to its environment, and ``answer_s``
    is how long an answer may take. Entering again after leaving starts it anew.

    Raises: RuntimeError with the end of its log if it does not start; TimeoutError.
    """

    def __init__(
        self,
        name: str,
        program: Path,
        folder: Path,
        *,
        run_in: Path | None = None,
        env: Mapping[str, str] = MappingProxyType({}),
        answer_s: float = STOP_TIMEOUT_S,
    ) -> None:
        self.folder = folder
        self.url = ""
        self._name, self._program = name, program
        self._run_in = run_in or folder
        self._env = {**os.environ, **env}
        self._answer_s = answer_s
        self._process: subprocess.Popen[bytes] | None = None
        self._session: aiohttp.ClientSession | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def _arguments(self) -> Sequence[str]:
        """What it is started with, beside its address; called at each start."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._answer_s))
        try:
            await self._start()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        session, self._session = self._session, None
        try:
            if process is not None:
                await stop(process)
        finally:
            if session is not None:
                await session.close()

    @property
    def address(self) -> str:
        """HOST:PORT, for another one's configuration."""
        return self.url.removeprefix("http://")

    @property
    def log(self) -> str:
        """All that it has logged since it was last started."""
        return self._log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The process's id, while it runs."""
        assert self._process is not None, "not running"
        return self._process.pid

    @property
    def _log(self) -> Path:
        return self.folder / f"{self._program.name}.log"

    def _client(self) -> aiohttp.ClientSession:
        assert self._session is not None, "not running"
        return self._session

    async def _start(self) -> None:
        process = self._process = self._spawn()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not await self._is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._name} did not start:\n{self.log[-3000:]}")
            await asyncio.sleep(POLL_S)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [self._program, "--web.listen-address=127.0.0.1:0", *self._arguments()],
                cwd=self._run_in,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    async def _is_ready(self) -> bool:
        match = re.search(r'msg="Listening on".* address=(127\.0\.0\.1:\d+)', self.log)
        if match is None:
            return False
        self.url = f"http://{match[1]}"
        async with self._client().get(f"{self.url}/-/ready") as response:
            return response.status == 200


async def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program and wait for it; one that does not end in time is killed."""
    process.terminate()
    try:
        # in a thread: the test's own event loop may be answering its last scrape
        await asyncio.to_thread(process.wait, STOP_TIMEOUT_S)
    finally:
        process.kill()
        process.wait()

"""`python -m exporter.demo PATH`: the simulated platform as a process of its own, leaving nothing behind.

It must not share a process with the exporter: POSIX locks are held by process, so that closing the file in
one place would drop the other's (https://sqlite.org/howtocorrupt.html, 2.2).
"""

import argparse
import os
import select
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from exporter.demo.durations import parse_duration
from exporter.demo.incidents import INCIDENTS, live_and_past, parse_incident
from exporter.demo.settings import Settings
from exporter.demo.writer import run

_STDIN = 0
Parsed = TypeVar("Parsed")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong; exit 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run until a signal, the end of `--duration` or `--max-rows`, or (if asked for) the end of stdin.

    Prints one line, `ready history_rows=N seconds=S`, when the past is committed: only then should an
    exporter start, or it would take the past for a burst. Exit codes: 0 done or told to stop, 1 the file
    cannot be written, 2 wrong input.
    """
    arguments = _parser().parse_args(argv)
    began_s = time.monotonic()

    def ready(rows: int) -> None:
        sys.stdout.write(f"ready history_rows={rows} seconds={time.monotonic() - began_s:.2f}\n")
        sys.stdout.flush()

    try:
        live, past = live_and_past(arguments.incident)
        settings = Settings(
            seed=arguments.seed,
            history_s=arguments.history,
            speed=arguments.speed,
            incident=live,
            past=past,
            duration_s=arguments.duration,
            max_rows=arguments.max_rows,
        )
        stop = stop_on_signals(stdin_too=arguments.stop_on_stdin_eof)
        run(arguments.path, settings, stop, adopt=arguments.adopt, ready=ready)
    except ValueError as error:
        return _fail(2, arguments.path, error)
    except sqlite3.Error as error:
        return _fail(1, arguments.path, error)
    return 0


def _fail(code: int, path: Path, error: Exception) -> int:
    sys.stderr.write(f"demo: {path}: {error}\n")
    return code


def _parser() -> _Parser:
    parser = _Parser(prog="demo", description=__doc__)
    parser.add_argument("path", type=Path, help="the SQLite file; made if it is not there, else continued")
    parser.add_argument("--history", type=_checked(parse_duration), default="30d", help="the past to write first")
    parser.add_argument("--speed", type=float, default=1.0, help="divides the gaps between live events")
    parser.add_argument("--seed", type=int, default=1, help="the same seed writes the same rows, but for times")
    parser.add_argument(
        "--incident",
        type=_checked(parse_incident),
        action="append",
        default=[],
        metavar="NAME[@FROM/TO]",
        help="NAME begins when the past is written; with FROM and TO, durations before then as in 3d/2d20h, it lies in"
        f" the past (repeatable). {', '.join(INCIDENTS)}: the last changes no row, for it is the exporter's",
    )
    parser.add_argument("--duration", type=_checked(parse_duration), help="stop after living this long")
    parser.add_argument("--max-rows", type=int, help="stop after inserting so many live rows")
    parser.add_argument("--adopt", action="store_true", help="continue a file that no demo made")
    parser.add_argument("--stop-on-stdin-eof", action="store_true", help="stop when the parent's end of stdin closes")
    return parser


def _checked(parse: Callable[[str], Parsed]) -> Callable[[str], Parsed]:
    def parsed(text: str) -> Parsed:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parsed


def stop_on_signals(*, stdin_too: bool) -> threading.Event:
    """An event that SIGTERM, SIGINT and, if wanted, the end of stdin set. Call it once, from the main thread.

    A handler must not set it: the main thread may hold the event's lock at that moment. So the handlers do
    nothing, the wake-up pipe carries the signal, and a thread that watches it sets the event.
    """
    stop = threading.Event()
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    watched = [wake, _STDIN] if stdin_too else [wake]
    threading.Thread(target=_watch, args=(watched, wake, stop), name="stop", daemon=True).start()
    return stop


def _watch(watched: list[int], wake: int, stop: threading.Event) -> None:
    """Set `stop` at the first byte of `wake` or the end of another; what others say is ignored."""
    while not stop.is_set():
        readable, _, _ = select.select(watched, [], [])
        if wake in readable or any(not os.read(descriptor, 4_096) for descriptor in readable):
            stop.set()

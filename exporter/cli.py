"""The command line: which command, which options, and one line for what is wrong.

Exit codes: 0 done; 1 it could not be done; 2 wrong input.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from exporter import __version__, commands, logs
from exporter import options as known
from exporter.backfill import options as backfilling
from exporter.commands import Call
from exporter.options import NOTHING, OPTIONS, ConfigError, OperationError, Option, check_environment, did_you_mean
from exporter.shown import Shown
from exporter.source import SourceError
from exporter.spec import Schema

PROGRAM = "orchestration-exporter"
log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Command:
    """A command, and the options it takes beside those that all take."""

    summary: str
    run: Callable[[Call], int]
    options: tuple[Option, ...] = ()
    argument: Option | None = None
    """What it takes without a flag."""


_ALL = (known.CONFIG_FILE, known.LOG_LEVEL, known.LOG_FORMAT)
_WHERE = (known.LISTEN_ADDRESS, known.EXTERNAL_URL, known.ROUTE_PREFIX, known.WEB_CONFIG_FILE)
_WEB = (
    *(*_WHERE, known.TELEMETRY_PATH, known.ENABLE_LIFECYCLE, known.ALLOW_OPEN),
    *(known.STORAGE_PATH, known.REBUILD_LEDGER),
)

COMMANDS = {
    "serve": Command("read a database and serve its metrics (the default)", commands.serve, (known.DATABASE, *_WEB)),
    "once": Command("read everything once and print the metrics", commands.once, (known.DATABASE, *commands.ONCE)),
    "check": Command(
        "parse the configuration, connect, run every query, say what is missing",
        commands.check,
        (known.DATABASE, *commands.CHECK),
    ),
    "explain": Command(
        "print the SQL that proves a number, its result, and the number",
        commands.explain,
        (known.DATABASE, known.STORAGE_PATH, *commands.EXPLAIN),
        commands.EXPLAIN_METRIC,
    ),
    "backfill": Command(
        "write the past as OpenMetrics, for a Prometheus that is new",
        commands.backfill,
        (known.DATABASE, known.STORAGE_PATH, *backfilling.BACKFILL),
    ),
    "health": Command("ask a running exporter whether it is ready", commands.health, (*commands.HEALTH, *_WHERE)),
    "demo": Command("simulate a platform, and serve its metrics", commands.demo, (*commands.DEMO, *_WEB)),
    "reference": Command("print the reference of all metrics, in Markdown", commands.reference),
    "indexes": Command(
        "print the indexes a database lacks, or create them", commands.indexes, (known.DATABASE, *commands.INDEXES)
    ),
    "config-schema": Command("print the JSON Schema of the configuration file", commands.config_schema),
}


def run(argv: Sequence[str], environ: Mapping[str, str], schema: Schema, shown: tuple[Shown, ...] = ()) -> int:
    """Run the command that ``argv`` names; returns the exit code. What goes wrong is told on stderr."""
    try:
        name, rest = _command(argv)
        flags = _flags(name, rest)
        check_environment((*OPTIONS, *commands.COMMAND_OPTIONS), environ)
        code = COMMANDS[name].run(Call(flags, environ, schema, shown))
        sys.stdout.flush()
        return code
    except ConfigError as exc:
        return _fail(exc, 2)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains of it at exit
        return 1
    except Exception as exc:
        return _failed(exc)


_WORLD = (SourceError, OperationError, ConfigError)


def _failed(exc: Exception) -> int:
    """Tell of what went wrong: one line for what the world did, a traceback for a bug."""
    known_ones, bugs = _split(exc)
    if bugs is not None:
        log.critical("stopped by a bug", exc_info=bugs)
        return 1
    return _fail(known_ones[0], 2 if isinstance(known_ones[0], ConfigError) else 1)


def _split(exc: Exception) -> tuple[Sequence[Exception], Exception | None]:
    """What of it the world did, and what is a bug."""
    if not isinstance(exc, ExceptionGroup):
        return ([exc], None) if isinstance(exc, _WORLD) else ([], exc)
    mine, bugs = exc.split(_WORLD)
    found: list[Exception] = []
    for inner in mine.exceptions if mine is not None else ():
        found += _split(inner)[0]
    return found, bugs


def _fail(exc: Exception, code: int) -> int:
    sys.stderr.write(f"{PROGRAM}: error: {' '.join(str(exc).split())}\n")
    return code


# ── parsing ──────────────────────────────────────────────────────────────────────────────────────────────────


def _command(argv: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The command's name and its arguments; without a name it is `serve`."""
    if not argv or argv[0].startswith("-"):
        return "serve", argv
    if argv[0] not in COMMANDS:
        hint = did_you_mean(argv[0], COMMANDS) or f": they are {', '.join(COMMANDS)}"
        raise ConfigError("command", argv[0], f"no such command{hint}")
    return argv[0], argv[1:]


def _flags(name: str, arguments: Sequence[str]) -> known.Flags:
    options = {option.flag: option for option in (*COMMANDS[name].options, *_ALL)}
    found, left = _parser(name, options.values()).parse_known_args(arguments)
    if left:
        raise _unexpected(left, options)
    argument = COMMANDS[name].argument
    read = (*options.values(), *([argument] if argument else []))
    values = {option.path: getattr(found, option.variable) for option in read}
    return {path: value for path, value in values.items() if value is not None}


def _unexpected(left: Sequence[str], options: Mapping[str, Option]) -> ConfigError:
    flag, _, value = left[0].partition("=")
    if not flag.startswith("-"):
        return ConfigError("argument", left[0], "not expected here; a command comes first, a value after its flag")
    value = value or next((item for item in left[1:2] if not item.startswith("-")), "")
    return ConfigError(flag, value or NOTHING, f"no such flag{did_you_mean(flag, options)}")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with a flag in our words."""

    def error(self, message: str) -> NoReturn:
        """Turn argparse's message into ours.

        Raises:
            ConfigError: always.
        """
        flag = (re.match(r"argument (--[\w.-]+)", message) or [message, "arguments"])[1]
        if explicit := re.search(r"ignored explicit argument '(.*)'", message):
            raise ConfigError(flag, explicit[1], "takes no value")
        if "expected one argument" in message:
            raise ConfigError(flag, NOTHING, "needs a value")
        raise ConfigError(flag, NOTHING, message)


def _parser(name: str, options: Iterable[Option]) -> _Parser:
    argument = COMMANDS[name].argument
    taken = f" {argument.metavar}" if argument else ""
    parser = _Parser(
        prog=f"{PROGRAM} {name}",
        usage=f"{PROGRAM} {f'[{name}]' if name == 'serve' else name}{taken} [OPTION]...",
        description=f"{COMMANDS[name].summary[0].upper()}{COMMANDS[name].summary[1:]}.",
        epilog=_epilog(name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    version = f"{PROGRAM} {__version__} (Python {platform.python_version()})"
    if argument is not None:
        parser.add_argument(argument.variable, nargs="?", metavar=argument.metavar, help=argument.help)
    parser.add_argument("--version", action="version", version=version, help="print the version and exit")
    for option in options:
        text = option.help.replace("%", "%%")
        if option.kind == "bool":
            parser.add_argument(option.flag, dest=option.variable, action="store_const", const=True, help=text)
        else:
            action = "append" if option.kind == "list" else "store"
            parser.add_argument(option.flag, dest=option.variable, action=action, metavar=option.metavar, help=text)
    return parser


def _epilog(name: str) -> str:
    listed = "\n".join(f"  {other:<14} {command.summary}" for other, command in COMMANDS.items())
    others = f"commands:\n{listed}\n  COMMAND --help lists what each takes.\n\n" if name == "serve" else ""
    example = f"--log.level is {known.LOG_LEVEL.variable}"
    text = (
        f"Each option is an environment variable, too: {example}. A flag wins over a variable, and that over the "
        "file given by --config.file, which can set more: docs/configuration.md has all of it."
    )
    return others + textwrap.fill(text, width=100)

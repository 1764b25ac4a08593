"""Where a setting can be given, and how that is read: the file under the environment under the flags.

Every value keeps its origin, so that an error names the flag, the variable or the line.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from exporter import yamlfile
from exporter.yamlfile import Path as KeyPath

PREFIX = "ORCHESTRATION_EXPORTER_"
"""What the name of every environment variable begins with."""

_SHOWN_CHARACTERS = 80
# what Kubernetes sets in every container beside a service called orchestration-exporter
_KUBERNETES = re.compile(r"SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")


class _Nothing(str):
    """What an error shows for a value that was not given."""


NOTHING = _Nothing("(not given)")


class OperationError(Exception):
    """What was asked for could not be done, and none of it is a bug: one line.

    ::

        OperationError
         ├ CommandError    by a command that ends
         ├ ListenError     on the address to listen on
         └ PlatformError   by the simulated platform
    """


class ConfigError(Exception):
    """Wrong input: a line naming the thing (flag, variable, or file:line and key), its value, the rule."""

    def __init__(self, thing: str, value: object, rule: str) -> None:
        self._thing, self._rule = thing, rule
        shown = value if isinstance(value, _Nothing) else _shown(value)
        super().__init__(" ".join(f"{thing}: {shown}: {rule}".split()))

    def without_value(self) -> ConfigError:
        """The same, where the value may be a secret."""
        return ConfigError(self._thing, _Nothing("(not shown)"), self._rule)


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = text if text.isprintable() else json.dumps(value, default=str)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


class Strict(BaseModel):
    """Strict and frozen; what stands under an attribute is its description.

    Those that make up one file have a base of their own just below: its keys are the ones an error may hint at.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", use_attribute_docstrings=True)


class Model(Strict):
    """What makes up the configuration."""


Kind = Literal["text", "int", "float", "bool", "list", "yaml"]


@dataclass(frozen=True, slots=True)
class Option:
    """One thing that can be set: the path of its key in the file, and its flag, if it has one.

    ``kind`` says what the text of a flag or variable is read as. ``in_file`` is False for what only flags and
    variables give.
    """

    path: tuple[str, ...]
    kind: Kind = "text"
    flag: str = ""
    metavar: str = ""
    help: str = ""
    in_file: bool = True

    @property
    def variable(self) -> str:
        """The name of its environment variable."""
        return PREFIX + "_".join(self.path).upper()


def of_command(path: tuple[str, str], kind: Kind, flag: str, metavar: str, text: str) -> Option:
    """An option of a single command, which has no place in the configuration file."""
    return Option(path, kind, flag, metavar, text, in_file=False)


CONFIG_FILE = Option(
    ("config", "file"), flag="--config.file", metavar="FILE", in_file=False, help="the YAML file of settings"
)
DATABASE = Option(
    ("database",),
    flag="--database",
    metavar="PATH",
    in_file=False,
    help="the SQLite file to read (instead of sources:)",
)
LISTEN_ADDRESS = Option(
    ("web", "listen_address"),
    "list",
    "--web.listen-address",
    "HOST:PORT",
    "address to listen on, [IPV6]:PORT and :PORT too; repeatable (127.0.0.1:10477)",
)
TELEMETRY_PATH = Option(
    ("web", "telemetry_path"), "text", "--web.telemetry-path", "PATH", "path of the metrics (/metrics)"
)
EXTERNAL_URL = Option(
    ("web", "external_url"),
    "text",
    "--web.external-url",
    "URL",
    "URL under which a reverse proxy offers the exporter",
)
ROUTE_PREFIX = Option(
    ("web", "route_prefix"),
    "text",
    "--web.route-prefix",
    "PATH",
    "prefix of all routes (the path of the external URL)",
)
ENABLE_LIFECYCLE = Option(
    ("web", "enable_lifecycle"),
    "bool",
    "--web.enable-lifecycle",
    "",
    "let POST /-/reload read the configuration again",
)
WEB_CONFIG_FILE = Option(
    ("web", "config_file"), "text", "--web.config.file", "FILE", "the file of TLS, users and tokens"
)
ALLOW_OPEN = Option(
    ("web", "allow_open"),
    "bool",
    "--web.allow-open",
    "",
    "listen beyond loopback without users or without TLS",
)
STORAGE_PATH = Option(("storage", "path"), "text", "--storage.path", "DIR", "folder of the exporter's state (data)")
REBUILD_LEDGER = Option(
    ("storage", "rebuild_ledger"),
    "bool",
    "--rebuild-ledger",
    "",
    "make the ledger anew from the rows still there, as another time zone needs",
)
LOG_LEVEL = Option(("log", "level"), "text", "--log.level", "LEVEL", "debug, info, warning or error (info)")
LOG_FORMAT = Option(("log", "format"), "text", "--log.format", "FORMAT", "logfmt or json, on stderr (logfmt)")

OPTIONS = (
    *(CONFIG_FILE, DATABASE, Option(("sources",), "yaml")),
    *(Option(("poll_interval",)), Option(("session_idle_timeout",)), Option(("in_flight_timeout",))),
    *(Option(("max_in_flight",), "int"), Option(("new_series_hold",))),
    *(Option(("max_label_values",), "int"), Option(("max_series_per_metric",), "int")),
    *(Option(("query_timeout",)), Option(("naive_time_zone",)), Option(("labels", "drop"), "yaml")),
    *(Option(("time_zone",)), Option(("models",), "yaml"), Option(("model_aliases",), "yaml")),
    *(Option(("budgets",), "yaml"), Option(("tables",), "yaml")),
    *(LISTEN_ADDRESS, TELEMETRY_PATH, EXTERNAL_URL, ROUTE_PREFIX, ENABLE_LIFECYCLE, Option(("web", "grafana_url"))),
    *(WEB_CONFIG_FILE, ALLOW_OPEN),
    *(STORAGE_PATH, REBUILD_LEDGER, LOG_LEVEL, LOG_FORMAT),
)
"""Everything in `Settings`, and the two that stand for other things."""

Flags = Mapping[tuple[str, ...], object]
"""What the command line gave: by an option's path its text, a list of texts, True where it takes no value."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a value was given; with ``keyed`` the key is worth naming beside it."""

    where: str
    keyed: bool


AnyModel = TypeVar("AnyModel", bound=Strict)


@dataclass(frozen=True, slots=True)
class Layers:
    """Values laid one over the other, each with its origin."""

    tree: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, _Origin] = field(default_factory=dict)

    def add_file(self, name: str, *, option: Option = CONFIG_FILE) -> None:
        """Lay the values of the file that ``option`` names down.

        Raises:
            ConfigError: it cannot be read, or is not strict YAML, or not a mapping.
        """
        try:
            document = yamlfile.parse(Path(name).read_text("utf-8-sig"))
        except OSError as exc:
            raise ConfigError(option.flag, name, f"cannot be read: {exc.strerror}") from exc
        except UnicodeDecodeError as exc:
            raise ConfigError(option.flag, name, f"must be UTF-8: {exc.reason} at byte {exc.start}") from exc
        except yamlfile.YamlError as exc:
            raise ConfigError(f"{name}:{exc.line} {dotted(exc.path)}".rstrip(), exc.value, exc.rule) from exc
        data = {} if document.data is None else document.data
        if not isinstance(data, dict):
            raise ConfigError(f"{name}:1", data, "must be a mapping of keys to values")
        self.tree.update(_anchored(data, Path(name).parent))
        self.origins.update({path: _Origin(f"{name}:{line}", keyed=True) for path, line in document.lines.items()})

    def add(self, option: Option, *, flags: Flags, environ: Mapping[str, str]) -> None:
        """Lay down what the flag gives, or else the variable; an empty variable is none.

        Raises:
            ConfigError: YAML is wanted, and it is none.
        """
        if (given := flags.get(option.path)) is not None:
            self.put(option.path, option.flag, _read(option, option.flag, given))
        elif given := environ.get(option.variable):
            self.put(option.path, option.variable, _read(option, option.variable, given), option.kind == "yaml")

    def put(self, path: tuple[str, ...], where: str, value: object, keyed: bool = False) -> None:
        """Lay down one value, over all that was at its path."""
        at = self.tree
        for key in path[:-1]:
            at = at.setdefault(key, {})
        at[path[-1]] = value
        for covered in [other for other in self.origins if other[: len(path)] == path]:
            del self.origins[covered]
        self.origins[path] = _Origin(where, keyed)

    def thing(self, path: KeyPath) -> str:
        """What to call the value at ``path`` in an error: what gave it, or what it is in."""
        for end in range(len(path), -1, -1):
            if origin := self.origins.get(path[:end]):
                return f"{origin.where} {dotted(path)}".rstrip() if origin.keyed else origin.where
        return dotted(path)

    def validated(self, model: type[AnyModel], *at: str) -> AnyModel:
        """The values at the keys ``at``, as ``model`` has them.

        Raises:
            ConfigError: it does not allow one of them; the first is named.
        """
        values = self.tree
        for key in at:
            values = values.get(key, {})
        try:
            return model.model_validate(values)
        except ValidationError as exc:
            raise self._error(exc.errors()[0], at, model) from None

    def _error(self, error: ErrorDetails, at: KeyPath, model: type[Strict]) -> ConfigError:
        path = (*at, *(part for part in error["loc"] if part != "[key]"))
        value = NOTHING if error["type"] == "missing" else error["input"]
        return ConfigError(self.thing(path), value, _rule(error, model))


def check_environment(options: Iterable[Option], environ: Mapping[str, str]) -> None:
    """Hold that every variable with our prefix is one of ``options``, or one Kubernetes sets for a service.

    Raises:
        ConfigError: one is neither.
    """
    known = {option.variable for option in options}
    for name, value in sorted(environ.items()):
        if name.startswith(PREFIX) and name not in known and not _KUBERNETES.fullmatch(name.removeprefix(PREFIX)):
            raise ConfigError(name, value, f"no such variable{did_you_mean(name, known)}")


def _read(option: Option, where: str, given: object) -> object:
    """A flag's or variable's text as its kind has it; text that is none stays, for the model to refuse."""
    if not isinstance(given, str):
        return given
    try:
        match option.kind:
            case "int" | "float":
                return int(given) if option.kind == "int" else float(given)
            case "list":
                return [item.strip() for item in given.split(",")]
            case "bool":
                return {"true": True, "1": True, "false": False, "0": False}.get(given.lower(), given)
            case "yaml":
                return yamlfile.parse(given).data
    except ValueError:
        return given
    except yamlfile.YamlError as exc:
        raise ConfigError(f"{where} {dotted(exc.path)}".rstrip(), exc.value, exc.rule) from exc
    return given


def _anchored(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """``data`` of a file in ``folder``, its relative paths made relative to that."""
    sources, storage, web = data.get("sources"), data.get("storage"), data.get("web")
    for holder, key in [
        *((item, "database") for item in (sources if isinstance(sources, list) else ())),
        (storage, "path"),
        (web, "config_file"),
    ]:
        if isinstance(holder, dict) and isinstance(holder.get(key), str) and holder[key]:
            holder[key] = str(folder / holder[key])
    return data


def dotted(path: KeyPath) -> str:
    """A key's path as people write it: `sources[0].labels.tenant`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint at the name that was probably meant, to be put after an error; empty if there is none."""
    near = difflib.get_close_matches(name, set(known) - {name}, n=1)
    return f"; did you mean {near[0]}?" if near else ""


_RULES = {
    "missing": "is required",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a number",
    "string_unicode": "must be valid UTF-8",
    "bool_type": "must be true or false",
    "string_type": "must be text (in quotes, if YAML reads it as something else)",
    "is_instance_of": "must be text (in quotes, if YAML reads it as something else)",
    "tuple_type": "must be a list",
    "too_short": "must not be empty",
    "greater_than": "must be more than {gt}",
    "less_than": "must be less than {lt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
    **dict.fromkeys(("model_type", "mapping_type", "dict_type"), "must be a mapping of keys to values"),
}


def _keys(model: type[Strict]) -> Iterable[str]:
    """The keys of all models that are made from this one."""
    for made in model.__subclasses__():
        yield from made.model_fields
        yield from _keys(made)


def _file_of(model: type[Strict]) -> type[Strict]:
    """The base of all models of the same file."""
    return next(each for each in reversed(model.__mro__) if issubclass(each, Strict) and each is not Strict)


def _rule(error: ErrorDetails, model: type[Strict]) -> str:
    if error["type"] == "extra_forbidden":
        known, name = set(_keys(_file_of(model))), str(error["loc"][-1])
        return "no such key here" if name in known else f"no such key{did_you_mean(name, known)}"
    rule = _RULES.get(error["type"])
    return rule.format(**error.get("ctx", {})) if rule else error["msg"]

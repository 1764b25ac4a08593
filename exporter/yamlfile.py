"""YAML read strictly: what a line says is what is meant, and every value knows its line.

Beyond PyYAML's SafeLoader: a key given twice is an error, and so are aliases (ten lines of them can make a
thousand million entries) and tags; keys are text; plain words mean what they do in YAML 1.2: `no`, `1:30` and
`2026-01-01` are text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

Path = tuple[str | int, ...]
"""Where a value stands: keys and list indexes from the top."""

_MAX_DEPTH = 32


class YamlError(Exception):
    """A line that is no good YAML, or not strict; ``path`` is empty where no key can be named."""

    def __init__(self, line: int, path: Path, value: object, rule: str) -> None:
        super().__init__(f"line {line}: {rule}")
        self.line, self.path, self.value, self.rule = line, path, value, rule


@dataclass(frozen=True, slots=True)
class Document:
    """What a text says, as plain values, and the line of each."""

    data: object
    lines: Mapping[Path, int]


class _Loader(yaml.SafeLoader):
    """SafeLoader with the plain words of YAML 1.2's core schema only."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as in PyYAML

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases.

        Raises:
            ComposerError: the next event is one.
        """
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", mark)
        return super().compose_node(parent, index)


_WORDS = (
    ("null", r"(?:~|null)?", ["~", "n", ""]),
    ("bool", r"true|false", list("tf")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
)
for _kind, _pattern, _first in _WORDS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"(?:{_pattern})$"), _first)
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", *(word[0] for word in _WORDS))}


def parse(text: str) -> Document:
    """The one document in ``text``; an empty one is None.

    Raises:
        YamlError: it is not YAML, or more than one document, or not strict.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        lines: dict[Path, int] = {}
        return Document(_value(loader, node, (), lines) if node else None, lines)
    except RecursionError:
        raise YamlError(1, (), text, f"nested too deeply: at most {_MAX_DEPTH} levels") from None
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        raise YamlError(line, (), text[exc.position], "not YAML: a character it must not have") from exc
    except yaml.MarkedYAMLError as exc:
        raise _translated(exc) from exc


def _translated(exc: yaml.MarkedYAMLError) -> YamlError:
    mark = exc.problem_mark or exc.context_mark
    line = mark.line + 1 if mark else 1
    near = (mark.get_snippet(max_length=40) or "").strip().split("\n")[0] if mark else ""
    return YamlError(line, (), near, f"not YAML: {exc.problem or exc.context}")


def _value(loader: _Loader, node: yaml.Node, path: Path, lines: dict[Path, int]) -> object:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if len(path) > _MAX_DEPTH:
        raise YamlError(line, path, "…", f"nested too deeply: at most {_MAX_DEPTH} levels")
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, item, (*path, at), lines) for at, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return _scalar(loader, node, path)
    found: dict[str, object] = {}
    for key_node, value_node in node.value:
        key = _key(key_node, path, found)
        lines[(*path, key)] = key_node.start_mark.line + 1
        found[key] = _value(loader, value_node, (*path, key), lines)
    return found


def _scalar(loader: _Loader, node: yaml.Node, path: Path) -> object:
    try:
        if node.tag in _TAGS:
            return loader.construct_object(node)
    except ValueError:
        pass  # a tag that the text does not fit, as in !!int x
    raise YamlError(node.start_mark.line + 1, path, node.value, f"tags are not allowed: {node.tag}")


def _key(node: yaml.Node, path: Path, found: Mapping[str, object]) -> str:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
        raise YamlError(line, path, node.value, "a key must be text (in quotes, if YAML reads it as something else)")
    key = str(node.value)
    if key in found:
        raise YamlError(line, (*path, key), found[key], "the key is given twice")
    return key

"""A series as people copy it: ``name{label="value",…}``, with the quotes and escapes of PromQL, and only ``=``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TEXT = re.compile(r"""`([^`]*)`|"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)'""")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|[abfnrtv\\\"'])|\\")
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class SelectorError(ValueError):
    """What was given is no selector: says where it ends to be one."""


@dataclass(frozen=True, slots=True)
class Selector:
    """A name, and the labels that a series must have; other labels may have any value."""

    name: str
    labels: Mapping[str, str]


def parse(text: str) -> Selector:
    """Read a selector.

    Raises:
        SelectorError: it is none.
    """
    rest = text.strip()
    name = _NAME.match(rest)
    if name is None:
        raise SelectorError('must begin with the name of a metric: METRIC{label="value"}')
    rest = rest[name.end() :].lstrip()
    return Selector(name[0], _labels(rest) if rest else {})


def _labels(rest: str) -> dict[str, str]:
    if rest[0] != "{":
        raise SelectorError(f"must go on with {{ after the name, not with {rest!r}")
    found: dict[str, str] = {}
    rest = rest[1:].lstrip()
    while not rest.startswith("}"):
        label, value, rest = _pair(rest)
        if found.setdefault(label, value) != value:
            raise SelectorError(f"must give label {label} once")
        if rest.startswith(","):
            rest = rest[1:].lstrip()
        elif not rest.startswith("}"):
            raise SelectorError(f"must have a comma or }} after label {label}, not {rest!r}")
    if rest != "}":
        raise SelectorError(f"must end with }}, not with {rest[1:]!r}")
    return found


def _pair(rest: str) -> tuple[str, str, str]:
    """A label, its value, and what follows them."""
    label = _LABEL.match(rest)
    if label is None:
        raise SelectorError(f"must have a label's name where {rest!r} begins" if rest else "must end with }")
    rest = rest[label.end() :].lstrip()
    if rest[:1] != "=" or rest[:2] == "=~":
        raise SelectorError(f"must have = after label {label[0]}: no other operator is known here")
    rest = rest[1:].lstrip()
    text = _TEXT.match(rest)
    if text is None:
        raise SelectorError(f"must have a value in quotes for label {label[0]}, not {rest!r}")
    raw, double, single = text.groups()
    value = raw if raw is not None else _ESCAPE.sub(_unescaped, double if double is not None else single)
    return label[0], value, rest[text.end() :].lstrip()


def _unescaped(found: re.Match[str]) -> str:
    code = found[1]
    if code is None:
        raise SelectorError(f"must have a known escape after \\ in {found.string!r}")
    if code in _LETTERS:
        return _LETTERS[code]
    if code[0] in "xuU" or code.isdigit():
        point = int(code, 8) if code.isdigit() else int(code[1:], 16)
        if point > 0x10FFFF:
            raise SelectorError(f"must have a character's number after \\, not {code}")
        return chr(point)
    return code

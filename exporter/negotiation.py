"""Which format and which coding a request asks for, as RFC 9110 (12.5.1, 12.5.3) has it.

Whatever a header holds, there is an answer: an element that cannot be read is passed over, and who accepts
nothing that there is gets text 0.0.4, rather than a 406 that no scraper could make anything of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from exporter.exposition import Format

_QUOTED = r'"(?:[^"\\]|\\.)*"?'  # one that is not closed reaches to the end: no character is read twice
_ELEMENT = re.compile(rf'(?:[^,"]|{_QUOTED})+', re.DOTALL)
_PARAMETER = re.compile(rf'(?:[^;"]|{_QUOTED})+', re.DOTALL)
_WEIGHT = re.compile(r"0(\.[0-9]*)?|1(\.0*)?")

_NAMED = 2
"""The least closeness of a range that names the type itself."""
_VERSIONS: Mapping[Format, Mapping[str, float]] = {
    # 0.0.1 is what old Prometheus call 1.0.0, and less close than no version at all
    Format.OPENMETRICS: {"1.0.0": 4, "": 3, "0.0.1": _NAMED},
    Format.TEXT: {"0.0.4": 4, "": 3},
}


class _Element(NamedTuple):
    """One element of a header: in small letters what it names, its parameters, and its weight, 0 to 1."""

    name: str
    parameters: Mapping[str, str]
    weight: float


def negotiate(accept: str | None) -> Format:
    """The format that an ``Accept`` header prefers.

    The range that names a format most closely gives its weight: ``;q=0`` excludes it beside ``*/*``. At equal
    weights the format named more closely is taken: OpenMetrics if both are named alike, text if neither is.
    """
    elements = list(_elements(accept or ""))
    text, openmetrics = (_preference(form, elements) for form in (Format.TEXT, Format.OPENMETRICS))
    better = openmetrics > text or (openmetrics == text and openmetrics[1] >= _NAMED)
    return Format.OPENMETRICS if better and openmetrics[0] > 0 else Format.TEXT


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether an ``Accept-Encoding`` header asks for gzip: accepts it, and does not prefer plain by its name.

    ``identity;q=0`` refuses plain, and is taken as asking for gzip unless that is refused too.
    """
    weights = {element.name: element.weight for element in _elements(accept_encoding or "")}
    plain = weights.get("identity")
    unnamed = weights.get("*", 1.0 if plain == 0 else 0.0)
    gzip = weights.get("gzip", weights.get("x-gzip", unnamed))
    return gzip > 0 and gzip >= (plain or 0.0)


def _preference(form: Format, elements: list[_Element]) -> tuple[float, float]:
    """The weight of a format and the closeness of the range that gives it; (0, 0) where no range matches."""
    matches = [(_closeness(form, element), element.weight) for element in elements]
    closeness, weight = max((match for match in matches if match[0] >= 0), default=(0.0, 0.0))
    return weight, closeness


def _closeness(form: Format, element: _Element) -> float:
    """How closely a media range names the format: -1 where it does not match it at all."""
    name = form.value.partition(";")[0]
    if element.name == name:
        utf8 = element.parameters.get("charset", "utf-8").lower() == "utf-8"
        return _VERSIONS[form].get(element.parameters.get("version", ""), -1) if utf8 else -1
    if element.name == "*/*":
        return 0
    return 1 if element.name == name.partition("/")[0] + "/*" else -1


def _elements(header: str) -> Iterator[_Element]:
    for match in _ELEMENT.finditer(header):
        name, *rest = (part.strip() for part in _PARAMETER.findall(match.group()) or [""])
        pairs = (part.partition("=") for part in rest)
        parameters = {key.strip().lower(): _unquoted(value.strip()) for key, _, value in pairs}
        weight = parameters.pop("q", "1")
        if _WEIGHT.fullmatch(weight):
            yield _Element(name.lower(), parameters, float(weight))


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if len(value) > 1 and value[0] == value[-1] == '"' else value

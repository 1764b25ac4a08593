"""Durations as a person writes them."""

import re

DAY_S = 86_400.0

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": DAY_S, "w": 7 * DAY_S}
_PART = r"(\d+(?:\.\d+)?)([smhdw])"


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `30d`, `1h30m`, `2.5s`; `0` needs no unit.

    Raises:
        ValueError: It is anything else.
    """
    if text == "0":
        return 0.0
    if not re.fullmatch(f"(?:{_PART})+", text, re.ASCII):
        raise ValueError(f"a duration is a number and one of s, m, h, d, w (30d, 1h30m): {text!r}")
    return sum(float(number) * _UNITS_S[unit] for number, unit in re.findall(_PART, text))

"""Whether the time of a failed log-in tells that there is such a user."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Iterator
from statistics import median

import bcrypt

from bench.figure import Figure, spread
from bench.scale import Scale
from exporter.web.users import Users
from exporter.web.webconfig import WebConfig

_TRIES = 200


def measure(scale: Scale) -> Iterator[Figure]:
    """An unknown user against a wrong password, in turns, at bcrypt's cost 10."""
    unknown, wrong = asyncio.run(_times(min(_TRIES, scale.scrapes)))
    medians = median(unknown), median(wrong)
    yield Figure(
        "logins",
        "time of the slower / the quicker of an unknown user and a wrong password, medians",
        max(medians) / min(medians),
        1.1,
        detail=" / ".join(spread(times, scale=1e3, unit="ms") for times in (unknown, wrong)),
    )


async def _times(tries: int) -> tuple[list[float], list[float]]:
    users = Users(WebConfig(basic_auth_users={"alice": bcrypt.hashpw(b"right", bcrypt.gensalt(10)).decode()}))
    taken: dict[str, list[float]] = {"mallory": [], "alice": []}
    for number in range(tries):
        for name, times in taken.items():
            header = "Basic " + base64.b64encode(f"{name}:wrong {number}".encode()).decode()
            began = time.perf_counter()
            assert await users.find(header) is None
            times.append(time.perf_counter() - began)
    users.close()
    return taken["mallory"], taken["alice"]

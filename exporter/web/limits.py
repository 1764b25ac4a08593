"""How often somebody may ask."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

PAGES_A_MINUTE = 100
_CLIENTS = 10_000


class Bucket:
    """Lets ``burst`` requests through at once, and one more each ``interval_s``."""

    __slots__ = ("_at", "_burst", "_interval_s", "_left")

    def __init__(self, *, interval_s: float, burst: int, now: float) -> None:
        self._interval_s, self._burst = interval_s, float(burst)
        self._left, self._at = self._burst, now

    def wait_s(self, now: float) -> int:
        """Take one; 0, or the whole seconds after which there is one again."""
        self._left = min(self._burst, self._left + (now - self._at) / self._interval_s)
        self._at = now
        if self._left >= 1.0:
            self._left -= 1.0
            return 0
        return max(1, math.ceil((1.0 - self._left) * self._interval_s))


class Clients:
    """A bucket for each client's address, the newest ten thousand of them."""

    def __init__(self, a_minute: int = PAGES_A_MINUTE, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._a_minute, self._clock = a_minute, clock
        self._buckets: dict[str, Bucket] = {}

    def wait_s(self, client: str) -> int:
        """Take one of the client's; 0, or the seconds to wait."""
        now = self._clock()
        bucket = self._buckets.pop(client, None)
        if bucket is None:
            if len(self._buckets) >= _CLIENTS:
                del self._buckets[next(iter(self._buckets))]
            bucket = Bucket(interval_s=60.0 / self._a_minute, burst=self._a_minute, now=now)
        self._buckets[client] = bucket
        return bucket.wait_s(now)

"""`python -m bench [NAME…] [--quick]`: measure, and print each figure beside its limit.

Exit code 1 where one is over it; with ``--quick`` only where one could not be measured.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence

from bench import books, live, logins, past, peer, publish, scan, scrape, tls, writer
from bench.databases import folder
from bench.figure import Figure
from bench.scale import FULL, QUICK, Scale

BENCHES: Mapping[str, Callable[[Scale], Iterator[Figure]]] = {
    "scrape": scrape.measure,
    "publish": publish.measure,
    "scan": scan.measure,
    "books": books.measure,
    "past": past.measure,
    "idle": live.measure_idle,
    "live": live.measure,
    "peer": peer.measure,
    "writer": writer.measure,
    "logins": logins.measure,
    "tls": tls.measure,
}


def main(arguments: Sequence[str]) -> int:
    """Run the benches named, or all; the exit code: 0 when every figure keeps its limit."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="What the exporter costs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHES)}; all without one")
    parser.add_argument("--quick", action="store_true", help="small sizes, short runs: limits mean nothing then")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in BENCHES]:
        parser.error(f"NAME: {unknown[0]}: must be one of {', '.join(BENCHES)}")
    print(f"databases are kept in {folder()}; ratios compare what was run in turns, by medians", flush=True)
    if given.quick:
        print("quick: small sizes and short runs, so that the limits say nothing", flush=True)
    over = run(given.names or list(BENCHES), QUICK if given.quick else FULL)
    return 1 if any(not given.quick or not figure.measured for figure in over) else 0


def run(names: Sequence[str], scale: Scale) -> list[Figure]:
    """Print the figures of these benches as they come; return those over their limits."""
    began = time.monotonic()
    figures = [figure for name in names for figure in _figures(name, scale)]
    over = [figure for figure in figures if not figure.ok]
    print(f"{len(figures)} figures in {time.monotonic() - began:.0f} s, {len(over)} over their limits")
    for figure in over:
        print(figure.line().partition("\n")[0])
    return over


def _figures(name: str, scale: Scale) -> Iterator[Figure]:
    """Print and hand on the figures of one bench; one that fails is a figure over its limit, and the next go on."""
    try:
        for figure in BENCHES[name](scale):
            print(figure.line(), flush=True)
            yield figure
    except Exception:
        traceback.print_exc()
        yield Figure(name, "could not be measured", float("nan"), 0.0, unit="")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

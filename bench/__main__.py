"""`python -m bench [NAME…] [--quick]`: measure, print each figure beside its limit; 1 where one is over."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from bench import live, peer, publish, scan, scrape, writer
from bench.databases import folder
from bench.figure import Figure
from bench.scale import FULL, QUICK, Scale

BENCHES: Mapping[str, Callable[[Scale], Iterator[Figure]]] = {
    "scrape": scrape.measure,
    "publish": publish.measure,
    "scan": scan.measure,
    "idle": live.measure_idle,
    "live": live.measure,
    "peer": peer.measure,
    "writer": writer.measure,
}


def main(arguments: Sequence[str]) -> int:
    """Run the benches named, or all; the exit code: 0 when every figure keeps its limit."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="What the exporter costs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHES)}; all without one")
    parser.add_argument("--quick", action="store_true", help="small sizes, short runs: they prove no limit")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in BENCHES]:
        parser.error(f"NAME: {unknown[0]}: must be one of {', '.join(BENCHES)}")
    print(f"databases are kept in {folder()}; ratios compare what was run in turns, by medians", flush=True)
    if given.quick:
        print("quick: small sizes and short runs, so that the limits say nothing", flush=True)
    return run(given.names or list(BENCHES), QUICK if given.quick else FULL)


def run(names: Sequence[str], scale: Scale) -> int:
    """Print the figures of these benches as they come, then those over their limits."""
    began = time.monotonic()
    figures: list[Figure] = []
    for name in names:
        for figure in BENCHES[name](scale):
            print(figure.line(), flush=True)
            figures.append(figure)
    over = [figure for figure in figures if not figure.ok]
    print(f"{len(figures)} figures in {time.monotonic() - began:.0f} s, {len(over)} over their limits")
    for figure in over:
        print(figure.line())
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

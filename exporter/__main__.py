"""`orchestration-exporter` and `python -m exporter`."""

import os
import sys

from exporter.catalogue import SCHEMA, SHOWN
from exporter.cli import run


def main() -> int:
    """Run one command; returns its exit code."""
    return run(sys.argv[1:], os.environ, SCHEMA, SHOWN)


if __name__ == "__main__":
    sys.exit(main())

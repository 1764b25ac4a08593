"""Write the dashboards and their documentation, or say which files are not what the code makes.

python -m dashboards            write provisioning/grafana/dashboards/ and docs/dashboards.md
python -m dashboards --check    write nothing; exit 1 if a file differs, is missing or is none of these
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dashboards.board import built
from dashboards.classic import rendered
from dashboards.house import BOARDS
from dashboards.manual import manual
from tools.generated import written_or_checked

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = Path("provisioning") / "grafana" / "dashboards"
MANUAL = Path("docs") / "dashboards.md"
COMMAND = "python -m dashboards"
WHOLE = (f"{FOLDER}/**/*.json",)
"""What is nothing but made here."""


def files() -> dict[Path, str]:
    """Return the text of every file that is made here, by its path in the repository."""
    made = {FOLDER / board.folder / f"{board.name}.json": rendered(built(board)) for board in BOARDS}
    return {**made, MANUAL: manual(BOARDS)}


def main(argv: Sequence[str] | None = None, root: Path = REPOSITORY) -> int:
    """Write, or check; exit code 1 if a check finds a difference."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write the Grafana dashboards.")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    is_check = parser.parse_args(argv).check
    return written_or_checked(files(), root, WHOLE, command=COMMAND, is_check=is_check)


if __name__ == "__main__":
    sys.exit(main())

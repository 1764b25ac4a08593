"""Write the dashboards and their documentation, or say which files are not what the code makes.

python -m dashboards            write provisioning/grafana/dashboards/ and docs/dashboards.md
python -m dashboards --check    write nothing; exit 1 if a file differs, is missing or is none of these
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dashboards.board import built
from dashboards.classic import rendered
from dashboards.house import BOARDS
from dashboards.manual import manual

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = Path("provisioning") / "grafana" / "dashboards"
MANUAL = Path("docs") / "dashboards.md"


def files() -> dict[Path, str]:
    """Return the text of every file that is made here, by its path in the repository."""
    made = {FOLDER / board.folder / f"{board.name}.json": rendered(built(board)) for board in BOARDS}
    return {**made, MANUAL: manual(BOARDS)}


def differences(made: Mapping[Path, str], root: Path) -> list[str]:
    """Return a line for each file under ``root`` that is not what was made, is missing, or was left over."""
    found = []
    for path, text in made.items():
        there = root / path
        if not there.is_file():
            found.append(f"{path} is missing")
        elif there.read_text() != text:
            found.append(f"{path} differs")
    strays = [path.relative_to(root) for path in (root / FOLDER).rglob("*.json")]
    return sorted([*found, *(f"{path} is left over" for path in strays if path not in made)])


def write(made: Mapping[Path, str], root: Path) -> None:
    """Write the files, and take away dashboards that are none of them."""
    for path in (root / FOLDER).rglob("*.json"):
        if path.relative_to(root) not in made:
            path.unlink()
    for path, text in made.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def main(argv: Sequence[str] | None = None, root: Path = REPOSITORY) -> int:
    """Write, or check; exit code 1 if a check finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m dashboards", description="Write the Grafana dashboards.")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    made = files()
    if not parser.parse_args(argv).check:
        write(made, root)
        return 0
    found = differences(made, root)
    for line in found:
        print(f"{line}: run python -m dashboards", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

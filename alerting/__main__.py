"""Write the rules and their documentation, or say which files are not what the code makes.

python -m alerting            write provisioning/prometheus/rules/ and docs/alerts.md
python -m alerting --check    write nothing; exit 1 if a file differs, is missing or is none of these
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from alerting.groups import GROUPS
from alerting.manual import manual
from alerting.rules import rendered

REPOSITORY = Path(__file__).resolve().parent.parent
RULES = Path("provisioning") / "prometheus" / "rules"
MANUAL = Path("docs") / "alerts.md"
WHOLE = (RULES,)
"""Folders that have nothing but what is made here."""


def files() -> dict[Path, str]:
    """The text of every file that is made here, by its path in the repository."""
    return {**{RULES / f"{group.name}.yaml": rendered(group) for group in GROUPS}, MANUAL: manual(GROUPS)}


def differences(made: Mapping[Path, str], root: Path) -> list[str]:
    """A line for each file under ``root`` that is not what was made, is missing, or was left over."""
    found = []
    for path, text in made.items():
        there = root / path
        if not there.is_file():
            found.append(f"{path} is missing")
        elif there.read_text() != text:
            found.append(f"{path} differs")
    return sorted([*found, *(f"{path} is left over" for path in strays(made, root))])


def strays(made: Mapping[Path, str], root: Path) -> list[Path]:
    """Files in our folders that are not made here."""
    there = [path.relative_to(root) for folder in WHOLE for path in (root / folder).rglob("*") if path.is_file()]
    return [path for path in there if path not in made]


def write(made: Mapping[Path, str], root: Path) -> None:
    """Write the files, and take away what is left over."""
    for path in strays(made, root):
        (root / path).unlink()
    for path, text in made.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def main(argv: Sequence[str] | None = None, root: Path = REPOSITORY) -> int:
    """Write, or check; exit code 1 if a check finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m alerting", description="Write the alert rules.")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    made = files()
    if not parser.parse_args(argv).check:
        write(made, root)
        return 0
    found = differences(made, root)
    for line in found:
        print(f"{line}: run python -m alerting", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

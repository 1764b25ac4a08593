"""Files that code makes: written into the repository, or compared with what is there."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def written_or_checked(
    made: Mapping[Path, str], root: Path, whole: Sequence[str], *, command: str, is_check: bool
) -> int:
    """Write, or say which files differ and what mends it; exit code 1 if a check finds a difference.

    ``made`` are the texts by their paths below ``root``; ``whole`` are patterns that only files of ``made`` may match.
    """
    if not is_check:
        write(made, root, whole)
        return 0
    found = differences(made, root, whole)
    for line in found:
        print(f"{line}: run {command}", file=sys.stderr)
    return 1 if found else 0


def differences(made: Mapping[Path, str], root: Path, whole: Sequence[str]) -> list[str]:
    """A line for each file under ``root`` that is not what was made, is missing, or was left over."""
    found = []
    for path, text in made.items():
        there = root / path
        if not there.is_file():
            found.append(f"{path} is missing")
        elif there.read_text() != text:
            found.append(f"{path} differs")
    return sorted([*found, *(f"{path} is left over" for path in _strays(made, root, whole))])


def write(made: Mapping[Path, str], root: Path, whole: Sequence[str]) -> None:
    """Write the files, and take away what is left over."""
    for path in _strays(made, root, whole):
        (root / path).unlink()
    for path, text in made.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def _strays(made: Mapping[Path, str], root: Path, whole: Sequence[str]) -> list[Path]:
    there = [path.relative_to(root) for pattern in whole for path in root.glob(pattern) if path.is_file()]
    return [path for path in there if path not in made]

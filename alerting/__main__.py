"""Write rules, their documentation and Alertmanager's configuration, or say which files are not what the code makes.

python -m alerting            write provisioning/prometheus/rules/, provisioning/alertmanager/ and docs/alerts.md
python -m alerting --check    write nothing; exit 1 if a file differs, is missing or is none of these
python -m alerting --receivers FILE --to FOLDER
                              write, or --check, a site's Alertmanager configuration of its own receivers, and no more

Settings that cannot be used are one line, and exit code 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from alerting import alertmanager, receivers, thresholds
from alerting.groups import GROUPS
from alerting.manual import manual
from alerting.rules import rendered

REPOSITORY = Path(__file__).resolve().parent.parent
RULES = Path("provisioning") / "prometheus" / "rules"
ALERTMANAGER = Path("provisioning") / "alertmanager"
MANUAL = Path("docs") / "alerts.md"
WHOLE = (RULES, ALERTMANAGER)
"""Folders that have nothing but what is made here."""


def files() -> dict[Path, str]:
    """The text of every file that is made here, by its path in the repository.

    Raises:
        ThresholdsError, ReceiversError: a file of settings cannot be used.
    """
    rules = {RULES / f"{group.name}.yaml": rendered(group) for group in GROUPS}
    routing = {ALERTMANAGER / path: text for path, text in _routing(receivers.load()).items()}
    return {**rules, **routing, MANUAL: manual(GROUPS)}


def _routing(given: receivers.Receivers) -> dict[Path, str]:
    return alertmanager.files(given, thresholds.load().tenant_labels)


def differences(made: Mapping[Path, str], root: Path, whole: Sequence[Path] = WHOLE) -> list[str]:
    """A line for each file under ``root`` that is not what was made, is missing, or was left over."""
    found = []
    for path, text in made.items():
        there = root / path
        if not there.is_file():
            found.append(f"{path} is missing")
        elif there.read_text() != text:
            found.append(f"{path} differs")
    return sorted([*found, *(f"{path} is left over" for path in strays(made, root, whole))])


def strays(made: Mapping[Path, str], root: Path, whole: Sequence[Path]) -> list[Path]:
    """Files in folders that should have nothing but what is made here."""
    there = [path.relative_to(root) for folder in whole for path in (root / folder).rglob("*") if path.is_file()]
    return [path for path in there if path not in made]


def write(made: Mapping[Path, str], root: Path, whole: Sequence[Path] = WHOLE) -> None:
    """Write the files, and take away what is left over."""
    for path in strays(made, root, whole):
        (root / path).unlink()
    for path, text in made.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def main(argv: Sequence[str] | None = None, root: Path = REPOSITORY) -> int:
    """Write, or check; exit code 1 if a check finds a difference, 2 if settings cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m alerting", description="Write the alerts and their routing.")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    parser.add_argument("--receivers", metavar="FILE", type=Path, help="a site's own receivers: docs/alerting.md")
    parser.add_argument("--to", metavar="FOLDER", type=Path, help="where Alertmanager's configuration of them is")
    given = parser.parse_args(argv)
    if (given.receivers is None) != (given.to is None):
        parser.error("--receivers and --to go together")
    try:
        if given.receivers is None:
            return _written_or_checked(files(), root, WHOLE, is_check=given.check)
        # nothing is taken away from a folder of theirs
        return _written_or_checked(_routing(receivers.load(given.receivers)), given.to, (), is_check=given.check)
    except (receivers.ReceiversError, thresholds.ThresholdsError, OSError) as exc:
        print(exc, file=sys.stderr)
        return 2


def _written_or_checked(made: Mapping[Path, str], root: Path, whole: Sequence[Path], *, is_check: bool) -> int:
    if not is_check:
        write(made, root, whole)
        return 0
    found = differences(made, root, whole)
    for line in found:
        print(f"{line}: run python -m alerting", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

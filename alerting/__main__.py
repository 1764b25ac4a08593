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
from collections.abc import Sequence
from pathlib import Path

from alerting import alertmanager, receivers, thresholds
from alerting.groups import GROUPS
from alerting.manual import manual
from alerting.rules import rendered
from tools.generated import written_or_checked

REPOSITORY = Path(__file__).resolve().parent.parent
RULES = Path("provisioning") / "prometheus" / "rules"
ALERTMANAGER = Path("provisioning") / "alertmanager"
MANUAL = Path("docs") / "alerts.md"
COMMAND = "python -m alerting"
WHOLE = (f"{RULES}/**/*", f"{ALERTMANAGER}/**/*")
"""What is nothing but made here."""


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


def main(argv: Sequence[str] | None = None, root: Path = REPOSITORY) -> int:
    """Write, or check; exit code 1 if a check finds a difference, 2 if settings cannot be used."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write the alerts and their routing.")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    parser.add_argument("--receivers", metavar="FILE", type=Path, help="a site's own receivers: docs/alerting.md")
    parser.add_argument("--to", metavar="FOLDER", type=Path, help="where Alertmanager's configuration of them is")
    given = parser.parse_args(argv)
    if (given.receivers is None) != (given.to is None):
        parser.error("--receivers and --to go together")
    try:
        if given.receivers is None:
            return written_or_checked(files(), root, WHOLE, command=COMMAND, is_check=given.check)
        # nothing is taken away from a folder of theirs
        own = _routing(receivers.load(given.receivers))
        return written_or_checked(own, given.to, (), command=COMMAND, is_check=given.check)
    except (receivers.ReceiversError, thresholds.ThresholdsError, OSError) as exc:
        print(exc, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

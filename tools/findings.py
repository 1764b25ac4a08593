"""What bandit finds, but for what bandit.toml answers: `python -m tools.findings FOLDER...`.

Exit code 1 where something is left: a finding without an answer, or an answer without a finding. The answers stand in
one place, with their reasons, instead of a remark on each of many lines that are alike.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

ANSWERS = Path(__file__).with_name("bandit.toml")


@dataclass(frozen=True, slots=True)
class Answer:
    """Why what one of bandit's tests finds in these files stays."""

    test: str
    files: tuple[str, ...]
    why: str

    def of(self, finding: Mapping[str, Any], file: str) -> bool:
        """Whether it answers this finding, in the files of that pattern."""
        return bool(finding["test_id"] == self.test and fnmatch(finding["filename"].removeprefix("./"), file))


def answers(text: str) -> list[Answer]:
    """The answers of bandit.toml's text. Raises: TypeError, if a key is missing or unknown."""
    read = [Answer(**each) for each in tomllib.loads(text)["answer"]]
    return [Answer(each.test, tuple(each.files), each.why) for each in read]


def left(findings: Sequence[Mapping[str, Any]], given: Sequence[Answer]) -> Iterator[str]:
    """A line for each finding that is not answered, and for each file of an answer in which there is none."""
    for finding in findings:
        if not any(answer.of(finding, file) for answer in given for file in answer.files):
            place = f"{finding['filename']}:{finding['line_number']}"
            yield f"{place}: {finding['test_id']} {finding['issue_text']}"
    for answer in given:
        for file in answer.files:
            if not any(answer.of(finding, file) for finding in findings):
                yield f"{ANSWERS.name}: {answer.test} in {file}: answers nothing"


def found(folders: Sequence[str]) -> list[Mapping[str, Any]]:
    """What bandit finds in these folders. Raises: CalledProcessError, if it cannot look."""
    command = [sys.executable, "-m", "bandit", "--quiet", "--recursive", "--format", "json", "--exit-zero", *folders]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    errors: list[Mapping[str, Any]] = told["errors"]
    results: list[Mapping[str, Any]] = told["results"]
    if errors:
        raise RuntimeError(f"bandit could not read {errors}")
    return results


def main(folders: Sequence[str]) -> int:
    """Print what is left; the exit code."""
    lines = list(left(found(folders), answers(ANSWERS.read_text())))
    print(*(lines or ["every finding of bandit is answered"]), sep="\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What is installed is what was locked, what bandit finds is answered, and the documents name tests that exist."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.sqlite_platform import REPOSITORY
from tools import findings
from tools.findings import Answer

# ── the lock files ───────────────────────────────────────────────────────────────────────────────────────────


def wheel(folder: Path, name: str) -> str:
    """Make a package of one module, and return its hash."""
    files = {
        f"{name}.py": "",
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {file: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()) for file, text in files.items()}
    record = [f"{file},sha256={digests[file].decode().rstrip('=')},{len(text)}" for file, text in files.items()]
    files[f"{name}-1.0.dist-info/RECORD"] = "\n".join([*record, f"{name}-1.0.dist-info/RECORD,,", ""])
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as packed:
        for file, text in files.items():
            packed.writestr(file, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_package_that_is_not_the_locked_one_is_not_installed(tmp_path: Path) -> None:
    """tools/venv takes the one whose hash is in the lock file, and ends at another, without a network."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/venv").write_bytes((REPOSITORY / "tools/venv").read_bytes())
    good, tampered = wheel(tmp_path, "good"), wheel(tmp_path, "tampered")
    (tmp_path / "requirements.lock").write_text(f"good==1.0 --hash=sha256:{good}\n")
    wrong = tampered.translate(str.maketrans("01", "10"))
    (tmp_path / "requirements-dev.lock").write_text(f"tampered==1.0 --hash=sha256:{wrong}\n")
    own = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PYTHON": sys.executable, "VENV": ".venv"}
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "PYTHON"))} | own

    def made(kind: str) -> str:
        command = ["sh", tmp_path / "tools/venv", kind]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120).stderr

    made("runtime")  # its last step needs a project, which is not there
    told = made("dev")
    installed = {path.stem for path in (tmp_path / ".venv/lib").glob("python*/site-packages/*.py")}

    assert "DO NOT MATCH THE HASHES" in told
    assert "good" in installed
    assert "tampered" not in installed
    assert not (tmp_path / ".venv/made-dev").exists()


# ── what bandit finds ────────────────────────────────────────────────────────────────────────────────────────


def finding(test: str, file: str) -> Mapping[str, object]:
    """Return one as bandit tells it."""
    return {"test_id": test, "filename": f"./{file}", "line_number": 7, "issue_text": "text"}


def test_an_answer_is_for_one_test_in_its_files() -> None:
    """Another test, or another file, is left; an answer that answers nothing is told as well."""
    given = [Answer("B608", ("exporter/explain/*", "exporter/check.py"), "printed")]
    whole = [finding("B608", "exporter/explain/sql.py"), finding("B608", "exporter/check.py")]

    assert list(findings.left(whole, given)) == []
    assert list(findings.left([*whole, finding("B602", "exporter/check.py")], given)) == [
        "./exporter/check.py:7: B602 text"
    ]
    assert list(findings.left([*whole, finding("B608", "exporter/web/app.py")], given)) == [
        "./exporter/web/app.py:7: B608 text"
    ]
    assert list(findings.left(whole[:1], given)) == ["bandit.toml: B608 in exporter/check.py: answers nothing"]


def test_bandit_looks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A shell that is given what somebody says is found."""
    (tmp_path / "bad.py").write_text("import os\n\n\ndef run(said: str) -> None:\n    os.system(said)\n")

    code = findings.main([str(tmp_path)])

    assert code == 1
    assert "bad.py:5: B605" in capsys.readouterr().out


def test_every_answer_has_its_reason() -> None:
    """In words."""
    given = findings.answers(findings.ANSWERS.read_text())

    assert given
    assert all(len(answer.why.split()) >= 6 for answer in given)


def test_only_health_asks_others() -> None:
    """No other module of the exporter can make a request."""
    modules = r"http\.client|urllib\.request|requests|httpx|smtplib|ftplib|xmlrpc"
    asks = re.compile(rf"(?m)^ *(?:import|from) (?:{modules})\b|ClientSession")
    asking = [path.name for path in (REPOSITORY / "exporter").rglob("*.py") if asks.search(path.read_text())]

    assert asking == ["commands.py"]


# ── the documents ────────────────────────────────────────────────────────────────────────────────────────────


def unknown_tests(text: str) -> list[str]:
    """Return the tests and files of tests that a document names and that do not exist."""
    known = {
        name
        for path in (REPOSITORY / "tests").glob("test_*.py")
        for name in re.findall(r"(?m)^(?:async )?def (test_\w+)", path.read_text())
    }
    files = re.findall(r"\btests/\w+\.py\b", text)
    return [name for name in re.findall(r"`(test_\w+)`", text) if name not in known] + [
        file for file in files if not (REPOSITORY / file).exists()
    ]


def test_the_owasp_list_names_tests_that_exist() -> None:
    """For each of the ten what is done, and at least one test that shows it."""
    text = (REPOSITORY / "docs/security.md").read_text()
    rows = re.findall(r"(?m)^\| (A\d\d) .*\| (.*) \| (.*) \|$", text)

    assert [number for number, _, _ in rows] == [f"A{number:02}" for number in range(1, 11)]
    assert all(done and "test_" in shown for _, done, shown in rows)
    assert unknown_tests(text) == []


def test_a_test_that_is_gone_is_noticed() -> None:
    """By its name, and by its file."""
    assert unknown_tests("`test_that_never_was`, tests/test_nothing.py, tests/test_supply.py") == [
        "test_that_never_was",
        "tests/test_nothing.py",
    ]

"""The frame of the house: one version, imports that run one way, small files, nothing of one machine."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import exporter

REPOSITORY = Path(__file__).resolve().parent.parent
MAX_LINES = 450


class Rule(NamedTuple):
    """Modules that are or are within one of `modules` import nothing that is or is within one of `never`, but for
    what is within the same one.
    """

    modules: tuple[str, ...]
    never: tuple[str, ...]
    why: str


def within(*names: str) -> tuple[str, ...]:
    """Return modules of `exporter` by their short names."""
    return tuple(f"exporter.{name}" for name in names)


EDGES = within("config", "checkpoint", "spill", "poller", "fleet", "tenants", "web", "demo", "__main__")
CORE = within(
    *("catalogue", "state", "series", "exposition", "gzipped", "promql", "reference"),
    *("fold", "groups", "labels", "values", "memory", "sessions", "sessionbook", "advance", "scan", "context"),
    *("escalations", "models", "localtime", "ledger", "ledgerpage", "budgets", "booking", "gauges", "shown", "view"),
)
WORLD = ("time", "asyncio", "concurrent", "sqlite3", "aiosqlite", "aiohttp", "os", "pathlib", "structlog")
RULES = (
    Rule(
        ("exporter",),
        ("dashboards", "alerting", "tests", "bench", "tools"),
        "running needs the package alone",
    ),
    Rule(("alerting",), ("dashboards",), "dashboards may read what alerts are made of, never the other way"),
    Rule(
        ("dashboards",),
        ("sqlite3", "aiohttp", *within("poller", "fleet", "web", "source", "checkpoint", "demo")),
        "dashboards are made of declarations",
    ),
    Rule(("exporter",), ("grafanalib", "pytest", "hypothesis"), "what builds and tests is not there to run"),
    Rule(("exporter",), within("__main__"), "the command line calls, and is not called"),
    Rule(within("spec", "localtime", "clocks"), ("exporter",), "it stands on nothing"),
    Rule(CORE, (*EDGES, *within("source", "reader", "rules"), *WORLD), "the pure core touches no world"),
    Rule(
        within("ledger", "ledgerpage", "budgets", "models"),
        within("state", "context", "fold", "catalogue"),
        "books and names know nothing of rows",
    ),
    Rule(within("state", "gauges"), within("exposition"), "what is told does not depend on how it is told"),
    Rule(within("exposition"), within("catalogue"), "tables are arguments"),
    Rule(within("source"), (*EDGES, *within("reader", "state", "exposition")), "rows come from below"),
    Rule(within("reader", "layout"), (*EDGES, *within("exposition")), "source, then reader, then poller"),
    Rule(
        within("checkpoint", "generation", "spill"),
        within("source", "reader", "exposition", "poller", "web", "demo"),
        "state is kept",
    ),
    Rule(
        within("poller", "fleet", "tenants"),
        within("web", "demo"),
        "pollers publish, and know no reader of what they publish",
    ),
    Rule(
        within("web"),
        within("source", "checkpoint", "recent", "window"),
        "the web only reads what is published, and looks at sources through windows it is given",
    ),
    Rule(within("backfill"), within("poller", "fleet", "web", "demo"), "the past needs no poller"),
    Rule(within("view"), ("exporter",), "what pages show is plain values"),
    Rule(within("recent", "window"), (*EDGES, *within("reader", "exposition")), "rows are read, and not counted"),
    Rule(
        within(*(f"web.{name}" for name in ("frame", "style", "charts", "events", "overview", "timeline"))),
        ("aiohttp", *within("config", "telemetry")),
        "a page is made of plain values",
    ),
    Rule(within("config"), within("poller", "web", "demo", "reader", "checkpoint"), "settings are known to all"),
)
# the stages get tables as arguments: whoever else imports these is on the wrong side
ONLY = {
    "exporter.catalogue": (
        *within("__main__", "promql", "reference", "catalogue"),
        *("dashboards", "alerting", "tests", "bench"),
    ),
}


def is_within(module: str, packages: tuple[str, ...]) -> bool:
    """Whether `module` is, or is below, one of `packages`."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def imports_of(source: str, *, module: str, is_package: bool, known: frozenset[str]) -> set[str]:
    """Return the modules that a module's text imports, in functions and for type checkers too.

    Of `from a import b`, it is `a.b` if that is one of the `known` modules, otherwise `a`.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: None if is_package else -1]
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found.update(f"{base}.{a.name}" if f"{base}.{a.name}" in known else base for a in node.names)
    return found - {module}


def breaches(imports: Mapping[str, set[str]]) -> list[str]:
    """Return a line for each import that a rule forbids, and one for a circle."""
    found = []
    for module, imported in sorted(imports.items()):
        for target in sorted(imported):
            found += [
                f"{module} imports {target}: {rule.why}"
                for rule in RULES
                if is_within(module, rule.modules)
                and is_within(target, rule.never)
                and not any(is_within(module, (own,)) and is_within(target, (own,)) for own in rule.modules)
            ]
            found += [
                f"{module} imports {target}: only {', '.join(allowed)} do"
                for package, allowed in ONLY.items()
                if is_within(target, (package,)) and not is_within(module, allowed)
            ]
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        found.append(f"imports run in a circle: {' -> '.join(error.args[1])}")
    return found


def python_files() -> Iterator[tuple[str, Path]]:
    """Give the name and path of every module of the packages that the rules are about."""
    for package in ("exporter", "dashboards", "alerting", "bench"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def test_there_is_one_version() -> None:
    """What is packaged and what the program says of itself are the same version."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

    assert project["version"] == exporter.__version__


@pytest.mark.bulk
def test_imports_run_one_way() -> None:
    """No module imports what stands above it, and none in a circle."""
    files = dict(python_files())
    known = frozenset(files)

    imports = {
        module: imports_of(path.read_text(), module=module, is_package=path.stem == "__init__", known=known)
        for module, path in files.items()
    }

    assert breaches(imports) == []


KNOWN = frozenset({"exporter", *within("state", "spec", "catalogue", "web", "web.app", "__main__", "poller")})


@pytest.mark.parametrize(
    "module, source, breach",
    [
        ("exporter.state", "from exporter.web.app import routes", "exporter.state imports exporter.web.app"),
        (
            "exporter.state",
            "def f():\n    from .poller import Poller",
            "exporter.state imports exporter.poller",
        ),
        ("exporter.web.app", "from .. import catalogue", "exporter.web.app imports exporter.catalogue: only"),
        ("exporter.poller", "import dashboards.panels", "exporter.poller imports dashboards.panels"),
        (
            "exporter.demo",
            "from exporter.catalogue import TABLES",
            "exporter.demo imports exporter.catalogue: only",
        ),
        ("exporter.spec", "from exporter import __main__", "exporter.spec imports exporter.__main__"),
        ("exporter.localtime", "from exporter.spec import Table", "exporter.localtime imports exporter.spec"),
        ("exporter.ledger", "from exporter.state import State", "exporter.ledger imports exporter.state"),
        ("exporter.budgets", "import time", "exporter.budgets imports time: the pure core touches no world"),
        ("exporter.gauges", "from exporter.web import app", "exporter.gauges imports exporter.web.app"),
        ("exporter.web", "import grafanalib.core", "exporter.web imports grafanalib.core"),
        ("exporter.web.app", "from exporter.window import Window", "exporter.web.app imports exporter.window"),
        ("exporter.view", "from exporter.spec import Table", "exporter.view imports exporter.spec"),
        ("exporter.web.overview", "from aiohttp import web", "exporter.web.overview imports aiohttp"),
    ],
)
def test_an_import_the_wrong_way_is_caught(module: str, source: str, breach: str) -> None:
    """Each kind of import that breaks a rule is told, however it is written."""
    found = imports_of(source, module=module, is_package=module == "exporter.web", known=KNOWN)

    assert breach in "\n".join(breaches({module: found}))


def test_imports_in_a_circle_are_caught() -> None:
    """Modules that import each other are told, whatever the rules say of either."""
    (breach,) = breaches({"exporter.a": {"exporter.b"}, "exporter.b": {"exporter.a"}})

    assert breach.startswith("imports run in a circle: exporter.")


@pytest.mark.parametrize(
    "module, source",
    [
        ("exporter.catalogue", "from exporter.spec import Table"),
        ("exporter.promql", "from .catalogue import TABLES"),
        ("dashboards.cost", "from exporter import catalogue, promql\nfrom grafanalib.core import Graph"),
        ("exporter.__main__", "from exporter import poller, web"),
    ],
)
def test_an_import_the_right_way_is_not_caught(module: str, source: str) -> None:
    """The rules forbid nothing that the design allows."""
    assert breaches({module: imports_of(source, module=module, is_package=False, known=KNOWN)}) == []


def too_long(sizes: Mapping[str, int]) -> list[str]:
    """Return a line for each file of more than `MAX_LINES` lines."""
    return [f"{name} has {lines} lines, over {MAX_LINES}" for name, lines in sizes.items() if lines > MAX_LINES]


def test_files_stay_small() -> None:
    """No file of the exporter is too long to be read in one go."""
    sizes = {str(path): len(path.read_text().splitlines()) for path in (REPOSITORY / "exporter").rglob("*.py")}

    assert too_long(sizes) == []


def test_a_file_too_long_is_caught() -> None:
    """One line over the limit is told; the limit itself is not."""
    assert too_long({"a.py": MAX_LINES, "b.py": MAX_LINES + 1}) == ["b.py has 451 lines, over 450"]


# put together here, so that this file has none of them itself
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("proxy", "golang", "org"),
        ("crates", "io"),
        ("registry", "npmjs", "org"),
        ("repo", "maven", "apache", "org"),
        ("repo1", "maven", "org"),
        ("deb", "debian", "org"),
    )
)
INDEX_OPTION = "-".join(("index", "url"))
FOREIGN = {
    "a registry's address": re.compile(
        rf"\b(?:{'|'.join(map(re.escape, REGISTRIES))})\b"
        rf"|(?<![\w-])--(?:extra-)?{INDEX_OPTION}\b"
        r"|https?://[^\s\"']*/simple/"
    ),
    "a path of one machine": re.compile(r"(?<![\w.$~)}>/-])/(?:root|work|Users/\w+|home/\w+)/"),
}


def foreign_parts(text: str) -> list[str]:
    """Return a line for each place in a text that holds for one machine or one registry only."""
    return [
        f"line {number} has {what}: {found[0]}"
        for number, line in enumerate(text.splitlines(), start=1)
        for what, pattern in FOREIGN.items()
        if (found := pattern.search(line))
    ]


def tracked_files() -> list[Path]:
    """Return the files that git has, or would add."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [path for name in done.stdout.split("\0") if name and (path := REPOSITORY / name).is_file()]


def test_no_file_holds_for_one_machine_only() -> None:
    """No file names a package registry's address or a folder of the machine it was written on."""
    found = []
    for path in tracked_files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(REPOSITORY)}: {part}" for part in foreign_parts(text)]

    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        f"pip install --{INDEX_OPTION} somewhere",
        f"pip install --extra-{INDEX_OPTION}=somewhere",
        f"see https://{REGISTRIES[0]}/project/aiohttp",
        f"GOPROXY=https://{REGISTRIES[2]}",
        "/".join(("https:", "", "example.org", "simple", "")),
        "/".join(("path = '", "work", "main", "exporter'")),
        "/".join(("cd ", "root", ".cache")),
        "/".join(("", "home", "somebody", "metrics.db")),
        "/".join(("open('", "Users", "somebody", "metrics.db')")),
    ],
)
def test_what_holds_for_one_machine_is_caught(text: str) -> None:
    """Each kind of address or path that must not be in a file is told."""
    assert foreign_parts(f"harmless\n{text}")


@pytest.mark.parametrize(
    "text", [f"--no-emit-{INDEX_OPTION}", "https://keepachangelog.com/", "tests/work/x", "$HOME/root/x"]
)
def test_what_holds_everywhere_is_not_caught(text: str) -> None:
    """Relative paths and ordinary links are nobody's in particular."""
    assert foreign_parts(text) == []


def pins(lock: str) -> dict[str, str]:
    """Return the version of each package in a lock file's text.

    Raises: ValueError if one has no hash.
    """
    found = {}
    for entry in re.split(r"\n(?=\S)", re.sub(r"(?m)^\s*#.*\n?", "", lock).strip()):
        requirement, *hashes = re.split(r"\s*\\\n\s*", entry.strip())
        name, _, version = requirement.partition(" ;")[0].partition("==")
        if not version or not hashes or not all(each.startswith("--hash=sha256:") for each in hashes):
            raise ValueError(f"{requirement} has no hash")
        found[name.partition("[")[0]] = version.strip()  # an extra is no other package
    return found


def test_the_locks_hold_every_dependency() -> None:
    """What the project names is pinned with hashes, and development runs on the versions that users get."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    named = [re.match(r"[\w-]+", each) for each in project["project"]["dependencies"]]
    for_development = [
        *project["project"]["optional-dependencies"]["dashboards"],
        *project["dependency-groups"]["dev"],
    ]

    runtime = pins((REPOSITORY / "requirements.lock").read_text())
    development = pins((REPOSITORY / "requirements-dev.lock").read_text())

    assert {match[0].lower() for match in named if match} <= runtime.keys()
    assert "setuptools" in runtime
    assert {name: development[name] for name in runtime} == runtime
    assert {re.split(r"[^\w-]", each)[0].lower() for each in for_development} <= development.keys()


def test_a_pin_without_a_hash_is_caught() -> None:
    """A lock whose hashes were left out does not pass for one."""
    assert pins("# made\na==1 \\\n    --hash=sha256:0\nb==2 ; os == 'x' \\\n    --hash=sha256:1\n") == {
        "a": "1",
        "b": "2",
    }
    with pytest.raises(ValueError, match="b==2 has no hash"):
        pins("a==1 \\\n    --hash=sha256:0\nb==2\n")

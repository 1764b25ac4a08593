"""The helpers that run a real Prometheus run it, leave nothing behind, and are not silent if none is."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.browser import Browser, wanted_browser
from tests.conftest import StartPrometheus
from tests.realtools import (
    AlertTools,
    Missing,
    Prometheus,
    QueryError,
    Tools,
    by_version,
    free_port,
    not_run_line,
    wanted_alertmanager,
    wanted_prometheus,
)
from tools import bring
from tools.bring import (
    AXE_PACKAGE,
    GRAFANA_PACKAGES,
    REPOSITORY,
    alertmanager_folder,
    axe_file,
    bring_alertmanager,
    bring_axe,
    cache_folder,
    debian_folder,
    main,
)

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN_BODY = '# TYPE made_up_total counter\nmade_up_total{kind="a"} 1\nmade_up_total{kind="b"} 2\n'
OPENMETRICS_BODY = '# TYPE made_up counter\nmade_up_total{kind="a"} 1\nmade_up_total{kind="b"} 2\n# EOF\n'


class StaticMetrics:
    """A target that always says the same, and keeps the `Accept` of each scrape."""

    def __init__(self) -> None:
        self.accepts: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        accept = request.headers["Accept"]
        self.accepts.append(accept)
        if accept.startswith("application/openmetrics-text"):
            return web.Response(body=OPENMETRICS_BODY.encode(), headers={"Content-Type": OPENMETRICS})
        return web.Response(body=PLAIN_BODY.encode(), headers={"Content-Type": TEXT})


@pytest.fixture
async def target() -> AsyncIterator[tuple[str, StaticMetrics]]:
    """The address of a target, and the target."""
    metrics = StaticMetrics()
    app = web.Application()
    app.router.add_get("/metrics", metrics.answer)
    async with TestServer(app) as server:
        yield f"{server.host}:{server.port}", metrics


async def test_what_is_scraped_and_recorded_can_be_queried(
    start_prometheus: StartPrometheus, target: tuple[str, StaticMetrics], tmp_path: Path
) -> None:
    """What a target serves, and what rules make of it, is in the answers of every kind of query."""
    rules = tmp_path / "rules.yml"
    rules.write_text("groups: [{name: g, rules: [{record: made_up:sum, expr: sum(made_up_total)}]}]")
    prometheus = await start_prometheus(targets=[target[0]], job="made-up", rule_files=[rules])

    await prometheus.scraped()

    samples = await prometheus.query("sum by (job, kind) (made_up_total)")
    assert samples == [({"job": "made-up", "kind": "a"}, 1.0), ({"job": "made-up", "kind": "b"}, 2.0)]
    assert await prometheus.value("sum(made_up_total)") == 3.0
    assert await prometheus.value("scalar(sum(made_up_total))") == 3.0
    at = await prometheus.value("min(timestamp(made_up_total))")
    (series,) = await prometheus.query_range("sum(made_up_total)", start=at, end=at + 0.1, step_s=0.1)
    assert series.points[0] == pytest.approx((at, 3.0), abs=0.001)
    assert (await prometheus.wait_for("made_up:sum"))[0].value == 3.0
    with pytest.raises(QueryError, match="parse error"):
        await prometheus.query("sum(")


@pytest.mark.parametrize(
    "protocol, content_type",
    [("PrometheusText0.0.4", "text/plain"), ("OpenMetricsText1.0.0", "application/openmetrics-text")],
)
async def test_a_scrape_is_in_the_format_configured(
    prometheus_tools: Tools,
    start_prometheus: StartPrometheus,
    target: tuple[str, StaticMetrics],
    protocol: str,
    content_type: str,
) -> None:
    """Either format can be asked for of a Prometheus that lets it be configured; of an older one, neither."""
    address, metrics = target
    if not prometheus_tools.takes_scrape_protocols:
        with pytest.raises(ValueError, match="takes no scrape_protocols"):
            await start_prometheus(targets=[address], scrape_protocols=[protocol])
        return

    prometheus = await start_prometheus(targets=[address], scrape_protocols=[protocol])
    await prometheus.scraped()

    assert {accept.partition(";")[0] for accept in metrics.accepts} == {content_type}


async def test_a_changed_configuration_is_taken_by_reload(
    start_prometheus: StartPrometheus, target: tuple[str, StaticMetrics]
) -> None:
    """A target added to `config` is scraped after `reload`; a wait in vain names the targets' state."""
    prometheus = await start_prometheus()
    assert await prometheus.targets() == []
    nobody_there = f"127.0.0.1:{free_port()}"

    prometheus.config["scrape_configs"][0]["static_configs"] = [{"targets": [target[0], nobody_there]}]
    await prometheus.reload()

    await prometheus.wait_for("count(up == 1) == count(up == 0)")
    with pytest.raises(TimeoutError, match=r"no result of up > 1 in 0\.1 s.*down.*refused"):
        await prometheus.wait_for("up > 1", timeout_s=0.1)
    with pytest.raises(TimeoutError, match=r"targets not scraped in 0\.1 s"):
        await prometheus.scraped(timeout_s=0.1)


async def test_a_wrong_configuration_is_refused(start_prometheus: StartPrometheus) -> None:
    """`reload` tells of a configuration that Prometheus does not take."""
    prometheus = await start_prometheus()
    prometheus.config["scrape_configs"] = "nonsense"

    with pytest.raises(QueryError, match="reload"):
        await prometheus.reload()


async def test_it_stops_with_its_block_and_starts_again_on_its_storage(
    prometheus_tools: Tools, tmp_path: Path, target: tuple[str, StaticMetrics]
) -> None:
    """No process is left after `async with`; entering again finds the old samples."""
    prometheus = Prometheus(prometheus_tools, tmp_path / "prometheus", targets=[target[0]])
    async with prometheus:
        await prometheus.scraped()
        at = await prometheus.value("max(timestamp(made_up_total))")
        pid = prometheus.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)

    prometheus.config["scrape_configs"] = []
    async with prometheus:
        assert await prometheus.value("sum(made_up_total)", at) == 3.0


async def test_one_that_cannot_start_tells_its_log(prometheus_tools: Tools, tmp_path: Path) -> None:
    """The error of a start that failed holds what Prometheus logged, and no process is left."""
    prometheus = Prometheus(prometheus_tools, tmp_path / "prometheus", top={"no_such_key": 1})

    with pytest.raises(RuntimeError, match="no_such_key"):
        async with prometheus:
            pass

    with pytest.raises(AssertionError, match="not running"):
        _ = prometheus.pid


def test_promtool_and_amtool_run(promtool: Path, amtool: Path) -> None:
    """The programs beside Prometheus and Alertmanager run too."""
    for program in (promtool, amtool):
        assert subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0


A_REAL_TEST = """
import pytest

def test_with_prometheus(prometheus_binary):
    raise AssertionError("ran")

def test_with_promtool(promtool):
    raise AssertionError("ran")

def test_with_amtool(amtool):
    raise AssertionError("ran")

@pytest.mark.real
def test_marked_by_hand():
    raise AssertionError("ran")

def test_of_something_else():
    pass
"""


def run_without_tools(
    folder: Path, text: str = A_REAL_TEST, *, arguments: Sequence[str] = (), **env: str
) -> subprocess.CompletedProcess[str]:
    """Run tests, by default ones that want real programs, under this conftest, where there are none."""
    (folder / "conftest.py").write_text((REPOSITORY / "tests" / "conftest.py").read_text())
    (folder / "test_wanting.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    real: x\n    bulk: x\nasyncio_mode = auto\n")
    (folder / "empty").mkdir()
    places = {"PATH": str(folder / "empty"), "TEST_TOOLS_CACHE": str(folder / "empty")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments, str(folder)],
        cwd=folder,
        env={**places, "PYTHONPATH": str(REPOSITORY), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_missing_program_is_told_in_one_line(tmp_path: Path) -> None:
    """Tests without their program do not pass for run: one line at the end names each."""
    done = run_without_tools(tmp_path)

    assert done.returncode == 0, done.stdout
    assert "1 passed, 4 skipped" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("not run ")]
    assert line == (
        "not run for want of Alertmanager: test_wanting.py::test_with_amtool; for want of Prometheus: "
        "test_wanting.py::test_marked_by_hand, test_wanting.py::test_with_prometheus, "
        "test_wanting.py::test_with_promtool"
    )


@pytest.mark.parametrize("variable, value", [("CI", "true"), ("TEST_REQUIRE_TOOLS", "1")])
def test_a_missing_program_is_a_failure_where_tools_are_required(tmp_path: Path, variable: str, value: str) -> None:
    """In CI a test that did not run is an error."""
    done = run_without_tools(tmp_path, **{variable: value})

    assert done.returncode == 1, done.stdout
    assert "cannot for want of Prometheus" in done.stdout
    assert "1 passed" in done.stdout
    assert "skipped" not in done.stdout


def test_any_skipped_test_fails_the_run_where_tools_are_required(tmp_path: Path) -> None:
    """A test that skips itself for a reason of its own passes at a desk, and not in CI."""
    text = "import pytest\n\ndef test_it():\n    pytest.skip('no such system')\n"
    (tmp_path / "desk").mkdir()
    (tmp_path / "ci").mkdir()

    at_a_desk = run_without_tools(tmp_path / "desk", text)
    in_ci = run_without_tools(tmp_path / "ci", text, CI="true")

    assert (at_a_desk.returncode, in_ci.returncode) == (0, 1)
    assert "a test that did not run is an error here: 1 skipped" in in_ci.stdout


def test_a_wanted_prometheus_3_is_missed_even_beside_an_older_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for by name, 3.x stands in the list of what tests run on, whether it is here or not."""
    old = Tools("2.42.0", Path("/usr/bin/prometheus"), Path("/usr/bin/promtool"))
    monkeypatch.setattr("tests.realtools.prometheus_versions", lambda: (old,))

    assert wanted_prometheus({}) == [old]
    assert wanted_prometheus({"TEST_PROMETHEUS_3": "1"}) == [
        old,
        Missing("Prometheus 3"),
    ]


def test_who_wants_prometheus_3_wants_an_alertmanager_of_its_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is missed beside an older one, and not beside one that is as new."""
    old, new = (AlertTools(version, Path("/alertmanager"), Path("/amtool")) for version in ("0.25.0", "0.31.1"))
    monkeypatch.setattr("tests.realtools.alertmanager_versions", lambda: (old,))
    assert wanted_alertmanager({}) == [old]
    assert wanted_alertmanager({"TEST_PROMETHEUS_3": "1"}) == [old, Missing("current Alertmanager")]

    monkeypatch.setattr("tests.realtools.alertmanager_versions", lambda: (old, new))
    assert wanted_alertmanager({"TEST_PROMETHEUS_3": "1"}) == [old, new]

    monkeypatch.setattr("tests.realtools.is_debian", lambda: True)
    assert wanted_alertmanager({"CI": "true"}) == [old, new, Missing("packaged Alertmanager")]


def test_all_versions_but_the_newest_are_left_to_the_slow_tests() -> None:
    """What should be here and is not is never left to them: who lacks it is told by `make test`."""
    old, new = (Tools(version, Path("prometheus"), Path("promtool")) for version in ("2.42.0", "3.16.0"))
    missing = Missing("packaged Prometheus")

    found = by_version([old, new, missing])

    assert [(param.values, [mark.name for mark in param.marks]) for param in found] == [
        ((old,), ["slow"]),
        ((new,), []),
        ((missing,), []),
    ]


ONE_OF_EACH = """
import pytest

def measured():
    import coverage
    return coverage.Coverage.current() is not None

@pytest.fixture(scope="module")
def during_setup():
    return measured()

@pytest.mark.bulk
def test_much(during_setup):
    assert not during_setup and not measured()

def test_little():
    assert measured()

@pytest.mark.bulk
def test_that_fails():
    raise AssertionError
"""


def test_coverage_rests_while_bulk_tests_run(tmp_path: Path) -> None:
    """And their fixtures; what runs between and after them is measured, whether they pass or not."""
    files = {name: tmp_path / f"test_{name}.py" for name in ("first", "second")}
    for file in files.values():
        file.write_text(ONE_OF_EACH)

    done = run_without_tools(tmp_path, "def test_last(): pass", arguments=["--cov=nothing", "--cov-report="])

    assert "2 failed, 5 passed" in done.stdout, done.stdout
    assert done.stdout.count("def test_that_fails") == 2


def test_files_that_compute_and_files_that_wait_take_turns(tmp_path: Path) -> None:
    """The others keep their order."""
    bulk = "import pytest\npytestmark = pytest.mark.bulk\n"
    for name in "abcdef":
        (tmp_path / f"test_{name}.py").write_text((bulk if name in "df" else "") + "def test_it(): pass\n")

    done = run_without_tools(tmp_path, "def test_it(): pass\n", arguments=["--collect-only", "--quiet"])

    found = [line.partition("::")[0] for line in done.stdout.splitlines() if "::" in line]
    assert found == [f"test_{name}.py" for name in ("d", "a", "f", "b", "c", "e", "wanting")]


def test_nothing_missing_is_no_line() -> None:
    """A run that wanted for nothing says nothing."""
    assert not_run_line({}) == ""
    assert not_run_line({"Prometheus": []}) == ""


def test_the_cache_is_where_the_user_may_write(tmp_path: Path) -> None:
    """A named folder goes before the user's cache, and that before the repository's for who has no home."""
    home = str(tmp_path)
    assert cache_folder({"TEST_TOOLS_CACHE": "/named", "HOME": home}) == Path("/named")
    assert cache_folder({"XDG_CACHE_HOME": "/xdg", "HOME": home}) == Path("/xdg/orchestration-exporter")
    assert cache_folder({"HOME": home}) == tmp_path / ".cache" / "orchestration-exporter"
    assert cache_folder({"HOME": "/nonexistent"}) == REPOSITORY / ".cache"
    assert cache_folder({}) == REPOSITORY / ".cache"


def test_bringing_something_unknown_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that nothing is brought by is told from a failure, and what there is is listed."""
    assert main(["no-such-thing"]) == 2
    assert "debian|prometheus-3" in capsys.readouterr().err


def test_bringing_fails_loudly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be brought is one line on stderr and exit code 1, and leaves nothing in the cache."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("TEST_TOOLS_CACHE", str(cache))
    monkeypatch.setenv("PATH", str(tmp_path))

    assert main(["prometheus-3"]) == 1
    assert main(["alertmanager"]) == 1

    said = capsys.readouterr().err
    assert "prometheus 3.16.0 is built by Go, and there is no go on the PATH" in said
    assert "alertmanager 0.31.1 is built by Go, and there is no go on the PATH" in said
    assert not cache.exists()


def test_what_is_built_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each program by its own version, in one folder; the second time Go is not asked."""
    go = tmp_path / "go"
    go.write_text(
        f"#!{sys.executable}\nimport os, pathlib, sys\n"
        "if sys.argv[1] == 'env': sys.exit(print('go1.26.1'))\n"
        "bin = pathlib.Path(os.environ['GOBIN'])\nbin.mkdir(exist_ok=True)\n"
        "(bin / sys.argv[-1].rpartition('/')[2].partition('@')[0]).write_text(' '.join(sys.argv[1:]))\n"
    )
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert bring_alertmanager(tmp_path / "cache").startswith("built ")
    go.unlink()
    assert bring_alertmanager(tmp_path / "cache").startswith("have ")

    asked = {path.name: path.read_text() for path in alertmanager_folder(tmp_path / "cache").iterdir()}
    assert asked.keys() == {"alertmanager", "amtool"}
    for name, version in (("alertmanager", "0.31.1"), ("amtool", "0.34.2")):
        assert f"version.Version={version} github.com/prometheus/alertmanager/cmd/{name}@v{version}" in asked[name]


def test_a_program_unpacked_elsewhere_looks_beside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's Alertmanager has the place of its templates built in: it is changed once, and nothing else is."""
    folder = debian_folder(tmp_path) / "usr" / "bin"
    folder.mkdir(parents=True)
    for name in bring.DEBIAN_PROGRAMS:
        (folder / name).write_bytes(b"\0code /usr/share/prometheus/consoles\0")
    (folder / "prometheus-alertmanager").write_bytes(b"\0\1/usr/share/prometheus/alertmanager/default.tmpl\2")

    for _ in range(2):
        assert bring.bring_debian(tmp_path).startswith("have ")

    moved = folder / "prometheus-alertmanager"
    assert moved.read_bytes() == b"\0\1./../share/prometheus/alertmanager/default.tmpl\2"
    assert os.access(moved, os.X_OK)
    assert (folder / "prometheus").read_bytes() == b"\0code /usr/share/prometheus/consoles\0"
    assert len([*folder.iterdir()]) == len(bring.DEBIAN_PROGRAMS)


def test_a_browser_that_is_not_here_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chromium, axe-core, or both stand in the name of the test that did not run."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TEST_TOOLS_CACHE", str(tmp_path / "cache"))
    assert [missing.what for missing in wanted_browser() if isinstance(missing, Missing)] == ["Chromium and axe-core"]

    axe = axe_file(tmp_path / "cache")
    axe.parent.mkdir(parents=True)
    axe.write_text("")
    assert [missing.what for missing in wanted_browser() if isinstance(missing, Missing)] == ["Chromium"]

    chromium = tmp_path / "chromium"
    chromium.write_text("")
    chromium.chmod(0o755)
    assert wanted_browser() == [Browser(chromium, axe)]


def npm_that_packs(folder: Path, content: bytes) -> None:
    """Put a program `npm` into the folder that writes such a package, whichever is asked for."""
    npm = folder / "npm"
    npm.write_text(
        f"#!{sys.executable}\nimport sys\nname = sys.argv[-1].lstrip('@').replace('/', '-').replace('@', '-')\n"
        f"open(name + '.tgz', 'wb').write({content!r})\n"
    )
    npm.chmod(0o755)


def package_of(text: bytes) -> bytes:
    """A package as npm makes them, with axe-core's one file in it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        file = tarfile.TarInfo("package/axe.min.js")
        file.size = len(text)
        archive.addfile(file, io.BytesIO(text))
    return packed.getvalue()


def test_axe_is_taken_out_of_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file, in a folder named by its version; what is there is kept without asking npm again."""
    package = package_of(b"axe")
    npm_that_packs(tmp_path, package)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(bring, "AXE_PACKAGE", AXE_PACKAGE._replace(sha256=hashlib.sha256(package).hexdigest()))

    assert bring_axe(tmp_path / "cache").startswith("brought ")
    (tmp_path / "npm").unlink()
    assert bring_axe(tmp_path / "cache").startswith("have ")

    assert axe_file(tmp_path / "cache").read_bytes() == b"axe"


def test_grafanas_types_are_laid_out_as_npm_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each package whole, in a folder of its name under `node_modules`."""
    package = package_of(b"any")
    npm_that_packs(tmp_path, package)
    monkeypatch.setenv("PATH", str(tmp_path))
    digest = hashlib.sha256(package).hexdigest()
    monkeypatch.setattr(bring, "GRAFANA_PACKAGES", [each._replace(sha256=digest) for each in GRAFANA_PACKAGES])

    assert bring.bring_grafana(tmp_path / "cache").startswith("brought ")
    (tmp_path / "npm").unlink()
    assert bring.bring_grafana(tmp_path / "cache").startswith("have ")

    modules = bring.grafana_folder(tmp_path / "cache") / "node_modules"
    assert sorted(str(path.relative_to(modules)) for path in modules.rglob("axe.min.js")) == [
        "@grafana/data/axe.min.js",
        "@grafana/schema/axe.min.js",
        "typescript/axe.min.js",
    ]


def test_another_axe_than_the_one_named_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What has another digest, or no npm to come from, is not kept."""
    monkeypatch.setenv("TEST_TOOLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["axe"]) == 1
    npm_that_packs(tmp_path, package_of(b"something else"))
    assert main(["axe"]) == 1

    said = capsys.readouterr().err
    assert "no npm on the PATH" in said
    assert "its package has the SHA-256" in said
    assert not axe_file(tmp_path / "cache").exists()

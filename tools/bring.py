"""Bring the real programs that tests run against into a cache folder, without root.

    python -m tools.bring debian         Prometheus and Alertmanager, as this Debian or Ubuntu packages them
    python -m tools.bring prometheus-3   the current Prometheus, built by Go
    python -m tools.bring alertmanager   the newest Alertmanager that Go builds alone, and the current amtool
    python -m tools.bring axe            axe-core, which checks pages for what keeps people from using them, by npm
    python -m tools.bring grafana        Grafana's types and TypeScript, which check the dashboards, by npm

What is there already is kept: nothing is asked of the network then. Needs the standard library only.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
DEBIAN_PACKAGES = ("prometheus", "prometheus-alertmanager")
DEBIAN_PROGRAMS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
SHARED, SHARED_BESIDE = b"/usr/share/prometheus/alertmanager", b"./../share/prometheus/alertmanager"
"""Of one length, for they stand in a program."""
PROMETHEUS_3 = "3.16.0"
# later ones want their pages built by npm first; amtool has none
ALERTMANAGER, AMTOOL = "0.31.1", "0.34.2"
GO_MINIMUM = (1, 26)
COMMAND_TIMEOUT_S = 1800


class BringError(Exception):
    """A program could not be brought; the message says which command said what."""


class GoProgram(NamedTuple):
    """A program, the version it is to say of itself, and what `go install` makes it of."""

    name: str
    version: str
    package: str


class NpmPackage(NamedTuple):
    """A package of npm's, and the SHA-256 of its archive."""

    name: str
    version: str
    sha256: str


AXE_PACKAGE = NpmPackage("axe-core", "4.14.1", "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745")
GRAFANA = "13.2.3"
GRAFANA_PACKAGES = (
    NpmPackage("@grafana/schema", GRAFANA, "f492f0ec5b0212cbf7f098d5d54b4a540371c262c6b78e9016ee2d26add9e559"),
    NpmPackage("@grafana/data", GRAFANA, "954a03a68fa122ebe74c0c318dc801e434c17294c5374ef593cf491f73c81c41"),
    NpmPackage("typescript", "5.9.3", "10e108c9cf7d5f2879053dff18515fb405abf2ccef63eaaf017d9c571687a1d3"),
)
"""The first two have dependencies that are not brought: what is used of them needs none."""


def cache_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Return the folder brought programs are kept in, in order of preference:

    `TEST_TOOLS_CACHE`, the user's cache folder, and `.cache` in the repository for a user whose
    home cannot be written (a service account, a build sandbox).
    """
    if named := env.get("TEST_TOOLS_CACHE"):
        return Path(named).absolute()
    if xdg := env.get("XDG_CACHE_HOME"):
        return Path(xdg).absolute() / "orchestration-exporter"
    home = env.get("HOME", "")
    if home and os.access(home, os.W_OK | os.X_OK):
        return Path(home).absolute() / ".cache" / "orchestration-exporter"
    return REPOSITORY / ".cache"


def debian_folder(cache: Path) -> Path:
    """Return where this system's packages are unpacked: by release and machine, for homes are shared."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        system = {}
    release = f"{system.get('ID', 'unknown')}-{system.get('VERSION_ID', 'rolling')}"
    return cache / f"{release}-{platform.machine()}"


def prometheus_3_folder(cache: Path) -> Path:
    """Return where the Prometheus that Go builds is kept."""
    return cache / f"prometheus-{PROMETHEUS_3}-{platform.system().lower()}-{platform.machine()}"


def alertmanager_folder(cache: Path) -> Path:
    """Return where the Alertmanager and the amtool that Go builds are kept."""
    versions = f"{ALERTMANAGER}-amtool-{AMTOOL}"
    return cache / f"alertmanager-{versions}-{platform.system().lower()}-{platform.machine()}"


def axe_file(cache: Path) -> Path:
    """Return where axe-core, one file of JavaScript, is kept."""
    return cache / f"axe-core-{AXE_PACKAGE.version}" / "axe.min.js"


def grafana_folder(cache: Path) -> Path:
    """Return where Grafana's types and TypeScript are kept, under `node_modules`."""
    return cache / f"grafana-types-{GRAFANA}"


def is_debian() -> bool:
    """Whether packages can be taken from this system's package manager."""
    return shutil.which("apt-get") is not None and shutil.which("dpkg-deb") is not None


def bring_debian(cache: Path) -> str:
    """Unpack this system's packages into the cache and return one line that says so.

    The system's own package lists are tried first; when they are missing or old, lists of our own are fetched
    into a temporary folder, which needs no root.

    Raises: BringError.
    """
    folder = debian_folder(cache)
    programs = [folder / "usr" / "bin" / name for name in DEBIAN_PROGRAMS]
    if all(program.is_file() for program in programs):
        _relocate(programs)
        return f"have {folder}"
    if not is_debian():
        return "not a Debian or Ubuntu: real programs are looked for on the PATH"
    shutil.rmtree(folder, ignore_errors=True)
    with _staging(folder) as staging:
        _download_packages(staging / "packages")
        for package in sorted((staging / "packages").glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(package), str(staging / "root")])
        _publish(staging / "root", folder)
    _relocate(programs)
    for program in programs:
        _run([str(program), "--version"])
    return f"brought {folder}"


def bring_prometheus_3(cache: Path) -> str:
    """Build the current Prometheus with Go into the cache and return one line that says so.

    Raises: BringError.
    """
    # Prometheus 3.x.y is the Go module's v0.30x.y; the tag leaves out the cloud SDKs of service discovery
    programs = tuple(
        GoProgram(name, PROMETHEUS_3, f"github.com/prometheus/prometheus/cmd/{name}@v0.316.0")
        for name in ("prometheus", "promtool")
    )
    return _built(prometheus_3_folder(cache), programs, ["-tags", "remove_all_sd"])


def bring_alertmanager(cache: Path) -> str:
    """Build an Alertmanager and the current amtool with Go into the cache and return one line that says so.

    Raises: BringError.
    """
    programs = tuple(
        GoProgram(name, version, f"github.com/prometheus/alertmanager/cmd/{name}@v{version}")
        for name, version in (("alertmanager", ALERTMANAGER), ("amtool", AMTOOL))
    )
    return _built(alertmanager_folder(cache), programs, [])


def bring_axe(cache: Path) -> str:
    """Take axe-core out of its npm package into the cache and return one line that says so.

    Raises: BringError.
    """
    file = axe_file(cache)
    return _from_npm(file.parent, [AXE_PACKAGE], lambda packages: [(packages[0] / file.name, Path(file.name))])


def bring_grafana(cache: Path) -> str:
    """Lay out Grafana's types, its thresholds and TypeScript as npm would, and return one line that says so.

    Raises: BringError.
    """
    return _from_npm(
        grafana_folder(cache),
        GRAFANA_PACKAGES,
        lambda packages: [
            (folder, Path("node_modules") / package.name)
            for folder, package in zip(packages, GRAFANA_PACKAGES, strict=True)
        ],
    )


def _from_npm(
    folder: Path, packages: Sequence[NpmPackage], kept: Callable[[Sequence[Path]], Iterable[tuple[Path, Path]]]
) -> str:
    """Bring packages of npm's, checked by their digests; ``kept`` says what of them goes where in ``folder``."""
    names = " and ".join(f"{package.name} {package.version}" for package in packages)
    if folder.is_dir():
        return f"have {folder}"
    if shutil.which("npm") is None:
        raise BringError(f"{names} comes from npm, and there is no npm on the PATH")
    with _staging(folder) as staging:
        unpacked = [_unpacked(package, staging / str(number)) for number, package in enumerate(packages)]
        made = staging / "made"
        made.mkdir()
        for source, place in kept(unpacked):
            (made / place).parent.mkdir(parents=True, exist_ok=True)
            source.rename(made / place)
        _publish(made, folder)
    return f"brought {folder}"


def _unpacked(package: NpmPackage, into: Path) -> Path:
    """Fetch a package and return the folder of what is in it."""
    into.mkdir()
    _run(["npm", "pack", "--silent", f"{package.name}@{package.version}"], cwd=into)
    archive = into / f"{package.name.removeprefix('@').replace('/', '-')}-{package.version}.tgz"
    if (digest := hashlib.sha256(archive.read_bytes()).hexdigest()) != package.sha256:
        raise BringError(
            f"{package.name} {package.version}: its package has the SHA-256 {digest}, not {package.sha256}"
        )
    with tarfile.open(archive) as opened:
        for member in opened:
            if (content := opened.extractfile(member)) is not None:
                place = into / member.name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content.read())
    return into / "package"


def _relocate(programs: Sequence[Path]) -> None:
    """Have programs look for what they share beside themselves, where the working folder is the programs' own.

    Debian's Alertmanager reads the templates it is built on from `/usr/share`, and does not start without them.
    """
    for program in programs:
        code = program.read_bytes()
        if SHARED in code:
            moved = program.with_suffix(f".{os.getpid()}")
            moved.write_bytes(code.replace(SHARED, SHARED_BESIDE))
            moved.chmod(0o755)
            moved.replace(program)


def _built(folder: Path, programs: Sequence[GoProgram], options: Sequence[str]) -> str:
    if all((folder / program.name).is_file() for program in programs):
        return f"have {folder}"
    _require_go(programs[0])
    shutil.rmtree(folder, ignore_errors=True)
    with _staging(folder) as staging:
        env = {**os.environ, "GOBIN": str(staging / "bin"), "GOTOOLCHAIN": "local"}
        for program in programs:
            # the linker sets what a release build would: programs ask a Prometheus for its version
            flags = f"-s -w -X github.com/prometheus/common/version.Version={program.version}"
            _run(["go", "install", *options, "-ldflags", flags, program.package], env=env)
        _publish(staging / "bin", folder)
    return f"built {folder}"


def _require_go(program: GoProgram) -> None:
    what = f"{program.name} {program.version}"
    if shutil.which("go") is None:
        raise BringError(f"{what} is built by Go, and there is no go on the PATH")
    version = _run(["go", "env", "GOVERSION"], env={**os.environ, "GOTOOLCHAIN": "local"}).strip()
    numbers = tuple(int(part) for part in version.removeprefix("go").split(".")[:2] if part.isdigit())
    if numbers < GO_MINIMUM:
        raise BringError(f"{what} needs Go {GO_MINIMUM[0]}.{GO_MINIMUM[1]} or newer: {version}")


def _download_packages(into: Path) -> None:
    into.mkdir()
    # root's apt would hand the download to its user _apt, who may not write here
    options = [
        "-q",
        "-o",
        "APT::Sandbox::User=root",
        "-o",
        "Acquire::Retries=2",
        "-o",
        "Acquire::http::Timeout=30",
    ]
    try:
        _run(["apt-get", *options, "download", *DEBIAN_PACKAGES], cwd=into)
    except BringError as with_system_lists:
        options += _own_lists(into.parent / "apt")
        try:
            _run(["apt-get", *options, "update"])
            _run(["apt-get", *options, "download", *DEBIAN_PACKAGES], cwd=into)
        except BringError as error:
            raise BringError(f"{error}; and with the system's package lists: {with_system_lists}") from error


def _own_lists(folder: Path) -> list[str]:
    """Return apt's options for package lists in a folder of our own, and make the folder."""
    state, cache = folder / "state", folder / "cache"
    (state / "lists" / "partial").mkdir(parents=True)
    (cache / "archives" / "partial").mkdir(parents=True)
    return [
        *(
            "-o",
            f"Dir::State={state}",
            "-o",
            "Dir::State::status=/var/lib/dpkg/status",
            "-o",
            f"Dir::Cache={cache}",
        ),
        *("-o", "Acquire::Languages=none", "-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"),
    ]


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder`, on the same disk, so that publishing is one rename."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=f"{folder.name}.", dir=folder.parent)
    except OSError as error:
        raise BringError(str(error)) from error
    with temporary as staging:
        yield Path(staging)


def _publish(made: Path, folder: Path) -> None:
    """Put what was made in its place; when two runs brought the same thing, the first one's stays."""
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _run(command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it printed.

    Raises: BringError, with the last lines of what it said, when it fails.
    """
    try:
        done = subprocess.run(
            command, cwd=cwd, env=env, capture_output=True, text=True, check=True, timeout=COMMAND_TIMEOUT_S
        )
    except subprocess.CalledProcessError as error:
        said = " / ".join((error.stderr or error.stdout).strip().splitlines()[-3:])
        raise BringError(f"{command[0]} exited with {error.returncode}: {said}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BringError(str(error)) from error
    return done.stdout


BRINGERS = {
    "debian": bring_debian,
    "prometheus-3": bring_prometheus_3,
    "alertmanager": bring_alertmanager,
    "axe": bring_axe,
    "grafana": bring_grafana,
}


def main(arguments: Sequence[str]) -> int:
    """Bring what is named, with a line for each; return 0 if all is there, 1 if not, 2 on a wrong name."""
    if not arguments or any(name not in BRINGERS for name in arguments):
        print(f"usage: python -m tools.bring {'|'.join(BRINGERS)}", file=sys.stderr)
        return 2
    for name in arguments:
        try:
            print(BRINGERS[name](cache_folder()))
        except BringError as error:
            print(f"could not bring {name}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A checkpoint keeps each acknowledged record over crashes, full disks and damage, or says that it cannot."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.checkpoint import Checkpoint, CheckpointError, Loaded, StateDirectory
from tests.cases import first

REPOSITORY = Path(__file__).parents[1]
OLDER = (b"older snapshot" * 1_000, b"older delta one" * 300, b"older delta two" * 300)
NEWER = (b"newer snapshot" * 1_000, b"newer delta one" * 300, b"newer delta two" * 300)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def directory(folder: Path) -> Iterator[StateDirectory]:
    directory = StateDirectory(folder)
    yield directory
    directory.release()


@pytest.fixture
def checkpoint(directory: StateDirectory) -> Iterator[Checkpoint]:
    checkpoint = directory.checkpoint("default")
    yield checkpoint
    checkpoint.close()


def read(folder: Path) -> Loaded:
    """Load as the next process would, and let go of it."""
    directory = StateDirectory(folder)
    checkpoint = directory.checkpoint("default")
    try:
        return checkpoint.load()
    finally:
        checkpoint.close()
        directory.release()


def save(checkpoint: Checkpoint, records: tuple[bytes, ...]) -> None:
    checkpoint.save_snapshot([records[0]])
    for record in records[1:]:
        checkpoint.save_delta(record)


def start(script: str, *arguments: object, under: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*under, sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(script: str, *arguments: object, under: tuple[str, ...] = ()) -> str:
    """Run a script to its end, which must be a good one; return what it printed."""
    with start(script, *arguments, under=under) as child:
        out, err = child.communicate(timeout=120)
    assert child.returncode == 0, f"{' '.join(under) or 'the script'} failed:\n{err}"
    return out


# ── what is saved is there ──────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_loaded_where_nothing_was(checkpoint: Checkpoint) -> None:
    """An empty folder is neither a fall-back nor a loss."""
    assert checkpoint.load() == Loaded(())
    assert checkpoint.wants_snapshot


def test_records_come_back_in_order(directory: StateDirectory, checkpoint: Checkpoint, folder: Path) -> None:
    """The snapshot comes first, then its deltas; what came before the snapshot is gone."""
    checkpoint.load()
    save(checkpoint, OLDER)
    save(checkpoint, NEWER)
    checkpoint.close()
    directory.release()

    assert read(folder) == Loaded(NEWER)


def test_saving_goes_on_after_a_load(checkpoint: Checkpoint, folder: Path) -> None:
    """A loaded generation takes further deltas, counted with those it had."""
    save(checkpoint, NEWER)

    assert checkpoint.load() == Loaded(NEWER)
    checkpoint.save_delta(b"one more")

    assert checkpoint.deltas_since_snapshot == 3
    assert checkpoint.delta_bytes == sum(map(len, NEWER[1:])) + 8
    assert checkpoint.load() == Loaded((*NEWER, b"one more"))


def test_a_snapshot_may_be_many_records(checkpoint: Checkpoint) -> None:
    """They are asked for one at a time, and none of them counts as a delta."""
    checkpoint.save_snapshot(record for record in NEWER)
    for _ in range(2):
        assert (checkpoint.deltas_since_snapshot, checkpoint.delta_bytes) == (0, 0)
        assert checkpoint.load() == Loaded(NEWER)
    checkpoint.save_delta(b"delta")

    assert checkpoint.load() == Loaded((*NEWER, b"delta"))
    assert (checkpoint.deltas_since_snapshot, checkpoint.delta_bytes) == (1, 5)


def test_a_snapshot_is_whole_or_damaged(checkpoint: Checkpoint, folder: Path) -> None:
    """Without its last record, and without the tip that knows of it, the generation before is taken."""
    save(checkpoint, OLDER)
    checkpoint.save_snapshot(NEWER)
    checkpoint.close()
    (folder / "default.tip").unlink()
    with contextlib.closing(sqlite3.connect(folder / "default-00000002.sqlite")) as connection, connection:
        connection.execute("DELETE FROM record WHERE n = ?", (len(NEWER),))

    loaded = checkpoint.load()

    assert (loaded.records, loaded.fell_back, len(loaded.set_aside)) == (OLDER, True, 1)


def test_a_delta_needs_a_snapshot(checkpoint: Checkpoint) -> None:
    """A delta to nothing would be lost at the next start: it is refused."""
    checkpoint.load()

    with pytest.raises(CheckpointError, match="save a snapshot first"):
        checkpoint.save_delta(b"delta")


def test_a_closed_checkpoint_takes_no_delta(checkpoint: Checkpoint) -> None:
    """After close only a snapshot, or a load, goes on; all sizes are zero."""
    save(checkpoint, NEWER)
    checkpoint.close()

    with pytest.raises(CheckpointError):
        checkpoint.save_delta(b"delta")
    assert (checkpoint.size_bytes, checkpoint.delta_bytes, checkpoint.deltas_since_snapshot) == (0, 0, 0)


def test_sources_share_a_folder(directory: StateDirectory) -> None:
    """Names that look like another's files, differ in case only, or are too long, keep their own records."""
    long = "x" * 300
    names = [
        "a",
        "A",
        "a-00000001",
        "a-00000001.sqlite",
        "../a",
        "a/b",
        ".",
        "",
        "ä",
        "\ud800",
        long,
        long + "y",
        "lock",
    ]
    checkpoints = {name: directory.checkpoint(name) for name in names}

    for name, checkpoint in checkpoints.items():
        checkpoint.load()
        save(checkpoint, tuple(repr((name, part)).encode() for part in range(3)))
    for name, checkpoint in checkpoints.items():
        loaded = checkpoint.load()
        checkpoint.close()
        assert loaded == Loaded(tuple(repr((name, part)).encode() for part in range(3)))

    files = [path.name for path in directory.path.iterdir()]
    assert len(files) == len({name.lower() for name in files}) == 1 + 2 * len(names)
    assert list(directory.path.parent.iterdir()) == [directory.path]


def test_two_generations_are_kept(checkpoint: Checkpoint, folder: Path) -> None:
    """The one before stays whole, with its deltas; older ones and what an interrupted snapshot left go."""
    for number in range(4):
        save(checkpoint, (b"snapshot %d" % number, b"delta %d" % number))
        (folder / "default-00000099.tmp").write_bytes(b"half a snapsh")
        (folder / "default-00000099.tmp-journal").touch()
    checkpoint.save_snapshot([b"last"])
    checkpoint.close()

    generations = sorted(folder.glob("default-*"))
    assert len(generations) == 2
    assert all(path.suffix == ".sqlite" for path in generations)
    generations[1].unlink()
    assert checkpoint.load().records == (b"snapshot 3", b"delta 3")


def test_any_thread_may_save(checkpoint: Checkpoint) -> None:
    """The poller's calls come from a pool of threads."""
    for call, what in ((checkpoint.save_snapshot, NEWER[:1]), (checkpoint.save_delta, NEWER[1])):
        thread = threading.Thread(target=call, args=(what,))
        thread.start()
        thread.join()

    assert checkpoint.load() == Loaded(NEWER[:2])


@pytest.mark.parametrize(
    "snapshot_bytes, delta_bytes, fitting",
    [(10, 1 << 18, 4), (3 << 20, 1 << 20, 3), (10, 1, 999)],
    ids=["1 MiB", "as long as the snapshot", "1,000 deltas"],
)
def test_a_snapshot_is_wanted_when_deltas_outgrow_it(
    checkpoint: Checkpoint, snapshot_bytes: int, delta_bytes: int, fitting: int
) -> None:
    """Deltas may take as much as the snapshot, a mebibyte at least, and be a thousand; loaded ones count."""
    checkpoint.save_snapshot([bytes(snapshot_bytes)])
    for _ in range(fitting):
        checkpoint.save_delta(bytes(delta_bytes))
        assert not checkpoint.wants_snapshot
    checkpoint.save_delta(bytes(delta_bytes))

    assert checkpoint.wants_snapshot
    assert checkpoint.size_bytes >= snapshot_bytes + (fitting + 1) * delta_bytes
    checkpoint.load()
    assert checkpoint.wants_snapshot
    checkpoint.save_snapshot([b""])
    assert not checkpoint.wants_snapshot


STEPS = st.one_of(
    st.tuples(st.sampled_from(["delta", "snapshot"]), st.binary(max_size=20_000)),
    st.tuples(st.sampled_from(["reopen", "crash"]), st.just(b"")),
)


@pytest.mark.bulk
@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_any_history_reads_like_a_list(steps: list[tuple[str, bytes]]) -> None:
    """Deltas, snapshots, restarts, and starts on the files as a crash leaves them, equal a plain list."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = StateDirectory(Path(scratch) / "0")
        checkpoint = directory.checkpoint("default")
        expected: list[bytes] = []
        for number, (step, record) in enumerate(steps, 1):
            if step == "snapshot" or (step == "delta" and checkpoint.wants_snapshot):
                expected = [record[n : n + 5_000] for n in range(0, 1 + len(record), 5_000)]
                checkpoint.save_snapshot(expected)
            elif step == "delta":
                checkpoint.save_delta(record)
                expected.append(record)
            else:
                directory.acquire()
                if step == "crash":
                    shutil.copytree(directory.path, Path(scratch) / str(number))
                checkpoint.close()
                directory.release()
                directory = StateDirectory(Path(scratch) / str(number)) if step == "crash" else directory
                checkpoint = directory.checkpoint("default")
                assert checkpoint.load() == Loaded(tuple(expected))
        assert checkpoint.load() == Loaded(tuple(expected))
        checkpoint.close()
        directory.release()


# ── modes, lock, and folders that are not to be had ─────────────────────────────────────────────────────────


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_nobody_else_reads_the_state(tmp_path: Path, umask: int) -> None:
    """The folder is 0700 and each file 0600, whatever the umask."""
    script = """if True:
        import os, sys
        from pathlib import Path
        from exporter.checkpoint import StateDirectory
        os.umask(int(sys.argv[2]))
        checkpoint = StateDirectory(Path(sys.argv[1])).checkpoint("default")
        for number in range(2):
            checkpoint.save_snapshot([b"snapshot"])
            checkpoint.save_delta(b"delta")
        os.kill(os.getpid(), 9)
    """
    with start(script, tmp_path / "state", umask) as child:
        child.communicate(timeout=120)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert len(modes) == 5
    assert set(modes.values()) == {0o600}, modes


def test_a_folder_that_is_there_keeps_its_mode(directory: StateDirectory, folder: Path) -> None:
    """A folder that the administrator made is theirs to open or close."""
    folder.mkdir(mode=0o750)

    directory.acquire()

    assert stat.S_IMODE(folder.stat().st_mode) == 0o750


def test_the_second_process_waits_for_the_first(directory: StateDirectory) -> None:
    """It is told who has the folder, and gets it when that one was killed."""
    script = """if True:
        import sys, time
        from pathlib import Path
        from exporter.checkpoint import StateDirectory
        directory = StateDirectory(Path(sys.argv[1]))
        directory.acquire()
        print("mine", flush=True)
        sys.stdin.read()
    """
    with start(script, directory.path) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "mine\n"

        with pytest.raises(CheckpointError, match=rf"in use by another process \(pid {child.pid}\)"):
            directory.acquire()
        with pytest.raises(CheckpointError, match="in use"):
            directory.checkpoint("default").load()
        child.kill()
        child.wait(timeout=120)

    directory.acquire()


def test_the_lock_is_given_back(directory: StateDirectory) -> None:
    """It is held until release, by one holder even within a process, and its file stays."""
    directory.acquire()
    directory.acquire()
    with pytest.raises(CheckpointError, match=f"pid {os.getpid()}"):
        StateDirectory(directory.path).acquire()

    directory.release()

    assert read(directory.path) == Loaded(())
    assert (directory.path / "lock").exists()


def test_children_do_not_inherit_the_lock(directory: StateDirectory) -> None:
    """A process that outlives the exporter must not keep its folder locked."""
    directory.acquire()
    with start("import sys; sys.stdin.read()") as child:
        directory.release()
        directory.acquire()
        child.communicate(timeout=120)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """A path that is a file, or below one, is named in one line."""
    (tmp_path / "file").touch()

    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CheckpointError, match=f"{path}: not a directory; name another --storage.path"):
            StateDirectory(path).acquire()


def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    """Without write permission (a user namespace takes it from root) it is refused, and taken when given."""
    script = """if True:
        import os, sys
        from pathlib import Path
        from exporter.checkpoint import CheckpointError, StateDirectory
        folder = Path(sys.argv[1])
        directory = StateDirectory(folder)
        for path in (folder, folder / "below"):
            try:
                StateDirectory(path).acquire()
            except CheckpointError as error:
                print(error)
        folder.chmod(0o700)
        directory.acquire()
    """
    folder = tmp_path / "state"
    folder.mkdir(mode=0o500)

    lines = run(script, folder, under=("unshare", "--user")).splitlines()

    help_ = "permission denied; let the exporter's user write it, or name another --storage.path"
    assert lines == [f"{folder}: {help_}", f"{folder / 'below'}: {help_}"]


IN_A_SMALL_DISK = """if True:
    import os, subprocess, sys
    from pathlib import Path
    from exporter.checkpoint import CheckpointError, StateDirectory

    disk = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", disk], check=True)

    def fill(left):
        "Leave so many bytes free."
        (disk / "filler").unlink(missing_ok=True)
        free = os.statvfs(disk)
        (disk / "filler").write_bytes(bytes(free.f_bavail * free.f_bsize - left))

    def refused(call, *arguments):
        try:
            call(*arguments)
        except CheckpointError as error:
            assert "\\n" not in str(error), error
            return str(error)
        raise AssertionError("it was not refused")

    directory = StateDirectory(disk / "state")
    checkpoint = directory.checkpoint("default")
"""
NEW_MOUNTS = ("unshare", "--map-root-user", "--mount")


def test_a_full_disk_is_waited_for(tmp_path: Path) -> None:
    """Where not even the lock can be written the folder is refused, and taken when there is room."""
    script = """
    fill(0)
    print(refused(directory.acquire))
    (disk / "filler").unlink()
    directory.acquire()
    """

    line = run(IN_A_SMALL_DISK + script, tmp_path, under=NEW_MOUNTS)

    assert line == f"{tmp_path}/state: no space is left on its disk; free some\n"


def test_what_was_saved_survives_a_full_disk(tmp_path: Path) -> None:
    """However little is left: a delta fails whole, and the combined one goes in when there is room."""
    script = """
    checkpoint.save_snapshot([b"snapshot"])
    expected, failed = [b"snapshot"], 0
    for left in range(0, 49152, 4096):
        fill(left)
        record = os.urandom(11_000)
        try:
            checkpoint.save_delta(record)
        except CheckpointError as error:
            assert str(error).endswith("no space is left on its disk; free some"), error
            assert not checkpoint.wants_snapshot
            failed += 1
            if left % 8192:
                checkpoint.close()
                assert checkpoint.load().records == tuple(expected)
            (disk / "filler").unlink()
            record += b"combined"
            checkpoint.save_delta(record)
        expected.append(record)
        if left % 12288 == 0:
            loaded = checkpoint.load()
            assert loaded.records == tuple(expected) and not loaded.fell_back, loaded
    assert failed >= 2, failed
    """

    run(IN_A_SMALL_DISK + script, tmp_path, under=NEW_MOUNTS)


def test_deltas_go_on_while_there_is_no_room_for_a_snapshot(tmp_path: Path) -> None:
    """A snapshot that does not fit leaves nothing behind, and is not asked for again at once."""
    script = """
    checkpoint.save_snapshot([b"snapshot"])
    for _ in range(5):
        checkpoint.save_delta(bytes(250_000))
    assert checkpoint.wants_snapshot
    fill(300_000)
    before = sorted(path.name for path in directory.path.iterdir())
    line = refused(checkpoint.save_snapshot, [bytes(400_000)])
    assert line.endswith("default-00000002.tmp: no space is left on its disk; free some"), line
    assert sorted(path.name for path in directory.path.iterdir()) == before
    for _ in range(60):
        assert not checkpoint.wants_snapshot
        checkpoint.save_delta(b"")
    assert checkpoint.wants_snapshot
    (disk / "filler").unlink()
    checkpoint.save_snapshot([bytes(400_000)])
    assert checkpoint.load().records == (bytes(400_000),)
    """

    run(IN_A_SMALL_DISK + script, tmp_path, under=NEW_MOUNTS)


def test_what_a_full_disk_does_not_take_stays_in_memory(tmp_path: Path) -> None:
    """What need not be there goes to the disk while it has room; what is on it can be read all the time."""
    script = """
    directory.acquire()
    aside, data = directory.spill(), os.urandom(50_000)
    before = aside.put(data)
    fill(8192)
    assert aside.put(data) is data
    assert before.read() == data
    (disk / "filler").unlink()
    after = aside.put(data[::-1])
    assert (before.read(), after.read()) == (data, data[::-1])
    """

    run(IN_A_SMALL_DISK + script, tmp_path, under=NEW_MOUNTS)


def test_a_read_only_disk_is_waited_for(tmp_path: Path) -> None:
    """A folder on a read-only mount is refused, and taken, whole, when it can be written."""
    script = """
    checkpoint.save_snapshot([b"snapshot"])
    checkpoint.save_delta(b"delta")
    checkpoint.close()
    directory.release()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    print(refused(checkpoint.load))
    print(refused(StateDirectory(disk / "another").acquire))
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert checkpoint.load().records == (b"snapshot", b"delta")
    checkpoint.save_delta(b"another")
    """

    lines = run(IN_A_SMALL_DISK + script, tmp_path, under=NEW_MOUNTS).splitlines()

    help_ = "read-only file system; mount it writable, or name another --storage.path"
    assert lines == [f"{tmp_path}/state: {help_}", f"{tmp_path}/another: {help_}"]


# ── crashes and failing disks ───────────────────────────────────────────────────────────────────────────────


# A state is a number; a delta `3-5` takes it from 3 to 5, a snapshot is `0-5`.
def reached(records: tuple[bytes, ...]) -> int:
    """Follow the records from the first to the last, which must fit together; return where they end."""
    value = 0
    for record in records:
        before, after = map(int, record.split())
        assert before == value, records
        value = after
    return value


def test_every_acknowledged_record_survives_kill_9(folder: Path) -> None:
    """Thirty processes save as fast as they can and are killed: what each acknowledged the next one finds."""
    script = """if True:
        import sys
        from pathlib import Path
        from exporter.checkpoint import StateDirectory
        checkpoint = StateDirectory(Path(sys.argv[1])).checkpoint("default")
        checkpoint.load()
        value, padding = int(sys.argv[2]), b" " * 9_000
        while True:
            if checkpoint.wants_snapshot or value % 7 == 0:
                checkpoint.save_snapshot([b"%d %d" % (0, value + 1) + padding])
            else:
                checkpoint.save_delta(b"%d %d" % (value, value + 1) + padding)
            value += 1
            print(value, flush=True)
    """
    chance, value = random.Random(0), 0

    for _ in range(30):
        with start(script, folder, value) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(chance.randrange(1, 60))]
            child.send_signal(signal.SIGKILL)
            lines += child.stdout.readlines()
        acknowledged = max(int(line) for line in lines if line.endswith("\n"))
        loaded = read(folder)

        assert (loaded.fell_back, loaded.lost, loaded.set_aside) == (False, False, ())
        value = reached(loaded.records)
        assert value in (acknowledged, acknowledged + 1)


NAMES = "?rename,?renameat,?renameat2,?unlink,?unlinkat"  # not every machine has all of them
FAULTS = {
    "fsync fails": ("fsync,fdatasync:error=EIO:when=5+7",),
    "the disk is full": ("pwrite64:error=ENOSPC:when=31+37",),
    "writes fail": ("pwrite64:error=EIO:when=31+37",),
    "it turns read-only": ("pwrite64:error=EROFS:when=31..60+2", f"{NAMES}:error=EROFS:when=2..4"),
    "names cannot be changed": (f"ftruncate,{NAMES}:error=EIO:when=2+3",),
    "all at once": (
        "fsync,fdatasync:error=EIO:when=9+11",
        "pwrite64:error=ENOSPC:when=31+41",
        f"{NAMES}:error=EIO:when=2+5",
    ),
}


LATER = ("writes fail", "names cannot be changed")
"""What the others and "all at once" have, too; `make test-all` has each alone."""


@pytest.mark.parametrize("what", first(FAULTS, rest=LATER))
def test_every_acknowledged_record_survives_a_failing_disk(folder: Path, what: str) -> None:
    """Whichever call fails, it is a CheckpointError, nothing acknowledged is lost and nothing is there twice.

    The kernel's answers are strace's; the child does what the poller does, and reads everything back between.
    """
    script = """if True:
        import random, sys
        from pathlib import Path
        from exporter.checkpoint import CheckpointError, StateDirectory
        from tests.test_checkpoint import reached

        def patiently(call):
            for _ in range(20):
                try:
                    return call()
                except CheckpointError as error:
                    assert "\\n" not in str(error), error
            raise AssertionError("it does not recover")

        directory, chance = StateDirectory(Path(sys.argv[1])), random.Random(0)
        checkpoint = directory.checkpoint("default")
        saved, tried, failed = 0, set(), 0
        for value in range(1, 400):
            try:
                if checkpoint.wants_snapshot or chance.random() < 0.1:
                    checkpoint.save_snapshot([b"0 %d" % value + b" " * chance.randrange(90_000)])
                else:
                    checkpoint.save_delta(b"%d %d" % (saved, value) + b" " * chance.randrange(30_000))
            except CheckpointError:
                tried.add(value)
                failed += 1
            else:
                saved, tried = value, set()
            if chance.random() < 0.2:
                if chance.random() < 0.5:
                    checkpoint.close()
                    directory.release()
                    checkpoint = directory.checkpoint("default")
                loaded = patiently(checkpoint.load)
                assert not (loaded.fell_back or loaded.lost or loaded.set_aside), loaded.set_aside
                found = reached(loaded.records)
                assert found in {saved, *tried}, (found, saved, tried)
                saved, tried = found, set()
        assert saved > 300, saved
        print(failed)
    """
    injections = [argument for fault in FAULTS[what] for argument in ("-e", f"inject={fault}")]
    failed = run(script, folder, under=("strace", "-f", "-qq", "-o", os.devnull, *injections))

    assert int(failed) >= 10
    assert reached(read(folder).records) > 300


@pytest.mark.parametrize("fault", ["pwrite64:error=EIO:when=3+11", "pwrite64:error=ENOSPC:when=3+11"])
def test_a_snapshot_that_was_not_written_whole_is_not_acknowledged(folder: Path, fault: str) -> None:
    """Each single write of a snapshot fails in turn, one of a page or of the header: the one before is found."""
    script = """if True:
        import sys
        from pathlib import Path
        from exporter.checkpoint import CheckpointError, StateDirectory
        checkpoint = StateDirectory(Path(sys.argv[1])).checkpoint("default")
        saved, failed = (), 0
        for number in range(150):
            record = b"%d " % number * (number * 37 % 50 * 100)  # uneven, or one place failed each time
            try:
                checkpoint.save_snapshot([record])
                saved = (record,)
            except CheckpointError:
                failed += 1
            loaded = checkpoint.load()
            assert loaded.records == saved and not loaded.set_aside, (number, loaded.set_aside)
        print(failed)
    """

    failed = run(script, folder, under=("strace", "-f", "-qq", "-o", os.devnull, "-e", f"inject={fault}"))

    assert int(failed) >= 50


def test_a_record_is_on_the_disk_before_it_is_acknowledged(folder: Path, tmp_path: Path) -> None:
    """A snapshot is synced, renamed, its folder synced; a delta has one fdatasync after its last write."""
    script = """if True:
        import os, sys
        from pathlib import Path
        from exporter.checkpoint import StateDirectory
        checkpoint = StateDirectory(Path(sys.argv[1])).checkpoint("default")
        checkpoint.load()
        for number in range(2):
            checkpoint.save_snapshot([b"snapshot" * 1000])
            os.write(1, b"snapshot saved\\n")
            for _ in range(3):
                checkpoint.save_delta(b"delta" * 2000)
                os.write(1, b"delta saved\\n")
    """
    traced = tmp_path / "trace"
    calls = "trace=fsync,fdatasync,?rename,?renameat,?renameat2,write,pwrite64"
    run(script, folder, under=("strace", "-f", "-qq", "-y", "-s", "32", "-e", calls, "-o", str(traced)))
    steps: list[list[str]] = [[]]
    for line in traced.read_text().splitlines():
        found = re.search(
            r"(fsync|fdatasync|rename|pwrite64|write)\w*\((?:AT_FDCWD<.*?>, )?(?:\d+<(.*?)>|\"(.*?)\")", line
        )
        if "saved" in line:
            steps.append([])
        elif found and str(folder) in line:
            steps[-1].append(f"{found[1]} {Path(found[2] or found[3]).name}")

    for number, step in ((1, steps[0]), (2, steps[4])):
        name = f"default-{number:08d}"
        last_write = max(index for index, call in enumerate(step) if call == f"pwrite64 {name}.tmp")
        expected = [
            f"fsync {name}.tmp",
            f"rename {name}.tmp",
            "fsync state",
            "pwrite64 default.tip",
            "fsync default.tip",
        ]
        assert [call for call in step[last_write + 1 :] if "wal" not in call and ".sqlite" not in call] == expected
    for number, step in ((1, steps[1]), (2, steps[5])):
        wal = f"default-{number:08d}.sqlite-wal"
        assert "fdatasync state" in step
        assert step[-2:] == [f"fdatasync {wal}", "pwrite64 default.tip"]
    for number, step in ((1, steps[2]), (1, steps[3]), (2, steps[6]), (2, steps[7])):
        wal = f"default-{number:08d}.sqlite-wal"
        assert set(step[:-2]) == {f"pwrite64 {wal}"}
        assert step[-2:] == [f"fdatasync {wal}", "pwrite64 default.tip"]


@pytest.mark.parametrize("gone", ["default-00000001.sqlite", "default-00000001.sqlite-wal", "default.tip", "lock", "*"])
def test_files_deleted_under_us_are_noticed(checkpoint: Checkpoint, folder: Path, gone: str) -> None:
    """What was written into a deleted file is not acknowledged; the next snapshot puts all in place again."""
    save(checkpoint, OLDER)
    for path in folder.glob(gone):
        path.unlink()

    if ".sqlite" in gone or gone == "*":
        with pytest.raises(CheckpointError, match="deleted or moved away; the next snapshot writes it anew"):
            checkpoint.save_delta(b"another")
        assert checkpoint.wants_snapshot
        save(checkpoint, NEWER)
        checkpoint.save_delta(b"another")
        assert checkpoint.load() == Loaded((*NEWER, b"another"))
    else:
        checkpoint.save_delta(b"another")
        assert checkpoint.load() == Loaded((*OLDER, b"another"))


@pytest.mark.parametrize("again", [True, False])
def test_a_folder_deleted_under_us_is_made_anew(checkpoint: Checkpoint, folder: Path, again: bool) -> None:
    """Files of one's own name in a new folder are not mistaken for those that are open."""
    save(checkpoint, OLDER)
    folder.rename(folder.with_name("moved"))
    if again:
        shutil.copytree(folder.with_name("moved"), folder)

    with pytest.raises(CheckpointError, match="deleted or moved away"):
        checkpoint.save_delta(b"another")
    save(checkpoint, NEWER)

    assert checkpoint.load() == Loaded(NEWER)


def test_a_folder_taken_by_another_while_it_was_away(checkpoint: Checkpoint, folder: Path) -> None:
    """Who deletes the folder lets another process in: it is not written to until that one is gone."""
    save(checkpoint, OLDER)
    shutil.rmtree(folder)
    other = StateDirectory(folder)
    other.acquire()

    with pytest.raises(CheckpointError, match="in use by another process"):
        checkpoint.save_delta(b"another")
    with pytest.raises(CheckpointError, match="in use by another process"):
        checkpoint.save_snapshot([b"another"])
    other.release()
    save(checkpoint, NEWER)

    assert checkpoint.load() == Loaded(NEWER)


# ── damage ──────────────────────────────────────────────────────────────────────────────────────────────────


def edit(sql: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(sql)
        connection.close()

    return damage


def overwrite(size: int, *, at: float = 0.0) -> Callable[[Path], None]:
    """Put noise into the file, from a fraction of its length on."""

    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        begin = int(len(content) * at)
        content[begin : begin + size] = random.Random(0).randbytes(len(content[begin : begin + size]))
        path.write_bytes(content)

    return damage


def truncate(fraction: float) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, int(path.stat().st_size * fraction))


def flip(marker: bytes) -> Callable[[Path], None]:
    """Change one bit inside a record."""

    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[content.index(marker)] ^= 1
        path.write_bytes(content)

    return damage


def replace(path: Path) -> None:
    path.unlink()
    edit("CREATE TABLE another (program INTEGER)")(path)


DAMAGE = {
    "empty": truncate(0),
    "half": truncate(0.5),
    "a tail missing": truncate(0.99),
    "garbage": overwrite(1 << 30),
    "a garbage header": overwrite(100),
    "a garbage page": overwrite(4096, at=0.5),
    "one bit": flip(b"delta two"),
    "a later format": edit("PRAGMA user_version = 3"),
    "another application": edit("PRAGMA application_id = 1"),
    "another journal": edit("PRAGMA journal_mode = DELETE"),
    "another database": replace,
    "no table": edit("DROP TABLE record"),
    "no record": edit("DELETE FROM record"),
    "no snapshot": edit("DELETE FROM record WHERE n = 1"),
    "a gap": edit("DELETE FROM record WHERE n = 2"),
    "the last one missing": edit("DELETE FROM record WHERE n = 3"),
    "text": edit("UPDATE record SET body = 'text' WHERE n = 2"),
    "bad text": edit("UPDATE record SET body = CAST(x'ff' AS TEXT) WHERE n = 2"),
    "two swapped": edit("UPDATE record SET body = (SELECT o.body FROM record o WHERE o.n = 5 - record.n) WHERE n > 1"),
    "deleted": Path.unlink,
}


@pytest.fixture
def generations(checkpoint: Checkpoint, folder: Path) -> list[Path]:
    """Two generations, closed, the newer one first."""
    save(checkpoint, OLDER)
    save(checkpoint, NEWER)
    checkpoint.close()
    return [folder / "default-00000002.sqlite", folder / "default-00000001.sqlite"]


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_generation_falls_back(
    checkpoint: Checkpoint, generations: list[Path], damage: Callable[[Path], None]
) -> None:
    """The older one is as it was when the newer began; it is said until a record is saved; evidence stays."""
    damage(generations[0])
    damaged = generations[0].read_bytes() if generations[0].exists() else None

    loaded = checkpoint.load()

    aside = generations[0].with_name(f"{generations[0].name}.damaged-1")
    assert loaded == Loaded(OLDER, fell_back=True, set_aside=(aside,) if damaged is not None else ())
    assert damaged is None or len(aside.read_bytes()) == len(damaged)
    assert checkpoint.load() == Loaded(OLDER, fell_back=True)
    checkpoint.save_delta(b"another")
    assert checkpoint.load() == Loaded((*OLDER, b"another"))
    checkpoint.save_snapshot([b"new"])
    assert checkpoint.load() == Loaded((b"new",))
    assert aside.exists() == (damaged is not None)


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_two_damaged_generations_are_a_loss(
    checkpoint: Checkpoint, generations: list[Path], damage: Callable[[Path], None]
) -> None:
    """Nothing is loaded, which is not the same as nothing to load; then a new beginning is made."""
    for path in generations:
        damage(path)
    if generations[1].exists():
        edit("DELETE FROM record WHERE n = 1")(generations[1]) if damage is DAMAGE["the last one missing"] else None
    there = [path for path in generations if path.exists()]

    loaded = checkpoint.load()

    assert loaded == Loaded((), lost=True, set_aside=tuple(path.with_name(f"{path.name}.damaged-1") for path in there))
    assert checkpoint.load() == Loaded((), lost=True)
    save(checkpoint, NEWER)
    assert checkpoint.load() == Loaded(NEWER)


def test_damage_again_is_set_aside_beside_the_first(checkpoint: Checkpoint, generations: list[Path]) -> None:
    """No evidence overwrites other evidence."""
    generations[0].with_name(f"{generations[0].name}.damaged-1").write_bytes(b"the first")
    DAMAGE["garbage"](generations[0])

    loaded = checkpoint.load()

    assert loaded.set_aside == (generations[0].with_name(f"{generations[0].name}.damaged-2"),)


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        truncate(0),
        truncate(0.5),
        overwrite(1 << 30),
        overwrite(32),
        overwrite(24, at=0.5),
        flip(b"delta one"),
    ],
    ids=["deleted", "empty", "half", "garbage", "a garbage header", "a garbage frame", "one bit"],
)
def test_a_damaged_log_is_noticed(checkpoint: Checkpoint, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """SQLite would drop what a damaged -wal held without a word: the tip tells."""
    save(checkpoint, OLDER)
    save(checkpoint, NEWER)
    crashed = tmp_path / "crashed"
    shutil.copytree(tmp_path / "state", crashed)
    assert read(shutil.copytree(crashed, tmp_path / "undamaged")) == Loaded(NEWER)

    damage(crashed / "default-00000002.sqlite-wal")

    log = crashed / "default-00000002.sqlite-wal"
    evidence = log.read_bytes() if log.exists() else b""
    aside = crashed / "default-00000002.sqlite.damaged-1"
    assert read(crashed) == Loaded(OLDER, fell_back=True, set_aside=(aside,))
    assert aside.with_name(f"{aside.name}-wal").read_bytes() == evidence
    assert read(crashed) == Loaded(OLDER, fell_back=True)


@pytest.mark.parametrize("content", [None, b"", b"noise", b"0" * 40, b"%019d %019d" % (9, 9)])
def test_the_tip_is_only_a_witness(checkpoint: Checkpoint, folder: Path, content: bytes | None) -> None:
    """Without one, or with one that was torn, everything is read as it is."""
    save(checkpoint, NEWER)
    checkpoint.close()
    (folder / "default.tip").unlink()
    if content is not None:
        (folder / "default.tip").write_bytes(content)

    assert checkpoint.load() == Loaded(NEWER)


def test_an_older_tip_is_no_damage(checkpoint: Checkpoint, folder: Path) -> None:
    """It is not synced with each record: after a power cut it may say less than is there."""
    checkpoint.save_snapshot([NEWER[0]])
    early = (folder / "default.tip").read_bytes()
    for record in NEWER[1:]:
        checkpoint.save_delta(record)
    checkpoint.close()
    (folder / "default.tip").write_bytes(early)

    assert checkpoint.load() == Loaded(NEWER)


@pytest.mark.bulk
@pytest.mark.parametrize("name", ["default-00000002.sqlite", "default-00000002.sqlite-wal"])
def test_no_damaged_byte_is_overlooked(checkpoint: Checkpoint, tmp_path: Path, name: str) -> None:
    """Wherever a bit changes, all records are there and right, or it is said that they are older ones."""
    save(checkpoint, (b"older",))
    save(checkpoint, (b"newer", b"delta" * 500, b"last"))
    good, bad = shutil.copytree(tmp_path / "state", tmp_path / "good"), tmp_path / "bad"
    content, chance, noticed = (good / name).read_bytes(), random.Random(0), 0
    places = [*range(120), *range(120, len(content), max(1, len(content) // 300))]

    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << chance.randrange(8)
        shutil.copytree(good, bad)
        (bad / name).write_bytes(changed)
        loaded = read(bad)
        if loaded.fell_back:
            assert loaded.records == (b"older",), place
            noticed += 1
        else:
            assert loaded == Loaded((b"newer", b"delta" * 500, b"last")), place
        shutil.rmtree(bad)

    assert noticed > 50


def test_a_file_that_cannot_be_read_now_is_not_damaged(checkpoint: Checkpoint, generations: list[Path]) -> None:
    """A file that another program has locked is an error to be tried again, and left alone."""
    other = sqlite3.connect(generations[0], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(CheckpointError, match="database is locked"):
        checkpoint.load()
    other.close()

    assert checkpoint.load() == Loaded(NEWER)


def test_a_generation_that_is_a_folder_is_left_alone(checkpoint: Checkpoint, folder: Path) -> None:
    """What cannot be opened at all is named, not set aside."""
    (folder / "default-00000001.sqlite").mkdir(parents=True)

    with pytest.raises(CheckpointError, match=r"default-00000001\.sqlite: unable to open database file"):
        checkpoint.load()

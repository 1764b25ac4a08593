"""Only local file systems are read: by what Linux and macOS say of their mounts, and in a mount namespace."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.source import mounts
from tests.realtools import NOT_RUN
from tests.sqlite_platform import READER, Child, Platform, files, made, running

# Ubuntu 24.04 with containers, an NFS share with a space in its name, and a bind mount of a single file
MOUNTINFO = """\
22 27 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
27 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw,errors=remount-ro
31 27 0:28 / /mnt/team\\040share rw,relatime shared:300 - nfs4 files.example:/team rw,vers=4.2,addr=192.0.2.7
44 27 0:53 / /var/lib/docker/overlay2/7a/merged rw,relatime - overlay overlay rw,lowerdir=/l/A:/l/B
58 44 0:61 /Volumes/Work /Volumes/Work rw,nosuid,nodev,relatime - fuse.grpcfuse grpcfuse rw,user_id=0,group_id=0
73 44 259:2 /srv/a.db /data/a.db rw,relatime master:1 - xfs /dev/nvme0n1p2 rw
274 27 0:70 /@home /home rw,relatime shared:9 master:2 propagate_from:1 - btrfs /dev/sdb1 rw,subvol=/@home
"""

# macOS 14, with a share and a disk image
MOUNT = """\
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
devfs on /dev (devfs, local, nobrowse)
/dev/disk3s5 on /System/Volumes/Data (apfs, local, journaled, nobrowse, protect, root data)
map auto_home on /System/Volumes/Data/home (autofs, automounted, nobrowse)
//me@nas._smb._tcp.local/work on /Volumes/work (smbfs, nodev, nosuid, mounted by me)
/dev/disk5s1 on /Volumes/work (disk (2)) (hfs, local, nodev, nosuid, journaled, noowners, mounted by me)
"""


@pytest.mark.parametrize(
    "mount_id,fstype",
    [(27, "ext4"), (31, "nfs4"), (44, "overlay"), (58, "fuse.grpcfuse"), (73, "xfs"), (274, "btrfs"), (7, None)],
)
def test_the_kernel_tells_a_mount_by_its_id(mount_id: int, fstype: str | None) -> None:
    """With optional fields or without, escapes or not; an id that only begins another is none."""
    assert mounts.type_by_id(MOUNTINFO, mount_id) == fstype


@pytest.mark.parametrize(
    "path,fstype",
    [
        ("/Volumes/Work/a.db", "apfs"),
        ("/System/Volumes/Data/a.db", "apfs"),
        ("/System/Volumes/Database/a.db", "apfs"),
        ("/Volumes/work/a.db", "smbfs"),
        ("/Volumes/work (disk (2))/a.db", "hfs"),
        ("/Volumes/workshop/a.db", "apfs"),
        ("/dev/a.db", "devfs"),
    ],
)
def test_mount_tells_by_the_longest_folder_above(path: str, fstype: str) -> None:
    """A folder is above a path by whole names."""
    assert mounts.type_by_path(MOUNT, path) == fstype


def test_of_two_mounts_at_one_place_the_later_hides_the_other() -> None:
    """As the system itself sees it."""
    assert mounts.type_by_path("a on / (apfs, local)\nb on /x (nfs)\nc on /x (hfs, local)\n", "/x/a.db") == "hfs"


def test_without_a_line_that_fits_it_is_an_error() -> None:
    """Not knowing is not local."""
    with pytest.raises(OSError, match="no line of `mount` holds /x"):
        mounts.type_by_path("a on /y (apfs, local)\n", "/x")


@pytest.mark.parametrize("fstype", ["ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "f2fs", "apfs"])
def test_local_file_systems_are_read(fstype: str) -> None:
    """Those of counting.md, and their like."""
    assert mounts.refusal(fstype) is None


@pytest.mark.parametrize(
    "fstype,reason",
    [
        ("nfs4", "is a network file system"),
        ("cifs", "is a network file system"),
        ("9p", "is a folder shared with a virtual machine"),
        ("virtiofs", "is a folder shared with a virtual machine"),
        ("fuse.grpcfuse", "is a folder shared with a virtual machine"),
        ("osxfs", "is a folder shared with a virtual machine"),
        ("fuse.rclone", "is a file system in user space"),
        ("fuseblk", "is a file system in user space"),
        ("newfs", "is not known to be a local file system"),
    ],
)
def test_anything_else_is_refused_with_its_reason(fstype: str, reason: str) -> None:
    """What nobody knows is refused, too."""
    assert mounts.refusal(fstype) == f"{fstype} {reason}"


def test_this_machine_says_what_its_files_are_on(tmp_path: Path) -> None:
    """The same as `stat` says, where there is one that knows."""
    path = tmp_path / "a.db"
    path.touch()
    fd = os.open(path, os.O_RDONLY)
    try:
        fstype = mounts.filesystem_of(fd, path)
    finally:
        os.close(fd)
    assert fstype in mounts.LOCAL


@pytest.fixture(scope="session")
def namespace() -> tuple[str, ...]:
    """What to put before a command that shall have mounts of its own."""
    prefix = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--mount")
    if sys.platform != "linux" or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip(f"{NOT_RUN}unshare and a mount namespace")
    return prefix


def test_a_read_only_mount_is_read_live_and_at_rest(tmp_path: Path, namespace: tuple[str, ...]) -> None:
    """Each commit, then the whole file once its platform has stopped; then what a killed one left."""
    path = tmp_path / "a.db"
    bind = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && ! touch "$0/x" 2>&- && exec "$@"'
    prefix = (*namespace, "sh", "-c", bind, str(tmp_path))
    with running(Platform(path)) as platform, running(Child(READER, path, 1, prefix=prefix)) as reader:
        for rows in ("1", "2", "3"):
            platform.sql("INSERT INTO t (v) VALUES ('x')")
            assert reader.ask() == rows
        platform.close()
        at_rest = files(path)
        assert (reader.ask(), files(path)) == ("3", at_rest)

        killed = Platform(path)
        killed.sql("INSERT INTO t (v) VALUES ('x')")
        killed.kill()
        left = files(path)
        assert len(left) == 3
        assert (reader.ask(), files(path)) == ("4", left)


def test_a_network_mount_is_refused_and_nothing_created(tmp_path: Path, namespace: tuple[str, ...]) -> None:
    """Told by the kernel's own list that the file is on NFS, the source says so, and where to run instead."""
    path = made(tmp_path / "a.db")
    # the same list, with every file system called nfs4, mounted over the kernel's for this process alone
    lie = 'sed \'s/ - [^ ]* / - nfs4 /\' /proc/$$/mountinfo > "$0" && mount --bind "$0" /proc/$$/mountinfo && '
    prefix = (*namespace, "sh", "-c", f'{lie}exec "$@"', str(tmp_path / "mountinfo"))
    before = files(path)
    with running(Child(READER, path, 1, prefix=prefix)) as reader:
        answer = reader.ask()

    assert answer.startswith(f"{path}: nfs4 is a network file system")
    assert answer.endswith("run the exporter on the machine that holds the file")
    assert files(path) == before


def test_it_needs_the_kernel_to_tell(tmp_path: Path, namespace: tuple[str, ...]) -> None:
    """Where /proc is hidden it is not known to be local: refused, with the reason."""
    path = made(tmp_path / "a.db")
    hide = 'mount -t tmpfs none /proc && exec "$@"'
    with running(Child(READER, path, 1, prefix=(*namespace, "sh", "-c", hide, "sh"))) as reader:
        answer = reader.ask()

    assert answer.startswith(f"{path}: cannot tell whether its file system is local")

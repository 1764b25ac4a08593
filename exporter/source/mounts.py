"""Which file system a file lies on, and whether SQLite's shared memory works there.

SQLite's WAL needs the memory of one kernel: over a network, or through a folder shared between a machine and
its virtual machine, the two sides see different `-shm` contents, and the database is corrupted
(https://www.sqlite.org/wal.html: "all processes using a database must be on the same host computer").
"""

import os
import re
import subprocess
from functools import lru_cache
from pathlib import Path

# What is known to be local. Anything else is refused: a wrong guess costs the user's data.
# fmt: off
LOCAL = frozenset(
    {
        "apfs", "aufs", "bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "hfs",
        "iso9660", "jfs", "nilfs2", "ntfs3", "overlay", "ramfs", "reiserfs", "squashfs", "tmpfs", "udf",
        "ufs", "vfat", "xfs", "zfs",
    }
)
_VIRTUAL_MACHINE = frozenset(
    {
        "9p", "drvfs", "fakeowner", "fuse.grpcfuse", "fuse.osxfs", "fuse.vmhgfs-fuse", "grpcfuse",
        "osxfs", "prl_fs", "vboxsf", "virtiofs", "vmhgfs",
    }
)
_NETWORK = frozenset(
    {
        "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.s3fs", "fuse.sshfs", "gfs2",
        "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb2", "smb3", "smbfs",
        "webdav",
    }
)
# fmt: on


def refusal(fstype: str) -> str | None:
    """Return why a database on this type of file system must not be opened; None if it may."""
    if fstype in LOCAL:
        return None
    if fstype in _VIRTUAL_MACHINE:
        return f"{fstype} is a folder shared with a virtual machine"
    if fstype in _NETWORK:
        return f"{fstype} is a network file system"
    if fstype.startswith("fuse"):
        return f"{fstype} is a file system in user space"
    return f"{fstype} is not known to be a local file system"


def filesystem_of(fd: int, path: Path) -> str:
    """Return the type of the file system on which the open file `fd` lies, whose resolved path is `path`.

    Raises: OSError if the system does not tell.
    """
    device = os.fstat(fd).st_dev
    if os.uname().sysname == "Linux":
        return _type_on_linux(_mount_id(fd), device)
    return type_by_path(_mount_output(device), str(path))


def type_by_id(mountinfo: str, mount_id: int) -> str | None:
    """Return the type of one mount in the text of a /proc/PID/mountinfo (proc(5)), if it is there."""
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if fields[0] == str(mount_id):
            return fields[fields.index("-") + 1]
    return None


def type_by_path(mount_output: str, path: str) -> str:
    """Return the type of the mount that holds `path`, by what `mount` prints on macOS and the BSDs.

    Raises: OSError if no line fits.
    """
    lines = re.findall(r"^.+? on (/.*) \(([\w.-]+)[,)]", mount_output, re.MULTILINE)
    holding = [(point, fstype) for point, fstype in lines if Path(path).is_relative_to(point)]
    if not holding:
        raise OSError(f"no line of `mount` holds {path}")
    hiding = sorted(holding, key=lambda mount: len(mount[0]))  # stable: of two at one place, the later
    return str(hiding[-1][1])


def _mount_id(fd: int) -> int:
    # Exact where a look-up by path or device is not: mounts over mounts, single files, btrfs subvolumes.
    found = re.search(r"^mnt_id:\s*(\d+)$", Path(f"/proc/self/fdinfo/{fd}").read_text("ascii"), re.MULTILINE)
    if not found:
        raise OSError(f"/proc/self/fdinfo/{fd} has no mnt_id")
    return int(found[1])


@lru_cache(maxsize=64)
def _type_on_linux(mount_id: int, _device: int) -> str:
    # Kept by device, too: the kernel gives the id of a mount that is gone to another.
    fstype = type_by_id(Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape"), mount_id)
    if fstype is None:
        raise OSError(f"/proc/self/mountinfo has no mount {mount_id}")
    return fstype


@lru_cache(maxsize=8)
def _mount_output(_device: int) -> str:
    try:
        return subprocess.run(["/sbin/mount"], capture_output=True, text=True, timeout=10, check=True).stdout
    except subprocess.SubprocessError as exc:
        raise OSError(str(exc)) from exc

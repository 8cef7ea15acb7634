"""Where a file lies, and how much room is left there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs",
     "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs"}
)  # fmt: skip
MEMORY = frozenset({"ramfs", "tmpfs"})
LEAST_BYTES = 1_000_000_000
LEAST_SHARE = 0.10


class Mount(NamedTuple):
    """One mounted filesystem, as Linux lists it."""

    folder: Path
    type: str
    options: frozenset[str]


class Room(NamedTuple):
    """Bytes of a filesystem: those a program may still take, and all."""

    free: int
    size: int

    @property
    def is_short(self) -> bool:
        return self.free < LEAST_BYTES or self.free < LEAST_SHARE * self.size


def read_mounts() -> str:
    """Return the list of mounts; empty where the system keeps none."""
    try:
        return MOUNTS.read_text(errors="replace")
    except OSError:
        return ""


def mount_of(path: Path, mountinfo: str) -> Mount | None:
    """Return the mount that ``path`` (absolute, without links) lies on: the innermost, the last made."""
    mounts = [mount for line in mountinfo.splitlines() if (mount := _parse(line)) is not None]
    around = [mount for mount in mounts if path.is_relative_to(mount.folder)]
    return max(reversed(around), key=lambda mount: len(mount.folder.parts), default=None)


def why_not_durable(mount: Mount) -> str:
    """Return why what is written there may not outlive a power cut; empty: nothing speaks against it."""
    if mount.type in NETWORK:
        return f"on a network filesystem ({mount.type}), where SQLite's locks and its WAL cannot be relied on"
    if mount.type in MEMORY:
        return f"in memory ({mount.type}): it is gone when the machine goes off"
    if "volatile" in mount.options:
        return f"on a filesystem that is mounted volatile ({mount.type}): it never writes through to the disk"
    return ""


def room(folder: Path) -> Room:
    """Return how much room there is. Raises ``OSError``."""
    stats = os.statvfs(folder)
    return Room(stats.f_bavail * stats.f_frsize, stats.f_blocks * stats.f_frsize)


def _parse(line: str) -> Mount | None:
    # 36 35 98:0 /root /mnt rw,noatime master:1 - ext4 /dev/sda1 rw,errors=continue
    before, separator, after = line.partition(" - ")
    left, right = before.split(), after.split()
    if not separator or len(left) < 6 or not right:
        return None
    folder = left[4].encode().decode("unicode_escape")  # a space is \040
    return Mount(Path(folder), right[0], frozenset(",".join([left[5], *right[2:]]).split(",")))

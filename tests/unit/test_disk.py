from __future__ import annotations

from pathlib import Path

import pytest

from project.disk import Room, mount_of, read_mounts, room, why_not_durable

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda1 rw
30 22 0:26 / /run rw,nosuid - tmpfs tmpfs rw,size=1024k
41 22 0:40 / /srv/data rw,relatime shared:5 master:1 - nfs4 server:/export rw,vers=4.2
42 22 0:41 / /srv/data/local rw - xfs /dev/vdb rw
43 22 0:42 / /mnt/two\\040words rw - cifs //server/share rw
44 22 0:43 / /var/scratch rw - overlay overlay rw,lowerdir=/a,volatile
45 22 0:44 / /srv/twice rw - ext4 /dev/vdc rw
46 45 0:45 / /srv/twice rw - nfs server:/x rw
a line that says nothing
"""


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/srv/data/tickguard.sqlite3", "network filesystem (nfs4)"),
        ("/mnt/two words/t.sqlite3", "network filesystem (cifs)"),
        ("/srv/twice/t.sqlite3", "network filesystem (nfs)"),
        ("/run/t.sqlite3", "in memory (tmpfs)"),
        ("/var/scratch/t.sqlite3", "mounted volatile (overlay)"),
        ("/srv/data/local/t.sqlite3", ""),
        ("/srv/database/t.sqlite3", ""),
    ],
)
def test_the_innermost_mount_that_was_made_last_counts(path: str, reason: str) -> None:
    mount = mount_of(Path(path), MOUNTS)
    assert mount is not None
    assert reason in why_not_durable(mount)
    assert bool(why_not_durable(mount)) == bool(reason)


def test_a_system_without_a_list_of_mounts_says_nothing() -> None:
    assert mount_of(Path("/srv/data/t.sqlite3"), "") is None


@pytest.mark.skipif(not read_mounts(), reason="needs Linux's list of mounts")
def test_this_machine_s_own_list_is_understood(tmp_path: Path) -> None:
    assert mount_of(tmp_path.resolve(), read_mounts()) is not None


GB = 10**9


@pytest.mark.parametrize(
    ("free", "size", "is_short"),
    [(GB - 1, 2 * GB, True), (2 * GB, 20 * GB, False), (2 * GB - 1, 20 * GB, True), (GB, GB, False)],
)
def test_room_is_short_below_a_gigabyte_or_a_tenth(free: int, size: int, is_short: bool) -> None:
    assert Room(free, size).is_short is is_short


def test_the_room_of_a_real_folder(tmp_path: Path) -> None:
    left = room(tmp_path)
    assert 0 < left.free <= left.size

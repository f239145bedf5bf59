"""Volumes are mounted where virtiofsd sees them, and the host does not."""

import asyncio
import json
import os
import subprocess
import sys

import pytest

from tests.support import share_server
from tests.support.binding import bound
from vmsandbox.errors import FailedPrecondition
from vmsandbox.sandbox import mountinfo, mounts
from vmsandbox.sandbox.layout import SandboxLayout

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


@pytest.fixture
def layout(tmp_path):
    layout = SandboxLayout(tmp_path / "runtime", tmp_path / "persistent")
    layout.make()
    yield layout
    asyncio.run(layout.remove())
    assert not layout.runtime.exists()


@pytest.fixture
def listing(layout):
    """What virtiofsd has in a directory, by its path below the share."""
    command = [sys.executable, share_server.__file__, os.fspath(layout.served)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def answer():
            return json.loads(process.stdout.readline())

        def listed(path):
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            return answer()

        assert answer() == "ready"
        yield listed
        process.stdin.close()


@pytest.fixture
def source(tmp_path):
    """A directory with a file, and a tmpfs with another file mounted in it."""
    inner = tmp_path / "source" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "source" / "file").touch()
    subprocess.run(["mount", "-t", "tmpfs", "none", inner], check=True)
    (inner / "deep").touch()
    yield tmp_path / "source"
    subprocess.run(["umount", "-l", inner], check=False, stderr=subprocess.DEVNULL)


def test_a_volume_is_seen_by_virtiofsd_and_not_by_the_host(layout, listing, source):
    target = bound(layout, source)
    assert listing("/c/0") == ["file", "inner"]
    assert listing("/c/0/inner") == ["deep"]
    assert list(target.iterdir()) == []
    assert mountinfo.mounts_below(target) == []


def test_what_a_volume_holds_can_be_removed_on_the_host(layout, listing, source):
    bound(layout, source)
    subprocess.run(["umount", source / "inner"], check=True)
    (source / "inner").rmdir()
    assert listing("/c/0") == ["file"]


async def test_a_volume_goes_when_its_directory_is_removed_on_the_host(layout, listing, source):
    bound(layout, source)
    await layout.remove_volumes("c")
    assert listing("/") == []
    assert (source / "file").exists()
    assert (source / "inner" / "deep").exists()


def test_a_volume_that_is_one_file_is_seen_too(layout, listing, source):
    bound(layout, source / "file")
    assert listing("/c") == ["0"]
    assert mountinfo.mounts_below(layout.share / "c") == []


def test_a_volume_follows_what_is_mounted_on_the_host_later(layout, listing, source):
    subprocess.run(["mount", "--bind", source, source], check=True)
    try:
        subprocess.run(["mount", "--make-shared", source], check=True)
        bound(layout, source, access=mounts.Access(follows=True))
        (source / "later").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", source / "later"], check=True)
        (source / "later" / "seen").touch()
        assert listing("/c/0/later") == ["seen"]
        subprocess.run(["umount", source / "later"], check=True)
        assert listing("/c/0/later") == []
    finally:
        subprocess.run(["umount", "-l", source], check=True)


async def test_without_virtiofsd_the_mount_is_the_hosts(layout, source):
    target = bound(layout, source)
    assert sorted(path.name for path in target.iterdir()) == ["file", "inner"]
    await layout.remove_volumes("c")
    assert (source / "file").exists()


def test_the_process_itself_stays_where_it_was(layout, listing, source):
    before = os.stat("/proc/self/ns/mnt").st_ino, os.stat("/").st_ino
    bound(layout, source)
    assert (os.stat("/proc/self/ns/mnt").st_ino, os.stat("/").st_ino) == before


def test_a_machine_of_a_version_whose_guests_wrote_in_the_share_takes_no_more_volumes(layout, source):
    mounts.unmount_below(layout.served)
    layout.served.rmdir()
    with pytest.raises(FailedPrecondition, match="an older version of vmsandbox"):
        bound(layout, source)
    assert not list(layout.share.iterdir())

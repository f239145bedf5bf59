import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.binding import bound, inside, mount_at, share_served
from vmsandbox.errors import InvalidArgument
from vmsandbox.process import Account
from vmsandbox.sandbox.files import mountinfo, mounts
from vmsandbox.sandbox.files.directories import SandboxDirectories
from vmsandbox.sandbox.files.shared_volumes import SharedVolumes


@pytest.fixture
def layout(tmp_path):
    layout = SandboxDirectories(tmp_path / "runtime" / "s", tmp_path / "persistent" / "s")
    yield layout
    asyncio.run(layout.remove())
    assert mountinfo.mounts_below(tmp_path) == []


@pytest.fixture
def served(layout) -> Iterator[None]:
    """The layout is made, and a stand-in for virtiofsd serves its share."""
    layout.make()
    with share_served(layout):
        yield


@pytest.fixture
def volume(tmp_path) -> Path:
    directory = tmp_path / "volume with a space"
    directory.mkdir()
    (directory / "file").write_text("content")
    return directory


async def test_a_volume_is_seen_through_the_share_and_survives_its_removal(layout, served, volume):
    with inside(layout, bound(layout, volume).place) as path:
        assert (path / "file").read_text() == "content"
    await layout.remove()
    assert (volume / "file").read_text() == "content"
    assert not layout.runtime.exists()


def test_what_is_served_is_read_only_and_a_volume_below_it_is_not(layout, served, volume):
    place = bound(layout, volume).place
    with inside(layout, place) as path:
        with pytest.raises(OSError, match="Read-only"):
            (path / "../new").touch()
        (path / "new").touch()
    assert (volume / "new").exists()


def test_a_place_made_later_appears_in_what_is_served(layout):
    layout.make()
    (layout.share / "later").mkdir()
    assert (layout.served / "later").is_dir()


def test_a_read_only_volume_cannot_be_written_on_the_host_either(layout, served, volume):
    place = bound(layout, volume, access=mounts.MountAccess(readonly=True)).place
    with inside(layout, place) as path, pytest.raises(OSError, match="Read-only"):
        (path / "file").write_text("changed")


@pytest.fixture
def mounted_on(volume) -> Iterator[Path]:
    """Another file system below the volume, in a subdirectory."""
    below = volume / "below"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", below], check=True)
    yield below
    subprocess.run(["umount", "-l", below], check=True)


def test_what_is_mounted_below_a_volume_is_part_of_it(layout, served, volume, mounted_on):
    (mounted_on / "deep").touch()
    with inside(layout, bound(layout, volume).place) as path:
        assert (path / "below/deep").exists()


@pytest.mark.parametrize("recursive", [True, False])
def test_only_a_recursively_read_only_volume_is_read_only_all_the_way_down(
    layout, served, volume, mounted_on, recursive
):
    place = bound(layout, volume, access=mounts.MountAccess(readonly=True, recursive=recursive)).place
    with inside(layout, place) as path, contextlib.ExitStack() as stack:
        if recursive:
            stack.enter_context(pytest.raises(OSError, match="Read-only"))
        (path / "below/new").touch()
    (mounted_on / "written by the host").touch()


def test_a_link_to_a_volume_is_followed(layout, served, volume, tmp_path):
    os.symlink(volume, tmp_path / "link")
    with inside(layout, bound(layout, tmp_path / "link").place) as path:
        assert (path / "file").read_text() == "content"


def test_a_single_file_can_be_a_volume(layout, served, volume):
    place = bound(layout, volume / "file").place
    with inside(layout, place) as path:
        assert path.read_text() == "content"
    SharedVolumes(layout).release("c")
    assert not (layout.share / place).exists()
    assert (volume / "file").exists()


def test_a_volume_that_is_not_there_is_an_invalid_argument(layout, served):
    with pytest.raises(InvalidArgument, match="/nowhere does not exist"):
        bound(layout, Path("/nowhere"))


def test_set_user_id_programs_and_devices_in_a_volume_mean_nothing_on_the_host(layout, served, volume, mounted_on):
    place = bound(layout, volume).place
    assert mount_at(layout, place).options >= {"nosuid", "nodev"}
    assert mount_at(layout, place / "below").options >= {"nosuid", "nodev"}


async def test_removing_what_was_never_made_succeeds(layout):
    await layout.remove()


async def test_a_link_in_the_share_is_removed_and_not_followed(layout, volume):
    layout.make()
    os.symlink(volume, layout.share / "link")
    await layout.remove()
    assert (volume / "file").exists()


async def test_the_scratch_disk_is_sparse_and_clean(layout):
    layout.make()
    await layout.make_scratch(1 << 30, Account(1_800_000_000, 0))
    assert layout.scratch.stat().st_size == 1 << 30
    assert layout.scratch.stat().st_blocks * 512 < 16 << 20
    assert subprocess.run(["e2fsck", "-fn", layout.scratch], capture_output=True, check=False).returncode == 0

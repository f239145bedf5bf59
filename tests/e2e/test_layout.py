import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.binding import bound
from vmsandbox.errors import InvalidArgument
from vmsandbox.process import Account
from vmsandbox.sandbox import mountinfo, mounts
from vmsandbox.sandbox.layout import SandboxLayout


@pytest.fixture
def layout(tmp_path):
    layout = SandboxLayout(tmp_path / "runtime" / "s", tmp_path / "persistent" / "s")
    yield layout
    asyncio.run(layout.remove())
    assert mountinfo.mounts_below(tmp_path) == []


@pytest.fixture
def volume(tmp_path) -> Path:
    directory = tmp_path / "volume with a space"
    directory.mkdir()
    (directory / "file").write_text("content")
    return directory


async def test_a_volume_is_seen_through_the_share_and_survives_its_removal(layout, volume):
    layout.make()
    bound(layout, volume)
    assert (layout.served / "c/0/file").read_text() == "content"
    await layout.remove()
    assert (volume / "file").read_text() == "content"
    assert not layout.runtime.exists()


def test_what_is_served_is_read_only_and_a_volume_below_it_is_not(layout, volume):
    layout.make()
    target = bound(layout, volume)
    for path in (layout.served / "new", target.parent / "new"):
        with pytest.raises(OSError, match="Read-only"):
            path.touch()
    (target / "new").touch()
    assert (volume / "new").exists()


def test_a_place_made_later_appears_in_what_is_served(layout):
    layout.make()
    (layout.share / "later").mkdir()
    assert (layout.served / "later").is_dir()


def test_a_read_only_volume_cannot_be_written_on_the_host_either(layout, volume):
    layout.make()
    bound(layout, volume, 0, mounts.Access(readonly=True))
    with pytest.raises(OSError, match="Read-only"):
        (layout.served / "c/0/file").write_text("changed")


@pytest.fixture
def mounted_on(volume) -> Iterator[Path]:
    """Another file system below the volume, in a subdirectory."""
    below = volume / "below"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", below], check=True)
    yield below
    subprocess.run(["umount", "-l", below], check=True)


def test_what_is_mounted_below_a_volume_is_part_of_it(layout, volume, mounted_on):
    layout.make()
    (mounted_on / "deep").touch()
    bound(layout, volume)
    assert (layout.served / "c/0/below/deep").exists()


def test_only_a_recursively_read_only_volume_is_read_only_all_the_way_down(layout, volume, mounted_on):
    layout.make()
    bound(layout, volume, 0, mounts.Access(readonly=True))
    bound(layout, volume, 1, mounts.Access(readonly=True, recursive=True))
    (layout.served / "c/0/below/new").touch()
    with pytest.raises(OSError, match="Read-only"):
        (layout.served / "c/1/below/new").write_text("no")
    (mounted_on / "written by the host").touch()


@pytest.mark.parametrize("follows", [True, False])
async def test_a_volume_follows_its_source_only_where_that_is_asked_for_and_never_leads_it(layout, volume, follows):
    layout.make()
    subprocess.run(["mount", "--bind", volume, volume], check=True)
    subprocess.run(["mount", "--make-shared", volume], check=True)
    target = layout.served / "c/0"
    (volume / "later").mkdir()
    (volume / "elsewhere").mkdir()
    try:
        bound(layout, volume, access=mounts.Access(follows=follows))
        subprocess.run(["mount", "-t", "tmpfs", "none", volume / "later"], check=True)
        (volume / "later/file").touch()
        assert (target / "later/file").exists() == follows
        subprocess.run(["mount", "-t", "tmpfs", "none", target / "elsewhere"], check=True)
        (target / "elsewhere/file").touch()
        assert not (volume / "elsewhere/file").exists()
    finally:
        await layout.remove()
        subprocess.run(["umount", "-Rl", volume], check=True)


def test_a_link_to_a_volume_is_followed(layout, volume, tmp_path):
    layout.make()
    os.symlink(volume, tmp_path / "link")
    bound(layout, tmp_path / "link")
    assert (layout.served / "c/0/file").read_text() == "content"


async def test_a_single_file_can_be_a_volume(layout, volume):
    layout.make()
    bound(layout, volume / "file")
    assert (layout.served / "c/0").read_text() == "content"
    await layout.remove_volumes("c")
    assert not (layout.share / "c").exists()
    assert (volume / "file").exists()


def test_a_volume_that_is_not_there_is_an_invalid_argument(layout):
    layout.make()
    with pytest.raises(InvalidArgument, match="/nowhere does not exist"):
        bound(layout, Path("/nowhere"))


def test_set_user_id_programs_and_devices_in_a_volume_mean_nothing_on_the_host(layout, volume):
    layout.make()
    bound(layout, volume)
    options = next(
        line.split()[5]
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[4] == str(layout.served / "c/0")
    )
    assert {"nosuid", "nodev"} <= set(options.split(","))


def test_mounts_made_later_propagate_out_of_the_share(layout, volume):
    """As virtiofsd sees it: a process in a slave mount namespace that was made before the volume was mounted."""
    layout.make()
    script = 'echo ready; read line; cat "$1"'
    with subprocess.Popen(
        ["unshare", "-m", "--propagation", "slave", "sh", "-c", script, "sh", str(layout.served / "c/0/file")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "ready\n"
        bound(layout, volume)
        seen, _ = other.communicate("go\n")
    assert seen == "content"


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

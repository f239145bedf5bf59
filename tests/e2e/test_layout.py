import os
import subprocess
from pathlib import Path

import pytest

from vmsandbox.errors import InvalidArgument
from vmsandbox.sandbox import mounts
from vmsandbox.sandbox.layout import SandboxLayout


@pytest.fixture
def layout(tmp_path):
    layout = SandboxLayout(tmp_path / "runtime" / "s", tmp_path / "persistent" / "s")
    yield layout
    layout.remove()
    assert mounts.mounts_below(tmp_path) == []


@pytest.fixture
def volume(tmp_path) -> Path:
    directory = tmp_path / "volume with a space"
    directory.mkdir()
    (directory / "file").write_text("content")
    return directory


def test_a_volume_is_seen_through_the_share_and_survives_its_removal(layout, volume):
    layout.make(0)
    mounts.bind(volume, layout.volume("c", 0), readonly=False)
    assert (layout.volume("c", 0) / "file").read_text() == "content"
    layout.remove()
    assert (volume / "file").read_text() == "content"
    assert not layout.runtime.exists()


def test_a_read_only_volume_cannot_be_written_on_the_host_either(layout, volume):
    layout.make(0)
    mounts.bind(volume, layout.volume("c", 0), readonly=True)
    with pytest.raises(OSError, match="Read-only"):
        (layout.volume("c", 0) / "file").write_text("changed")


def test_a_single_file_can_be_a_volume(layout, volume):
    layout.make(0)
    mounts.bind(volume / "file", layout.volume("c", 0), readonly=False)
    assert layout.volume("c", 0).read_text() == "content"
    layout.remove_volumes("c")
    assert not (layout.share / "c").exists()
    assert (volume / "file").exists()


def test_a_volume_that_is_not_there_is_an_invalid_argument(layout):
    layout.make(0)
    with pytest.raises(InvalidArgument, match="/nowhere does not exist"):
        mounts.bind(Path("/nowhere"), layout.volume("c", 0), readonly=False)


def test_set_user_id_programs_and_devices_in_a_volume_mean_nothing_on_the_host(layout, volume):
    layout.make(0)
    mounts.bind(volume, layout.volume("c", 0), readonly=False)
    options = next(
        line.split()[5]
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[4] == str(layout.volume("c", 0))
    )
    assert {"nosuid", "nodev"} <= set(options.split(","))


def test_mounts_made_later_propagate_out_of_the_share(layout, volume):
    """As virtiofsd sees it: a process in a slave mount namespace that was made before the volume was mounted."""
    layout.make(0)
    script = 'echo ready; read line; cat "$1"'
    with subprocess.Popen(
        ["unshare", "-m", "--propagation", "slave", "sh", "-c", script, "sh", str(layout.volume("c", 0) / "file")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "ready\n"
        mounts.bind(volume, layout.volume("c", 0), readonly=False)
        seen, _ = other.communicate("go\n")
    assert seen == "content"


def test_removing_what_was_never_made_succeeds(layout):
    layout.remove()


def test_a_link_in_the_share_is_removed_and_not_followed(layout, volume):
    layout.make(0)
    os.symlink(volume, layout.share / "link")
    layout.remove()
    assert (volume / "file").exists()


async def test_the_scratch_disk_is_sparse_and_clean(layout):
    layout.make(0)
    await layout.make_scratch(1 << 30)
    assert layout.scratch.stat().st_size == 1 << 30
    assert layout.scratch.stat().st_blocks * 512 < 16 << 20
    assert subprocess.run(["e2fsck", "-fn", layout.scratch], capture_output=True, check=False).returncode == 0

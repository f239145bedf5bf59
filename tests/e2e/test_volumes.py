"""The sources of mounts, made on a host with real mounts, for a guest of which only the requests count."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.binding import inside, mount_at, share_served
from vmsandbox.errors import InvalidArgument
from vmsandbox.fs.foreign import ForeignPaths
from vmsandbox.model import IdMapping, Mount, PropagationMode
from vmsandbox.protocol.messages import MakeTmpfs
from vmsandbox.sandbox.files import mountinfo
from vmsandbox.sandbox.files.directories import SandboxDirectories
from vmsandbox.sandbox.files.shared_volumes import SharedVolumes
from vmsandbox.sandbox.files.synced_volumes import SyncedVolumes
from vmsandbox.sandbox.files.volumes import Volumes
from vmsandbox.sandbox.spec.container_mounts import MountSource

if os.geteuid() != 0:
    pytest.skip("mounts need root", allow_module_level=True)

SIZE = 4 * 1024 * 1024


class Client:
    def __init__(self) -> None:
        self.made: list[MakeTmpfs] = []

    async def make_tmpfs(self, request: MakeTmpfs) -> None:
        self.made.append(request)


@pytest.fixture
def layout(tmp_path) -> Iterator[SandboxDirectories]:
    layout = SandboxDirectories(tmp_path / "runtime" / "s", tmp_path / "persistent" / "s")
    layout.make()
    with share_served(layout):
        yield layout
    asyncio.run(layout.remove())
    assert mountinfo.mounts_below(tmp_path / "runtime") == []


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def volumes(layout, client) -> Volumes:
    paths = ForeignPaths()
    return Volumes(SharedVolumes(layout), paths, client, None, SyncedVolumes("s", client, paths, None))


def place_of(source: MountSource) -> Path:
    return Path(source.path).relative_to("/run/vmsandbox/share")


@pytest.fixture
def pods(tmp_path) -> Iterator[Path]:
    """A kubelet's directory of a pod, with an emptyDir in memory."""
    pod = tmp_path / "kubelet/pods/1234"
    cache = pod / "volumes/kubernetes.io~empty-dir/cache"
    cache.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=2770,gid=1000", "tmpfs", cache], check=True)
    yield pod
    subprocess.run(["umount", "-l", cache], check=True)


async def test_a_directory_is_a_volume_of_the_share(volumes, client, layout, tmp_path):
    (source,) = await volumes.prepare("c", [Mount("/data", str(tmp_path))])
    assert (mount_at(layout, place_of(source)).root, source.readonly, client.made) == (str(tmp_path), False, [])


async def test_volumes_of_one_container_are_bound_parents_first(volumes, layout, tmp_path):
    (tmp_path / "v/a/b").mkdir(parents=True)
    wanted = [tmp_path / "v/a/b", tmp_path / "v", tmp_path / "v/a"]
    sources = await volumes.prepare("c", [Mount(f"/{number}", str(path)) for number, path in enumerate(wanted)])
    b, whole, a = (place_of(source) for source in sources)
    assert (a, b) == (whole / "a", whole / "a/b")
    assert mount_at(layout, b) == mount_at(layout, whole)


async def test_an_empty_dir_in_memory_is_a_tmpfs_of_the_guest(volumes, client, pods):
    path = str(pods / "volumes/kubernetes.io~empty-dir/cache")
    (source,) = await volumes.prepare("c", [Mount("/cache", path, readonly=True)])
    assert source == MountSource("/run/vmsandbox/tmpfs/emptydir.cache", readonly=True)
    assert client.made == [MakeTmpfs("emptydir.cache", SIZE, 0o2770, 1000)]


async def test_a_part_of_an_empty_dir_in_memory_is_made_in_the_guest(volumes, client, pods):
    (pods / "volumes/kubernetes.io~empty-dir/cache/a/b").mkdir(parents=True)
    part = pods / "volume-subpaths/cache/app/0"
    part.mkdir(parents=True)
    subprocess.run(["mount", "--bind", pods / "volumes/kubernetes.io~empty-dir/cache/a/b", part], check=True)
    try:
        (source,) = await volumes.prepare("c", [Mount("/cache", str(part))])
    finally:
        subprocess.run(["umount", "-l", part], check=True)
    assert source.path == "/run/vmsandbox/tmpfs/emptydir.cache/a/b"
    assert client.made == [MakeTmpfs("emptydir.cache", SIZE, 0o2770, 1000, "a/b")]


async def test_an_empty_dir_on_disk_is_shared_like_any_directory(volumes, client, layout, tmp_path):
    disk = tmp_path / "kubelet/pods/1234/volumes/kubernetes.io~empty-dir/disk"
    disk.mkdir(parents=True)
    (source,) = await volumes.prepare("c", [Mount("/disk", str(disk))])
    assert (mount_at(layout, place_of(source)).root, client.made) == (str(disk), [])


BELOW = ("pods/1234/volumes/kubernetes.io~empty-dir/cache",)


@pytest.mark.parametrize(
    ("mount", "writable"),
    [
        ({}, BELOW),
        ({"propagation": PropagationMode.HOST_TO_CONTAINER}, BELOW),
        ({"recursive_read_only": True}, ()),
    ],
)
async def test_the_guest_mounts_read_only_what_is_read_only_except_for_what_is_mounted_below_it(
    volumes, tmp_path, pods, mount, writable
):
    (source,) = await volumes.prepare("c", [Mount("/data", str(tmp_path / "kubelet"), readonly=True, **mount)])
    assert (source.readonly, source.writable) == (True, writable)


async def test_owners_are_mapped_where_the_cri_says_so(volumes, layout, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").touch()
    mapping = (IdMapping(host_id=100_000, container_id=0, length=65_536),)
    mount = Mount("/data", str(source), uid_mappings=mapping, gid_mappings=mapping)
    (shared,) = await volumes.prepare("c", [mount])
    source.chmod(0o777)
    with inside(layout, place_of(shared)) as seen:
        status = (seen / "file").stat()
        assert (status.st_uid, status.st_gid) == (100_000, 100_000)
        command = ["setpriv", "--reuid=100033", "--regid=100000", "--clear-groups", "touch", "new"]
        subprocess.run(command, check=True, cwd=seen)
    assert ((source / "new").stat().st_uid, (source / "new").stat().st_gid) == (33, 0)


async def test_mappings_that_the_kernel_does_not_take_are_refused(volumes, tmp_path):
    twice = (IdMapping(100_000, 0, 10), IdMapping(200_000, 5, 10))
    with pytest.raises(InvalidArgument, match="cannot map the owners"):
        await volumes.prepare("c", [Mount("/data", str(tmp_path), uid_mappings=twice, gid_mappings=twice)])

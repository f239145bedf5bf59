"""The nodes by which machines open block devices of the host: whose they are, and what is refused."""

import contextlib
import itertools
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.block_nodes import FakeBlockNodes
from tests.fakes.block_nodes_contract import SIZE, BlockNodesContract, NewNodes
from tests.support.block import LoopDevice, loop_device, without_devices
from vmsandbox.errors import FailedPrecondition, InvalidArgument
from vmsandbox.fs import block
from vmsandbox.process import Account
from vmsandbox.sandbox.blocks.node import look
from vmsandbox.sandbox.blocks.nodes import BlockNodes
from vmsandbox.sandbox.files.directories import make_node_directory
from vmsandbox.sandbox.files.mounts import unmount_below

OWNER = Account(1_800_004_000, 1_800_004_001)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="device nodes are root's to make")


def _new(kind: type[BlockNodes], run: Path, make: Callable[[Path], object]) -> NewNodes:
    numbers = itertools.count()

    def new(*, shared: bool = False) -> BlockNodes:
        directory = run / f"sandbox{next(numbers)}" / "devices"
        directory.parent.mkdir(parents=True)
        make(directory)
        return kind(directory, lambda: OWNER, lambda: run.glob("*/devices"), run / "lock", shared=shared)

    return new


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(SIZE))
    return path


class TestFakeBlockNodes(BlockNodesContract):
    @pytest.fixture
    def new(self, tmp_path: Path) -> NewNodes:
        return _new(FakeBlockNodes, tmp_path / "run", Path.mkdir)


@pytest.fixture
def new(tmp_path: Path) -> NewNodes:
    return _new(BlockNodes, tmp_path / "run", make_node_directory)


@needs_root
class TestBlockNodes(BlockNodesContract):
    @pytest.fixture
    def new(self, tmp_path: Path) -> NewNodes:
        return _new(BlockNodes, tmp_path / "run", make_node_directory)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[LoopDevice]:
    (tmp_path / "files").mkdir()
    with loop_device(tmp_path / "files", SIZE) as device:
        yield device


def make(nodes: BlockNodes, path: Path, serial: str = "serial", *, write: bool = True):
    found = look(path)
    assert found is not None
    with contextlib.closing(found), contextlib.closing(nodes.make(found, serial, write=write)) as made:
        return made


@needs_root
@pytest.mark.parametrize(("write", "mode"), [(True, 0o600), (False, 0o400)])
def test_a_node_is_qemus_alone_and_the_hosts_stays_as_it_is(new: NewNodes, device: LoopDevice, write, mode) -> None:
    before = device.node.stat()
    status = make(new(), device.node, write=write).node.path.stat()
    assert (stat.S_ISBLK(status.st_mode), stat.S_IMODE(status.st_mode)) == (True, mode)
    assert (status.st_uid, status.st_gid, status.st_rdev) == (OWNER.uid, OWNER.gid, before.st_rdev)
    after = device.node.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


@needs_root
def test_links_are_followed_as_the_kubelet_makes_them(new: NewNodes, device: LoopDevice, tmp_path: Path) -> None:
    link = tmp_path / "volume"
    link.symlink_to(device.node)
    nodes = new()
    assert make(nodes, link).node.number == device.node.stat().st_rdev
    with contextlib.closing(look(device.node)) as found:  # type: ignore[type-var]
        assert nodes.existing(found, write=True) is not None


@needs_root
def test_pods_that_both_say_so_write_to_one_device(new: NewNodes, device: LoopDevice) -> None:
    first = new(shared=True)
    make(first, device.node)
    with pytest.raises(FailedPrecondition, match="is written by another pod of this node, in sandbox sandbox0"):
        make(new(), device.node)
    make(new(shared=True), device.node)


@needs_root
def test_what_the_host_uses_is_read_but_not_written(new: NewNodes, device: LoopDevice) -> None:
    nodes = new()
    mounted = os.open(device.node, os.O_RDONLY | os.O_EXCL)
    try:
        with pytest.raises(FailedPrecondition, match=f"{device.node} is in use by this host"):
            make(nodes, device.node)
        assert nodes.all() == ()
        make(nodes, device.node, "reader", write=False)
    finally:
        os.close(mounted)
    make(nodes, device.node)


@needs_root
def test_a_file_that_is_a_loop_device_already_is_not_written(new: NewNodes, device: LoopDevice) -> None:
    with pytest.raises(FailedPrecondition, match=f"in use by this host or another pod, as {device.node}"):
        make(new(), device.file)


@needs_root
def test_a_device_that_nobody_can_write_is_read(new: NewNodes, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    with loop_device(tmp_path / "files", SIZE, "--read-only") as device:
        nodes = new()
        made = make(nodes, device.node)
        assert not made.node.writable and stat.S_IMODE(made.node.path.stat().st_mode) == 0o400
        with contextlib.closing(look(device.node)) as found:  # type: ignore[type-var]
            assert nodes.existing(found, write=True) == made.node


@needs_root
def test_a_device_has_the_blocks_that_it_has(new: NewNodes, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    with loop_device(tmp_path / "files", SIZE, "--sector-size", "4096") as device:
        geometry = make(new(), device.node).geometry
    assert (geometry.size, geometry.logical_block, geometry.physical_block) == (SIZE, 4096, 4096)


@needs_root
def test_a_file_is_a_loop_device_for_as_long_as_it_is_open_and_follows_its_size(new: NewNodes, file: Path) -> None:
    nodes = new()
    with contextlib.closing(look(file)) as found:  # type: ignore[type-var]
        made = nodes.make(found, "serial", write=True)
    number = made.node.number
    assert block.loops_over(file.stat()) == {number: True}
    os.truncate(file, 2 * SIZE)
    assert nodes.size(made.node) == 2 * SIZE
    made.close()
    assert block.loops_over(file.stat()) == {}


@needs_root
def test_an_empty_file_is_not_a_disk_and_leaves_nothing(new: NewNodes, file: Path) -> None:
    os.truncate(file, 100)
    nodes = new()
    with pytest.raises(InvalidArgument, match=f"{file} has no size"):
        make(nodes, file)
    assert (nodes.all(), block.loops_over(file.stat())) == ((), {})


@needs_root
def test_a_machine_of_an_older_version_takes_no_block_device(new: NewNodes, device: LoopDevice, tmp_path: Path) -> None:
    nodes = BlockNodes(tmp_path / "missing", lambda: OWNER, list, tmp_path / "lock")
    with pytest.raises(FailedPrecondition, match="an older version of vmsandbox started it"):
        make(nodes, device.node)


@needs_root
def test_devices_are_opened_where_the_file_system_has_none(tmp_path: Path, device: LoopDevice) -> None:
    run = tmp_path / "nodev"
    run.mkdir()
    with without_devices(run):
        directory = run / "devices"
        make_node_directory(directory)
        nodes = BlockNodes(directory, lambda: OWNER, list, run / "lock")
        path = make(nodes, device.node).node.path
        assert stat.S_IMODE(directory.stat().st_mode) == 0o711
        os.close(os.open(path, os.O_RDWR))
        unmount_below(run / "devices")


@pytest.mark.parametrize("name", ["/dev/null", "/dev", "/no/such/path"])
def test_what_is_neither_a_block_device_nor_a_file_is_not_the_hosts(name: str) -> None:
    assert look(Path(name)) is None

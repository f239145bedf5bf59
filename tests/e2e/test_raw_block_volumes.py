"""Raw block volumes: block devices of the host as disks of the machine, over the CRI socket.

The daemon's run directory lets nobody open a device node, as /run under systemd.
"""

import os
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from tests.support.block import MIB, LoopDevice, loop_device, without_devices
from tests.support.conformance import Serving, serving
from tests.support.conformance_client import Container, Cri, Pod, eventually

if os.geteuid() != 0:
    pytest.skip("machines and their networks need root", allow_module_level=True)

AT = "/dev/xvda"
PRIVILEGED = {"security_context": {"privileged": True}}


@pytest.fixture(scope="module")
def daemon() -> Iterator[Serving]:
    """A daemon of its own, whose run directory is mounted nodev."""
    with (
        tempfile.TemporaryDirectory(prefix="vms-", dir="/run") as name,
        without_devices(Path(name)) as directory,
        serving({"run_directory": str(directory)}) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def cri(daemon: Serving) -> Cri:
    return daemon.cri


@pytest.fixture(scope="module")
def pod(cri: Cri) -> Iterator[Pod]:
    with cri.pod(linux=PRIVILEGED) as pod:
        yield pod


@pytest.fixture
def device(tmp_path: Path) -> Iterator[LoopDevice]:
    with loop_device(tmp_path) as device:
        yield device


def volume(path: Path, permissions: str = "mrw") -> dict[str, Any]:
    """Return a mount like a kubelet's."""
    return {"devices": [{"container_path": AT, "host_path": str(path), "permissions": permissions}]}


def refusal(call: Callable[[], object]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def nodes(daemon: Serving, pod: Pod) -> list[Path]:
    """The devices that a pod's machine has."""
    return list(Path(_run_directory(daemon), f"serve/sandboxes/{pod.id}/devices").iterdir())


def _run_directory(daemon: Serving) -> str:
    return str(yaml.safe_load((daemon.directory / "config.yaml").read_text())["run_directory"])


def queue(container: Container, name: str) -> str:
    """Return a setting of the disk in the guest's kernel."""
    numbers = container.output("stat", "-c", "%t %T", AT).split()
    major, minor = (int(number, 16) for number in numbers)
    return container.output("cat", f"/sys/dev/block/{major}:{minor}/{name}").strip()


def test_what_a_container_writes_is_on_the_hosts_device(pod: Pod, device: LoopDevice, tmp_path: Path) -> None:
    link = tmp_path / "volume"
    link.symlink_to(device.node)
    before = device.node.stat()
    first = pod.start(**volume(link), security={"privileged": True})
    first.output("sh", "-c", f"mke2fs -F {AT} >/dev/null 2>&1 && mount -t ext4 {AT} /mnt && echo kept >/mnt/file")
    first.remove()
    assert device.read("/file") == "kept\n"
    after = device.node.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_the_node_has_the_mode_and_owner_of_the_hosts_and_the_disk_its_blocks(pod: Pod, tmp_path: Path) -> None:
    with loop_device(tmp_path, 8 * MIB, "--sector-size", "4096") as device:
        mapped = tmp_path / "node"
        os.mknod(mapped, stat.S_IFBLK, device.node.stat().st_rdev)
        mapped.chmod(0o640)
        os.chown(mapped, 1001, 1002)
        container = pod.start(**volume(mapped))
        assert container.output("stat", "-c", "%F %a %u:%g", AT) == "block special file 640 1001:1002\n"
        assert (queue(container, "queue/logical_block_size"), queue(container, "size")) == ("4096", "16384")
        container.remove()


def test_an_fsync_reaches_the_device_and_so_does_a_discard(pod: Pod, device: LoopDevice) -> None:
    container = pod.start(**volume(device.node))
    command = f"yes | dd of={AT} bs=64k count=32 iflag=fullblock conv=fsync"
    assert container.exec("sh", "-c", command).exit_code == 0
    assert device.file.read_bytes()[: 2 * MIB] == b"y\n" * MIB
    assert device.file.stat().st_blocks * 512 >= 2 * MIB
    container.output("blkdiscard", AT)
    assert device.file.stat().st_blocks == 0
    container.remove()


def test_what_is_to_be_read_cannot_be_written(pod: Pod, device: LoopDevice) -> None:
    device.node.write_bytes(b"of the host\n")
    container = pod.start(**volume(device.node, "mr"))
    assert container.output("head", "-n1", AT) == "of the host\n"
    refused = container.exec("sh", "-c", f"echo x >{AT}")
    assert refused.exit_code != 0 and b"Operation not permitted" in refused.stderr
    assert queue(container, "ro") == "1"
    container.remove()


def test_a_privileged_container_cannot_write_what_is_to_be_read_either(pod: Pod, device: LoopDevice) -> None:
    container = pod.start(**volume(device.node, "r"), security={"privileged": True})
    refused = container.exec("sh", "-c", f"blockdev --setrw {AT}; dd if=/dev/zero of={AT} bs=4k count=1 conv=fsync")
    assert refused.exit_code != 0
    container.remove()
    assert not any(device.file.read_bytes())


def test_the_containers_of_a_pod_share_one_disk(daemon: Serving, pod: Pod, device: LoopDevice) -> None:
    init = pod.start("sh", "-c", f"echo of init >{AT}", **volume(device.node))
    init.wait()
    one, two = (pod.start(**volume(device.node, permissions)) for permissions in ("mrw", "r"))
    assert [each.output("head", "-n1", AT) for each in (one, two)] == ["of init\n"] * 2
    assert len(nodes(daemon, pod)) == 1
    init.remove()
    one.remove()
    assert two.output("head", "-n1", AT) == "of init\n"
    two.remove()
    assert nodes(daemon, pod) == []


def test_a_device_that_has_grown_grows_in_the_guest(pod: Pod, device: LoopDevice) -> None:
    container = pod.start(**volume(device.node))
    assert queue(container, "size") == str(8 * MIB // 512)
    device.grow(12 * MIB)
    eventually(lambda: queue(container, "size") == str(12 * MIB // 512), 20)
    container.output("sh", "-c", f"echo end | dd of={AT} bs=1M seek=11 conv=fsync 2>/dev/null")
    assert device.file.read_bytes()[11 * MIB :].startswith(b"end\n")
    container.remove()


def test_a_file_of_the_host_is_a_disk(pod: Pod, tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(bytes(MIB))
    container = pod.start(**volume(file))
    container.output("sh", "-c", f"echo of the guest >{AT}")
    with file.open("r+b") as grown:
        grown.truncate(2 * MIB)
    eventually(lambda: queue(container, "size") == str(2 * MIB // 512), 20)
    container.remove()
    assert file.read_bytes().startswith(b"of the guest\n")
    assert str(file) not in subprocess.run(["losetup", "-a"], check=True, capture_output=True, text=True).stdout


def test_a_device_that_the_host_has_mounted_is_read_but_not_written(
    pod: Pod, device: LoopDevice, tmp_path: Path
) -> None:
    subprocess.run(["mkfs.ext4", "-q", device.node], check=True)
    (tmp_path / "mnt").mkdir()
    subprocess.run(["mount", device.node, tmp_path / "mnt"], check=True)
    try:
        refused = refusal(lambda: pod.create(**volume(device.node)))
        assert refused.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert f"{device.node} is in use by this host" in refused.details()
        pod.create(**volume(device.node, "r")).remove()
    finally:
        subprocess.run(["umount", tmp_path / "mnt"], check=True)
    pod.create(**volume(device.node)).remove()


def test_two_pods_do_not_write_to_one_device(daemon: Serving, cri: Cri, pod: Pod, device: LoopDevice) -> None:
    container = pod.start(**volume(device.node))
    with cri.pod(linux={"security_context": {"namespace_options": {}}}) as other:
        refused = refusal(lambda: other.create(**volume(device.node)))
        assert refused.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert f"is written by another pod of this node, in sandbox {pod.id}" in refused.details()
        reader = other.start(**volume(device.node, "r"))
        container.output("sh", "-c", f"echo to the other | dd of={AT} conv=fsync,notrunc 2>/dev/null")
        assert reader.output("head", "-n1", AT) == "to the other\n"
        container.remove()
        reader.remove()
        writer = other.start(**volume(device.node))
        writer.output("sh", "-c", f"echo not flushed >{AT}")
        writer.stop(0)
        other.stop()
        assert device.file.read_bytes().startswith(b"not flushed\n")
        assert "has not written its disk" not in daemon.log()
    pod.create(**volume(device.node)).remove()


def test_other_devices_of_the_host_stay_refused(pod: Pod) -> None:
    refused = refusal(lambda: pod.create(**volume(Path("/dev/loop-control-of-nobody"))))
    assert refused.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "the guest has no device" in refused.details()

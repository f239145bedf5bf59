"""Volumes of a container: from the node, from images, and devices."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cri_api.v1 import api_pb2 as pb

from tests.standins import images
from tests.support.conformance_client import Cri, Pod, eventually

_CAPABILITIES = b"\1\0\0\2" + (1 << 13).to_bytes(4, "little") + bytes(12)
"""`cap_net_raw=ep`, as the kernel keeps it with a file (capabilities(7))."""


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A directory of the node with a file in it."""
    directory = tmp_path / "volume"
    directory.mkdir()
    (directory / "file").write_text("of the node\n")
    return directory


@contextmanager
def mounted(target: Path, *options: str) -> Iterator[Path]:
    """Something mounted on the node for as long as the context lasts."""
    target.mkdir(exist_ok=True)
    subprocess.run(["mount", *options, str(target)], check=True)
    try:
        yield target
    finally:
        subprocess.run(["umount", "-R", "-l", str(target)], check=True)


def at(path: Path, **mount: Any) -> dict[str, Any]:
    """A mount of a path of the node at /mnt."""
    return {"host_path": str(path), "container_path": "/mnt", **mount}


def test_a_directory_of_the_node_is_read_and_written(pod: Pod, volume: Path) -> None:
    container = pod.start(mounts=[at(volume)])
    assert container.output("cat", "/mnt/file") == "of the node\n"
    container.output("sh", "-c", "echo of the pod > /mnt/new")
    assert (volume / "new").read_text() == "of the pod\n"
    (mount,) = container.status().mounts
    assert (mount.host_path, mount.container_path, mount.readonly) == (str(volume), "/mnt", False)
    container.remove()


def test_a_large_file_is_read_ahead_by_all_that_the_node_answers_at_once(pod: Pod, volume: Path) -> None:
    """With the kernel's default, 128 KiB, it would be asked for in eight times as many requests."""
    script = """cat /sys/class/bdi/$(awk '$5 == "/mnt" { print $3 }' /proc/self/mountinfo)/read_ahead_kb"""
    assert pod.run("sh", "-c", script, mounts=[at(volume)]).stdout == "1024\n"


def test_a_program_that_others_write_to_loses_its_rights(pod: Pod, volume: Path) -> None:
    program = volume / "program"
    program.write_text("exit\n")
    program.chmod(0o6777)
    os.setxattr(program, "security.capability", _CAPABILITIES)
    ended = pod.run(
        "sh", "-c", "echo exit >> /mnt/program", mounts=[at(volume)], security={"run_as_user": {"value": 7}}
    )
    assert ended.status.exit_code == 0, ended.log
    assert program.read_text() == "exit\nexit\n" and program.stat().st_mode & 0o7777 == 0o777
    assert os.listxattr(program) == []


def test_a_link_on_the_node_is_followed(pod: Pod, volume: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(volume)
    container = pod.start(mounts=[at(tmp_path / "link")])
    assert container.output("ls", "/mnt") == "file\n"
    container.remove()


def test_a_single_file_is_mounted(pod: Pod, volume: Path) -> None:
    container = pod.start(mounts=[{"host_path": str(volume / "file"), "container_path": "/etc/motd"}])
    assert container.output("cat", "/etc/motd") == "of the node\n"
    container.remove()


def test_a_read_only_mount_is_not_written(pod: Pod, volume: Path) -> None:
    container = pod.start(mounts=[at(volume, readonly=True)])
    assert b"Read-only file system" in container.exec("touch", "/mnt/new").stderr
    assert [path.name for path in volume.iterdir()] == ["file"]
    container.remove()


def test_containers_of_a_pod_share_a_volume(pod: Pod, volume: Path) -> None:
    writer, reader = pod.start(mounts=[at(volume)]), pod.start(mounts=[at(volume, readonly=True)])
    writer.output("sh", "-c", "echo shared > /mnt/note")
    assert reader.output("cat", "/mnt/note") == "shared\n"
    writer.remove()
    reader.remove()


def test_a_path_that_the_node_does_not_have_is_refused(pod: Pod, tmp_path: Path) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        pod.create(mounts=[at(tmp_path / "missing")])
    assert str(tmp_path / "missing") in caught.value.details()


@pytest.mark.parametrize(
    ("propagation", "seen"),
    [(pb.PROPAGATION_PRIVATE, False), (pb.PROPAGATION_HOST_TO_CONTAINER, True)],
    ids=["private", "from the node"],
)
def test_what_the_node_mounts_later_appears_where_asked(
    privileged_pod: Pod, volume: Path, propagation: int, seen: bool
) -> None:
    share = "--make-shared" if seen else "--make-private"
    with mounted(volume, "--bind", share, str(volume)):
        (volume / "later").mkdir()
        container = privileged_pod.start(mounts=[at(volume, propagation=propagation)], security={"privileged": True})
        assert container.status().mounts[0].propagation == propagation
        with mounted(volume / "later", "-t", "tmpfs", "none"):
            (volume / "later" / "flag").touch()
            found = {True: "flag\n", False: ""}[seen]
            assert eventually(lambda: container.output("ls", "/mnt/later") == found, timeout=5)
        container.output("mkdir", "/mnt/inside")
        container.output("mount", "--bind", "/etc", "/mnt/inside")
        assert list((volume / "inside").iterdir()) == []
        container.remove()


def test_a_read_only_mount_leaves_what_is_mounted_below_it_writable(privileged_pod: Pod, volume: Path) -> None:
    with mounted(volume / "below", "-t", "tmpfs", "none"):
        container = privileged_pod.start(mounts=[at(volume, readonly=True)])
        container.output("touch", "/mnt/below/file")
        assert b"Read-only file system" in container.exec("touch", "/mnt/new").stderr
        container.remove()


def test_a_recursive_read_only_mount_does_not(pod: Pod, volume: Path) -> None:
    with mounted(volume / "below", "-t", "tmpfs", "none"):
        container = pod.start(mounts=[at(volume, readonly=True, recursive_read_only=True)])
        assert b"Read-only file system" in container.exec("touch", "/mnt/below/file").stderr
        container.remove()


@pytest.mark.parametrize(
    "contradiction",
    [
        {"readonly": False},
        {"readonly": True, "propagation": pb.PROPAGATION_HOST_TO_CONTAINER},
        {"readonly": True, "propagation": pb.PROPAGATION_BIDIRECTIONAL},
    ],
)
def test_a_recursive_read_only_mount_is_read_only_and_private(
    pod: Pod, volume: Path, contradiction: dict[str, Any]
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        pod.create(mounts=[at(volume, recursive_read_only=True, **contradiction)])
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def image_id(cri: Cri) -> str:
    return cri.pull(images.DIFFERENT[1])


def image_volume(image: str, **mount: Any) -> dict[str, Any]:
    return {"image": {"image": image}, "container_path": "/mnt", "readonly": True, **mount}


def test_an_image_is_a_volume_that_is_read_and_run_but_not_written(pod: Pod, image_id: str) -> None:
    container = pod.start(mounts=[image_volume(image_id)])
    assert container.output("ls", "/mnt/different-2") == "/mnt/different-2\n"
    assert container.output("/mnt/usr/bin/echo", "run from the volume") == "run from the volume\n"
    assert b"Read-only file system" in container.exec("touch", "/mnt/new").stderr
    (mount,) = container.status().mounts
    assert (mount.container_path, mount.readonly) == ("/mnt", True)
    container.remove()


def test_a_part_of_an_image_is_a_volume(pod: Pod, image_id: str) -> None:
    container = pod.start(mounts=[image_volume(image_id, image_sub_path="etc")])
    assert container.output("ls", "/mnt") == "group\npasswd\n"
    container.remove()


@pytest.mark.parametrize(
    "mount",
    [{"readonly": False}, {"image_sub_path": "missing"}, {"image_sub_path": "../.."}],
    ids=["writable", "part that is missing", "part outside"],
)
def test_an_image_volume_that_cannot_be_is_refused(pod: Pod, image_id: str, mount: dict[str, Any]) -> None:
    with pytest.raises(grpc.RpcError):
        pod.create(mounts=[image_volume(image_id, **mount)])


def test_a_device_of_the_guest_is_usable_as_far_as_permitted(pod: Pod) -> None:
    device = {"host_path": "/dev/kmsg", "container_path": "/dev/messages", "permissions": "r"}
    container = pod.start(devices=[device])
    assert container.output("sh", "-c", "[ -c /dev/messages ] && echo device") == "device\n"
    assert container.exec("sh", "-c", "echo no > /dev/messages").exit_code != 0
    container.remove()


def test_a_device_that_the_guest_does_not_have_is_refused(pod: Pod) -> None:
    device = {"host_path": "/dev/not-there", "container_path": "/dev/x", "permissions": "rwm"}
    with pytest.raises(grpc.RpcError) as caught:
        pod.create(devices=[device])
    assert "/dev/not-there" in caught.value.details()


def test_an_empty_dir_in_memory_is_the_guests_and_shared_by_the_pod(pod: Pod, empty_dir: Path) -> None:
    mount = {"host_path": str(empty_dir), "container_path": "/cache"}
    first, second = pod.start(mounts=[mount]), pod.start(mounts=[mount])
    first.output("sh", "-c", "echo shared > /cache/file")
    assert second.output("cat", "/cache/file") == "shared\n"
    assert second.output("stat", "-f", "-c", "%T", "/cache") == "tmpfs\n"
    assert second.output("sh", "-c", "df -k /cache | tail -1").split()[1] == "4096"
    assert second.output("stat", "-c", "%a:%g", "/cache") == "2770:1000\n"
    assert list(empty_dir.iterdir()) == []
    first.remove()
    second.remove()

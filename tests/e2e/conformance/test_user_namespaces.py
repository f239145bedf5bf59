"""Pods whose containers have user ids of their own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cri_api.v1 import api_pb2 as pb

from tests.support.conformance_client import Cri, Pod

MAPPING = [{"host_id": 1000, "container_id": 0, "length": 100_000}]


def user_namespace(**options: Any) -> dict[str, Any]:
    return {"security_context": {"namespace_options": {"userns_options": options}}}


@pytest.fixture(scope="module")
def mapped_pod(cri: Cri) -> Iterator[Pod]:
    with cri.pod(linux=user_namespace(mode=pb.POD, uids=MAPPING, gids=MAPPING)) as pod:
        yield pod


def security(pod: Pod) -> Any:
    return {"namespace_options": pod.config.linux.security_context.namespace_options}


def test_users_are_mapped_as_the_pod_says(mapped_pod: Pod) -> None:
    container = mapped_pod.start(security=security(mapped_pod))
    for ids in ("uid_map", "gid_map"):
        assert container.output("cat", f"/proc/self/{ids}").split() == ["0", "1000", "100000"]
    assert container.output("id", "-u") == "0\n"
    container.remove()


def test_a_mapped_container_owns_its_files(mapped_pod: Pod) -> None:
    ended = mapped_pod.run(
        "sh",
        "-c",
        "touch /new && stat -c %u /new /etc/passwd /proc/self/ && chown 33 /new",
        security=security(mapped_pod),
    )
    assert (ended.status.exit_code, ended.stdout) == (0, "0\n0\n0\n")


def test_the_root_of_a_mapped_container_is_nobody_outside_it(mapped_pod: Pod) -> None:
    ended = mapped_pod.run("sh", "-c", "echo 1 > /proc/sys/kernel/panic", security=security(mapped_pod))
    assert ended.status.exit_code != 0


def test_containers_of_a_mapped_pod_share_its_network(mapped_pod: Pod) -> None:
    server = mapped_pod.start("nc", "-l", "-p", "7000", "-e", "echo", "answered", security=security(mapped_pod))
    asking = mapped_pod.start(security=security(mapped_pod))
    script = "until nc 127.0.0.1 7000 </dev/null; do sleep 0.1; done"
    assert asking.output("sh", "-c", f"{script} 2>/dev/null") == "answered\n"
    server.remove()
    asking.remove()


def test_without_a_namespace_of_their_own_users_are_the_guests(pod: Pod) -> None:
    options = {"namespace_options": {"userns_options": {"mode": pb.NODE}}}
    container = pod.start(security=options)
    assert container.output("cat", "/proc/self/uid_map").split() == Path("/proc/self/uid_map").read_text().split()
    container.remove()


@pytest.mark.parametrize(
    "options",
    [
        {"mode": pb.POD, "uids": MAPPING * 2, "gids": MAPPING * 2},
        {"mode": pb.POD, "uids": [{"host_id": 1000, "container_id": 1, "length": 9}], "gids": MAPPING},
        {"mode": pb.POD, "uids": MAPPING, "gids": [{"host_id": 2000, "container_id": 0, "length": 100_000}]},
        {"mode": pb.CONTAINER},
        {"mode": pb.TARGET},
    ],
    ids=["two mappings", "root is not mapped", "groups mapped otherwise", "per container", "of a target"],
)
def test_a_user_namespace_that_cannot_be_is_refused(cri: Cri, options: dict[str, Any]) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        cri.run_pod(linux=user_namespace(**options))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_mapped_volume_belongs_to_the_root_of_the_container(mapped_pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    mount = {"host_path": str(tmp_path), "container_path": "/data", "uidMappings": MAPPING, "gidMappings": MAPPING}
    ended = mapped_pod.run(
        "sh",
        "-c",
        "stat -c %u:%g /data/file && touch /data/new && chown 33:34 /data/new && stat -c %u:%g /data/new",
        security=security(mapped_pod),
        mounts=[mount],
    )
    assert (ended.status.exit_code, ended.stdout) == (0, "0:0\n33:34\n")
    assert ((tmp_path / "new").stat().st_uid, (tmp_path / "new").stat().st_gid) == (33, 34)


def test_a_volume_in_memory_belongs_to_the_root_of_the_container(mapped_pod: Pod, empty_dir: Path) -> None:
    mount = {"host_path": str(empty_dir), "container_path": "/cache"}
    ended = mapped_pod.run("stat", "-c", "%u:%g", "/cache", security=security(mapped_pod), mounts=[mount])
    assert ended.stdout == "0:1000\n"

"""Paths of the node whose file system hangs, as a dead NFS server's does: an error that names the path, and no more."""

import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from cri_api.v1 import api_pb2 as pb

from tests.support.conformance_client import Container, Cri, Pod
from tests.support.hung import hung
from vmsandbox.fs.foreign import MOST_OF_ONE


@pytest.fixture
def dead(pod: Pod) -> Iterator[Path]:
    """A directory whose file system hangs, in the pod's log directory."""
    with hung(Path(pod.config.log_directory) / "dead") as path:
        yield path
    path.rmdir()


def refused(pod: Pod, **config: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        pod.create(**config)
    return caught.value


def in_place_of(kind: str, dead: Path) -> dict[str, Any]:
    """Build the configuration with which a container meets the dead directory."""
    localhost = {"profile_type": "Localhost", "localhost_ref": str(dead / "profile.json")}
    return {
        "volume": {"mounts": [{"host_path": str(dead), "container_path": "/mnt"}]},
        "log": {"log_path": "dead/0.log"},
        "seccomp profile": {"security": {"seccomp": localhost}},
    }[kind]


def refused_together(pod: Pod, configs: Iterable[dict[str, Any]]) -> list[grpc.RpcError]:
    """Return the errors of these calls, made at once because each waits for its deadline."""
    configs = list(configs)
    with ThreadPoolExecutor(len(configs)) as pool:
        return list(pool.map(lambda config: refused(pod, **config), configs))


def test_a_path_that_hangs_is_an_error_that_names_it(pod: Pod, dead: Path) -> None:
    for error in refused_together(pod, (in_place_of(kind, dead) for kind in ("volume", "log", "seccomp profile"))):
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert f"{dead}" in error.details()
        assert "did not answer" in error.details()


def test_others_go_on_and_so_does_the_pod_itself(cri: Cri, pod: Pod, waiting: Container, dead: Path) -> None:
    command = ["sh", "-c", f"exec stat {dead}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as stuck:
        refused(pod, **in_place_of("volume", dead))
        assert stuck.poll() is None
        assert waiting.output("echo", "on") == "on\n"
        created = pod.create()
        created.remove()
        assert created.id not in {each.id for each in cri.list_containers()}
        stuck.kill()


def test_calls_that_hang_are_bounded_until_they_come_back(pod: Pod) -> None:
    with hung(Path(pod.config.log_directory) / "gone") as dead:
        errors = refused_together(pod, [in_place_of("volume", dead)] * MOST_OF_ONE)
        assert [error.code() for error in errors] == [grpc.StatusCode.DEADLINE_EXCEEDED] * MOST_OF_ONE
        assert refused(pod, **in_place_of("volume", dead)).code() is grpc.StatusCode.UNAVAILABLE
    dead.rmdir()
    pod.create().remove()


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A volume whose later mounts its containers see."""
    subprocess.run(["mount", "--bind", "--make-shared", tmp_path, tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def test_what_hangs_below_a_volume_later_holds_up_no_other_volume(
    pod: Pod, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "file").write_text("there\n")
    container = pod.start(
        mounts=[
            {"host_path": str(shared), "container_path": "/hangs", "propagation": pb.PROPAGATION_HOST_TO_CONTAINER},
            {"host_path": str(other), "container_path": "/other"},
        ]
    )
    with hung(shared / "dead"):
        container.output("sh", "-c", "for i in $(seq 8); do stat /hangs/dead >/dev/null 2>&1 & done")
        assert container.output("cat", "/other/file") == "there\n"
    container.remove()

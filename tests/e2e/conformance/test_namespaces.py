"""Which processes and which shared memory containers see of each other, by the modes of their pod.

The pod is the guest: what is the node's for a container on a shared kernel is the guest's here.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from cri_api.v1 import api_pb2 as pb

from tests.standins import images
from tests.support.conformance_client import Container, Cri, Pod, eventually

NGINX_STARTED = "until [ -s /var/run/nginx.pid ]; do sleep 0.1; done; cat /var/run/nginx.pid"


def modes(**namespaces: int) -> dict[str, Any]:
    return {"namespace_options": namespaces}


@pytest.fixture(scope="module")
def shared_pod(cri: Cri) -> Iterator[Pod]:
    """A pod whose containers share one PID namespace."""
    with cri.pod(linux={"security_context": modes(pid=pb.POD)}) as pod:
        yield pod


@pytest.fixture(scope="module")
def node_pod(cri: Cri) -> Iterator[Pod]:
    """A pod whose containers have the guest's own PID and IPC namespaces."""
    with cri.pod(linux={"security_context": {**modes(pid=pb.NODE, ipc=pb.NODE), "privileged": True}}) as pod:
        yield pod


def web_server(pod: Pod, **namespaces: int) -> tuple[Container, str]:
    """nginx, running, and its pid as it sees it."""
    container = pod.start(image=images.NGINX, command=[], security=modes(**namespaces))
    return container, container.output("sh", "-c", NGINX_STARTED).strip()


def processes(container: Container) -> str:
    return container.output("ps")


def test_a_container_alone_is_the_first_of_its_processes(pod: Pod) -> None:
    server, pid = web_server(pod, pid=pb.CONTAINER)
    assert pid == "1"
    assert "master process" in server.output("cat", "/proc/1/cmdline")
    other = pod.start(security=modes(pid=pb.CONTAINER))
    assert "nginx" not in processes(other)
    server.remove()
    other.remove()


def test_containers_of_a_shared_namespace_see_each_other_and_none_is_the_first(shared_pod: Pod) -> None:
    server, pid = web_server(shared_pod, pid=pb.POD)
    assert pid != "1"
    assert "master process" not in server.output("cat", "/proc/1/cmdline")
    other = shared_pod.start(security=modes(pid=pb.POD))
    assert pid in other.output("pidof", "nginx").split()
    server.stop(timeout=5)
    assert other.exec("pidof", "nginx").exit_code != 0
    assert other.status().state == pb.CONTAINER_RUNNING
    server.remove()
    other.remove()


def test_an_orphan_in_a_shared_namespace_is_reaped(shared_pod: Pod) -> None:
    container = shared_pod.start("sh", "-c", "(sleep 0.2 &) ; exec sleep 3600", security=modes(pid=pb.POD))
    eventually(lambda: "sleep 0.2" not in processes(container) and " Z" not in processes(container))
    container.remove()


def test_containers_in_the_nodes_namespace_see_every_process_of_the_guest(node_pod: Pod) -> None:
    server, pid = web_server(node_pod, pid=pb.NODE)
    other = node_pod.start(security=modes(pid=pb.NODE))
    assert pid in other.output("pidof", "nginx").split()
    assert "kthreadd" in processes(other)
    server.remove()
    other.remove()


def test_a_container_joins_the_processes_of_the_one_it_targets(pod: Pod) -> None:
    target = pod.start("sleep", "1234", security=modes(pid=pb.CONTAINER))
    options = {"namespace_options": {"pid": pb.TARGET, "target_id": target.id}}
    debugger = pod.start(security=options)
    assert "sleep 1234" in processes(debugger)
    assert debugger.output("cat", "/proc/1/cmdline") == "sleep\x001234\x00"
    debugger.remove()
    assert target.status().state == pb.CONTAINER_RUNNING
    target.remove()


def test_containers_of_a_pod_share_memory(pod: Pod) -> None:
    first, second = pod.start(), pod.start()
    first.output("sh", "-c", "echo shared > /dev/shm/note")
    assert second.output("cat", "/dev/shm/note") == "shared\n"
    assert first.output("readlink", "/proc/self/ns/ipc") == second.output("readlink", "/proc/self/ns/ipc")
    first.remove()
    second.remove()


def test_the_nodes_shared_memory_is_the_guests(node_pod: Pod) -> None:
    container = node_pod.start(security={**modes(ipc=pb.NODE, pid=pb.NODE), "privileged": True})
    assert container.output("readlink", "/proc/self/ns/ipc") == container.output("readlink", "/proc/1/ns/ipc")
    container.remove()


def test_containers_of_a_pod_share_the_network_and_the_hostname(pod: Pod) -> None:
    first, second = pod.start(), pod.start()
    for namespace in ("net", "uts"):
        link = f"/proc/self/ns/{namespace}"
        assert first.output("readlink", link) == second.output("readlink", link)
    first.remove()
    second.remove()

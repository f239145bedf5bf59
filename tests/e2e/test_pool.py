"""Machines of a pool, which go on from one template by a libvirtd: what two pods must not share, they do not.

Each pod has a machine that waited, also after the daemon was killed. tests/e2e/test_hypervisor.py has templates of the
embedded libvirt.
"""

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cri_api.v1 import api_pb2 as pb

from tests.support.conformance_client import Container, Cri, eventually
from tests.support.restartable import Node, again, restartable_node

if os.geteuid() != 0:
    pytest.skip("machines and their networks need root", allow_module_level=True)

MIB = 1024 * 1024
MADE_WITHIN = 300
SIZE = 2
PARENT = f"/vms-pool-{os.getpid()}"
MEMORY = Path("/sys/fs/cgroup/memory")

UNIQUE = {
    "boot id": "cat /proc/sys/kernel/random/boot_id",
    "UUID of the kernel": "cat /proc/sys/kernel/random/uuid",
    "random bytes": "head -c 16 /dev/urandom | od -An -tx1",
    "bytes of getrandom for a new process": "od -An -tx1 -j 0 -N 4096 /proc/self/auxv",
    "hostname": "hostname",
    "MAC": "cat /sys/class/net/eth0/address",
    "address": "ip -4 -o addr show dev eth0",
}
"""Facts that are different in every two pods, and a script that prints each."""


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    machine = {"memory": "64Mi", "max_memory": "2Gi", "boot_deadline": 200, "template": "auto", "pool": {"size": SIZE}}
    with restartable_node(machine=machine, handlers={}) as made:
        yield made


def pool(cri: Cri) -> dict[str, int]:
    """The one pool, as the daemon knows it when it has looked at its settings."""
    status = cri.runtime.Status(pb.StatusRequest(verbose=True))
    return dict(next(iter(json.loads(status.info["host"])["pools"]), {"waiting": 0}))


def wait_until_full(cri: Cri) -> None:
    eventually(lambda: pool(cri)["waiting"] == SIZE, MADE_WITHIN)


def start(cri: Cri, volume: Path, parent: str = "") -> Container:
    """A pod with a container that grows its machine."""
    limits = {"resources": {"memory_limit_in_bytes": 150 * MIB}}
    pod = cri.run_pod(linux={"cgroup_parent": parent})
    return pod.start(mounts=[{"container_path": "/v", "host_path": str(volume)}], linux=limits)


def test_pods_have_machines_that_waited_and_share_nothing_that_is_a_pods_own(
    node: Node, tmp_path_factory: pytest.TempPathFactory
) -> None:
    wait_until_full(node.cri)
    (state,) = (node.directory / "state/serve/templates").glob("*/state")
    assert state.stat().st_mode & 0o777 == 0o600
    places = [tmp_path_factory.mktemp("volume") for _ in range(SIZE)]
    with ThreadPoolExecutor(SIZE) as threads:
        containers = list(threads.map(lambda place, parent: start(node.cri, place, parent), places, ("", PARENT)))
    assert pool(node.cri)["hits"] == SIZE and pool(node.cri)["misses"] == 0
    seen = [{what: each.output("sh", "-c", script) for what, script in UNIQUE.items()} for each in containers]
    assert [what for what in UNIQUE if seen[0][what] == seen[1][what]] == []
    cgroups = (f"vmsandbox/{containers[0].pod.id}", f"{PARENT[1:]}/vmsandbox-{containers[1].pod.id}")
    assert all((MEMORY / cgroup / "cgroup.procs").read_text() for cgroup in cgroups)
    charged = dict(line.split() for line in (MEMORY / cgroups[0] / "memory.stat").read_text().splitlines())
    assert int(charged["cache"]) > 50 * MIB, "the memory that the template had is charged to somebody else"
    assert not (MEMORY / "vmsandbox" / containers[1].pod.id).exists(), "where the machine has waited"
    for container, place in zip(containers, places, strict=True):
        assert abs(time.time() - float(container.output("date", "+%s"))) < 5
        assert int(container.output("awk", "/^MemTotal/ {print $2}", "/proc/meminfo")) > 150 * 1024
        container.output("sh", "-c", "ping -c 1 -w 20 $(ip route | awk '/^default/ {print $3}')")
        container.output("sh", "-c", "dd if=/dev/zero of=/file bs=1M count=8 2>/dev/null && sync && hostname >/v/name")
        assert (place / "name").read_text() == container.pod.config.metadata.name + "\n"
        container.pod.remove()


def test_a_pod_without_a_network_has_no_card_of_the_machine_that_waited(node: Node) -> None:
    wait_until_full(node.cri)
    waiting = {path.name for path in node.sandboxes()}
    pod = node.cri.run_pod(annotations={"vmsandbox/network": "none"})
    assert pod.id in waiting
    assert pod.start().output("ls", "/sys/class/net") == "lo\n"
    pod.remove()


def test_a_pod_has_a_machine_that_waited_while_the_daemon_was_killed(node: Node, tmp_path: Path) -> None:
    wait_until_full(node.cri)
    waiting = {path.name for path in node.sandboxes()}
    node.restart()
    wait_until_full(node.cri)  # A pod waits two seconds for them, which a busy host may exceed.
    container = start(node.cri, tmp_path)
    assert container.pod.id in waiting and pool(node.cri)["hits"] == 1
    assert container.output("hostname") == container.pod.config.metadata.name + "\n"
    node.restart()
    assert again(node, container).output("cat", "/sys/class/net/eth0/operstate") == "up\n"

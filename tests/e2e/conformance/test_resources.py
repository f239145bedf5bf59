"""Requests and limits of containers in the guest, in one pod whose containers ask for more than its machine has."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cri_api.v1 import api_pb2 as pb

from tests.e2e.conformance.conftest import Scraped
from tests.support.conformance import Serving
from tests.support.conformance_client import Container, Cri, Pod
from tests.support.scraping import value
from tests.support.waiting import eventually
from vmsandbox.protocol.cpus import parse_cpus
from vmsandbox.sandbox.machines.cgroups.hierarchies import Hierarchies
from vmsandbox.sandbox.machines.cgroups.machine_cgroups import ROOT

MIB = 1024 * 1024
DECLARED = 128 * MIB
OVERHEAD = 128 * MIB
"""The default of a profile."""

SMALL = {"cpu_period": 100000, "cpu_quota": 20000, "cpu_shares": 204, "memory_limit_in_bytes": 128 * MIB}
LARGE = {"cpu_period": 100000, "cpu_quota": 200000, "cpu_shares": 2048, "memory_limit_in_bytes": 1024 * MIB}
QOS = {"memory.min": str(8 * MIB), "memory.high": str(100 * MIB), "memory.oom.group": "1", "pids.max": "100"}
"""The settings of a kubelet on cgroup v2 beside them (MemoryQoS), and a limit of processes."""

PARENT = f"/kubepods/burstable/pod{os.urandom(8).hex()}"
"""The cgroup of the pod on this host."""

FILES = ("cpu.max", "cpu.weight", "memory.max", "memory.swap.max", "memory.min", "memory.high", "memory.oom.group")
ONLINE = "/sys/devices/system/cpu/online"
GUEST = ("nsenter", "-t", "1", "-m", "busybox", "sh", "-c")
"""Runs a command with the guest's own view of its cgroups."""


@pytest.fixture(scope="module")
def short(cri: Cri) -> Iterator[Pod]:
    """A pod whose machine has less than some of its containers may take."""
    resources = {"memory_limit_in_bytes": DECLARED}
    privileged = {"privileged": True}
    with cri.pod(linux={"resources": resources, "security_context": privileged, "cgroup_parent": PARENT}) as pod:
        yield pod


@pytest.fixture(scope="module")
def guest(short: Pod) -> Container:
    """A container that sees the guest's processes."""
    namespaces = {"pid": pb.NODE}
    return short.start(
        security={"privileged": True, "namespace_options": namespaces}, linux={"resources": {"oom_score_adj": -997}}
    )


def limits(container: Container) -> dict[str, str]:
    files = " ".join((*FILES, "pids.max", "cpuset.cpus.effective", ONLINE))
    lines = container.output("sh", "-c", f"cd /sys/fs/cgroup; grep -H . {files}").splitlines()
    return dict(line.split(":", 1) for line in lines)


def stats(container: Container) -> pb.ContainerStats:
    request = pb.ContainerStatsRequest(container_id=container.id)
    return container.pod.cri.runtime.ContainerStats(request).stats


@pytest.mark.parametrize(
    ("resources", "held", "memory"),
    [
        ({**SMALL, "unified": QOS}, ("20000 100000", "8", str(128 * MIB), "0", *list(QOS.values())[:3]), 128 * MIB),
        ({}, ("max 100000", "100", "max", "max", "0", "max", "0"), None),
        ({**LARGE, "cpuset_cpus": "6-9"}, ("200000 100000", "79", str(1024 * MIB), "0", "0", "max", "0"), 1024 * MIB),
    ],
    ids=["200m and 128Mi", "no limits", "2 CPUs and 1Gi"],
)
def test_a_container_is_held_to_its_limits_and_measured_by_them(
    short: Pod, resources: dict[str, object], held: tuple[str, ...], memory: int | None
) -> None:
    container = short.start(linux={"resources": resources})
    found = limits(container)
    assert tuple(found[name] for name in FILES) == held
    assert found["pids.max"] == "100" if "unified" in resources else int(found["pids.max"]) > 300
    assert parse_cpus(found["cpuset.cpus.effective"]) <= parse_cpus(found[ONLINE]), "the host's stand for the machine's"
    cpus, total = container.output("sh", "-c", "nproc; awk '/^MemTotal/ {print $2}' /proc/meminfo").split()
    assert int(cpus) == len(parse_cpus(found["cpuset.cpus.effective"]))
    assert DECLARED < int(total) * 1024 < DECLARED + OVERHEAD, "what programs without cgroups find"

    measured = stats(container)
    working_set = measured.memory.working_set_bytes.value
    assert measured.memory.HasField("available_bytes") == (memory is not None)
    assert memory is None or measured.memory.available_bytes.value == memory - working_set
    assert measured.memory.usage_bytes.value >= working_set > 0
    assert measured.cpu.HasField("psi") and measured.memory.HasField("psi") and measured.io.HasField("psi")
    assert (measured.swap.swap_usage_bytes.value, measured.swap.swap_available_bytes.value) == (0, 0)
    container.remove()


def test_the_guest_keeps_memory_for_itself_and_what_containers_are_promised(short: Pod, guest: Container) -> None:
    promised = short.start(linux={"resources": {"unified": {"memory.min": str(8 * MIB)}}})
    files = "memory.max memory.min pids.max cpu.weight"
    read = f"cd /sys/fs/cgroup/vmsandbox; cat {files}; cat /proc/1/oom_score_adj /proc/sys/kernel/threads-max"
    together, least, pids, weight, agent, threads = map(int, guest.output(*GUEST, read).split())
    assert DECLARED < together < DECLARED + OVERHEAD
    assert (least, agent) == (8 * MIB, -999)
    assert 0 < pids < threads and weight < 100
    promised.remove()


def test_what_containers_may_take_together_follows_the_machine_at_once(short: Pod, cri: Cri, guest: Container) -> None:
    def together(declared: int) -> int:
        wanted = pb.LinuxContainerResources(memory_limit_in_bytes=declared)
        cri.runtime.UpdatePodSandboxResources(
            pb.UpdatePodSandboxResourcesRequest(pod_sandbox_id=short.id, resources=wanted)
        )
        return int(guest.output(*GUEST, "cat /sys/fs/cgroup/vmsandbox/memory.max"))

    small, large, again = together(DECLARED), together(2 * DECLARED), together(DECLARED)
    assert 0 <= small + DECLARED - large <= DECLARED // 32
    assert again == small


def test_a_command_has_the_score_of_its_container_and_cannot_better_it(short: Pod) -> None:
    security = {"run_as_user": {"value": 1000}, "namespace_options": {"pid": pb.CONTAINER}}
    container = short.start(linux={"resources": {"oom_score_adj": 985}}, security=security)
    script = "cat /proc/1/oom_score_adj /proc/self/oom_score_adj; echo -900 2>&- >/proc/self/oom_score_adj || echo no"
    assert container.exec("sh", "-c", script).stdout.split() == [b"985", b"985", b"no"]
    container.remove()


def test_containers_within_their_limits_and_beyond_the_machine_cost_one_of_them(short: Pod, guest: Container) -> None:
    limits = {"memory_limit_in_bytes": 125 * MIB, "oom_score_adj": 900, "unified": {"memory.oom.group": "1"}}
    command = ("sh", "-c", "dd if=/dev/zero bs=115M count=1 2>/dev/null | sleep 3600")
    both = [short.start(*command, linux={"resources": limits}) for _ in range(2)]
    ended = eventually(lambda: [each for each in both if each.status().state == pb.CONTAINER_EXITED], 90)
    (survivor,) = [each for each in both if each not in ended]
    assert (ended[0].status().exit_code, ended[0].status().reason) == (137, "OOMKilled")
    assert survivor.output("cat", "/sys/fs/cgroup/memory.events").splitlines()[-2] == "oom_kill 0"
    assert guest.output("echo", "alive") == "alive\n"
    for each in both:
        each.remove()


def test_a_container_without_a_limit_that_takes_the_whole_machine_is_killed_alone(short: Pod, guest: Container) -> None:
    beside = short.start(linux={"resources": {"oom_score_adj": 1000}})
    ended = short.start("tail", "/dev/zero", linux={"resources": {"oom_score_adj": 1000}}).wait(120).status
    assert (ended.exit_code, ended.reason) == (137, "OOMKilled")
    assert beside.output("echo", "alive") == guest.output("echo", "alive") == "alive\n"
    assert short.status().state == pb.SANDBOX_READY
    beside.remove()


def test_processes_that_multiply_come_to_an_end_and_others_go_on(short: Pod, guest: Container) -> None:
    beside = short.start()
    bomb = short.start("sh", "-c", "mkfifo /f; (while :; do read x </f & done); read x </f")
    met = f"grep -v 'max 0' /sys/fs/cgroup/vmsandbox/{bomb.id}/pids.events"
    eventually(lambda: guest.exec(*GUEST, met).exit_code == 0, 120)
    assert beside.output("echo", "alive") == guest.output("echo", "alive") == "alive\n"
    bomb.stop(0)
    assert (bomb.status().exit_code, bomb.status().reason) == (137, "Error"), "it was not short of memory"
    beside.remove()
    bomb.remove()


def test_a_machine_beyond_the_limit_of_its_pods_cgroup_is_told_as_killed_for_memory(
    short: Pod, cri: Cri, daemon: Serving, metrics: Scraped
) -> None:
    """The last test with this pod: its machine is gone afterwards."""
    again_and_again = "while :; do dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; done"
    both = waits, _ = short.start(), short.start("sh", "-c", again_and_again)
    before, events = metrics.scrape(), cri.runtime.GetContainerEvents(pb.GetEventsRequest())

    def killed() -> bool:
        _take_what_is_free()
        return short.status().state == pb.SANDBOX_NOTREADY

    eventually(killed, 90)
    why = f"killed by the kernel beyond the memory limit of its pod's cgroup {PARENT}"
    ended = next(event for event in events if event.container_id == waits.id)
    assert ended.container_event_type == pb.CONTAINER_STOPPED_EVENT
    assert ended.containers_statuses[0].reason == "OOMKilled"
    events.cancel()
    for container in both:
        status = container.status()
        assert (status.state, status.exit_code, status.reason) == (pb.CONTAINER_EXITED, 137, "OOMKilled")
        assert why in status.message
    assert f"conformance/{short.config.metadata.name} ({short.id}) has ended" in daemon.log() and why in daemon.log()
    after, failure = metrics.scrape(), {"stage": "running", "reason": "memory_limit"}
    name = "vmsandbox_sandbox_failures_total"
    assert value(after, name, **failure) == value(before, name, **failure) + 1


def _take_what_is_free() -> None:
    """Lower the limit of the pod's cgroup to what is used there; the kernel refuses while it uses more."""
    hierarchies = Hierarchies(ROOT)
    limit, usage = ("memory.max", "memory.current")
    if not hierarchies.unified:
        limit, usage = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    cgroup = Path(hierarchies.directories().get("memory", ROOT), PARENT.strip("/"))
    with contextlib.suppress(OSError):
        (cgroup / limit).write_text((cgroup / usage).read_text())

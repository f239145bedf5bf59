"""A machine follows the limits of a container, up and down: real QEMU, guest and crun. All tests share one machine."""

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.standins.images import BUSYBOX
from tests.standins.registry import registries_conf, running_stand_ins
from tests.support import conformance
from tests.support.libvirt import embedded_uri, qemu_pid
from vmsandbox import config
from vmsandbox.errors import FailedPrecondition, InvalidArgument, ResourceExhausted
from vmsandbox.model import (
    ContainerConfig,
    ContainerMetadata,
    MachineSize,
    PodSandboxConfig,
    PodSandboxMetadata,
    Resources,
)
from vmsandbox.node.host import open_host
from vmsandbox.node.instance import claim
from vmsandbox.process import Account
from vmsandbox.sandbox.machines.cgroups.processes import vcpu_threads
from vmsandbox.sandbox.spec import domain_name
from vmsandbox.service import RuntimeService

if os.geteuid() != 0:
    pytest.skip("machines and their networks need root", allow_module_level=True)

MIB = 1024 * 1024
OVERHEAD = 128
PERIOD = 100_000


class Pod:
    """A pod that declares nothing, with one container."""

    def __init__(self, service: RuntimeService, sandbox: str, container: str) -> None:
        self.service = service
        self.sandbox = sandbox
        self.container = container

    @property
    def size(self) -> MachineSize:
        """The size of its machine that the daemon knows."""
        status = self.service.pod_sandbox_status(self.sandbox)
        return MachineSize(status.vcpus, status.memory // MIB)

    async def run(self, script: str) -> str:
        """Return what a script in the container prints."""
        result = await self.service.exec_sync(self.container, ("sh", "-c", script), 60)
        assert result.exit_code == 0, result
        return result.stdout.decode().strip()

    async def memory(self) -> int:
        """Return the MiB of memory that programs in the container find."""
        return int(await self.run("awk '/^MemTotal/ {print int($2 / 1024)}' /proc/meminfo"))

    async def limit(self, cpus: float, mib: int) -> None:
        """Update the limits of the container."""
        limits = Resources(cpu_quota=int(cpus * PERIOD), cpu_period=PERIOD, memory_limit=mib * MIB)
        await self.service.update_container_resources(self.container, limits)

    async def cgroup(self) -> list[str]:
        """Return the limits that the container's cgroup in the guest has."""
        return (await self.run("cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max")).splitlines()

    async def cpus(self) -> int:
        """Return the CPUs that programs in the container find."""
        return int(await self.run("nproc"))

    @property
    def account(self) -> Account:
        """The user of its QEMU."""
        return Account(Path(f"/proc/{qemu_pid(domain_name(self.sandbox))}").stat().st_uid, 0)

    @property
    def given(self) -> int:
        """The MiB that the host has given the guest: pages of the file that QEMU and its helpers share."""
        status = Path(f"/proc/{qemu_pid(domain_name(self.sandbox))}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("RssShmem:")) // 1024


@pytest.fixture(scope="module")
def settings() -> Iterator[config.Config]:
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(conformance._private_directory())
        (directory / "registry").mkdir()
        registry = stack.enter_context(running_stand_ins(directory / "registry"))
        (directory / "registries.conf").write_text(registries_conf(registry))
        stack.callback(conformance._delete_bridge)
        machine = {"memory": "100Mi", "max_vcpus": 4, "max_memory": "2Gi", "boot_deadline": 200}
        described = conformance.configuration(directory) | {"machine": machine, "limits": {"memory": "1Gi"}}
        (directory / "config.yaml").write_text(yaml.safe_dump(described))
        yield config.load(directory / "config.yaml")


@pytest.fixture
async def service(settings: config.Config) -> AsyncIterator[RuntimeService]:
    tcg = replace(settings, machine=replace(settings.machine, accelerator=config.AcceleratorChoice.TCG))
    with claim(settings.run_directory, settings.state_directory) as instance:
        async with open_host(tcg, instance, embedded_uri()) as host, RuntimeService(host).running() as service:
            await service.images.pull(BUSYBOX)
            yield service
            for status in service.list_pod_sandboxes():
                await service.remove_pod_sandbox(status.id)


@pytest.fixture
async def pod(service: RuntimeService) -> Pod:
    sandbox = await service.run_pod_sandbox(PodSandboxConfig(PodSandboxMetadata("sizes", os.urandom(8).hex(), "tests")))
    limits = Resources(cpu_quota=PERIOD // 5, cpu_period=PERIOD, memory_limit=100 * MIB)
    waits = ContainerConfig(ContainerMetadata("waits"), BUSYBOX, command=("sleep", "100000"), resources=limits)
    container = await service.create_container(sandbox, waits)
    await service.start_container(container)
    return Pod(service, sandbox, container)


APART = ">/dev/null 2>&1 </dev/null &"
"""Has a shell leave a command behind."""


def until_it_uses(comparison: str, mib: int) -> str:
    """Return a script that waits until the container uses more (`-gt`) or less (`-lt`) memory than that."""
    return f"until [ $(cat /sys/fs/cgroup/memory.current) {comparison} {mib * MIB} ]; do sleep 0.1; done"


async def test_a_machine_under_load_follows_its_container_and_a_failed_update_changes_nothing(pod: Pod) -> None:
    assert pod.size == MachineSize(1, 100 + OVERHEAD) and await pod.cpus() == 1
    small, given = await pod.memory(), pod.given
    assert 150 < small < 100 + OVERHEAD
    assert len(vcpu_threads(pod.account)) in (1, 4), "one emulates all of them, or each has its own"
    await pod.run(f"for each in 1 2; do (while :; do :; done) {APART} done")

    await pod.limit(4, 500)
    grown = await pod.memory()
    assert pod.size == MachineSize(4, 500 + OVERHEAD) and await pod.cpus() == 4 and 380 < grown - small <= 400
    assert await pod.cgroup() == [str(500 * MIB), "400000 100000"]
    (measured,) = (await pod.service.measure_containers([pod.sandbox])).values()
    assert measured.measures.memory.limit == 500 * MIB

    await pod.run(f"dd if=/dev/zero of=/dev/null bs=300M count=1000000 {APART} {until_it_uses('-gt', 250)}")
    used = pod.given
    for limits, error in (
        ((4, 200), FailedPrecondition),  # The container uses more.
        ((5, 500), InvalidArgument),
        ((4, 2000), InvalidArgument),
        ((4, 1000), ResourceExhausted),
    ):
        with pytest.raises(error):
            await pod.limit(*limits)
    assert pod.size == MachineSize(4, 500 + OVERHEAD) and await pod.memory() == grown and await pod.cpus() == 4
    assert await pod.cgroup() == [str(500 * MIB), "400000 100000"]

    await pod.run(f"killall dd; {until_it_uses('-lt', 60)}")  # Nobody reaps it, so that it stays in lists of processes.
    await pod.limit(2, 500)
    assert pod.size == MachineSize(2, 500 + OVERHEAD) and await pod.cpus() == 2
    await pod.limit(0.2, 100)
    assert pod.size == MachineSize(1, 100 + OVERHEAD) and await pod.cpus() == 1
    assert abs(await pod.memory() - small) < 8 and used > given + 200 and pod.given < given + 100
    assert await pod.cgroup() == [str(100 * MIB), "20000 100000"]

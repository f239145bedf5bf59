"""The machine of a pod, its processes and its start, for people who look into a pod."""

import asyncio
import contextlib
import os

import pytest

from tests.fakes.host import FakeWorld, app, pod
from vmsandbox.hypervisor import Accelerator
from vmsandbox.model import MachineSize
from vmsandbox.sandbox.lifecycle import details
from vmsandbox.sandbox.machines import charge_of
from vmsandbox.sandbox.spec import domain_name, domain_uuid

STEPS = ("admitted", "network", "machine", "agent", "configured", "ready")


async def test_a_machine_is_described_by_its_domain_its_processes_and_what_it_takes(world: FakeWorld) -> None:
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        found = await service.machine_details(sandbox)
        status = service.pod_sandbox_status(sandbox)
        assert (found.name, found.uuid, found.libvirt) == (domain_name(sandbox), domain_uuid(sandbox), "fake:///")
        assert found.committed_memory == charge_of(MachineSize(status.vcpus, status.memory), Accelerator.KVM)
        assert [process.pid for process in found.processes] == [found.qemu_pid] == [os.getpid()]
        assert status.accelerator == "kvm" and status.booted is not None
        await service.stop_pod_sandbox(sandbox)
        ended = await service.machine_details(sandbox)
        assert (ended.qemu_pid, ended.processes, ended.cgroups, ended.committed_memory) == (None, (), (), 0)


async def test_a_host_that_does_not_tell_in_time_costs_the_processes_alone(
    world: FakeWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        monkeypatch.setattr(details, "_DEADLINE", 0.01)
        monkeypatch.setattr(world.hypervisor, "process", lambda _: asyncio.Event().wait())
        found = await service.machine_details(sandbox)
    assert (found.name, found.processes) == (domain_name(sandbox), ())
    assert f"the processes of sandbox {sandbox} are not known" in caplog.text


async def test_the_steps_of_a_start_are_told_in_their_order_also_by_the_next_daemon(world: FakeWorld) -> None:
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await service.create_container(sandbox, app())
        assert service.container_status(container).timings.started is None
        await service.start_container(container)
    async with world.daemon() as service:
        start = service.pod_sandbox_status(sandbox).start
        moments = [getattr(start, step) for step in STEPS]
        assert None not in moments and moments == sorted(moments)
        timings = service.container_status(container).timings
        assert timings.created is not None and timings.started is not None
        with contextlib.suppress(TimeoutError):
            await service.stop_container(container, 1)


async def test_a_pod_without_a_network_has_no_step_for_it(world: FakeWorld) -> None:
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod(annotations={"vmsandbox/network": "none"}))
        start = service.pod_sandbox_status(sandbox).start
        assert start.network is None and start.machine is not None

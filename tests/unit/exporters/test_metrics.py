"""The metrics of a daemon that has worked, scraped over a real connection."""

import asyncio

import grpc.aio
import pytest
from cri_api.v1 import api_pb2 as api

from tests.fakes.host import FakeWorld, app
from tests.support.scraping import scrape, value
from tests.support.waiting import until
from tests.unit.exporters.conftest import GIB, daemon_of
from vmsandbox.errors import Unavailable
from vmsandbox.hypervisor import MachineState
from vmsandbox.model import SandboxState


async def test_calls_are_counted_by_method_and_code_with_their_durations(world: FakeWorld) -> None:
    async with daemon_of(world) as daemon:
        await daemon.run_pod()
        with pytest.raises(grpc.aio.AioRpcError):
            await daemon.runtime.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id="0123456789"))
        found = await daemon.scraped()
        assert value(found, "vmsandbox_rpcs_total", method="RunPodSandbox", code="ok") == 1
        assert value(found, "vmsandbox_rpcs_total", method="PodSandboxStatus", code="not_found") == 1
        assert value(found, "vmsandbox_rpc_duration_seconds_count", method="RunPodSandbox") == 1
        assert 0 < value(found, "vmsandbox_rpc_duration_seconds_sum", method="RunPodSandbox") < 60
        assert value(found, "vmsandbox_rpcs_running") == 0


async def test_what_runs_and_what_is_committed_is_read_for_each_scrape(world: FakeWorld) -> None:
    async with daemon_of(world) as daemon:
        first = await daemon.run_pod("one")
        await daemon.run_pod("two")
        found = await daemon.scraped()
        assert value(found, "vmsandbox_sandboxes", state="ready") == 2
        assert value(found, "vmsandbox_sandboxes", state="starting") == 0
        assert value(found, "vmsandbox_admission_memory_budget_bytes") == GIB
        committed = value(found, "vmsandbox_admission_memory_committed_bytes")
        assert 0 < committed < GIB
        assert value(found, "vmsandbox_admission_boots_limit") == 2
        await daemon.runtime.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=first))
        found = await daemon.scraped()
        assert value(found, "vmsandbox_sandboxes", state="ready") == 1
        assert value(found, "vmsandbox_admission_memory_committed_bytes") == committed / 2


async def test_versions_and_the_process_are_told(world: FakeWorld) -> None:
    async with daemon_of(world) as daemon:
        await daemon.run_pod()
        found = await daemon.scraped()
        assert value(found, "vmsandbox_build_info", libvirt="9.0.0") == 1
        assert value(found, "process_resident_memory_bytes") > 1 << 20
        assert value(found, "process_open_fds") > 3


async def test_libvirt_that_does_not_answer_is_told_to_be_down(world: FakeWorld) -> None:
    async def down() -> str:
        raise Unavailable("libvirt is gone")

    async with daemon_of(world) as daemon:
        await daemon.run_pod()
        assert value(await daemon.scraped(), "vmsandbox_libvirt_up") == 1
    world.hypervisor.version = down  # type: ignore[method-assign]
    async with daemon_of(world) as daemon:
        await daemon.service.recovered()
        assert value(await daemon.scraped(), "vmsandbox_libvirt_up") == 0


async def test_no_name_or_id_of_a_pod_is_in_a_scrape(world: FakeWorld) -> None:
    async with daemon_of(world) as daemon:
        sandbox = await daemon.run_pod("a-name-to-find")
        text = await asyncio.to_thread(scrape, daemon.url)
        assert "vmsandbox_sandboxes" in text
        assert "a-name-to-find" not in text and sandbox not in text


async def test_a_pod_and_its_container_leave_their_steps_phases_and_round_trips(world: FakeWorld) -> None:
    async with daemon_of(world) as daemon:
        sandbox = await daemon.run_pod()
        container = await daemon.service.create_container(sandbox, app())
        await daemon.service.start_container(container)
        found = await daemon.scraped()
        for step in ("admission", "network", "vsock", "disk", "domain", "boot", "configure", "plug", "mount", "create"):
            assert value(found, "vmsandbox_step_duration_seconds_count", step=step) == 1, step
        for phase in ("prepare", "machine", "kernel", "agent", "configure"):
            assert value(found, "vmsandbox_boot_phase_duration_seconds_count", phase=phase) == 1, phase
        assert value(found, "vmsandbox_boot_duration_seconds_count") == 1
        assert value(found, "vmsandbox_agent_requests_total", method="create_container", code="ok") == 1
        assert value(found, "vmsandbox_agent_request_duration_seconds_count", method="start_container") == 1
        assert value(found, "vmsandbox_containers", state="running") == 1
        await daemon.service.stop_pod_sandbox(sandbox)
        ends = [
            each for (name, _), each in (await daemon.scraped()).items() if name == "vmsandbox_container_ends_total"
        ]
        assert ends == [1]


async def test_failures_are_counted_by_stage_step_and_reason(world: FakeWorld) -> None:
    async with daemon_of(world) as daemon:
        sandbox = await daemon.run_pod("dies")
        world.hypervisor.end(f"vmsandbox-{sandbox}", MachineState.CRASHED, "crashed (panicked)")
        await until(lambda: daemon.service.pod_sandbox_status(sandbox).state is SandboxState.NOTREADY)
        world.transports.start_error = Unavailable("there is no vsock daemon")
        with pytest.raises(grpc.aio.AioRpcError):
            await daemon.run_pod("fails")
        found = await daemon.scraped()
        assert value(found, "vmsandbox_sandbox_failures_total", stage="running", reason="crashed") == 1
        assert value(found, "vmsandbox_sandbox_failures_total", stage="start", reason="unavailable") == 1
        assert value(found, "vmsandbox_step_failures_total", step="vsock", code="unavailable") == 1


async def test_sandboxes_that_the_next_daemon_takes_back_are_counted_by_their_state(world: FakeWorld) -> None:
    async with daemon_of(world) as daemon:
        await daemon.run_pod("lives")
        dies = await daemon.run_pod("dies")
    await world.hypervisor.destroy(f"vmsandbox-{dies}")
    async with daemon_of(world) as daemon:
        await daemon.service.recovered()
        found = await daemon.scraped()
        assert value(found, "vmsandbox_sandboxes_taken_back_total", state="ready") == 1
        assert value(found, "vmsandbox_sandboxes_taken_back_total", state="notready") == 1

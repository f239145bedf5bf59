"""A machine's QEMU is killed at every stage: whoever waits for its guest is told at once, and told why.

All deadlines are out of reach, so that none of them can be what ends a call.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml

from tests.standins.images import BUSYBOX
from tests.standins.registry import registries_conf, running_stand_ins
from tests.support import conformance
from tests.support.libvirt import embedded_uri, qemu_pid
from vmsandbox import config
from vmsandbox.errors import VmsandboxError
from vmsandbox.guest.session import Session
from vmsandbox.guest.streams import opening
from vmsandbox.model import (
    AttachRequest,
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    ExecRequest,
    PodSandboxConfig,
    PodSandboxMetadata,
    SandboxState,
)
from vmsandbox.node.host import open_host
from vmsandbox.node.instance import claim
from vmsandbox.process import stat_of
from vmsandbox.protocol.messages import Stream
from vmsandbox.sandbox.containers import stopping
from vmsandbox.sandbox.lifecycle import ending
from vmsandbox.sandbox.streams import execs
from vmsandbox.service import RuntimeService

if os.geteuid() != 0:
    pytest.skip("machines and their networks need root", allow_module_level=True)

NEVER = 1e6
"""Seconds of every deadline."""
AT_ONCE = 30
"""Seconds for what a busy machine does at once."""
ENDED = "the virtual machine ended: failed (QEMU has died)"


@pytest.fixture(scope="module")
def settings() -> Iterator[config.Config]:
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(conformance._private_directory())
        (directory / "registry").mkdir()
        registry = stack.enter_context(running_stand_ins(directory / "registry"))
        (directory / "registries.conf").write_text(registries_conf(registry))
        stack.callback(conformance._delete_bridge)
        described = conformance.configuration(directory) | {"machine": {"memory": "64Mi", "boot_deadline": NEVER}}
        (directory / "config.yaml").write_text(yaml.safe_dump(described))
        yield config.load(directory / "config.yaml")


@pytest.fixture
async def service(settings: config.Config, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RuntimeService]:
    ask = Session.request
    monkeypatch.setattr(Session, "request", lambda self, request, _: ask(self, request, NEVER))
    for module, deadline in (
        (opening, "OPEN_DEADLINE"), (stopping, "KILL_DEADLINE"), (execs, "CLEAR_DEADLINE"),
        (ending, "_END_DEADLINE"),
    ):  # fmt: skip
        monkeypatch.setattr(module, deadline, NEVER)
    tcg = replace(settings, machine=replace(settings.machine, accelerator=config.AcceleratorChoice.TCG))
    with claim(settings.run_directory, settings.state_directory) as instance:
        async with open_host(tcg, instance, embedded_uri()) as host, RuntimeService(host).running() as service:
            if service.images.find(BUSYBOX) is None:
                await service.images.pull(BUSYBOX)
            yield service
            for status in service.list_pod_sandboxes():
                await service.remove_pod_sandbox(status.id)
            assert not await host.hypervisor.list_names()


def pod() -> PodSandboxConfig:
    return PodSandboxConfig(PodSandboxMetadata("ending", os.urandom(8).hex(), "tests"))


def waiting_container(**more: Any) -> ContainerConfig:
    return ContainerConfig(ContainerMetadata("waits"), BUSYBOX, command=("sleep", "100000"), **more)


async def booting(service: RuntimeService, other_than: int = 0) -> int:
    """The QEMU of the machine that is being made, when its guest has run for a while: it has not answered by then."""
    while True:
        with contextlib.suppress(IndexError, StopIteration, OSError):  # there is none (any more)
            pid = qemu_pid(_name(service))
            user_time = int(stat_of(pid)[11])
            if pid != other_than and user_time > os.sysconf("SC_CLK_TCK"):
                return pid
        await asyncio.sleep(0.01)


def _name(service: RuntimeService) -> str:
    return f"vmsandbox-{service.list_pod_sandboxes()[-1].id}"


def kill_during(monkeypatch: pytest.MonkeyPatch, service: RuntimeService, method: str) -> None:
    """Freeze a machine before a request to its agent, which thus stays unanswered, and kill its QEMU meanwhile."""
    ask = Session.request

    async def frozen(self: Session, request: Any, deadline: float) -> Any:
        if method == request.METHOD:
            pid = qemu_pid(_name(service))
            os.kill(pid, signal.SIGSTOP)
            asyncio.get_running_loop().call_later(0.3, os.kill, pid, signal.SIGKILL)
        return await ask(self, request, deadline)

    monkeypatch.setattr(Session, "request", frozen)


async def test_before_the_agent_answers_it_is_booted_once_more_and_then_given_up(
    service: RuntimeService, caplog: pytest.LogCaptureFixture
) -> None:
    running = asyncio.create_task(service.run_pod_sandbox(pod()))
    first = await booting(service)
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(AT_ONCE):
        second = await booting(service, other_than=first)
    assert f"is booted once more: pod tests/ending: {ENDED}" in caplog.text
    os.kill(second, signal.SIGKILL)
    async with asyncio.timeout(AT_ONCE):
        with pytest.raises(VmsandboxError) as raised:
            await running
    assert ENDED in str(raised.value)
    assert service.list_pod_sandboxes() == ()


async def test_while_the_guest_is_configured(service: RuntimeService, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_during(monkeypatch, service, "configure_guest")
    async with asyncio.timeout(AT_ONCE + 90):
        with pytest.raises(VmsandboxError) as raised:
            await service.run_pod_sandbox(pod())
    assert ENDED in str(raised.value)
    assert service.list_pod_sandboxes() == ()


async def test_while_a_container_is_made(service: RuntimeService, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox_id = await service.run_pod_sandbox(pod())
    kill_during(monkeypatch, service, "create_container")
    async with asyncio.timeout(AT_ONCE):
        with pytest.raises(VmsandboxError) as raised:
            await service.create_container(sandbox_id, waiting_container())
        assert ENDED in str(raised.value)
        await service.remove_pod_sandbox(sandbox_id)


async def test_while_clients_use_a_container(service: RuntimeService) -> None:
    """Commands, an attached client, a forwarded port, a reader of output, a wait and a stop, all at once.

    The machine is one that has died before in its boot.
    """
    starting = asyncio.create_task(service.run_pod_sandbox(pod()))
    os.kill(await booting(service), signal.SIGKILL)
    sandbox_id = await starting
    status = service.pod_sandbox_status(sandbox_id)
    assert (status.state, status.boots) == (SandboxState.READY, 2)
    silent = ("sh", "-c", "nc -ll -p 7000 -e sleep 100000 & trap : TERM; while :; do sleep 100000; done")
    container = await service.create_container(sandbox_id, replace(waiting_container(stdin=True), command=silent))
    await service.start_container(container)
    ways = (_exec_sync, _exec, _attach, _output, _port, _wait, _stop)
    users = {way.__name__: asyncio.create_task(way(service, sandbox_id, container)) for way in ways}
    while (await service.exec_sync(container, ("ps",), 0)).stdout.count(b"sleep 5") < 2:
        await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    assert not any(task.done() for task in users.values()), users
    os.kill(qemu_pid(_name(service)), signal.SIGKILL)
    await asyncio.wait(users.values(), timeout=AT_ONCE)
    assert not [way for way, task in users.items() if not task.done()], "they wait for a guest that is dead"
    for task in users.values():
        assert task.exception() is None or isinstance(task.exception(), VmsandboxError)
    ended = service.container_status(container)
    assert (ended.state, ended.reason, ENDED in ended.message) == (ContainerState.EXITED, "SandboxDied", True)
    assert ENDED in service.pod_sandbox_status(sandbox_id).message
    async with asyncio.timeout(AT_ONCE):
        await service.remove_pod_sandbox(sandbox_id)


async def test_by_the_end_of_its_virtiofsd(service: RuntimeService) -> None:
    sandbox_id = await service.run_pod_sandbox(pod())
    container = await service.create_container(sandbox_id, waiting_container())
    await service.start_container(container)
    served = service._host.layout(sandbox_id).served
    server = (await service._host.cgroups.file_servers(served))[-1]
    server.kill()
    async with asyncio.timeout(AT_ONCE):
        ended = await service.wait_container(container)
        assert (ended.reason, "has lost its virtiofsd" in ended.message) == ("SandboxDied", True)
        while await service._host.hypervisor.list_names():  # Nobody has to stop the pod for that.
            await asyncio.sleep(0.1)
        await service.remove_pod_sandbox(sandbox_id)


async def _exec_sync(service: RuntimeService, _: str, container: str) -> None:
    await service.exec_sync(container, ("sleep", "50001"), 0)


async def _exec(service: RuntimeService, _: str, container: str) -> None:
    async with service.exec(ExecRequest(container, ("sleep", "50002"), stdin=True)) as process:
        async for _piece in process.output(Stream.STDOUT):
            pass
        await process.wait()


async def _attach(service: RuntimeService, _: str, container: str) -> None:
    async with service.attach(AttachRequest(container, stdin=True, stdout=True)) as attachment:
        async for _piece in attachment.output(Stream.STDOUT):
            pass
        await attachment.wait()


async def _output(service: RuntimeService, _: str, container: str) -> None:
    async for _piece in service.output(container):
        pass


async def _port(service: RuntimeService, sandbox_id: str, _: str) -> None:
    while True:
        with contextlib.suppress(VmsandboxError):
            async with service.port(sandbox_id, 7000) as stream:
                break
        await asyncio.sleep(0.1)
    async with service.port(sandbox_id, 7000) as stream:
        await stream.read()


async def _wait(service: RuntimeService, _: str, container: str) -> None:
    await service.wait_container(container)


async def _stop(service: RuntimeService, _: str, container: str) -> None:
    await service.stop_container(container, NEVER)

"""Sandboxes taken back from the state database, after this process was killed or restarted (docs/on-disk.md).

Machines and containers have gone on meanwhile. What a record says is compared with what the hypervisor and the agent
say; what cannot be taken back is NOTREADY, or EXITED, with the reason.
"""

from collections import defaultdict
from collections.abc import Callable

from vmsandbox import aio, log
from vmsandbox.errors import VmsandboxError
from vmsandbox.hypervisor.base import MachineState
from vmsandbox.model import ContainerEvent, ContainerState, SandboxState
from vmsandbox.sandbox.admission import Admission
from vmsandbox.sandbox.container import Container
from vmsandbox.sandbox.domain import domain_name
from vmsandbox.sandbox.host import Host
from vmsandbox.sandbox.records import ContainerRecord, SandboxRecord
from vmsandbox.sandbox.sandbox import Sandbox
from vmsandbox.sandbox.sandboxes import let_go
from vmsandbox.sandbox.teardown import give_back

_log = log.get(__name__)


async def recover(host: Host, admission: Admission, publish: Callable[[ContainerEvent], None]) -> list[Sandbox]:
    """Every sandbox of the state database, in the state in which it is now. On failure all are let go, and go on.

    Raises:
        Internal: a record is damaged.
    """
    records: dict[str, list[ContainerRecord]] = defaultdict(list)
    for record in host.state.all(ContainerRecord):
        records[record.sandbox_id].append(record)
    sandboxes = []
    for known in host.state.all(SandboxRecord):
        sandbox = Sandbox(host, admission, known, publish)
        sandbox.containers.update({each.id: Container(sandbox.around, each) for each in records.pop(known.id, ())})
        sandboxes.append(sandbox)
    for strangers in records.values():
        for container in strangers:
            host.state.delete(ContainerRecord, container.id)
    try:
        recovered = await aio.together(*(_recover(host, admission, sandbox) for sandbox in sandboxes))
    except BaseException:
        await let_go(sandboxes)
        raise
    return [sandbox for sandbox, kept in zip(sandboxes, recovered, strict=True) if kept]


async def _recover(host: Host, admission: Admission, sandbox: Sandbox) -> bool:
    """Whether there is still such a sandbox."""
    record = sandbox.record
    if record.state is SandboxState.STARTING:
        return not await _give_back_half_made(host, sandbox)
    try:
        if record.state is SandboxState.READY:
            admission.adopt(record.id, record.memory)
            await _take_back(sandbox)
        else:
            await _remember(host, admission, sandbox)
    except VmsandboxError as error:
        sandbox.fail(error.at(f"taking back sandbox {record.id}"))
    return True


async def _give_back_half_made(host: Host, sandbox: Sandbox) -> bool:
    """Nobody was told of it. Whether nothing is left; else it is kept, to be stopped again."""
    record = sandbox.record
    _log.warning("giving back what sandbox %s, which was being made, acquired", record.id)
    try:
        await give_back(host, record.id)
    except VmsandboxError as error:
        sandbox.fail(error)
        return False
    host.state.delete(SandboxRecord, record.id)
    return True


async def _remember(host: Host, admission: Admission, sandbox: Sandbox) -> None:
    """One that is NOTREADY: its machine, if it is there at all, waits for being stopped."""
    if await host.hypervisor.state(domain_name(sandbox.record.id)) is not MachineState.GONE:
        admission.adopt(sandbox.record.id, sandbox.record.memory)
    for container in tuple(sandbox.containers.values()):
        if container.record.state is ContainerState.UNKNOWN:
            await _drop(sandbox, container)
        else:
            container.journal.lost("SandboxDied", sandbox.record.message)


async def _take_back(sandbox: Sandbox) -> None:
    machine = sandbox.on_machine()
    client = await machine.take_back(sandbox.record.boot_id)
    sandbox.adopt(machine, client)
    await client.end_execs()
    states = {each.container_id: each.status for each in await client.list_containers()}
    for container in tuple(sandbox.containers.values()):
        await _take_back_container(sandbox, container, states.pop(container.record.id, ""))
    for stranger in states:
        await client.delete_container(stranger)
    _log.info("sandbox %s is taken back, with %d containers", sandbox.record.id, len(sandbox.containers))


async def _take_back_container(sandbox: Sandbox, container: Container, status: str) -> None:
    """`status` is the agent's word for its state; empty: the guest does not have it."""
    record = container.record
    if record.state is ContainerState.UNKNOWN:
        await _drop(sandbox, container)
        return
    for image_id, serial in record.disks.items():
        await sandbox.around.running().disks.adopt(image_id, serial, record.id)
    if record.state is ContainerState.EXITED:
        return
    if status:
        await container.take_back(ContainerState.CREATED if status == "created" else ContainerState.RUNNING)
    else:
        container.journal.lost("ContainerLost", "its machine does not have it any more")


async def _drop(sandbox: Sandbox, container: Container) -> None:
    """One that was being made: nobody was told of it."""
    await container.forget()
    del sandbox.containers[container.record.id]

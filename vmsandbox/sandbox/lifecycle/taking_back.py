"""Taking back one sandbox from the record that an earlier process has left."""

from vmsandbox import aio, log
from vmsandbox.model import ContainerState
from vmsandbox.sandbox.containers import Container
from vmsandbox.sandbox.lifecycle.sandbox import Sandbox
from vmsandbox.sandbox.machines import Host, give_back
from vmsandbox.state import SandboxRecord

_log = log.get(__name__)
_lives = log.get("vmsandbox.pods")

_LIVE = (ContainerState.CREATED, ContainerState.RUNNING)


async def take_back(sandbox: Sandbox) -> None:
    """Find the machine and the containers of a READY sandbox again. Raises what goes wrong."""
    machine = sandbox.new_machine()
    client = await machine.take_back(sandbox.record.boot_id)
    running = sandbox.adopt(machine, client)
    await client.end_execs()
    states = {each.container_id: each.status for each in await client.list_containers()}
    for container in tuple(sandbox.containers.values()):
        await _take_back_container(sandbox, container, states.pop(container.record.id, ""))
    live = (each.record.config for each in sandbox.containers.values() if each.record.state in _LIVE)
    await running.synced.take_back(mount for config in live for mount in config.mounts)
    await aio.together(*(client.delete_container(stranger) for stranger in states))
    await sandbox.context.running().blocks.drop_strangers()
    await sandbox.size.take_back()
    _lives.info("%s is taken back; its containers: %d", sandbox.context.pod, len(sandbox.containers))


async def remember(sandbox: Sandbox) -> None:
    """Note that the containers of a NOTREADY sandbox have ended."""
    for container in tuple(sandbox.containers.values()):
        if container.record.state is ContainerState.UNKNOWN:
            await _drop(sandbox, container)
        else:
            container.keeper.lost("SandboxDied", sandbox.record.message)


async def end_unreadable(sandbox: Sandbox, host: Host) -> None:
    """End a sandbox whose record cannot be read: its machine must not run beside the one that replaces it.

    It stays known, and its record on disk, until it is removed. Raises as `give_back`.
    """
    await remember(sandbox)
    await give_back(host, sandbox.record.id)


async def forget(host: Host, sandbox_id: str) -> None:
    """Give back all that a sandbox acquired, and remove its record. Raises as `give_back`; the record stays then."""
    await give_back(host, sandbox_id)
    host.state.discard(SandboxRecord, sandbox_id)


async def reclaim(host: Host, sandbox_id: str) -> None:
    """Forget a sandbox; log an error and leave the rest to the next process that reads the record."""
    try:
        await forget(host, sandbox_id)
    except Exception as error:
        _log.error("the resources of sandbox %s are not given back: %s", sandbox_id, error)


async def _take_back_container(sandbox: Sandbox, container: Container, status: str) -> None:
    """`status` is the agent's word for its state; empty: the guest does not have it."""
    record = container.record
    if record.state is ContainerState.UNKNOWN:
        await _drop(sandbox, container)
        return
    for image_id, serial in record.disks.items():
        await sandbox.context.running().disks.adopt(image_id, serial, record.id)
    for serial in record.blocks:
        await sandbox.context.running().blocks.adopt(serial, record.id)
    if record.state is ContainerState.EXITED:
        if status in ("created", "running"):  # Its record cannot be read.
            await sandbox.context.running().client.delete_container(record.id)
    elif status:
        await container.take_back(ContainerState.CREATED if status == "created" else ContainerState.RUNNING)
    else:
        container.keeper.lost("ContainerLost", "the container is not in its machine any more")


async def _drop(sandbox: Sandbox, container: Container) -> None:
    """One that was being made: nobody was told of it."""
    await container.forget()
    del sandbox.containers[container.record.id]

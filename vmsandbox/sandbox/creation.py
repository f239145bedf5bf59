"""Making a container: its disks and volumes, and the request that has the agent make the rest."""

import asyncio
import os
from pathlib import Path

from vmsandbox.model import ContainerConfig, ContainerSecurity, NamespaceMode
from vmsandbox.protocol.codec import JSON
from vmsandbox.protocol.messages import POD_NAMESPACE, CreateContainer
from vmsandbox.sandbox import seccomp, spec
from vmsandbox.sandbox.possible import check_container, user_namespace
from vmsandbox.sandbox.surroundings import Surroundings
from vmsandbox.state import ContainerRecord


async def prepare(around: Surroundings, record: ContainerRecord) -> CreateContainer:
    """Acquire what a container is made of. What fails is left for `give_back`.

    Raises:
        InvalidArgument: its configuration cannot be.
        Unimplemented: it asks for what the guest does not have.
        NotFound: the store does not hold an image.
        VmsandboxError: the host or the guest refuses.
    """
    check_container(record.config, around.config)
    guest, config = around.running(), record.config
    profile = await _seccomp(around, config.security, guest.kernel)
    user = spec.build_user(config, record.image_config)
    serial = await guest.disks.acquire(record.image_id, record.id)
    volumes = await guest.volumes.prepare(record.id, config.mounts)
    mapped = user_namespace(around.config) is not None
    devices = await guest.blocks.prepare(record.id, config.devices, mapped=mapped)
    inputs = spec.SpecInputs(record.id, config, record.image_config, around.hostname, volumes, profile, mapped)
    return CreateContainer(
        container_id=record.id,
        image_serial=serial,
        spec=spec.build_spec(inputs),
        user=user,
        stdin=config.stdin,
        tty=config.tty,
        pid_namespace=_pid_namespace(around, config),
        devices=devices,
        all_devices=config.security.privileged and not mapped,
    )


async def give_back(around: Surroundings, container_id: str) -> None:
    """Remove a container from the guest, and give back its disks and volumes. Succeeds where there is nothing.

    Raises:
        VmsandboxError: the guest, which runs, does not let it go; the call may be repeated.
    """
    guest = around.guest  # It may die meanwhile.
    if guest is not None:
        await guest.client.delete_container(container_id)
    await asyncio.to_thread(around.volumes.release, container_id)
    await around.layout.remove_volumes(container_id)
    if guest is not None:
        await guest.blocks.release_all(container_id)
        await guest.disks.release_all(container_id)
    around.layout.position(container_id).unlink(missing_ok=True)


async def _seccomp(around: Surroundings, security: ContainerSecurity, kernel: str) -> JSON:
    def build() -> JSON:
        return seccomp.build(security, machine=os.uname().machine, kernel=kernel)

    if security.seccomp.kind == "localhost":
        return await around.paths.call(Path(security.seccomp.path), build)
    return await asyncio.to_thread(build)  # reads a file of the host's own


def _pid_namespace(around: Surroundings, config: ContainerConfig) -> str:
    """Whose it joins, for the agent; its own, or the guest's, is the spec's to say."""
    wanted = config.security.namespaces
    if wanted.pid is NamespaceMode.POD:
        return POD_NAMESPACE
    return wanted.target_id if wanted.pid is NamespaceMode.TARGET else ""

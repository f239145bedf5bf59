"""Making a container: its record, its disks and volumes, and the request that has the agent make the rest."""

import asyncio
import os
import secrets
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from vmsandbox import aio
from vmsandbox.errors import AlreadyExists, NotFound
from vmsandbox.images import ImageStore
from vmsandbox.model import ContainerConfig, ContainerSecurity, Image, Mount, NamespaceMode
from vmsandbox.protocol.codec import JSON
from vmsandbox.protocol.messages import NO_IMAGE, POD_NAMESPACE, CreateContainer, GuestDevice
from vmsandbox.sandbox.containers.context import ContainerContext
from vmsandbox.sandbox.spec import (
    MountSource,
    SpecInputs,
    build_seccomp,
    build_spec,
    build_user,
    check_container,
    user_namespace,
)
from vmsandbox.state import ContainerRecord, SandboxRecord
from vmsandbox.telemetry import Step, step


def new_record(
    config: ContainerConfig, sandbox: SandboxRecord, others: Collection[ContainerRecord], images: ImageStore
) -> ContainerRecord:
    """A container with an id of its own, not made yet.

    Args:
        config: what was asked for.
        sandbox: where it is to be.
        others: the containers that are there, also those that are being made.
        images: where its image is.

    Raises:
        AlreadyExists: a container of that name and attempt is there.
        InvalidArgument: its configuration is not valid.
        Unimplemented: it asks for what the guest does not have.
        NotFound: the store does not hold its image; the container whose processes it is to share is not there.
    """
    check_container(config, sandbox.config)
    _check_name_is_free(config, sandbox, others)
    _check_target(config, sandbox, others)
    image = _find_image(config.image, images) if config.image else Image("")
    return ContainerRecord(
        id=secrets.token_hex(16),
        sandbox_id=sandbox.id,
        config=config,
        image_id=image.id,
        image_ref=next(iter(image.repo_digests), image.id),
        image_config=image.config,
        created_at=time.time_ns(),
        log_path=str(Path(sandbox.config.log_directory) / config.log_path) if config.log_path else "",
    )


async def prepare(context: ContainerContext, record: ContainerRecord) -> CreateContainer:
    """Acquire what a container is made of. What fails is left for `give_back`.

    Raises:
        NotFound: the store does not hold an image.
        VmsandboxError: the host or the guest refuses.
    """
    machine, config = context.running(), record.config
    profile = await _seccomp(context, config.security, machine.kernel)
    user = build_user(config, record.image_config)
    mapped = user_namespace(context.config) is not None
    serial = NO_IMAGE
    volumes: list[MountSource] = []
    devices: list[GuestDevice] = []

    async def plug() -> None:
        nonlocal serial
        with step(Step.PLUG):
            if config.image:
                serial = await machine.disks.acquire(record.image_id, record.id)

    async def mount() -> None:
        with step(Step.MOUNT):
            volumes.extend(await machine.volumes.prepare(record.id, (*config.mounts, *_root(config))))

    async def plug_devices() -> None:
        with step(Step.DEVICES):
            devices.extend(await machine.blocks.prepare(record.id, config.devices, mapped=mapped))

    await aio.together(plug(), mount(), plug_devices())
    root = volumes.pop().path if config.root else ""
    inputs = SpecInputs(record.id, config, record.image_config, context.hostname, volumes, profile, mapped)
    return CreateContainer(
        container_id=record.id,
        image_serial=serial,
        spec=build_spec(inputs),
        user=user,
        stdin=config.stdin,
        tty=config.tty,
        pid_namespace=_pid_namespace(context, config),
        devices=tuple(devices),
        all_devices=config.security.privileged and not mapped,
        cpus=config.resources.cpuset_cpus,
        root=root,
    )


async def give_back(context: ContainerContext, container_id: str) -> None:
    """Remove a container from the guest, and give back its disks and volumes. Succeeds where there is nothing.

    Raises:
        VmsandboxError: the guest, which runs, does not let it go; the call may be repeated.
    """
    machine = context.usable  # It may die meanwhile.
    if machine is not None:
        await machine.client.delete_container(container_id)
    await asyncio.to_thread(context.shared_volumes.release, container_id)
    await context.layout.remove_volumes(container_id)
    if machine is not None:
        await machine.blocks.release_all(container_id)
        await machine.disks.release_all(container_id)
    context.layout.position(container_id).unlink(missing_ok=True)


def _find_image(name: str, images: ImageStore) -> Image:
    if (image := images.find(name)) is None:
        raise NotFound(f"image {name} is not in the store", hint=f"vmsandbox image pull {name}")
    return image


def _root(config: ContainerConfig) -> Sequence[Mount]:
    """The root that is a directory of the host, which is shared as a volume is."""
    return (Mount("/", config.root),) if config.root else ()


def _check_name_is_free(config: ContainerConfig, sandbox: SandboxRecord, others: Collection[ContainerRecord]) -> None:
    for other in others:
        if other.config.metadata == config.metadata:
            name, attempt = config.metadata.name, config.metadata.attempt
            raise AlreadyExists(f"sandbox {sandbox.id} has a container {name}, attempt {attempt}: {other.id}")


def _check_target(config: ContainerConfig, sandbox: SandboxRecord, others: Collection[ContainerRecord]) -> None:
    wanted = config.security.namespaces
    if wanted.pid is NamespaceMode.TARGET and wanted.target_id not in {other.id for other in others}:
        raise NotFound(f"sandbox {sandbox.id} has no container {wanted.target_id}, to share processes with")


async def _seccomp(context: ContainerContext, security: ContainerSecurity, kernel: str) -> JSON:
    def build() -> JSON:
        return build_seccomp(security, machine=os.uname().machine, kernel=kernel)

    if security.seccomp.kind == "localhost":
        return await context.paths.call(Path(security.seccomp.path), build)
    return await asyncio.to_thread(build)  # reads a file of the host's own


def _pid_namespace(context: ContainerContext, config: ContainerConfig) -> str:
    """Whose it joins, for the agent; its own, or the guest's, is the spec's to say."""
    wanted = config.security.namespaces
    if wanted.pid is NamespaceMode.POD:
        return POD_NAMESPACE
    return wanted.target_id if wanted.pid is NamespaceMode.TARGET else ""

"""A runtime service and an image store in memory, with the signatures of the real ones (`test_cri_fakes` holds that).

What a caller does is in `calls`. `hang` makes a call wait until it is cancelled, and notes that it was, when it
has undone what it did: `undoing` is how many seconds that takes.
"""

import asyncio
import itertools
import uuid
from collections.abc import AsyncGenerator, Collection
from dataclasses import replace
from pathlib import Path

from tests.fakes.measures import measures
from vmsandbox.errors import FailedPrecondition, InvalidArgument, NotFound, VmsandboxError
from vmsandbox.images.image_store import Usage
from vmsandbox.model import (
    ContainerConfig,
    ContainerEvent,
    ContainerEventKind,
    ContainerState,
    ContainerStatus,
    ContainerUsage,
    ExecResult,
    HostCgroup,
    Image,
    InterfaceUsage,
    MachineDetails,
    MachineProcess,
    MachineUsage,
    PodSandboxConfig,
    RegistryAuth,
    Resources,
    SandboxState,
    SandboxStatus,
    SandboxUsage,
)
from vmsandbox.protocol.messages import ListedProcess
from vmsandbox.sandbox.spec.resources import updated_resources
from vmsandbox.telemetry import outcome
from vmsandbox.telemetry.declared import PULL_SECONDS, PULLS


class FakeImages:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.held: dict[str, Image] = {}
        self.in_registries: dict[str, Image] = {}
        self.auths: list[RegistryAuth | None] = []
        self.error: VmsandboxError | None = None

    async def pull(self, reference: str, auth: RegistryAuth | None = None, progress=None) -> Image:
        self.auths.append(auth)
        with outcome("pull", PULLS, PULL_SECONDS):
            if self.error is not None:
                raise self.error
            if reference not in self.in_registries:
                raise NotFound(f"pulling {reference}: there is no such image", hint="look at its name")
            image = self.in_registries[reference]
            self.held[image.id] = image
            return image

    def list(self) -> tuple[Image, ...]:
        return tuple(self.held.values())

    def find(self, name_or_id: str) -> Image | None:
        if name_or_id.isupper():
            raise InvalidArgument(f"{name_or_id} is not the name of an image")
        return next(
            (image for image in self.held.values() if name_or_id in (image.id, *image.repo_tags, *image.repo_digests)),
            None,
        )

    async def remove(self, name_or_id: str) -> None:
        if image := self.find(name_or_id):
            del self.held[image.id]

    def usage(self) -> Usage:
        return Usage(12345, 6)


class FakeRuntime:
    def __init__(self, images: FakeImages, first_id: int = 1) -> None:
        self.images = images
        self.calls: list[tuple[object, ...]] = []
        self.sandboxes: dict[str, SandboxStatus] = {}
        self.containers: dict[str, ContainerStatus] = {}
        self.hang: set[str] = set()
        self.undoing = 0.0
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.errors: dict[str, BaseException] = {}
        self.unmeasured: set[str] = set()
        """Ids of sandboxes whose machine cannot be measured."""
        self.consoles: dict[str, bytes] = {}
        """The output of each sandbox's guest on its console."""
        self.listeners: list[asyncio.Queue[ContainerEvent]] = []
        self._ids = itertools.count(first_id)
        self._now = itertools.count(1_700_000_000_000_000_000)

    async def run_pod_sandbox(self, config: PodSandboxConfig) -> str:
        await self._enter("run_pod_sandbox", config)
        sandbox_id = f"{next(self._ids):08x}" + "a" * 24
        self.sandboxes[sandbox_id] = SandboxStatus(
            sandbox_id, config, SandboxState.READY, next(self._now), ips=("10.1.2.3", "fd00::3"), kernel="6.12"
        )
        self.publish(ContainerEvent(sandbox_id, sandbox_id, ContainerEventKind.STARTED, next(self._now)))
        return sandbox_id

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        await self._enter("stop_pod_sandbox", sandbox_id)
        if sandbox_id in self.sandboxes:
            was_ready = self.sandboxes[sandbox_id].state is SandboxState.READY
            self.sandboxes[sandbox_id] = replace(self.sandboxes[sandbox_id], state=SandboxState.NOTREADY)
            if was_ready:
                self.publish(ContainerEvent(sandbox_id, sandbox_id, ContainerEventKind.STOPPED, next(self._now)))

    async def end_pod(self, sandbox_id: str, timeout: float) -> None:
        await self._enter("end_pod", sandbox_id, timeout)
        self.pod_sandbox_status(sandbox_id)
        for container in list(self.containers.values()):
            if container.sandbox_id == sandbox_id and container.state is ContainerState.RUNNING:
                self.end(container.id, 143)
        await self.stop_pod_sandbox(sandbox_id)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        await self._enter("remove_pod_sandbox", sandbox_id)
        self.sandboxes.pop(sandbox_id, None)
        self.containers = {key: value for key, value in self.containers.items() if value.sandbox_id != sandbox_id}
        self.publish(ContainerEvent(sandbox_id, sandbox_id, ContainerEventKind.DELETED, next(self._now)))

    def pod_sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        try:
            return self.sandboxes[sandbox_id]
        except KeyError:
            raise NotFound(f"there is no sandbox {sandbox_id}") from None

    async def machine_details(self, sandbox_id: str) -> MachineDetails:
        await self._enter("machine_details", sandbox_id)
        self.pod_sandbox_status(sandbox_id)
        name, identity = f"vmsandbox-{sandbox_id}", str(uuid.UUID(sandbox_id))
        cgroup, pod = f"/kubepods/pod1/vmsandbox-{sandbox_id}", "/kubepods/pod1"
        return MachineDetails(
            name,
            identity,
            "qemu:///system",
            400 << 20,
            71,
            (
                MachineProcess(71, "qemu-system-x86", cgroup, 999),
                MachineProcess(72, "virtiofsd", cgroup, 999),
                MachineProcess(73, "vhost-device-vs", cgroup, 999),
            ),
            (
                HostCgroup(cgroup, 198 << 20, 837 << 20, 2.0, 204, None, 14, 513),
                HostCgroup(pod, 198 << 20, 512 << 20, None, 204, None, 14, None),
            ),
        )

    def list_pod_sandboxes(self) -> tuple[SandboxStatus, ...]:
        return tuple(self.sandboxes.values())

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        await self._enter("create_container", sandbox_id, config)
        self.pod_sandbox_status(sandbox_id)
        image = self.images.find(config.image)
        if image is None:
            raise NotFound(f"image {config.image} is not in the store", hint=f"vmsandbox image pull {config.image}")
        container_id = f"{next(self._ids):08x}" + "c" * 24
        self.containers[container_id] = ContainerStatus(
            container_id,
            sandbox_id,
            config,
            ContainerState.CREATED,
            next(self._now),
            image.id,
            next(iter(image.repo_digests), image.id),
            log_path=f"/var/log/pods/{config.log_path}" if config.log_path else "",
        )
        return container_id

    async def join_network(self, sandbox_id: str, source: Path) -> None:
        await self._enter("join_network", sandbox_id, source)
        self.pod_sandbox_status(sandbox_id)

    async def start_container(self, container_id: str) -> None:
        await self._enter("start_container", container_id)
        status = self.container_status(container_id)
        if status.state is not ContainerState.CREATED:
            raise FailedPrecondition(f"cannot start container {container_id}: it is {status.state.value}")
        self.change(container_id, state=ContainerState.RUNNING, started_at=next(self._now))
        self.publish(ContainerEvent(container_id, status.sandbox_id, ContainerEventKind.STARTED, next(self._now)))

    async def stop_container(self, container_id: str, timeout: float) -> None:
        await self._enter("stop_container", container_id, timeout)
        if container_id in self.containers:
            self.end(container_id, 137)

    async def read_console(self, sandbox_id: str, position: int) -> tuple[str, int]:
        await self._enter("read_console", sandbox_id, position)
        self.pod_sandbox_status(sandbox_id)
        console = self.consoles.get(sandbox_id, b"")
        return console[position:].decode(errors="replace"), len(console)

    async def signal_container(self, container_id: str, signal: str, *, everyone: bool = False) -> None:
        await self._enter("signal_container", container_id, signal, *(["everyone"] if everyone else []))
        if signal == "NOPE":
            raise InvalidArgument("there is no signal 'NOPE'")
        if self.container_status(container_id).state is not ContainerState.RUNNING:
            raise FailedPrecondition(f"cannot send a signal to container {container_id}: it has ended")

    async def freeze_container(self, container_id: str, *, frozen: bool) -> None:
        await self._enter("freeze_container", container_id, frozen)
        if self.container_status(container_id).state is ContainerState.EXITED:
            raise FailedPrecondition(f"cannot pause or resume container {container_id}: it has ended")

    async def list_processes(self, container_id: str) -> tuple[ListedProcess, ...]:
        await self._enter("list_processes", container_id)
        self.container_status(container_id)
        return (
            ListedProcess(1, 0, 0, 1_700_000_000_000_000_000, 3_661_000_000_000, "sh -c sleep 9"),
            ListedProcess(7, 1, 33, 1_700_000_000_000_000_000, 0, "sleep 9"),
        )

    async def remove_container(self, container_id: str) -> None:
        await self._enter("remove_container", container_id)
        self.containers.pop(container_id, None)

    def container_status(self, container_id: str) -> ContainerStatus:
        try:
            return self.containers[container_id]
        except KeyError:
            raise NotFound(f"there is no container {container_id}") from None

    def list_containers(self) -> tuple[ContainerStatus, ...]:
        return tuple(self.containers.values())

    async def exec_sync(self, container_id: str, command: tuple[str, ...], timeout: float) -> ExecResult:
        await self._enter("exec_sync", container_id, command, timeout)
        self.container_status(container_id)
        return ExecResult(" ".join(command).encode(), b"\xff", 3)

    async def update_container_resources(self, container_id: str, resources: Resources) -> None:
        await self._enter("update_container_resources", container_id, resources)
        config = self.containers[container_id].config
        changed = updated_resources(config.resources, resources)
        self.change(container_id, config=replace(config, resources=changed))

    async def update_pod_sandbox_resources(self, sandbox_id: str, resources: Resources, overhead: Resources) -> None:
        await self._enter("update_pod_sandbox_resources", sandbox_id, resources, overhead)

    async def measure_pod_sandbox(self, sandbox_id: str) -> SandboxUsage:
        await self._enter("measure_pod_sandbox", sandbox_id)
        if self.pod_sandbox_status(sandbox_id).state is not SandboxState.READY:
            raise FailedPrecondition(f"cannot measure sandbox {sandbox_id}: it is notready")
        machine = MachineUsage(next(self._now), 9_000_000, 65536, 32768, 12, 2)
        return SandboxUsage(machine, InterfaceUsage(next(self._now), "eth0", 3000, 30, 1, 2, 2000, 20, 4, 3))

    async def measure_pod_sandboxes(self, sandbox_ids: Collection[str]) -> dict[str, SandboxUsage]:
        await self._enter("measure_pod_sandboxes", frozenset(sandbox_ids))
        ready = {each.id for each in self.sandboxes.values() if each.state is SandboxState.READY}
        return {each: await self.measure_pod_sandbox(each) for each in (ready - self.unmeasured) & set(sandbox_ids)}

    async def measure_containers(self, sandbox_ids: Collection[str]) -> dict[str, ContainerUsage]:
        await self._enter("measure_containers", frozenset(sandbox_ids))
        return {
            status.id: ContainerUsage(next(self._now), measures(status.id))
            for status in self.containers.values()
            if status.sandbox_id in sandbox_ids and status.state is ContainerState.RUNNING
        }

    async def facts(self) -> dict[str, object]:
        return {
            "hypervisor": "libvirt 9.0.0, QEMU 7.2.22",
            "accelerators": {"": "kvm", "small": "tcg"},
            "guestImage": "/var/cache/vmsandbox/guest-image/0123",
            "agentBuild": "0123",
            "imageDirectory": str(self.images.directory),
        }

    async def reopen_container_log(self, container_id: str) -> None:
        self.calls.append(("reopen_container_log", container_id))
        if self.container_status(container_id).state is not ContainerState.RUNNING:
            raise FailedPrecondition(f"container {container_id} does not run")

    def events(self) -> AsyncGenerator[ContainerEvent, None]:
        queue: asyncio.Queue[ContainerEvent] = asyncio.Queue()
        self.listeners.append(queue)
        return self._listen(queue)

    def end(self, container_id: str, exit_code: int) -> None:
        """The container's process ends by itself, or was killed."""
        status = self.change(
            container_id,
            state=ContainerState.EXITED,
            exit_code=exit_code,
            reason="Error" if exit_code else "Completed",
            finished_at=next(self._now),
        )
        self.publish(ContainerEvent(container_id, status.sandbox_id, ContainerEventKind.STOPPED, next(self._now)))

    def change(self, container_id: str, **changes) -> ContainerStatus:
        self.containers[container_id] = replace(self.containers[container_id], **changes)
        return self.containers[container_id]

    def publish(self, event: ContainerEvent) -> None:
        for queue in self.listeners:
            queue.put_nowait(event)

    async def _listen(self, queue: asyncio.Queue[ContainerEvent]) -> AsyncGenerator[ContainerEvent, None]:
        try:
            while True:
                yield await queue.get()
        finally:
            self.listeners.remove(queue)

    async def _enter(self, name: str, *arguments: object) -> None:
        self.calls.append((name, *arguments))
        if name in self.errors:
            raise self.errors[name]
        if name in self.hang:
            self.begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(self.undoing)
                self.cancelled.set()
                raise

"""Which containers share a machine: those of a pod, and those that join namespaces of each other.

Nothing is kept here that could be lost with the daemon: pods and containers are the service's, and the processes on the
host connect again.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakValueDictionary

from vmsandbox.errors import NotFound, Unimplemented
from vmsandbox.model import ContainerStatus, PodSandboxMetadata, SandboxStatus
from vmsandbox.oci import host_namespaces
from vmsandbox.oci.host_namespaces import Identity
from vmsandbox.oci.membership import Membership, membership
from vmsandbox.service import RuntimeService

NAMESPACE = "oci"
"""The Kubernetes namespace that the pods of this door have in lists."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container is to be."""

    pod: PodSandboxMetadata
    """Names the machine: by the caller's id of the sandbox or container that it is made for, and its root directory."""
    sandbox: SandboxStatus | None = None
    """The machine that is there; None: it is to be made."""
    shared: frozenset[str] = frozenset()
    """The types of namespaces that the container joins and the machine has; also "pid", where all of a pod share it."""
    processes_of: str = ""
    """The daemon's id of the container whose processes it shares."""
    membership: Membership = field(default_factory=Membership)


class Pods:
    """Knows who shares a machine; the service is the caller's."""

    def __init__(self, service: RuntimeService) -> None:
        """Know of no process on the host yet."""
        self._service = service
        self._processes: dict[str, int] = {}
        self._locks: WeakValueDictionary[PodSandboxMetadata, asyncio.Lock] = WeakValueDictionary()

    @contextlib.contextmanager
    def process(self, container_id: str, pid: int) -> Iterator[None]:
        """Know the process that stands for a container on the host, while the context lasts."""
        self._processes[container_id] = pid
        try:
            yield
        finally:
            if self._processes.get(container_id) == pid:
                del self._processes[container_id]

    def has_process(self, container_id: str) -> bool:
        """Tell whether the process that stands for a container is connected."""
        return container_id in self._processes

    def lock(self, pod: PodSandboxMetadata) -> asyncio.Lock:
        """Return the lock under which containers are put into a pod's machine, and the last one takes it along."""
        return self._locks.setdefault(pod, asyncio.Lock())

    async def pod_of(self, container_id: str, root: str, config: Mapping[str, Any]) -> PodSandboxMetadata:
        """Return what names the machine that a container is to be in. Raises as `place`."""
        found = membership(container_id, config.get("annotations") or {})
        if not found.pod and (owner := self._owner(await self._joined(config))):
            return self._service.pod_sandbox_status(owner.sandbox_id).config.metadata
        pod = PodSandboxMetadata(found.pod or container_id, root, NAMESPACE)
        while not found.pod and self.find(pod):  # Others are still in the machine of its former life.
            pod = replace(pod, attempt=pod.attempt + 1)
        return pod

    async def place(self, pod: PodSandboxMetadata, container_id: str, config: Mapping[str, Any]) -> Place:
        """Find the place of a container, under the pod's lock.

        Raises:
            NotFound: a namespace that it joins is gone; the sandbox of its pod is not in a machine.
            Unimplemented: it joins namespaces of the host, or of several machines.
            InvalidArgument: its annotations contradict themselves.
        """
        found, joined = membership(container_id, config.get("annotations") or {}), await self._joined(config)
        sandbox = self.find(pod)
        if found.is_sandbox or (sandbox is None and not found.pod):
            return Place(pod, membership=found)
        if sandbox is None:
            _require_no_sandbox(found, config)
        shares_processes = sandbox is not None and sandbox.config.lasting
        shared = frozenset(joined) - (set() if shares_processes else {"pid"})
        if not found.pod:
            owners = {kind: self._owner({kind: joined[kind]}) for kind in shared}
            shared = frozenset(kind for kind, owner in owners.items() if _is_in(owner, sandbox))
        processes = self._owner({kind: joined[kind] for kind in joined if kind == "pid"})
        if processes is not None and not _is_in(processes, sandbox):
            raise Unimplemented("the container joins namespaces of several machines", field="linux.namespaces")
        return Place(pod, sandbox, shared, processes.id if processes else "", found)

    def ends_machine(self, container: ContainerStatus) -> bool:
        """Whether a machine ends with the removal of a container: it is the pod's sandbox, or the last one."""
        others = self._others(container)
        return not others or self._is_sandbox(container, others)

    def is_lasting(self, sandbox_id: str) -> bool:
        """Whether a machine is of a pod that its caller ends (`PodSandboxConfig.lasting`). Raises NotFound."""
        return self._service.pod_sandbox_status(sandbox_id).config.lasting

    def ending_with(self, container_id: str) -> list[str]:
        """Return the containers that end because a container has ended: it was the sandbox of their pod."""
        try:
            container = self._service.container_status(container_id)
        except NotFound:
            return []
        others = self._others(container)
        return [each.id for each in others] if self._is_sandbox(container, others) else []

    def find(self, pod: PodSandboxMetadata) -> SandboxStatus | None:
        """Return the machine of a pod, which may have ended; None: there is none."""
        every = self._service.list_pod_sandboxes()
        return next((status for status in every if status.config.metadata == pod), None)

    def _others(self, container: ContainerStatus) -> list[ContainerStatus]:
        every = self._service.list_containers()
        return [each for each in every if each.sandbox_id == container.sandbox_id and each.id != container.id]

    def _is_sandbox(self, container: ContainerStatus, others: list[ContainerStatus]) -> bool:
        own_id = container.config.metadata.name
        named = {membership(each.config.metadata.name, each.config.annotations).pod for each in (container, *others)}
        return own_id in named

    def _owner(self, joined: Mapping[str, Identity]) -> ContainerStatus | None:
        """Return a container whose process on the host is in one of these namespaces."""
        for container_id, pid in self._processes.items():
            if joined.items() & host_namespaces.namespaces_of(pid).items():
                with contextlib.suppress(NotFound):
                    return self._service.container_status(container_id)
        return None

    async def _joined(self, config: Mapping[str, Any]) -> dict[str, Identity]:
        return await asyncio.to_thread(host_namespaces.joined_namespaces, config)


def _is_in(container: ContainerStatus | None, sandbox: SandboxStatus | None) -> bool:
    return container is not None and sandbox is not None and container.sandbox_id == sandbox.id


def _require_no_sandbox(found: Membership, config: Mapping[str, Any]) -> None:
    """Raise NotFound unless the pod has no sandbox container: its namespaces are then kept by files (CRI-O)."""
    namespaces = (config.get("linux") or {}).get("namespaces") or ()
    if found.needs_sandbox or any(str(each.get("path") or "").startswith("/proc/") for each in namespaces):
        raise NotFound(
            f"the sandbox {found.pod} of the pod is not in a machine",
            hint="it was removed, or another runtime has it: all containers of a pod need one runtime",
        )

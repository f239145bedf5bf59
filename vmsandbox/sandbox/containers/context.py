"""The context that the containers of one sandbox share."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from vmsandbox import log
from vmsandbox.errors import Cancelled, Unavailable, VmsandboxError
from vmsandbox.fs.foreign import ForeignPaths
from vmsandbox.guest import GuestClient
from vmsandbox.model import ContainerEvent, PodSandboxConfig
from vmsandbox.sandbox.files import SandboxDirectories, SharedVolumes
from vmsandbox.sandbox.machines import Host, Machine, RunningMachine
from vmsandbox.sandbox.spec import hostname_of
from vmsandbox.state import ContainerRecord, State


@dataclass(slots=True)
class ContainerContext:
    """The sandbox owns it, and sets `machine` from the machine's start to its stop."""

    sandbox_id: str
    config: PodSandboxConfig
    layout: SandboxDirectories
    state: State
    publish: Callable[[ContainerEvent], None]
    machine: RunningMachine | None = None
    paths: ForeignPaths = field(default_factory=ForeignPaths)
    """Calls on paths of volumes, logs and profiles: they may hang."""
    gone: str = ""
    """Why its machine is of no use any more; empty while it is."""
    ending: bool = False
    """Whether all containers are asked to end: then none is made or started."""
    shared_volumes: SharedVolumes = field(init=False)

    def __post_init__(self) -> None:
        """The volumes are those of the layout."""
        self.shared_volumes = SharedVolumes(self.layout)

    @property
    def hostname(self) -> str:
        """The hostname of the pod."""
        return hostname_of(self.config)

    @property
    def pod(self) -> str:
        """The pod as log lines name it."""
        metadata = self.config.metadata
        return f"pod {metadata.namespace}/{metadata.name} ({self.sandbox_id})"

    def subject(self, container: ContainerRecord | None = None) -> log.Subject:
        """The pod, or one of its containers, for messages that are about it."""
        pod = self.config.metadata
        subject = log.Subject(self.sandbox_id, pod.name, pod.namespace, pod.uid)
        if container is None:
            return subject
        return replace(subject, container_id=container.id, container=container.config.metadata.name)

    def require_lasting(self) -> None:
        """Raise Cancelled while the sandbox's containers are asked to end."""
        if self.ending:
            raise Cancelled(f"sandbox {self.sandbox_id} is being stopped")

    @property
    def usable(self) -> RunningMachine | None:
        """The machine, as long as it is of use."""
        return None if self.gone else self.machine

    def adopt(
        self,
        host: Host,
        machine: Machine,
        client: GuestClient,
        vcpus: int,
        on_failure: Callable[[VmsandboxError], None],
    ) -> RunningMachine:
        """Have a machine, and watch it; its containers end with it. Arguments: as of `RunningMachine`."""
        self.machine = RunningMachine(
            host,
            self.sandbox_id,
            self.config,
            machine=machine,
            client=client,
            shared=self.shared_volumes,
            paths=self.paths,
            vcpus=vcpus,
            on_failure=on_failure,
        )
        self.gone = ""
        return self.machine

    def running(self) -> RunningMachine:
        """Return the machine. Raises Unavailable when it is gone."""
        if (machine := self.usable) is None:
            reason = f": {self.gone}" if self.gone else ""
            raise Unavailable(f"the machine of sandbox {self.sandbox_id} does not run any more{reason}")
        return machine

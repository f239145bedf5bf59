"""The context that the containers of one sandbox share."""

from collections.abc import Callable
from dataclasses import dataclass, field

from vmsandbox.errors import Unavailable
from vmsandbox.fs.foreign import ForeignPaths
from vmsandbox.guest import GuestClient
from vmsandbox.model import ContainerEvent, PodSandboxConfig
from vmsandbox.sandbox.blocks import BlockDisks
from vmsandbox.sandbox.files import ImageDisks, SandboxDirectories, SharedVolumes, Volumes
from vmsandbox.sandbox.spec import hostname_of
from vmsandbox.state import State


@dataclass(frozen=True, slots=True)
class Guest:
    """The ways into a machine that runs."""

    client: GuestClient
    disks: ImageDisks
    volumes: Volumes
    blocks: BlockDisks
    kernel: str
    """Release of its kernel."""


@dataclass(slots=True)
class ContainerContext:
    """The sandbox owns it, and sets `guest` for as long as its machine is of use."""

    sandbox_id: str
    config: PodSandboxConfig
    layout: SandboxDirectories
    state: State
    publish: Callable[[ContainerEvent], None]
    guest: Guest | None = None
    paths: ForeignPaths = field(default_factory=ForeignPaths)
    """Calls on paths of volumes, logs and profiles: they may hang."""
    gone: str = ""
    """Why its machine is of no use any more."""
    volumes: SharedVolumes = field(init=False)

    def __post_init__(self) -> None:
        """The volumes are those of the layout."""
        self.volumes = SharedVolumes(self.layout)

    @property
    def hostname(self) -> str:
        """The hostname of the pod."""
        return hostname_of(self.config)

    def running(self) -> Guest:
        """The guest. Raises Unavailable when it is gone."""
        if self.guest is None:
            reason = f": {self.gone}" if self.gone else ""
            raise Unavailable(f"the machine of sandbox {self.sandbox_id} does not run any more{reason}")
        return self.guest

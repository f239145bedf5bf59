"""A host without a machine, a root user or a network: the real runtime service runs on it, against fake agents.

What survives the death of the daemon lives in `FakeWorld`; a `Host` is made from it for each daemon.
"""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from typing_extensions import override

from tests.fakes.agent import FakeAgent
from tests.fakes.block_nodes import FakeBlockNodes
from tests.fakes.hypervisor import FakeHypervisor
from tests.fakes.network import FakeNetwork
from tests.fakes.runtime import FakeImages
from tests.fakes.transport import UnixTransport
from tests.support.waiting import hanging
from vmsandbox import aio
from vmsandbox.claims import MachineUsers, UserRange
from vmsandbox.config import LimitsConfig, MachineConfig, PoolConfig, TemplateChoice
from vmsandbox.errors import FailedPrecondition, NotFound, VmsandboxError
from vmsandbox.hypervisor import Accelerator, GuestImage, MachineSpec
from vmsandbox.images import RootImage
from vmsandbox.model import ContainerConfig, ContainerMetadata, Image, ImageConfig, PodSandboxConfig, PodSandboxMetadata
from vmsandbox.process import Account, ProcessIdentity
from vmsandbox.protocol.messages import CreateContainer
from vmsandbox.sandbox.blocks.nodes import SHARE, BlockNodes
from vmsandbox.sandbox.files.directories import SandboxDirectories
from vmsandbox.sandbox.machines.cgroups import CgroupLimits, MachineCgroups
from vmsandbox.sandbox.machines.host import Host
from vmsandbox.sandbox.machines.templates import Templates
from vmsandbox.sandbox.spec.machine_plan import MachineProfile
from vmsandbox.service import RuntimeService
from vmsandbox.state import State
from vmsandbox.typed_yaml import Size

MIB = 1024 * 1024
IMAGE = Image("sha256:" + "1" * 64, ("localhost/app:1",), config=ImageConfig(cmd=("run",)))


class HoldingImages(FakeImages):
    """Images whose root images can be held; `holders` counts those who do, by image id."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.holders: dict[str, int] = {}
        self.root = directory / "root.img"
        self.root.touch()

    @contextlib.asynccontextmanager
    async def hold(self, name_or_id: str) -> AsyncIterator[RootImage]:
        image = self.find(name_or_id)
        if image is None:
            raise NotFound(f"there is no image {name_or_id}")
        self.holders[image.id] = self.holders.get(image.id, 0) + 1
        try:
            yield RootImage(self.root, f"serial-{image.id[7:12]}", "squashfs", 1)
        finally:
            self.holders[image.id] -= 1
            if not self.holders[image.id]:
                del self.holders[image.id]


class FakeTransports:
    """Each transport leads to a fake agent of its own, which `prepare` may script before it is dialled."""

    def __init__(self, directory: Path) -> None:
        self.agents: dict[str, FakeAgent] = {}
        self.ways: dict[str, UnixTransport] = {}
        self.prepare: Callable[[FakeAgent], None] = lambda agent: None
        self.start_error: VmsandboxError | None = None
        self.before_start: Callable[[], Awaitable[None]] | None = None
        self._directory = directory
        self._starts: Counter[str] = Counter()
        self._stack = contextlib.AsyncExitStack()

    async def start(self, sandbox_id: str, directory: Path, users: MachineUsers) -> UnixTransport:
        assert directory.parent.is_dir() and users.qemu.uid != users.vsock.uid
        if self.before_start is not None:
            await self.before_start()
        if self.start_error is not None:
            raise self.start_error
        self._starts[sandbox_id] += 1
        place = self._place(sandbox_id)
        place.mkdir(parents=True)
        agent = FakeAgent(place)
        self.prepare(agent)
        self._stack.push_async_exit(agent)
        self.agents[sandbox_id] = agent
        await aio.to_its_end(agent.listen())
        way = self.ways[sandbox_id] = UnixTransport(place)
        return way

    def reopen(self, sandbox_id: str, directory: Path) -> UnixTransport:
        if sandbox_id not in self.agents:
            raise FailedPrecondition(f"the vsock daemon of sandbox {sandbox_id} has ended")
        return UnixTransport(self._place(sandbox_id))

    def stop(self, sandbox_id: str, directory: Path) -> None:
        self.agents.pop(sandbox_id, None)
        self.ways.pop(sandbox_id, None)

    async def aclose(self) -> None:
        await self._stack.aclose()

    def _place(self, sandbox_id: str) -> Path:
        return self._directory / f"{sandbox_id[:8]}.{self._starts[sandbox_id]}"

    def secret_port(self, sandbox_id: str) -> Path:
        """Where the agent of a sandbox takes its machine's secret."""
        return self._place(sandbox_id) / "secret"


class FakeCgroups(MachineCgroups):
    """Remembers the limits of the machines that have some; a test makes setting them fail."""

    def __init__(self) -> None:
        super().__init__("", Path("/nowhere"))
        self.confined: dict[str, MachineSpec] = {}
        self.limits: dict[str, CgroupLimits] = {}
        """The last limits of the machines that were resized."""
        self.confine_error: VmsandboxError | None = None
        self.pods: dict[str, PodSandboxConfig] = {}
        """The pods that the machines are charged to."""
        self.scores: dict[str, int] = {}
        """The last scores that machines were given."""
        self.beyond_memory: set[str] = set()
        """The sandboxes of whose machines the kernel has killed a process."""
        self.servers: dict[str, list[ProcessIdentity]] = {}
        """The virtiofsd of sandboxes that have another one than this process, which does not end."""

    @override
    async def confine(self, sandbox_id: str, spec: MachineSpec, users: MachineUsers, pod: PodSandboxConfig) -> None:
        if self.confine_error is not None:
            raise self.confine_error
        self.confined[sandbox_id] = spec
        self.pods[sandbox_id] = pod

    @override
    async def join(self, sandbox_id: str, spec: MachineSpec, users: MachineUsers, pod: PodSandboxConfig) -> None:
        self.confined[sandbox_id] = spec

    @override
    async def move(self, sandbox_id: str, spec: MachineSpec, users: MachineUsers, pod: PodSandboxConfig) -> None:
        await self.confine(sandbox_id, spec, users, pod)

    @override
    async def resize(self, sandbox_id: str, limits: CgroupLimits) -> None:
        self.limits[sandbox_id] = limits

    @override
    async def score(self, sandbox_id: str, score: int) -> None:
        self.scores[sandbox_id] = score

    @override
    async def file_servers(self, served: Path) -> list[ProcessIdentity]:
        this = ProcessIdentity.of(os.getpid())
        assert this is not None
        return self.servers.get(served.parent.name, [this])

    @override
    def killed(self, sandbox_id: str) -> str:
        return "beyond the machine's memory limit" if sandbox_id in self.beyond_memory else ""

    @override
    async def remove(self, sandbox_id: str) -> None:
        self.confined.pop(sandbox_id, None)


@dataclass(frozen=True, slots=True)
class FakeLayout(SandboxDirectories):
    """Files without mounts. The fake agent takes the secret, on a socket with a short name."""

    transports: FakeTransports

    @property
    def secret(self) -> Path:
        return self.transports.secret_port(self.runtime.name)

    def make(self) -> None:
        for directory in (self.share, self.persistent):
            directory.mkdir(parents=True)

    async def make_scratch(self, size: int, owner: Account) -> None:
        self.scratch.touch()


@dataclass(frozen=True, slots=True)
class FakeHost(Host):
    def device_directories(self) -> list[Path]:
        return [*self.run_directory.glob("*/devices")]

    def block_nodes(self, sandbox_id: str, config: PodSandboxConfig) -> BlockNodes:
        directory, shared = self.layout(sandbox_id).devices, config.annotations.get(SHARE) == "true"
        return FakeBlockNodes(
            directory,
            lambda: self.users.of(sandbox_id).qemu,
            self.device_directories,
            self.run_directory / "devices.lock",
            shared=shared,
        )

    def layout(self, sandbox_id: str) -> SandboxDirectories:
        transports: FakeTransports = self.transports  # type: ignore[assignment]
        return FakeLayout(self.runtime_directory / sandbox_id, self.persistent_directory / sandbox_id, transports)


class FakeWorld:
    """All but the daemon."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("run", "lib", "images"):
            (directory / name).mkdir()
        self.guest_image = directory / "guest.img"
        self.guest_image.touch()
        self.hypervisor = FakeHypervisor()
        self.network = FakeNetwork()
        self.cgroups = FakeCgroups()
        self.users = UserRange(directory / "users", range(1_800_003_000, 1_800_004_000), 0)
        self.transports = FakeTransports(directory / "a")
        self.debug = False
        """Whether commands may run in guests."""
        self.images = HoldingImages(directory / "images")
        self.images.held[IMAGE.id] = IMAGE

    def host(
        self,
        state: State,
        *,
        memory_budget: int = 0,
        boots_in_parallel: int = 0,
        template: TemplateChoice = TemplateChoice.OFF,
        pool: PoolConfig = PoolConfig(),  # noqa: B008 - frozen
    ) -> Host:
        image = self.guest_image
        memory, overhead = Size(64 * MIB), Size(32 * MIB)
        machine = MachineConfig(
            memory=memory,
            overhead=overhead,
            boot_memory=memory,
            scratch_size=Size(1),
            boot_deadline=10,
            debug=self.debug,
            template=template,
            pool=pool,
        )
        profile = MachineProfile(machine, Accelerator.KVM)
        return FakeHost(
            state=state,
            hypervisor=self.hypervisor,
            network=self.network,
            transports=self.transports,  # type: ignore[arg-type]
            images=self.images,  # type: ignore[arg-type]
            guest_image=GuestImage(image, image, image, "", "test-build"),
            profiles={"": profile, "large": profile},
            runtime_directory=self.directory / "run",
            persistent_directory=self.directory / "lib",
            users=self.users,
            templates=Templates(self.directory / "templates", self.hypervisor),
            cgroups=self.cgroups,
            run_directory=self.directory / "run",
            stays=True,
            limits=LimitsConfig(Size(memory_budget), boots_in_parallel),
        )

    @contextlib.asynccontextmanager
    async def daemon(
        self, *, memory_budget: int = 1024 * MIB, settled: bool = True, **more: Any
    ) -> AsyncIterator[RuntimeService]:
        """A daemon on the state database that the ones before have left.

        Args:
            memory_budget: as of `host`.
            settled: whether it has taken all sandboxes back.
            more: as of `host`.
        """
        with State(self.directory / "state.db") as state:
            service = RuntimeService(self.host(state, memory_budget=memory_budget, **more))
            service.recover()
            async with service.running():
                if settled:
                    await service.recovered()
                yield service

    def change(self, kind: type, key: str, **changes: Any) -> None:
        """Write a record as a daemon killed at another moment would have left it."""
        with State(self.directory / "state.db") as state:
            record = next(record for record in state.all(kind) if record.id == key)
            state.put(key, replace(record, **changes))

    def left(self) -> list[object]:
        """Return the resources that sandboxes have acquired and not given back."""
        files = [*(self.directory / "run").iterdir(), *(self.directory / "lib").iterdir()]
        return [
            *self.hypervisor.machines, *self.network.attached(), *self.transports.agents, *files, *self.images.holders,
            *(self.directory / "users").glob("[0-9]*"), *self.cgroups.confined,
        ]  # fmt: skip


def pod(name: str = "web", attempt: int = 0, **more: object) -> PodSandboxConfig:
    return PodSandboxConfig(PodSandboxMetadata(name, f"uid-{name}", "default", attempt), **more)  # type: ignore[arg-type]


def app(name: str = "app", attempt: int = 0, **more: object) -> ContainerConfig:
    return ContainerConfig(ContainerMetadata(name, attempt), IMAGE.id, **more)  # type: ignore[arg-type]


async def running(service: RuntimeService, sandbox_id: str, **more: object) -> str:
    """Make a container and start it; return its id."""
    container_id = await service.create_container(sandbox_id, app(**more))
    await service.start_container(container_id)
    return container_id


def agent_of(world: FakeWorld, sandbox_id: str) -> FakeAgent:
    """The agent of a sandbox."""
    return world.transports.agents[sandbox_id]


def made(world: FakeWorld, sandbox_id: str) -> CreateContainer:
    """The last container that the agent was asked to make."""
    return [r for r in agent_of(world, sandbox_id).requests if isinstance(r, CreateContainer)][-1]


def hang_at(world: FakeWorld, step: str) -> asyncio.Event:
    """Have the boot wait at a step; the event tells that it does."""
    reached, hang = hanging()
    if step == "network":
        world.network.set_up = hang  # type: ignore[method-assign]
    elif step == "transport":
        world.transports.before_start = hang
    elif step == "machine":
        world.hypervisor.create = hang  # type: ignore[method-assign]
    elif step == "configure":
        world.transports.prepare = lambda agent: agent.before.update(configure_guest=hang)
    else:

        def silent(agent: FakeAgent) -> None:
            agent._serve_controller = hang

        world.transports.prepare = silent
    return reached


def tasks_of_sandboxes() -> list[str]:
    """The names of those that still run."""
    names = (task.get_name() for task in asyncio.all_tasks())
    return [name for name in names if name.startswith(("session", "machine", "watch", "clock", "output", "end"))]

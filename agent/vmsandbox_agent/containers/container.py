"""One container: its bundle, its process and its execs, from `crun create` to `crun delete`."""

import asyncio
import contextlib
import signal
from dataclasses import replace
from pathlib import Path

from vmsandbox.protocol.codec import JSON
from vmsandbox.protocol.messages import (
    POD_NAMESPACE,
    CreateContainer,
    Exec,
    ListedProcess,
    Measures,
    OciState,
    ProcessUser,
    UpdateResources,
)
from vmsandbox_agent import console, oom_scores
from vmsandbox_agent.containers import devices
from vmsandbox_agent.containers.bundle import Bundle
from vmsandbox_agent.containers.context import AgentContext
from vmsandbox_agent.containers.crun import Fds
from vmsandbox_agent.containers.declared import make_declared
from vmsandbox_agent.containers.launching import Launch
from vmsandbox_agent.containers.limits import checked_cpus, require_memory
from vmsandbox_agent.containers.process import Process
from vmsandbox_agent.containers.sources import staged, volume_opened
from vmsandbox_agent.containers.spec import (
    Completion,
    cgroup_path,
    complete_process,
    complete_spec,
    has_own_pids,
    oom_score,
    resolve_mounts,
    used_images,
)
from vmsandbox_agent.containers.users import resolve_user
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.measures import Cgroup, ThrashingWatch, WritableLayer, file_system
from vmsandbox_agent.timing import part


class CrunContainer:
    """A container that exists. `lock` is held by whoever changes its state."""

    def __init__(self, context: AgentContext, container_id: str) -> None:
        """Name it; `create` makes it."""
        self._context = context
        self.id = container_id
        self.lock = asyncio.Lock()
        self.images: frozenset[str] = frozenset()
        """Serials of the images that it has as its root, or mounted."""
        self.disks: frozenset[str] = frozenset()
        """Serials of the disks that it has as devices."""
        self.cpus = ""
        """The CPUs of the host that it may use; empty: all."""
        self.execs: dict[str, Process] = {}
        self._bundle = Bundle.of(context.settings, container_id)
        self._layer = WritableLayer(context.counter, self._bundle.upper)
        self._cgroup_path = ""
        self._cgroup = Cgroup(context.settings.cgroups)
        self._watch = ThrashingWatch(f"container {container_id}", self._cgroup)
        self._user: ProcessUser | None = None
        self._process: Process | None = None
        self._started = False
        self._oom_score = 0

    @property
    def process(self) -> Process:
        """The first process of the container. Raises AgentError until it is created."""
        if self._process is None:
            raise AgentError("failed_precondition", f"container {self.id} is not created yet")
        return self._process

    @property
    def state(self) -> OciState:
        """The container's state for the host."""
        process = self.process
        if process.exit_code is not None:
            return OciState(self.id, "stopped", process.pid, process.exit_code)
        return OciState(self.id, "running" if self._started else "created", process.pid)

    @property
    def ended(self) -> bool:
        """Whether its first process has ended, and so all others with it."""
        return self._process is not None and not self._process.running

    @property
    def exists(self) -> bool:
        """Whether `create` has succeeded."""
        return self._process is not None

    async def create(self, request: CreateContainer, joined: Path | None = None) -> ProcessUser:
        """Make the root, the bundle and the process; tells who it runs as. On failure or cancellation nothing is left.

        Args:
            request: the host's.
            joined: the PID namespace that it asks for, where that is another container's.
        """
        self.images = used_images(request, self._context.settings.images)
        self.disks = frozenset(device.disk for device in request.devices if device.disk)
        try:
            request = replace(request, devices=await devices.locate(request.devices))
            with part("bundle"):
                self._mount_root(request)
                self._user = resolve_user(self._bundle.root, request.user)
                self._set_cgroup(cgroup_path(request.spec, self.id))
                self.cpus, self._oom_score = checked_cpus(request.cpus), oom_score(request.spec)
                spec = resolve_mounts(request.spec, self._context.settings.images, self._bundle.root)
                await make_declared(spec, self._bundle, self._context.pod.owner(0), self._context.reaper)
            with part("crun"), staged(spec, self._context.settings, self.id) as ready:
                self._process = await self._launch(request, ready, joined)
            with contextlib.suppress(OSError):  # It has ended already. A user namespace keeps crun from doing this.
                oom_scores.give(self._process.pid, self._oom_score)
            with contextlib.suppress(OSError):  # it has ended already, or has another /dev
                devices.give_null_back(self._process.pid, self._context.pod.owner(0))
            self._watch.limited()
        except BaseException:
            await self._undo()
            raise
        return self._user

    async def _launch(self, request: CreateContainer, spec: JSON, joined: Path | None) -> Process:
        assert self._user is not None
        known = completion(
            self._context,
            request,
            root=self._bundle.root,
            user=self._user,
            cgroup=self._cgroup_path,
            joined=joined,
        )
        self._bundle.write("config.json", complete_spec(spec, known))
        ends_all = not has_own_pids(request)
        launch = Launch(self.id, self._cgroup, self._bundle.null, request.stdin, request.tty, ends_all=ends_all)
        return await launch.run(self._context, self._create)

    def start(self) -> None:
        """Let its process run. Raises AgentError unless it is just created."""
        if self._started or not self.process.running:
            raise AgentError("failed_precondition", f"container {self.id} is {self.state.status}, not created")
        self._context.crun.start(self.id)
        self._started = True

    def signal(self, number: int, *, everyone: bool) -> None:
        """Send a signal to its first process or to all; nothing happens when it has ended."""
        if not everyone or not self._cgroup.signal_all(number):
            self.process.signal(number)

    async def measure(self, *, averages: bool) -> Measures | None:
        """Return the usage of the container, perhaps with averages of pressure; None after its end."""
        measures = await asyncio.to_thread(self._cgroup.measure, self.id, self.process.pid, averages=averages)
        if measures is None:
            return None
        scratch = file_system(self._context.settings.scratch)
        return replace(measures, file_system=scratch, layer=await self._layer.latest())

    async def freeze(self, *, frozen: bool) -> None:
        """Keep its processes from running, or let them go on. Raises AgentError unless it has some."""
        if not self.process.running:
            raise AgentError("failed_precondition", f"container {self.id} has ended")
        await asyncio.to_thread(self._cgroup.freeze, frozen=frozen)

    async def processes(self) -> tuple[ListedProcess, ...]:
        """Return its processes; none after its end."""
        return await asyncio.to_thread(self._cgroup.processes)

    async def update(self, request: UpdateResources) -> None:
        """Change its limits. Raises AgentError where it uses more memory than it shall have."""
        self.process  # noqa: B018 - raises where there is none
        cpus = checked_cpus(request.cpus)
        resources = require_memory(request.resources, self._cgroup)
        await self._context.crun.update(self.id, self._bundle.write("resources.json", resources))
        self.cpus = cpus
        self._watch.limited()

    async def exec(self, request: Exec) -> None:
        """Start another process in it. Raises AgentError unless it runs."""
        if self.state.status != "running":
            raise AgentError("failed_precondition", f"container {self.id} is {self.state.status}, not running")
        assert self._user is not None
        user = self._user if request.user is None else resolve_user(self._bundle.root, request.user)
        process = complete_process(request.process, user, tty=request.tty)
        path = self._bundle.write(f"exec-{request.exec_id}.json", process)

        async def start(fds: Fds | None, console: Path | None) -> int:
            return await self._context.crun.exec(self.id, path, fds, console, self._oom_score)

        launch = Launch(self.id, self._cgroup, self._bundle.null, request.stdin, request.tty, request.exec_id)
        try:
            self.execs[request.exec_id] = await launch.run(self._context, start)
        finally:
            path.unlink(missing_ok=True)

    async def delete(self) -> None:
        """Kill what is left of it and remove every trace; can be repeated after a failure."""
        self._cgroup.signal_all(signal.SIGKILL)
        for process in (*self.execs.values(), self.process):
            await process.abandon()
        await self._remove()

    async def _create(self, fds: Fds | None, console: Path | None) -> int:
        return await self._context.crun.create(self.id, self._bundle.directory, fds, console)

    def _mount_root(self, request: CreateContainer) -> None:
        if request.root:
            with volume_opened(self._context.settings.share, request.root) as directory:
                self._bundle.bind_root(directory)
        else:
            self._bundle.mount_root(self._image(request.image_serial), self._context.pod.user())

    def _image(self, serial: str) -> Path:
        image = self._context.settings.images / serial
        if not image.is_dir():
            raise AgentError("failed_precondition", f"image {serial} is not attached")
        return image

    def _set_cgroup(self, path: str) -> None:
        self._cgroup_path = path
        self._cgroup = Cgroup(self._context.settings.cgroups / path.strip("/"))
        self._watch = ThrashingWatch(f"container {self.id}", self._cgroup)

    async def _undo(self) -> None:
        """Remove what a failed creation left, without hiding why it failed."""
        if self._cgroup_path:
            self._cgroup.signal_all(signal.SIGKILL)
        try:
            await asyncio.shield(self._remove())
        except (AgentError, OSError) as error:
            console.error(f"container {self.id} could not be cleared away: {error}")

    async def _remove(self) -> None:
        self._watch.close()
        await self._layer.close()
        await self._context.crun.delete(self.id)
        await asyncio.to_thread(self._bundle.remove)


def completion(
    context: AgentContext,
    request: CreateContainer,
    *,
    root: Path,
    user: ProcessUser,
    cgroup: str,
    joined: Path | None,
) -> Completion:
    """All that is known of a container that is about to be made.

    Args:
        context: of the guest.
        request: the host's.
        root: the container's root.
        user: the user that it runs as.
        cgroup: its path in the hierarchy.
        joined: the PID namespace that it asks for, where that is another container's.

    Raises:
        AgentError: the guest has not the device, or cannot make the namespace.
    """
    named = {device.path for device in request.devices}
    others = devices.everything(context.settings.devices) if request.all_devices else ()
    wanted = [*request.devices, *(device for device in others if device.path not in named)]
    nodes, rules = devices.find(wanted, context.settings.devices)
    return Completion(root, user, cgroup, request.tty, _namespaces(context, request, joined), nodes, rules)


def _namespaces(context: AgentContext, request: CreateContainer, joined: Path | None) -> dict[str, Path]:
    pid = context.pod.pid() if request.pid_namespace == POD_NAMESPACE else joined
    found = {"pid": pid, "user": context.pod.user()}
    return {kind: path for kind, path in found.items() if path is not None}

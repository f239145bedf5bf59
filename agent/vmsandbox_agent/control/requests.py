"""The requests of the protocol, each carried out by the part of the agent that it concerns."""

import asyncio
import time
from collections.abc import Callable

from vmsandbox.protocol.messages import (
    AdjustClock,
    AttachImage,
    Clock,
    ConfigureGuest,
    Containers,
    CreateContainer,
    Created,
    DeleteContainer,
    DetachImage,
    Empty,
    EndExecs,
    Exec,
    FitMachine,
    FreezeContainer,
    ListContainers,
    ListedProcesses,
    ListProcesses,
    MakeTmpfs,
    MeasureContainers,
    Measured,
    OpenPort,
    OpenStream,
    Processors,
    ReadClock,
    ReleaseDisk,
    Resize,
    Shutdown,
    SignalContainer,
    SignalExec,
    StartContainer,
    StreamToken,
    UpdateResources,
    UseProcessors,
    WriteVolume,
)
from vmsandbox_agent.containers import AgentContext, ContainerTable, Crun
from vmsandbox_agent.control.session import Handler
from vmsandbox_agent.events import EventLog
from vmsandbox_agent.measures import Counter
from vmsandbox_agent.reaper import Reaper
from vmsandbox_agent.settings import Settings
from vmsandbox_agent.setup import (
    AtomicVolumes,
    Images,
    KernelClock,
    PodNamespaces,
    configure_guest,
    make_directory,
    make_tmpfs,
    release,
    use_processors,
)
from vmsandbox_agent.streams import ProcessInput, StreamTokens, connect_to_port, serve_port

_DONE = Empty()


class GuestRequests:
    """The state of the guest between requests; nothing of it belongs to a connection."""

    def __init__(
        self, settings: Settings, reaper: Reaper, power_off: Callable[[], None], clock: KernelClock | None = None
    ) -> None:
        """`power_off` ends the machine (or, in a test, the agent); a test may have another `clock`."""
        self.settings = settings
        self._clock = clock or KernelClock()
        self.events = EventLog()
        self.streams = StreamTokens()
        self._power_off = power_off
        self._images = Images(settings.images)
        self.pod = PodNamespaces(settings, reaper)
        self._volumes = AtomicVolumes(settings.tmpfs, self.pod)
        crun, counter = Crun(settings, reaper), Counter(reaper)
        self._containers = ContainerTable(AgentContext(settings, reaper, crun, self.events, self.pod, counter))
        self.handlers: dict[str, Handler] = {
            ConfigureGuest.METHOD: self._configure,
            ReadClock.METHOD: self._read_clock,
            AdjustClock.METHOD: self._adjust_clock,
            UseProcessors.METHOD: self._use_processors,
            MakeTmpfs.METHOD: self._make_tmpfs,
            WriteVolume.METHOD: self._write_volume,
            AttachImage.METHOD: self._attach_image,
            DetachImage.METHOD: self._detach_image,
            ReleaseDisk.METHOD: self._release_disk,
            CreateContainer.METHOD: self._create,
            StartContainer.METHOD: self._start,
            SignalContainer.METHOD: self._signal,
            DeleteContainer.METHOD: self._delete,
            UpdateResources.METHOD: self._update,
            FreezeContainer.METHOD: self._freeze,
            ListProcesses.METHOD: self._list_processes,
            Exec.METHOD: self._exec,
            SignalExec.METHOD: self._signal_exec,
            EndExecs.METHOD: self._end_execs,
            Resize.METHOD: self._resize,
            OpenStream.METHOD: self._open_stream,
            OpenPort.METHOD: self._open_port,
            ListContainers.METHOD: self._list,
            MeasureContainers.METHOD: self._measure,
            FitMachine.METHOD: self._fit,
            Shutdown.METHOD: self._shutdown,
        }

    async def _configure(self, request: ConfigureGuest) -> Empty:
        await configure_guest(self.settings, request)
        self.pod.users = request.user_namespace
        self._containers.guest.allowed = request.debug
        if request.waits:
            await self._containers.warm_up()
        return _DONE

    async def _read_clock(self, _: ReadClock) -> Clock:
        return Clock(self._clock.read())

    async def _adjust_clock(self, request: AdjustClock) -> Empty:
        self._clock.adjust(request.nanoseconds, step=request.step)
        return _DONE

    async def _use_processors(self, request: UseProcessors) -> Processors:
        used = await asyncio.to_thread(use_processors, self.settings.processors, request.count)
        self._containers.fit_processors()
        return Processors(used)

    async def _make_tmpfs(self, request: MakeTmpfs) -> Empty:
        target = self.settings.tmpfs / request.name
        owner = self.pod.owner(request.group)
        make_tmpfs(target, request.size, request.mode, owner)
        make_directory(target, request.path, request.mode, owner)
        return _DONE

    async def _write_volume(self, request: WriteVolume) -> Empty:
        self._volumes.write(request)
        return _DONE

    async def _attach_image(self, request: AttachImage) -> Empty:
        await self._images.attach(request.serial, request.filesystem)
        return _DONE

    async def _detach_image(self, request: DetachImage) -> Empty:
        self._containers.check_image_unused(request.serial)
        await self._images.detach(request.serial)
        return _DONE

    async def _release_disk(self, request: ReleaseDisk) -> Empty:
        self._containers.check_disk_unused(request.serial)
        await release(request.serial)
        return _DONE

    async def _create(self, request: CreateContainer) -> Created:
        return await self._containers.create(request)

    async def _start(self, request: StartContainer) -> Empty:
        container = self._containers.get(request.container_id)
        async with container.lock:
            container.start()
        return _DONE

    async def _signal(self, request: SignalContainer) -> Empty:
        self._containers.get(request.container_id).signal(request.signal, everyone=request.everyone)
        return _DONE

    async def _delete(self, request: DeleteContainer) -> Empty:
        await self._containers.delete(request.container_id)
        return _DONE

    async def _update(self, request: UpdateResources) -> Empty:
        await self._containers.update(request)
        return _DONE

    async def _freeze(self, request: FreezeContainer) -> Empty:
        container = self._containers.get(request.container_id)
        async with container.lock:
            await container.freeze(frozen=request.frozen)
        return _DONE

    async def _list_processes(self, request: ListProcesses) -> ListedProcesses:
        return ListedProcesses(await self._containers.get(request.container_id).processes())

    async def _exec(self, request: Exec) -> Empty:
        await self._containers.exec(request)
        return _DONE

    async def _signal_exec(self, request: SignalExec) -> Empty:
        process = self._containers.place(request.container_id).execs.get(request.exec_id)
        if process is not None:  # otherwise it has ended, and is forgotten
            process.signal_session(request.signal)
        return _DONE

    async def _end_execs(self, _: EndExecs) -> Empty:
        await self._containers.end_execs()
        return _DONE

    async def _resize(self, request: Resize) -> Empty:
        process = self._containers.process(request.container_id, request.exec_id)
        process.stdio.resize(request.columns, request.rows)
        return _DONE

    async def _open_stream(self, request: OpenStream) -> StreamToken:
        stream = self._containers.process(request.container_id, request.exec_id).stdio.stream(request.stream)
        if isinstance(stream, ProcessInput):
            stream.open()
        else:
            stream.open(request.offset)
        return self.streams.offer(stream.serve)

    async def _open_port(self, request: OpenPort) -> StreamToken:
        sock = await connect_to_port(request.port)
        return self.streams.offer(lambda connection: serve_port(connection, sock), sock.close)

    async def _list(self, _: ListContainers) -> Containers:
        return self._containers.list()

    async def _measure(self, request: MeasureContainers) -> Measured:
        measures = await self._containers.measure(averages=request.averages)
        return Measured(time.time_ns(), measures)

    async def _fit(self, request: FitMachine) -> Empty:
        await self._containers.fit(request.leaving)
        return _DONE

    async def _shutdown(self, _: Shutdown) -> Empty:
        await self._containers.kill_all()
        await asyncio.to_thread(self._power_off)
        await asyncio.Event().wait()  # The machine ends; there is no answer.
        return _DONE

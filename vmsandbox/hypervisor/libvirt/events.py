"""Libvirt's events, brought from its thread to asyncio's: which machines have ended, which devices are gone."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator
from typing import Any, TypeVar

from vmsandbox import aio
from vmsandbox.errors import FailedPrecondition
from vmsandbox.hypervisor.libvirt.bindings import libvirt
from vmsandbox.hypervisor.machine_events import DESTROYED, MachineEvent, MachineState

T = TypeVar("T")

_STOPPED = {
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: (MachineState.STOPPED, "shutdown"),
    libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED: (MachineState.STOPPED, DESTROYED),
    libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED: (MachineState.CRASHED, "crashed"),
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED: (MachineState.CRASHED, "failed (QEMU has died)"),
}
_PANICKED = (MachineState.CRASHED, "crashed (panicked)")
_UNSEEN = (MachineState.GONE, "ended while libvirt was away, for an unknown reason")

DYING = 2.0
"""Seconds until libvirt has noticed, and told, that a QEMU is dead."""


class EventHub:
    """Knows the machines of one hypervisor that run, and tells listeners of each that does so no more, once.

    Its methods belong to the event loop, except `subscribe`, whose callbacks come from libvirt's thread.
    """

    def __init__(self) -> None:
        """Belong to the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._running: dict[str, bool] = {}
        """The machines that were asked for, and whether they have started."""
        self._listeners: set[asyncio.Queue[MachineEvent]] = set()
        self._awaiting: set[asyncio.Queue[str]] = set()
        """The listeners for machines that go on after a pause."""
        self._removals: dict[tuple[str, str], asyncio.Future[None]] = {}

    def subscribe(self, connection: "libvirt.virConnect") -> list[int]:
        """Register for a connection's events, and return the numbers to deregister them by."""
        handlers: tuple[tuple[int, Callable[..., None]], ...] = (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle),
            (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, self._on_removed),
            (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, self._on_removal_failed),
        )
        return [connection.domainEventRegisterAny(None, event, self._hand_over, handler) for event, handler in handlers]

    def expect(self, name: str) -> None:
        """A machine is about to be started; from its start on it is watched."""
        self._running.setdefault(name, False)

    def started(self, name: str) -> None:
        """A machine that was expected has started, unless it has ended since; its event may be on its way, or lost."""
        if name in self._running:
            self._running[name] = True

    def forget(self, name: str) -> None:
        """A machine that was expected did not start."""
        if not self._running.get(name, True):
            del self._running[name]

    def running(self) -> frozenset[str]:
        """The machines that have started and not ended, as far as events tell."""
        return frozenset(name for name, started in self._running.items() if started)

    def found(self, names: Iterable[str]) -> None:
        """Machines run that others have started."""
        self._running.update(dict.fromkeys(names, True))

    async def missed(self, names: Collection[str], deadline: float) -> None:
        """Tell listeners that machines have ended, when libvirt has not within `deadline` seconds."""
        await aio.together(*(self._see_end(name, deadline, _UNSEEN) for name in names))

    async def destroyed(self, name: str, deadline: float) -> None:
        """Return when listeners were told that a machine which was destroyed has ended; as `missed`."""
        await self._see_end(name, deadline, _STOPPED[libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED])

    def listen(self) -> AsyncGenerator[MachineEvent, None]:
        """The machines that end from this call on."""
        queue: asyncio.Queue[MachineEvent] = asyncio.Queue()
        self._listeners.add(queue)
        return _listen(queue, self._listeners)

    def resumed(self) -> AsyncGenerator[str, None]:
        """The names of the machines that go on after a pause, from this call on."""
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._awaiting.add(queue)
        return _listen(queue, self._awaiting)

    @contextlib.contextmanager
    def removal(self, name: str, alias: str) -> Iterator["asyncio.Future[None]"]:
        """A future that is done when a device, asked for within the context, is removed, or its machine has ended.

        It fails with FailedPrecondition when the guest refuses, and is never done when the event is missed.
        """
        future = self._removals[name, alias] = self._loop.create_future()
        try:
            yield future
        finally:
            del self._removals[name, alias]
            future.cancel()

    async def _see_end(self, name: str, deadline: float, otherwise: tuple[MachineState, str]) -> None:
        """Let libvirt tell of an end; else tell it with the state and reason that is known."""
        if self._running.get(name, False):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(deadline), contextlib.aclosing(self.listen()) as events:
                    async for event in events:
                        if event.name == name:
                            return
            self._ended(name, *otherwise)

    def _hand_over(self, connection: object, domain: "libvirt.virDomain", *details: Any) -> None:
        """In libvirt's thread. The last detail is the handler that was registered."""
        *rest, handler = details
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(handler, domain.name(), *rest)

    def _on_lifecycle(self, name: str, event: int, detail: int) -> None:
        if event == libvirt.VIR_DOMAIN_EVENT_STARTED:
            self.started(name)
        elif event == libvirt.VIR_DOMAIN_EVENT_STOPPED:
            self._ended(name, *_STOPPED.get(detail, (MachineState.STOPPED, "stopped")))
        elif event == libvirt.VIR_DOMAIN_EVENT_CRASHED:
            self._ended(name, *_PANICKED)
        elif event == libvirt.VIR_DOMAIN_EVENT_RESUMED and self._running.get(name, False):
            for queue in self._awaiting:
                queue.put_nowait(name)

    def _on_removed(self, name: str, alias: str) -> None:
        self._removed(name, alias, None)

    def _on_removal_failed(self, name: str, alias: str) -> None:
        self._removed(name, alias, FailedPrecondition(f"the guest of {name} does not release {alias}"))

    def _removed(self, name: str, alias: str, error: BaseException | None) -> None:
        future = self._removals.get((name, alias))
        if future is None or future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(None)

    def _ended(self, name: str, state: MachineState, reason: str) -> None:
        for machine, alias in self._removals:
            if machine == name:
                self._removed(name, alias, None)
        if self._running.pop(name, False):
            for queue in self._listeners:
                queue.put_nowait(MachineEvent(name, state, reason))


async def _listen(queue: "asyncio.Queue[T]", among: "set[asyncio.Queue[T]]") -> AsyncGenerator[T, None]:
    try:
        while True:
            yield await queue.get()
    finally:
        among.discard(queue)

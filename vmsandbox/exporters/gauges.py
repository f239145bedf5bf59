"""The gauges that are read for each scrape, of a service and of its libvirt."""

import asyncio
import contextlib
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import TypeVar

from vmsandbox import aio
from vmsandbox.exporters.prometheus import Values
from vmsandbox.model import ContainerState, SandboxState
from vmsandbox.protocol.codec import JSON
from vmsandbox.service import RuntimeService
from vmsandbox.telemetry import declared
from vmsandbox.version import VERSION

State = TypeVar("State", bound=Enum)

_HYPERVISOR = re.compile(r"libvirt (?P<libvirt>[0-9.]+), QEMU (?P<qemu>[0-9.]+)")
_ASKED_EVERY = 30.0
"""Seconds between two questions to libvirt."""
_PATIENCE = 10.0
"""Seconds in which libvirt has to answer."""
_TICK = 1.0
"""Seconds between two looks at the event loop."""


class Gauges:
    """Reads what a service has now; libvirt is asked beside that, so that no scrape waits for it."""

    def __init__(self, service: RuntimeService) -> None:
        """Read `service`, which is the caller's."""
        self._service = service
        self._facts: Mapping[str, JSON] = {}
        self._answered = True
        """Whether libvirt had an answer, the last time that it was asked."""
        self._asked_at: float | None = None
        """When it was asked what it has not answered yet."""

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator["Gauges"]:
        """Ask libvirt, and watch over the event loop, while the context lasts."""
        async with aio.attendant(self._ask(), "versions"), aio.attendant(_watch_loop(), "the event loop's delay"):
            yield self

    def read(self) -> Values:
        """Return the values now, without waiting for anything."""
        service, admission = self._service, self._service.admission_figures()
        return {
            declared.BUILD: {self._versions(): 1},
            declared.LIBVIRT_UP: {(): float(self._libvirt_up)},
            declared.SANDBOXES: _counted(SandboxState, (each.state for each in service.list_pod_sandboxes())),
            declared.CONTAINERS: _counted(ContainerState, (each.state for each in service.list_containers())),
            declared.ADMISSION_WAITING: {(): admission.waiting},
            declared.ADMISSION_COMMITTED: {(): admission.committed},
            declared.ADMISSION_BUDGET: {(): admission.budget},
            declared.BOOTS_RUNNING: {(): admission.booting},
            declared.BOOTS_MOST: {(): admission.most_booting},
            declared.POOL_MEMORY: {(): admission.spare},
            **self._pools(),
        }

    def _pools(self) -> Values:
        pools = {(",".join(pool.handlers),): pool for pool in self._service.pool_figures()}
        return {
            declared.POOL_WAITING: {handlers: pool.waiting for handlers, pool in pools.items()},
            declared.POOL_SIZE: {handlers: pool.size for handlers, pool in pools.items()},
            declared.POOL_OLDEST: {handlers: pool.oldest for handlers, pool in pools.items()},
        }

    @property
    def _libvirt_up(self) -> bool:
        waits = 0.0 if self._asked_at is None else time.monotonic() - self._asked_at
        return self._answered and waits < _PATIENCE

    def _versions(self) -> tuple[str, ...]:
        found = _HYPERVISOR.search(str(self._facts.get("hypervisor", "")))
        libvirt, qemu = (found["libvirt"], found["qemu"]) if found else ("unknown", "unknown")
        image = Path(str(self._facts.get("guestImage", ""))).name
        return (VERSION, libvirt, qemu, image, str(self._facts.get("agentBuild", "")))

    async def _ask(self) -> None:
        while True:
            self._asked_at = time.monotonic()
            facts = await self._service.facts()
            self._asked_at = None
            self._answered = _HYPERVISOR.search(str(facts["hypervisor"])) is not None
            if self._answered or not self._facts:
                self._facts = facts
            await asyncio.sleep(_ASKED_EVERY)


def _counted(states: type[State], found: Iterable[State]) -> dict[tuple[str, ...], float]:
    """Count each state, also those that nothing is in."""
    counts = Counter(found)
    return {(state.value,): counts[state] for state in states}


async def _watch_loop() -> None:
    loop = asyncio.get_running_loop()
    while True:
        wanted = loop.time() + _TICK
        await asyncio.sleep(_TICK)
        declared.LOOP_DELAY.observe(max(0.0, loop.time() - wanted))

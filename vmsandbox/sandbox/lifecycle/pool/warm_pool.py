"""The pool: keeps as many machines waiting as the profiles say, and gives each to one pod."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from vmsandbox import aio, log
from vmsandbox.errors import VmsandboxError, explained
from vmsandbox.sandbox.lifecycle.admission import Admission, available_memory, total_memory
from vmsandbox.sandbox.lifecycle.pool.waiting import Waiting, WaitingMachines, with_id
from vmsandbox.sandbox.lifecycle.pool.wanted_pools import Pool, PoolFigures, WantedPools, kind_of
from vmsandbox.sandbox.lifecycle.template_maker import TemplateMaker
from vmsandbox.sandbox.machines import Host
from vmsandbox.sandbox.spec import MachinePlan
from vmsandbox.telemetry.declared import POOL_REQUESTS

_log = log.get(__name__)

_TICK = 5.0
"""Seconds between looks at the host's memory and at the settings, where nothing else happens."""
_QUIET, _LONGEST_QUIET = 0.5, 60.0
"""Seconds between looks whether pods that start leave room for a machine that nobody waits for, and at most in all."""
_LULL = 1.0
"""Seconds after the last pod of a pool in which none is made: its containers come first, and perhaps the next pod."""
_SCARCE = 20
"""The part of the host's memory that has to be available: a twentieth."""
_PATIENCE = 2.0
"""Seconds for which a pod waits for machines of an earlier daemon: that is quicker than to boot one."""


class WarmPool:
    """The pools of a process, and the machines that wait in them."""

    def __init__(
        self, host: Host, admission: Admission, templates: TemplateMaker, starting: Callable[[], bool]
    ) -> None:
        """Nothing is made before `running`. `starting` tells whether a pod is being made; all stay the caller's."""
        self._host = host
        self._admission = admission
        self._templates = templates
        self._starting = starting
        self._machines = WaitingMachines(host, admission)
        self._pools = WantedPools(host, admission)
        self._pressed, self._missing = asyncio.Event(), asyncio.Event()
        self._taken_back = asyncio.Event()
        self._said = ""
        """The failure that was logged last, while it lasts."""
        self._asked = -_LULL
        """When a pod asked for a machine last, by the monotonic clock."""
        self.load = self._machines.load

    @property
    def figures(self) -> tuple[PoolFigures, ...]:
        """Return the figures of every pool."""
        return tuple(self._figures(kind, pool) for kind, pool in self._pools.items())

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep as many machines as are wanted while the context lasts. Then they go on, for the next process."""
        self._admission.on_shortage = self._pressed.set
        try:
            async with (
                aio.attendant(self._machines.watch(self._host.hypervisor.events()), "machines that wait"),
                aio.attendant(self._run(), "the pool"),
            ):
                yield
        finally:
            await aio.to_its_end(self._machines.let_go())

    async def kind_of(self, plan: MachinePlan) -> str:
        """Return the kind of machine that a pod may have, for `take`; empty where its profile has no pool."""
        if not (self._host.stays and plan.profile.machine.pool.size):
            return ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self._taken_back.wait()
        return await kind_of(self._host.hypervisor, plan)

    def take(self, kind: str) -> Waiting | None:
        """Return the oldest machine of a kind, which is the caller's from now on; None where none waits."""
        if not kind:
            return None
        self._asked = time.monotonic()
        found = next((each for each in self._machines.of(kind) if each.is_fit), None)
        POOL_REQUESTS.add("miss" if found is None else "hit")
        self._pools.asked(kind, hit=found is not None)
        if found is not None:
            del self._machines[found.record.id]
            self._admission.unspare(found.record.id)
        self._missing.set()
        return found

    def _figures(self, kind: str, pool: Pool) -> PoolFigures:
        ages = [each.age for each in self._machines.of(kind)]
        return PoolFigures(pool.handlers, pool.size, len(ages), max(ages, default=0.0), pool.hits, pool.misses)

    async def _run(self) -> None:
        while not await self._try(self._follow_settings()):  # noqa: ASYNC110 - libvirt does not tell when it is back
            await asyncio.sleep(_TICK)
        try:
            while self._machines.left:
                record = self._machines.left.pop(0)
                pool = self._pools.get(record.kind)
                await self._machines.take_back(record, pool.plan if pool is not None else None)
        finally:
            self._taken_back.set()
        async with aio.attendant(self._trim(), "machines of the pool that are too many"):
            while True:
                if not (await self._try(self._follow_settings()) and await self._make_some()):
                    await _set(self._missing)

    async def _try(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do what may be tried again in a while, and tell whether it was done; each other failure is logged once."""
        try:
            await work
        except VmsandboxError as error:
            if str(error) != self._said:
                _log.warning("no machines for the pool yet: %s", error, extra=log.of_error(error))
            self._said = str(error)
            return False
        self._said = ""
        return True

    async def _make_some(self) -> bool:
        """Make a machine of each kind that lacks some; tell whether any was made."""
        return any([await self._make_one(kind, pool) for kind, pool in self._pools.items()])

    async def _follow_settings(self) -> None:
        if await self._pools.follow():
            self._pressed.set()

    async def _trim(self) -> None:
        while True:
            for waiting in tuple(self._machines.values()):
                if why := self._surplus(waiting):
                    await self._machines.end(waiting, why)
                    self._missing.set()
            await _set(self._pressed)

    def _surplus(self, waiting: Waiting) -> str:
        """Return why a machine is to be ended; empty: it is not."""
        if not waiting.is_fit:
            return str(waiting.machine.failure.result())
        if self._admission.shortage:
            return "a pod needs its memory"
        if _is_scarce():
            return "the host's memory is short"
        pool = self._pools.get(waiting.record.kind)
        if pool is None or len(self._machines.of(waiting.record.kind)) > pool.most:
            return "the settings want fewer machines to wait, or others"
        return ""

    async def _make_one(self, kind: str, pool: Pool) -> bool:
        """Make a machine that is missing, where pods leave room for it; tell whether. The settings may have changed."""
        if len(self._machines.of(kind)) >= pool.most or time.monotonic() < pool.not_before:
            return False
        await self._wait_for_quiet()
        await self._templates.make(pool.plan)
        plan = with_id(self._host, pool.plan, uuid.uuid4().hex)
        if _is_scarce(pool.charge) or not self._admission.spare_if_room(plan.sandbox_id, pool.charge):
            return False
        try:
            await self._machines.make(plan, kind)
        except (VmsandboxError, OSError) as error:
            pool.failed()
            told = explained(error)
            _log.warning("no machine for the pool in %g s: %s", pool.pause, told, extra=log.of_error(told))
            return False
        pool.pause = 0.0
        return True

    async def _wait_for_quiet(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_QUIET):
                while self._is_busy():  # noqa: ASYNC110 - nobody waits for it
                    await asyncio.sleep(_QUIET)

    def _is_busy(self) -> bool:
        lull = time.monotonic() - self._asked < _LULL
        return lull or self._starting() or self._admission.figures.booting > 0


async def _set(event: asyncio.Event) -> None:
    """Wait until an event is set, or for `_TICK`; then clear it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_TICK):
            await event.wait()
    event.clear()


def _is_scarce(needed: int = 0) -> bool:
    """Whether the host has little memory left, after so many bytes more are used."""
    return available_memory() - needed < total_memory() // _SCARCE

"""The runtime service itself: every call, by families; here those about the process as a whole."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from vmsandbox import log
from vmsandbox.config import LimitsConfig
from vmsandbox.images import ImageStore
from vmsandbox.model import ContainerEvent
from vmsandbox.protocol.codec import JSON
from vmsandbox.sandbox.lifecycle import AdmissionFigures, PoolFigures, reclaim
from vmsandbox.sandbox.machines import facts_of
from vmsandbox.service.containers import ContainerService
from vmsandbox.service.sandboxes import SandboxService
from vmsandbox.service.streams import StreamService
from vmsandbox.state import ContainerRecord, SandboxRecord

_log = log.get(__name__)


class RuntimeService(SandboxService, ContainerService, StreamService):
    """Sandboxes and containers. It owns them; its host is the caller's, and outlives it."""

    @property
    def images(self) -> ImageStore:
        """The images of this host."""
        return self._host.images

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["RuntimeService"]:
        """Watch over machines, take back those of `recover`, make templates and fill pools, while the context lasts.

        Then let go; machines go on.
        """
        async with (
            self._sandboxes.watched(self._host.hypervisor),
            self._recovery.running(),
            self._templates.running(),
            self._pool.running(),
        ):
            yield self

    def limit(self, limits: LimitsConfig) -> None:
        """Keep to other limits of all machines together from now on."""
        self._admission.limit(limits)

    def admission_figures(self) -> AdmissionFigures:
        """Return what is committed to machines, and who waits."""
        return self._admission.figures

    def pool_figures(self) -> tuple[PoolFigures, ...]:
        """Return how many machines wait in each pool, and how many pods have found one."""
        return self._pool.figures

    async def facts(self) -> dict[str, JSON]:
        """Describe what machines are made with, for people: versions, accelerators, guest image, pools."""
        return {**await facts_of(self._host), "pools": [pool.facts for pool in self._pool.figures]}

    def events(self) -> AsyncGenerator[ContainerEvent, None]:
        """Yield events of sandboxes and containers from now on (CRI GetContainerEvents)."""
        return self._sandboxes.events.listen()

    def recover(self) -> None:
        """Know the sandboxes of a process that ended or crashed, as they were; `running` takes them back.

        A call that needs the guest of one waits for it, a moment; a stop ends one that is not taken back yet.

        Raises:
            FailedPrecondition: the state database cannot be read.
        """
        self._recovery.load()
        self._pool.load()

    async def recovered(self) -> None:
        """Return when every sandbox is taken back, or NOTREADY, or was given back."""
        await self._recovery.settled()

    async def reclaim(self) -> None:
        """Give back all that a process that crashed has left behind in the state database, as far as that can be done.

        What cannot be given back stays recorded, for the next process that takes this database.
        """
        state = self._host.state
        containers = [record.id for record in state.all(ContainerRecord)]
        for container_id in (*containers, *state.damaged(ContainerRecord)):
            state.discard(ContainerRecord, container_id)
        sandboxes = [record.id for record in state.all(SandboxRecord)]
        for sandbox_id in (*sandboxes, *state.damaged(SandboxRecord)):
            _log.warning("giving back the resources of sandbox %s, which a crashed process left", sandbox_id)
            await reclaim(self._host, sandbox_id)

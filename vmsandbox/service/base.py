"""The parts of the runtime service, on which each family of its calls works."""

from vmsandbox.sandbox.containers import Container
from vmsandbox.sandbox.lifecycle import Admission, Recovery, Sandbox, Sandboxes, TemplateMaker, WarmPool
from vmsandbox.sandbox.machines import Host


class Service:
    """One family of calls. All families have the same parts."""

    def __init__(self, host: Host) -> None:
        """Know no sandbox; `recover` reads those of the state database, and `running` opens it for work."""
        self._host = host
        self._admission = Admission.within(host.limits)
        self._sandboxes = Sandboxes(host, self._admission)
        self._recovery = Recovery(host, self._admission, self._sandboxes)
        self._templates = TemplateMaker(host, self._admission)
        self._pool = WarmPool(host, self._admission, self._templates, self._sandboxes.any_starting)

    async def _sandbox(self, sandbox_id: str) -> Sandbox:
        """A sandbox whose guest is needed. Raises NotFound, and as `Recovery.wait_for`."""
        self._sandboxes.find(sandbox_id)
        await self._recovery.wait_for(sandbox_id)
        return self._sandboxes.find(sandbox_id)

    async def _container(self, container_id: str) -> Container:
        """A container whose guest is needed. Raises NotFound, and as `Recovery.wait_for`."""
        await self._recovery.wait_for(self._sandboxes.container(container_id).record.sandbox_id)
        return self._sandboxes.container(container_id)

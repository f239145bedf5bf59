"""The usage of sandboxes, measured by the host, for many at the same time."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from vmsandbox import log
from vmsandbox.errors import NotFound, Unavailable, explained
from vmsandbox.model import SandboxUsage
from vmsandbox.sandbox.machines import Host
from vmsandbox.sandbox.spec import SandboxCall, domain_name, require_sandbox
from vmsandbox.state import SandboxRecord

_log = log.get(__name__)

T = TypeVar("T")


async def sandbox_usage(host: Host, sandbox: SandboxRecord) -> SandboxUsage:
    """Return the usage of a sandbox's machine and of its network interface, if any, from the host's counters.

    Raises:
        FailedPrecondition: it is not READY.
        Unavailable: its machine ends, or has lost its network.
    """
    require_sandbox(SandboxCall.MEASURE, sandbox.id, sandbox.state)
    try:
        machine = await host.hypervisor.usage(domain_name(sandbox.id))
        interface = await host.network.usage(sandbox.network) if sandbox.network is not None else None
        return SandboxUsage(machine, interface)
    except NotFound as error:
        raise Unavailable(f"sandbox {sandbox.id} cannot be measured: {error}", hint=error.hint) from None


async def measure_each(measuring: Mapping[str, Coroutine[Any, Any, T]]) -> dict[str, T]:
    """Measure sandboxes at the same time; return the results by id, without those that cannot be measured."""
    results = await asyncio.gather(*measuring.values(), return_exceptions=True)
    found = dict(zip(measuring, results, strict=True))
    for sandbox_id, result in found.items():
        if isinstance(result, Exception):
            _log.warning("sandbox %s is not measured: %s", sandbox_id, explained(result))
        elif isinstance(result, BaseException):
            raise result
    return {sandbox_id: result for sandbox_id, result in found.items() if not isinstance(result, BaseException)}

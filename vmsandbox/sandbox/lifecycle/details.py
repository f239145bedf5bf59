"""A sandbox's machine as the host sees it, for people."""

import asyncio
import contextlib

from vmsandbox import log
from vmsandbox.errors import NotFound
from vmsandbox.model import HostCgroup, MachineDetails, MachineProcess
from vmsandbox.sandbox.machines import Host
from vmsandbox.sandbox.spec import domain_name, domain_uuid
from vmsandbox.state import SandboxRecord

_log = log.get(__name__)

_DEADLINE = 2.0
"""Seconds in which the host's kernel tells of a machine's processes; it takes some milliseconds."""


async def machine_details(host: Host, sandbox: SandboxRecord, committed_memory: int) -> MachineDetails:
    """Describe a sandbox's machine, from /proc and the cgroups of this host alone: nothing there waits for a guest.

    Args:
        host: what it was made with.
        sandbox: whose machine it is.
        committed_memory: bytes of the node's budget.
    """
    name = domain_name(sandbox.id)
    pid: int | None = None
    processes: tuple[MachineProcess, ...] = ()
    cgroups: tuple[HostCgroup, ...] = ()
    try:
        async with asyncio.timeout(_DEADLINE):
            with contextlib.suppress(NotFound):
                pid = await host.hypervisor.process(name)
            processes, cgroups = await host.cgroups.look(sandbox.id, pid)
    except (TimeoutError, OSError) as error:
        _log.warning("the processes of sandbox %s are not known: %r", sandbox.id, error)
    return MachineDetails(name, domain_uuid(sandbox.id), host.hypervisor.uri, committed_memory, pid, processes, cgroups)

"""The usage of sandboxes, measured by the host, for many at the same time."""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from vmsandbox import log
from vmsandbox.errors import NotFound, Unavailable, explained
from vmsandbox.model import MachineUsage, SandboxUsage
from vmsandbox.process import ProcessUsage, name_of, usage_of
from vmsandbox.sandbox.machines import Host
from vmsandbox.sandbox.spec import SandboxCall, domain_name, require_sandbox
from vmsandbox.state import SandboxRecord

_log = log.get(__name__)

_QEMU = "qemu-system-"
"""How the name of a QEMU begins. One that its guest has renamed counts twice, to its own pod."""

T = TypeVar("T")


async def sandbox_usage(host: Host, sandbox: SandboxRecord) -> SandboxUsage:
    """Return the usage of a sandbox's machine and of its network interface, if any, from the host's counters.

    The helpers of the machine (virtiofsd, the vsock daemon) count as it does, where it has a cgroup that names them.

    Raises:
        FailedPrecondition: it is not READY.
        Unavailable: its machine ends, or has lost its network.
    """
    require_sandbox(SandboxCall.MEASURE, sandbox.id, sandbox.state)
    try:
        machine = await host.hypervisor.usage(domain_name(sandbox.id))
        machine = with_helpers(machine, await asyncio.to_thread(_helpers, await host.cgroups.processes(sandbox.id)))
        interface = await host.network.usage(sandbox.network) if sandbox.network is not None else None
        return SandboxUsage(machine, interface)
    except NotFound as error:
        raise Unavailable(f"sandbox {sandbox.id} cannot be measured: {error}", hint=error.hint) from None


def with_helpers(qemu: MachineUsage, helpers: Iterable[ProcessUsage]) -> MachineUsage:
    """Add the usage of a machine's helpers to that of its QEMU. The guest's memory that they map is QEMU's."""
    for helper in helpers:
        qemu = replace(
            qemu,
            cpu=qemu.cpu + helper.cpu,
            memory=qemu.memory + helper.anonymous + helper.files,
            working_set=qemu.working_set + helper.anonymous,
            page_faults=qemu.page_faults + helper.page_faults,
            major_page_faults=qemu.major_page_faults + helper.major_page_faults,
        )
    return qemu


def _helpers(pids: Iterable[int]) -> list[ProcessUsage]:
    found = []
    for pid in pids:
        with contextlib.suppress(OSError, KeyError):  # It has ended.
            if not name_of(pid).startswith(_QEMU):
                found.append(usage_of(pid))
    return found


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

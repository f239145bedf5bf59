"""Everything that a sandbox may have acquired, given back by its id alone: after a stop, a failure, or a crash."""

import asyncio
from collections.abc import Awaitable, Callable

from vmsandbox import log
from vmsandbox.errors import DeadlineExceeded, Internal, VmsandboxError
from vmsandbox.sandbox.machines.cgroups import end_file_server
from vmsandbox.sandbox.machines.host import Host
from vmsandbox.sandbox.spec import domain_name

_log = log.get(__name__)

_STEP_DEADLINE = 100.0
"""Seconds for one step; a kubelet gives a call two minutes, and calls again."""


async def give_back(host: Host, sandbox_id: str) -> None:
    """End the machine and give back all that a sandbox may have acquired, in reverse. Succeeds where nothing is left.

    Every step is tried, whatever happens to the others, and has a deadline of its own.

    Raises:
        VmsandboxError: the first failure, whatever it was; the others are logged. The call may be repeated.
    """
    layout = host.layout(sandbox_id)

    async def release_users() -> None:  # when no file of theirs is left
        await asyncio.to_thread(host.users.release, sandbox_id)

    steps: dict[str, Callable[[], Awaitable[None]]] = {
        "ending its machine": lambda: host.hypervisor.destroy(domain_name(sandbox_id)),
        "ending the virtiofsd of its share": lambda: asyncio.to_thread(end_file_server, layout.served),
        "closing the connection to the agent": lambda: asyncio.to_thread(
            host.transports.stop, sandbox_id, layout.vsock
        ),
        "ending the processes in its cgroup": lambda: host.cgroups.remove(sandbox_id),
        "giving its network back": lambda: host.network.tear_down(sandbox_id),
        "removing its files": layout.remove,
    }
    failures = [failure for what, step in steps.items() if (failure := await _failure_of(what, step)) is not None]
    if not failures and (failure := await _failure_of("giving its users back", release_users)) is not None:
        failures.append(failure)
    for failure in failures[1:]:
        extra = log.of_error(failure)
        _log.error("giving back the resources of sandbox %s: %s", sandbox_id, failure, extra=extra)
    if failures:
        raise failures[0].at(f"giving back the resources of sandbox {sandbox_id}")


async def _failure_of(what: str, step: Callable[[], Awaitable[None]]) -> VmsandboxError | None:
    """Take a step; what it raised, as an error that names the step."""
    try:
        async with asyncio.timeout(_STEP_DEADLINE) as limit:
            await step()
    except VmsandboxError as error:
        return error.at(what)
    except Exception as error:
        if isinstance(error, TimeoutError) and limit.expired():
            return DeadlineExceeded(f"it did not end within {_STEP_DEADLINE:g} s").at(what)
        _log.exception("%s has failed unexpectedly", what)
        return Internal(f"{type(error).__name__}: {error}", hint="the log has the traceback").at(what)
    return None

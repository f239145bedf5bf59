"""Everything that a sandbox may have acquired, given back by its id alone: after a stop, a failure, or a crash."""

import asyncio
from collections.abc import Awaitable, Callable

from vmsandbox.errors import VmsandboxError
from vmsandbox.sandbox.domain import domain_name
from vmsandbox.sandbox.host import Host


async def give_back(host: Host, sandbox_id: str) -> None:
    """End the machine and give back all that a sandbox may have acquired, in reverse. Succeeds where nothing is left.

    Every step is tried, whatever happens to the others.

    Raises:
        VmsandboxError: the first failure; the call may be repeated.
    """
    layout = host.layout(sandbox_id)

    async def stop_transport() -> None:
        host.transports.stop(sandbox_id, layout.vsock)

    async def remove_files() -> None:
        await asyncio.to_thread(layout.remove)

    steps: tuple[Callable[[], Awaitable[None]], ...] = (
        lambda: host.hypervisor.destroy(domain_name(sandbox_id)),
        stop_transport,
        lambda: asyncio.to_thread(host.cgroups.remove, sandbox_id),
        lambda: host.network.tear_down(sandbox_id),
        remove_files,
    )
    failures = []
    for step in steps:
        try:
            await step()
        except VmsandboxError as error:
            failures.append(error)
    if failures:
        raise failures[0].at(f"giving back what sandbox {sandbox_id} acquired")
    host.users.release(sandbox_id)  # when nothing of theirs is left

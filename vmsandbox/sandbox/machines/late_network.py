"""The network of a machine that runs: callers of an OCI runtime fill a namespace after the container is made."""

import asyncio
from pathlib import Path

from vmsandbox.guest import GuestClient
from vmsandbox.model import PodNetwork
from vmsandbox.sandbox.machines.host import Host
from vmsandbox.sandbox.spec import MachinePlan, guest_configuration, late_network_spec


async def join_late(host: Host, plan: MachinePlan, client: GuestClient, source: Path) -> PodNetwork | None:
    """Give a machine that has no network, and a place for one, what a namespace has; None where that is nothing.

    What is acquired is named after the sandbox, and given back with the machine, also where this fails.

    Args:
        host: what the machine was made with.
        plan: of the machine.
        client: of its agent.
        source: the path of the namespace, which stays the caller's.

    Raises:
        VmsandboxError: as `Network.join`; the hypervisor or the guest fails.
    """
    network = await host.network.join(plan.sandbox_id, source)
    if network is None:
        return None
    users = await asyncio.to_thread(host.users.of, plan.sandbox_id)
    await host.hypervisor.plug(late_network_spec(plan, users.qemu, network))
    await host.network.connect_tap(network)
    await client.configure(guest_configuration(plan.config, network, debug=plan.profile.machine.debug))
    return network

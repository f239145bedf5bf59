"""The specification of a sandbox's machine and guest: pure functions of the pod, its profile and its resources."""

import time
import uuid
from dataclasses import replace
from pathlib import Path

from vmsandbox.guest import Transport
from vmsandbox.hypervisor import Disk, MachineSpec, NetworkDevice, SharedDirectory
from vmsandbox.model import PodNetwork, PodSandboxConfig
from vmsandbox.process import Account
from vmsandbox.protocol.messages import ConfigureGuest, Dns
from vmsandbox.sandbox.spec.machine_plan import MachinePlan
from vmsandbox.sandbox.spec.rules import LONGEST_HOSTNAME, user_namespace

SHARE_TAG = "vmsandbox"
"""The name of the virtio-fs share, by which the guest mounts it."""

SCRATCH_SERIAL = "vmsandbox-scratch"
"""The serial of the disk that holds the writable layers."""

_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
"""The default sysctls of a pod: low ports and ping need no privilege, as in containerd."""

WAITING_MAC = "02:76:6d:73:00:01"
"""The MAC of the card of every machine that waits. No frame is sent from it: the pod's takes its place before."""

_SHM_SIZE = 64 * 1024 * 1024
"""Bytes of /dev/shm where nobody says them, as in every container runtime."""


def domain_name(sandbox_id: str) -> str:
    """The name of a sandbox's domain."""
    return f"vmsandbox-{sandbox_id}"


def domain_uuid(sandbox_id: str) -> str:
    """The UUID of a sandbox's domain."""
    return str(uuid.UUID(sandbox_id))


def hostname_of(config: PodSandboxConfig) -> str:
    """The pod's hostname; where none is given its name, cut to what Kubernetes lets a hostname have."""
    return config.hostname or config.metadata.name[:LONGEST_HOSTNAME].rstrip("-.")


def bare_machine_spec(plan: MachinePlan, account: Account) -> MachineSpec:
    """Return the machine of a pod as it is before it has a way to its agent, a network and disks of its own."""
    pod, layout = plan.config.metadata, plan.layout
    return MachineSpec(
        name=domain_name(plan.sandbox_id),
        uuid=domain_uuid(plan.sandbox_id),
        title=f"{pod.namespace}/{pod.name}",
        image=plan.image,
        size=plan.sizes.booted,
        most=plan.sizes.bound,
        accelerator=plan.profile.accelerator,
        account=account,
        vsock=None,
        console=layout.console,
        secret=layout.secret,
        kernel_parameters=plan.profile.kernel_parameters,
    )


def build_machine_spec(
    plan: MachinePlan, *, account: Account, transport: Transport, network: PodNetwork | None
) -> MachineSpec:
    """Return the machine of a pod, whose QEMU runs as `account`; without a network it has no network device."""
    machine, layout = plan.profile.machine, plan.layout
    scratch = Disk(
        SCRATCH_SERIAL,
        layout.scratch,
        readonly=False,
        bandwidth=machine.scratch_bandwidth or 0,
        iops=machine.scratch_iops or 0,
    )
    return replace(
        bare_machine_spec(plan, account),
        vsock=transport.device,
        scratch=scratch,
        share=SharedDirectory(SHARE_TAG, layout.served, plan.file_server),
        network=_network_device(network) if network is not None else None,
        network_place=plan.config.late_network,
    )


def waiting_machine_spec(plan: MachinePlan, *, account: Account, transport: Transport, tap: str | None) -> MachineSpec:
    """Return a machine that is to wait, whose card has that tap of the host's namespace; None: it has no card (yet)."""
    spec = build_machine_spec(plan, account=account, transport=transport, network=None)
    return replace(spec, network=NetworkDevice(tap, WAITING_MAC) if tap is not None else None)


def late_network_spec(plan: MachinePlan, account: Account, network: PodNetwork) -> MachineSpec:
    """Return a pod's machine of which a network is to be plugged in, after it was made without one."""
    return replace(bare_machine_spec(plan, account), network=_network_device(network))


def waiting_configuration(*, warm: bool) -> ConfigureGuest:
    """Build the request that does for a machine that waits what is the same for every pod: its file systems.

    With `warm` its agent does so for containers, too, which takes a second or more; it has to know of that.
    """
    return ConfigureGuest("waiting", time.time_ns(), share_tag=SHARE_TAG, scratch_serial=SCRATCH_SERIAL, waits=warm)


def guest_configuration(
    config: PodSandboxConfig, network: PodNetwork | None, *, debug: bool, waited: bool = False
) -> ConfigureGuest:
    """Build the request that turns the booted machine into the pod; without a network the guest has `lo` alone.

    With `debug` it takes commands in the guest itself. A machine that has `waited` has the card of those.
    """
    interfaces, dns = ((network.interface,), network.dns) if network is not None else ((), Dns())
    return ConfigureGuest(
        hostname=hostname_of(config),
        clock=time.time_ns(),
        interfaces=interfaces,
        dns=config.dns if config.dns is not None and config.dns != Dns() else dns,
        sysctls={**_SYSCTLS, **config.sysctls},
        share_tag=SHARE_TAG,
        scratch_serial=SCRATCH_SERIAL,
        shm_size=config.shm_size or _SHM_SIZE,
        user_namespace=user_namespace(config),
        debug=debug,
        card=WAITING_MAC if waited and network is not None else "",
    )


def _network_device(network: PodNetwork) -> NetworkDevice:
    return NetworkDevice(network.tap, network.interface.mac, network.interface.mtu, Path(network.netns))

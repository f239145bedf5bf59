"""What a sandbox's machine and guest are made from: pure functions of the pod, its profile, and what was acquired."""

import time
import uuid
from pathlib import Path

from vmsandbox.guest.transport import Transport
from vmsandbox.hypervisor.base import Disk, MachineSpec, NetworkDevice, Share
from vmsandbox.model import PodNetwork, PodSandboxConfig
from vmsandbox.process import Account
from vmsandbox.protocol.messages import ConfigureGuest, Dns
from vmsandbox.sandbox.host import Host, MachineDefaults
from vmsandbox.sandbox.layout import SCRATCH_SERIAL, SHARE_TAG
from vmsandbox.sandbox.possible import LONGEST_HOSTNAME, user_namespace
from vmsandbox.sandbox.sizing import MachineSize, machine_size

_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
"""What a pod gets where it does not say: low ports and ping need no privilege in it, as containerd has it."""


def domain_name(sandbox_id: str) -> str:
    """The name of a sandbox's domain."""
    return f"vmsandbox-{sandbox_id}"


def hostname_of(config: PodSandboxConfig) -> str:
    """The pod's hostname; where none is given its name, cut to what Kubernetes lets a hostname have."""
    return config.hostname or config.metadata.name[:LONGEST_HOSTNAME].rstrip("-.")


def size_of(profile: MachineDefaults, config: PodSandboxConfig) -> MachineSize:
    """How large a pod's machine is. Raises InvalidArgument as `machine_size`."""
    return machine_size(config, profile.size, profile.overhead, profile.most_vcpus)


def machine_spec(
    host: Host,
    sandbox_id: str,
    config: PodSandboxConfig,
    *,
    account: Account,
    transport: Transport,
    network: PodNetwork,
) -> MachineSpec:
    """Return the machine of a pod, whose QEMU runs as `account`."""
    profile, pod, layout = host.profile(config.runtime_handler), config.metadata, host.layout(sandbox_id)
    size = size_of(profile, config)
    return MachineSpec(
        name=domain_name(sandbox_id),
        uuid=str(uuid.UUID(sandbox_id)),
        title=f"{pod.namespace}/{pod.name}",
        image=host.guest_image,
        vcpus=size.vcpus,
        memory=size.memory,
        accelerator=profile.accelerator,
        account=account,
        vsock=transport.device,
        console=layout.console,
        secret=layout.secret,
        scratch=Disk(
            SCRATCH_SERIAL,
            layout.scratch,
            readonly=False,
            bandwidth=profile.scratch_bandwidth,
            iops=profile.scratch_iops,
        ),
        share=Share(SHARE_TAG, layout.served, host.file_server),
        network=NetworkDevice(network.tap, network.interface.mac, network.interface.mtu, Path(network.netns)),
        kernel_parameters=profile.kernel_parameters,
    )


def guest_configuration(config: PodSandboxConfig, network: PodNetwork) -> ConfigureGuest:
    """What makes the booted machine the pod."""
    dns = config.dns if config.dns is not None and config.dns != Dns() else network.dns
    return ConfigureGuest(
        hostname=hostname_of(config),
        clock=time.time_ns(),
        interfaces=(network.interface,),
        dns=dns,
        sysctls={**_SYSCTLS, **config.sysctls},
        share_tag=SHARE_TAG,
        scratch_serial=SCRATCH_SERIAL,
        user_namespace=user_namespace(config),
    )

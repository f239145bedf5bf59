"""The devices of a claim, plugged into an unclaimed machine: functions that block, for `Connection.call`."""

from pathlib import Path

from vmsandbox.errors import NotFound
from vmsandbox.hypervisor.libvirt import domains, machine_disks
from vmsandbox.hypervisor.libvirt.bindings import libvirt
from vmsandbox.hypervisor.libvirt.monitor import ask
from vmsandbox.hypervisor.specification import MachineSpec
from vmsandbox.hypervisor.xml import VSOCK_PORT, network_xml, share_xml, vsock_xml
from vmsandbox.model import Vsock

NETWORK_ALIAS = "net0"
"""Libvirt's name for the one network card of a domain."""


def plug_way(connection: "libvirt.virConnect", spec: MachineSpec) -> None:
    """Plug in the vsock device of `spec`, where it has one. It comes first, since the guest has most to do with it.

    Errors: as `Hypervisor.plug`, and libvirt's.
    """
    domain = _find(connection, spec.name)
    if spec.vsock is not None and spec.vsock.socket is not None:
        _plug_vhost_user_vsock(domain, str(spec.vsock.socket))
    elif spec.vsock is not None:
        domain.attachDeviceFlags(vsock_xml(Vsock(spec.vsock.cid)), libvirt.VIR_DOMAIN_AFFECT_LIVE)


def plug(connection: "libvirt.virConnect", spec: MachineSpec, share: Path | None) -> None:
    """Plug in the other devices that `spec` has. Errors: as `Hypervisor.plug`, and libvirt's.

    Args:
        connection: to libvirt.
        spec: of the claimed machine.
        share: the socket of the share's virtiofsd, where there is a share.
    """
    domain = _find(connection, spec.name)
    if spec.network is not None:
        domain.attachDeviceFlags(network_xml(spec.network), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    if spec.share is not None and share is not None:
        domain.attachDeviceFlags(share_xml(spec.share, share), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    if spec.scratch is not None:
        machine_disks.attach(connection, spec.name, spec.scratch)


def ask_for_network(connection: "libvirt.virConnect", name: str) -> None:
    """Have the guest let its network card go; libvirt's event tells when it has. Raises NotFound, libvirt's errors."""
    _find(connection, name).detachDeviceAlias(NETWORK_ALIAS, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def _find(connection: "libvirt.virConnect", name: str) -> "libvirt.virDomain":
    domain = domains.find(connection, name)
    if domain is None:
        raise NotFound(f"there is no machine {name}")
    return domain


def _plug_vhost_user_vsock(domain: "libvirt.virDomain", socket: str) -> None:
    """Libvirt has no element for it."""
    address = {"type": "unix", "data": {"path": socket}}
    backend = {"type": "socket", "data": {"addr": address, "server": False}}
    ask(domain, "chardev-add", id="vsock", backend=backend)
    ask(domain, "device_add", driver="vhost-user-vsock-pci", id="vsock0", chardev="vsock", bus=f"pci.{VSOCK_PORT}")

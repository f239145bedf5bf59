"""The devices of a claim, plugged into an unclaimed machine: functions that block, for `Connection.call`."""

from pathlib import Path

from vmsandbox.errors import NotFound
from vmsandbox.hypervisor.base import MachineSpec
from vmsandbox.hypervisor.libvirt import domains
from vmsandbox.hypervisor.libvirt.bindings import libvirt
from vmsandbox.hypervisor.libvirt.monitor import ask
from vmsandbox.hypervisor.xml import VSOCK_PORT, network_xml, share_xml, vsock_xml
from vmsandbox.model import Vsock


def plug(connection: "libvirt.virConnect", spec: MachineSpec, share: Path | None) -> None:
    """Plug in the devices that `spec` has. Errors: as `Hypervisor.plug`, and libvirt's.

    The vsock device comes first, as the guest takes longest to be reached by it.

    Args:
        connection: to libvirt.
        spec: of the claimed machine.
        share: the socket of the share's virtiofsd, where there is a share.
    """
    domain = domains.find(connection, spec.name)
    if domain is None:
        raise NotFound(f"there is no machine {spec.name}")
    if spec.vsock is not None and spec.vsock.socket is not None:
        _plug_vhost_user_vsock(domain, str(spec.vsock.socket))
    for xml in _devices(spec, share):
        domain.attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    if spec.scratch is not None:
        domains.attach(connection, spec.name, spec.scratch)


def _devices(spec: MachineSpec, share: Path | None) -> list[str]:
    devices = []
    if spec.vsock is not None and spec.vsock.socket is None:
        devices.append(vsock_xml(Vsock(spec.vsock.cid)))
    if spec.network is not None:
        devices.append(network_xml(spec.network))
    if spec.share is not None and share is not None:
        devices.append(share_xml(spec.share, share))
    return devices


def _plug_vhost_user_vsock(domain: "libvirt.virDomain", socket: str) -> None:
    """Libvirt has no element for it."""
    address = {"type": "unix", "data": {"path": socket}}
    backend = {"type": "socket", "data": {"addr": address, "server": False}}
    ask(domain, "chardev-add", id="vsock", backend=backend)
    ask(domain, "device_add", driver="vhost-user-vsock-pci", id="vsock0", chardev="vsock", bus=f"pci.{VSOCK_PORT}")

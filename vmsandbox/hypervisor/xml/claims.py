"""The devices by which a machine is its pod's: on the root bus from its boot on, or plugged into a port by a claim."""

from pathlib import Path
from xml.etree import ElementTree as ET

from vmsandbox.hypervisor.specification import NetworkDevice, SharedDirectory
from vmsandbox.hypervisor.xml.elements import add, document, pci
from vmsandbox.model import Vsock

VSOCK_PORT, _NETWORK_PORT, _SHARE_PORT = PORTS = range(1, 4)
"""The buses of the ports of an unclaimed machine, one for each device that is plugged in."""

_MTU_OF_ETHERNET = 1500


def network_interface(parent: ET.Element, network: NetworkDevice) -> ET.Element:
    """The network card, without its address."""
    interface = add(parent, "interface", type="ethernet")
    add(interface, "mac", address=network.mac)
    add(interface, "target", dev=network.tap, managed="no")
    add(interface, "model", type="virtio")
    if network.mtu != _MTU_OF_ETHERNET:
        add(interface, "mtu", size=str(network.mtu))
    add(interface, "rom", enabled="no")
    return interface


def shared_directory(parent: ET.Element, share: SharedDirectory, socket: Path | None = None) -> ET.Element:
    """The share, without its address; its virtiofsd listens on the socket, or is libvirt's to start."""
    filesystem = add(parent, "filesystem", type="mount", accessmode="passthrough")
    add(filesystem, "driver", type="virtiofs", queue="1024")
    if socket is not None:
        del filesystem.attrib["accessmode"]
        add(filesystem, "source", socket=str(socket))
    else:
        if share.server is not None:
            add(filesystem, "binary", path=str(share.server))
        add(filesystem, "source", dir=str(share.directory))
    add(filesystem, "target", dir=share.tag)
    return filesystem


def kernel_vsock(parent: ET.Element, vsock: Vsock) -> ET.Element:
    """The vsock device of a host whose kernel has vhost_vsock, without its address."""
    element = add(parent, "vsock", model="virtio")
    add(element, "cid", auto="no", address=str(vsock.cid))
    return element


def network_xml(network: NetworkDevice) -> str:
    """The network card, to plug it in."""
    return _plugged(network_interface(ET.Element("devices"), network), _NETWORK_PORT)


def share_xml(share: SharedDirectory, socket: Path) -> str:
    """The share, to plug it in; its virtiofsd listens on the socket."""
    return _plugged(shared_directory(ET.Element("devices"), share, socket), _SHARE_PORT)


def vsock_xml(vsock: Vsock) -> str:
    """The vsock device, to plug it in."""
    return _plugged(kernel_vsock(ET.Element("devices"), vsock), VSOCK_PORT)


def _plugged(device: ET.Element, port: int) -> str:
    pci(device, 0, port)
    return document(device)

"""Elements of libvirt's XML."""

from xml.etree import ElementTree as ET


def add(parent: ET.Element, tag: str, text: str | None = None, **attributes: str) -> ET.Element:
    """A new element, the last in `parent`."""
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


def document(element: ET.Element) -> str:
    """The element as libvirt takes it."""
    ET.indent(element)
    return ET.tostring(element, encoding="unicode") + "\n"


def pci(device: ET.Element, slot: int, bus: int = 0) -> None:
    """Give a device its address."""
    add(device, "address", type="pci", domain="0x0000", bus=f"0x{bus:02x}", slot=f"0x{slot:02x}", function="0x0")

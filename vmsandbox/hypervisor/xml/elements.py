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

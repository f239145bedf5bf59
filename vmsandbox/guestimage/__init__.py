"""Builds what every machine boots from, out of Debian packages: kernel, initramfs and a read-only root."""

from vmsandbox.guestimage.archive import export_image, import_image
from vmsandbox.guestimage.build import build_guest_image
from vmsandbox.guestimage.inputs import agent_build
from vmsandbox.guestimage.manifest import DEFAULT_DIRECTORY, BuiltImage, load_image
from vmsandbox.guestimage.mirrors import choose_sources, sources_list

__all__ = [
    "DEFAULT_DIRECTORY",
    "BuiltImage",
    "agent_build",
    "build_guest_image",
    "choose_sources",
    "export_image",
    "import_image",
    "load_image",
    "sources_list",
]

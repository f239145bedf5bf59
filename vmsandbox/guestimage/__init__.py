"""Builds what every machine boots from, out of Debian packages: kernel, initramfs and a read-only root."""

from vmsandbox.guestimage.archive import export_image, import_image
from vmsandbox.guestimage.background import LOG, compiling, kernel_of
from vmsandbox.guestimage.background import start as start_in_background
from vmsandbox.guestimage.build import build_guest_image
from vmsandbox.guestimage.inputs import DEBIAN, SMALL, agent_build
from vmsandbox.guestimage.leftovers import GuestImageFiles
from vmsandbox.guestimage.leftovers import look as guest_image_files
from vmsandbox.guestimage.leftovers import remove_old as remove_old_guest_images
from vmsandbox.guestimage.manifest import DEFAULT_DIRECTORY, BuiltImage, load_image
from vmsandbox.guestimage.mirrors import choose_sources, sources_list

__all__ = [
    "DEBIAN",
    "DEFAULT_DIRECTORY",
    "LOG",
    "SMALL",
    "BuiltImage",
    "GuestImageFiles",
    "agent_build",
    "build_guest_image",
    "choose_sources",
    "compiling",
    "export_image",
    "guest_image_files",
    "import_image",
    "kernel_of",
    "load_image",
    "remove_old_guest_images",
    "sources_list",
    "start_in_background",
]

"""An image's layers merged into one read-only root image (squashfs), without unpacking them on the host.

`build_root_image` starts a program (`python -m vmsandbox.images.rootfs`) that goes through the layers twice: `merge`
reads the names and attributes of each layer into a `Tree`, as soon as that layer is there, and `pack` streams what
survived, with contents, into tar2sqfs.
"""

from vmsandbox.images.rootfs.build import Arrival, at_once, build_root_image
from vmsandbox.images.rootfs.layers import Layer, RootLimit

__all__ = ["Arrival", "Layer", "RootLimit", "at_once", "build_root_image"]

"""An image's layers merged into one read-only root image (squashfs), without unpacking them on the host."""

from vmsandbox.images.rootfs.build import build_root_image
from vmsandbox.images.rootfs.layers import Layer, RootLimit

__all__ = ["Layer", "RootLimit", "build_root_image"]

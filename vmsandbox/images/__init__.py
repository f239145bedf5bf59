"""OCI images: pulled, kept, and merged into one read-only root image each.

An `ImageStore` is what the layers above call. Of the rooms below it, `oci` reads what images say, `store` is the
directory on disk, `skopeo` fetches, and `rootfs` makes root images.
"""

from vmsandbox.images.image_store import ImageStore, Usage
from vmsandbox.images.oci import Reference
from vmsandbox.images.store import PullPhase, PullProgress, Report, RootImage

__all__ = [
    "ImageStore",
    "PullPhase",
    "PullProgress",
    "Reference",
    "Report",
    "RootImage",
    "Usage",
]

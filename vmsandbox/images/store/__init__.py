"""An image store on disk (docs/on-disk.md, "Images"): its index, blobs and root images, and who may change them when.

`StoreLayout` is the directory, a `StoreTransaction` frames each pull and load, and a `Catalogue` lists what is held.
"""

from vmsandbox.images.store.blobs import Blobs, disk_bytes, read_bounded
from vmsandbox.images.store.catalogue import Catalogue
from vmsandbox.images.store.index import ImageRecord
from vmsandbox.images.store.layout import Candidate, StoreLayout, check_layers_fit
from vmsandbox.images.store.progress import PullPhase, PullProgress, Report, silent, watching_progress
from vmsandbox.images.store.roots import RootImage
from vmsandbox.images.store.transaction import StoreTransaction, naming_step

__all__ = [
    "Blobs",
    "Candidate",
    "Catalogue",
    "ImageRecord",
    "PullPhase",
    "PullProgress",
    "Report",
    "RootImage",
    "StoreLayout",
    "StoreTransaction",
    "check_layers_fit",
    "disk_bytes",
    "naming_step",
    "read_bounded",
    "silent",
    "watching_progress",
]

"""The mounts of containers, and the files of a sandbox on the host.

`directories` are the sandbox's own. `volumes` finds for each mount of a container where the guest has it: below the
virtio-fs share (`shared_volumes`), in the guest's memory (`synced_volumes`, tmpfs), or on an image's disk
(`image_disks`). `mounts`, `mount_calls` and `mountinfo` are the kernel's mounts, as others may use them as well.
"""

from vmsandbox.sandbox.files.directories import SandboxDirectories
from vmsandbox.sandbox.files.image_disks import ImageDisks
from vmsandbox.sandbox.files.mounts import MountAccess, MountTree, bind_tree, copy_tree, unmount_below
from vmsandbox.sandbox.files.shared_volumes import SharedVolumes
from vmsandbox.sandbox.files.synced_volumes import SyncedVolumes
from vmsandbox.sandbox.files.volumes import Volumes

__all__ = [
    "ImageDisks",
    "MountAccess",
    "MountTree",
    "SandboxDirectories",
    "SharedVolumes",
    "SyncedVolumes",
    "Volumes",
    "bind_tree",
    "copy_tree",
    "unmount_below",
]

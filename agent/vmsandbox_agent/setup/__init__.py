"""The setup that turns a booted kernel into a pod's machine: file systems, disks, network, volumes, clock."""

from vmsandbox_agent.setup.atomic_volumes import AtomicVolumes
from vmsandbox_agent.setup.clock import KernelClock
from vmsandbox_agent.setup.configure import configure_guest
from vmsandbox_agent.setup.disks import release, wait_for_disk
from vmsandbox_agent.setup.entropy import reseed
from vmsandbox_agent.setup.images import Images
from vmsandbox_agent.setup.leftovers import drop as drop_leftovers
from vmsandbox_agent.setup.mounts import (
    delegate_cgroups,
    make_directories,
    make_directory,
    make_nodes,
    make_tmpfs,
    mount_all,
)
from vmsandbox_agent.setup.namespaces import PodNamespaces
from vmsandbox_agent.setup.processors import use_processors
from vmsandbox_agent.setup.secret import read_secret

__all__ = [
    "AtomicVolumes",
    "Images",
    "KernelClock",
    "PodNamespaces",
    "configure_guest",
    "delegate_cgroups",
    "drop_leftovers",
    "make_directories",
    "make_directory",
    "make_nodes",
    "make_tmpfs",
    "mount_all",
    "read_secret",
    "release",
    "reseed",
    "use_processors",
    "wait_for_disk",
]

"""Where things are inside the guest: the paths that the host may name in a container's spec.

The agent makes them; the host's spec builder uses them as sources of bind mounts.
"""

STATE = "/run/vmsandbox"

SHARE = f"{STATE}/share"
"""The virtio-fs share of the volumes (`ConfigureGuest.share_tag`)."""

TMPFS = f"{STATE}/tmpfs"
"""Holds a directory per `MakeTmpfs.name`."""

IMAGES = f"{STATE}/images"
"""Holds the read-only root of every attached image, by its serial; also the source of image volumes."""

SCRATCH = f"{STATE}/scratch"
"""Holds what each container writes, by its id."""

SHM = f"{STATE}/shm"
"""The pod's /dev/shm."""

HOSTS = f"{STATE}/etc/hosts"
HOSTNAME = f"{STATE}/etc/hostname"
RESOLV_CONF = f"{STATE}/etc/resolv.conf"
"""Files that `ConfigureGuest` writes, for containers to mount."""

POD_CGROUP = "/vmsandbox"
"""The cgroup above those of the containers, in the hierarchy of cgroups."""

UNCLAIMED = "vmsandbox.unclaimed"
"""On the kernel's command line: the machine boots for nobody yet, to become a template or to wait; it has time."""

BUILD_ID = "/usr/lib/vmsandbox/build-id"
"""One line, written by the guest image's build: what `HelloReply.build` says."""


def declared_volume(container_id: str, number: int) -> str:
    """Return the source of a volume that a container's image declares: the agent makes it where a spec mounts it."""
    return f"{SCRATCH}/{container_id}/volumes/{number}"

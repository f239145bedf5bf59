"""The image store of this node, and the group that reads its root images."""

import grp

from vmsandbox.config import Config
from vmsandbox.errors import FailedPrecondition
from vmsandbox.images import ImageSettings, ImageStore


async def open_images(config: Config) -> ImageStore:
    """The image store; it needs nothing else of the node.

    Raises:
        FailedPrecondition: the host has no group `qemu_group`.
        VmsandboxError: what `ImageStore.open` raises.
    """
    images = config.images
    settings = ImageSettings(
        registries_conf=images.registries_conf,
        policy=images.policy,
        authfile=images.authfile,
        pull_timeout=images.pull_timeout,
        max_root_size=images.max_root_size,
        max_root_memory=images.max_root_memory,
        user=images.user,
        pinned=images.pinned,
        readers=qemu_group(config),
    )
    return await ImageStore.open(images.directory or config.state_directory / "images", settings)


def qemu_group(config: Config) -> int:
    """The number of the group that QEMU's processes have. Raises FailedPrecondition where there is none."""
    try:
        return grp.getgrnam(config.qemu_group).gr_gid
    except KeyError:
        raise FailedPrecondition(
            f"the group {config.qemu_group} does not exist", hint="`make setup` makes it; or set qemu_group"
        ) from None

"""The image store of this node, and the group that reads its root images."""

import grp

from vmsandbox.config import Config
from vmsandbox.errors import FailedPrecondition
from vmsandbox.images import ImageStore


async def open_images(config: Config) -> ImageStore:
    """The image store; it needs nothing else of the node.

    Raises:
        FailedPrecondition: the host has no group `qemu_group`.
        VmsandboxError: what `ImageStore.open` raises.
    """
    directory = config.images.directory or config.state_directory / "images"
    return await ImageStore.open(directory, config.images, readers=qemu_group(config))


def qemu_group(config: Config) -> int:
    """The number of the group that QEMU's processes have. Raises FailedPrecondition where there is none."""
    try:
        return grp.getgrnam(config.qemu_group).gr_gid
    except KeyError:
        raise FailedPrecondition(
            f"the group {config.qemu_group} does not exist", hint="`make setup` makes it; or set qemu_group"
        ) from None

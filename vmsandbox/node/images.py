"""The image store of this node."""

from vmsandbox.config import Config
from vmsandbox.images import ImageSettings, ImageStore


async def open_images(config: Config) -> ImageStore:
    """The image store; it needs nothing else of the node."""
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
    )
    return await ImageStore.open(images.directory or config.state_directory / "images", settings)

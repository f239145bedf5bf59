"""The host's end of building a root image."""

from collections.abc import Sequence
from pathlib import Path

from vmsandbox.errors import Unimplemented
from vmsandbox.images.rootfs.layers import Layer, RootLimit


async def build_root_image(
    layers: Sequence[Layer], destination: Path, *, limit: RootLimit, timeout: float = 3600
) -> None:
    """Merge layers, the lowest first, into one squashfs image at `destination`."""
    raise Unimplemented("root images cannot be built yet")

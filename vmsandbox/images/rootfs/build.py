"""The host's end of building a root image."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from vmsandbox import process
from vmsandbox.errors import Internal
from vmsandbox.images.rootfs.job import Failure, Job, LayerFile
from vmsandbox.images.rootfs.layers import Layer, RootLimit

_PROGRAM = ("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "vmsandbox.images.rootfs")
"""Ends with this process, whose locks are gone then."""


async def build_root_image(
    layers: Sequence[Layer], destination: Path, *, limit: RootLimit, timeout: float = 3600
) -> None:
    """Merge layers, the lowest first, into one squashfs image at `destination`.

    No layer is unpacked on this host: it is read as a stream of tar entries, twice. The same layers give the same
    bytes. Cancelling it ends all that works on it; what is at `destination` then is of no use.

    Args:
        layers: are only read.
        destination: is made, or replaced.
        limit: of what the layers may unpack to.
        timeout: seconds.

    Raises:
        Malformed: a layer is damaged, or its archive makes no sense.
        Internal: a layer is not what its diff_id says.
        ResourceExhausted: the image is larger than the limit, or the disk is full.
        DeadlineExceeded: it took too long.
        FailedPrecondition: tar2sqfs is not installed.
    """
    files = tuple(LayerFile(str(layer.path), layer.diff_id) for layer in layers)
    job = Job(files, str(destination), limit)
    try:
        await process.run(_PROGRAM, stdin=job.to_bytes(), timeout=timeout, env=_environment())
    except Internal as error:
        raise Failure.in_text(error.evidence.get("stderr", "")) from None


def _environment() -> dict[str, str]:
    """The path to the programs, and to the modules of this very project."""
    return {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

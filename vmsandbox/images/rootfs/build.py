"""The host's end of building a root image."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from vmsandbox import process
from vmsandbox.errors import Internal
from vmsandbox.images.oci import MAX_LAYERS
from vmsandbox.images.rootfs.job import Failure, Job, LayerFile
from vmsandbox.images.rootfs.layers import Layer, RootLimit
from vmsandbox.process import Account, Confinement, Limits

_PROGRAM = (sys.executable, "-B", "-m", "vmsandbox.images.rootfs")
"""The builder's program. Python writes no byte code for it, because it may write only its open files."""

_FIXED_MEMORY = 256 << 20
"""Bytes that the builder takes beside the tree: Python, and the history of a zstd stream (128 MiB)."""
_OPEN_FILES = MAX_LAYERS + 64
_PROCESSES = 4096
"""Processes of all builders together; tar2sqfs has a few threads."""


async def build_root_image(
    layers: Sequence[Layer], destination: Path, *, limit: RootLimit, account: Account, timeout: float = 3600
) -> None:
    """Merge layers, the lowest first, into one squashfs image at `destination`.

    No layer is unpacked on this host: it is read as a stream of tar entries, twice. The same layers give the same
    bytes. Cancelling it ends all that works on it; what is at `destination` then is of no use.

    The program that does it may be taken over by what it reads. It has the layers and the destination as open files,
    and nothing else: no other user's files, no network, no capabilities, and bounded memory.

    Args:
        layers: are only read.
        destination: is made, or replaced; its owner is this process's user.
        limit: of what the layers may unpack to, and of memory.
        account: whom the program runs as.
        timeout: seconds.

    Raises:
        Malformed: a layer is damaged, or its archive makes no sense.
        Internal: a layer is not what its diff_id says.
        ResourceExhausted: the image is larger than the limit, or the disk is full.
        DeadlineExceeded: it took too long.
        FailedPrecondition: tar2sqfs is not installed, or this is not root.
    """
    with _opened(layers) as blobs, destination.open("wb") as made:
        os.fchown(made.fileno(), account.uid, account.gid)
        files = tuple(LayerFile(blob.fileno(), layer.diff_id) for layer, blob in zip(layers, blobs, strict=True))
        job = Job(files, made.fileno(), limit, account)
        try:
            await process.run(
                _PROGRAM,
                stdin=job.to_bytes(),
                timeout=timeout,
                env=_environment(),
                confinement=_confinement(limit),
                descriptors=job.descriptors,
            )
        except Internal as error:
            raise Failure.in_text(error.evidence.get("stderr", "")) from None
        os.fchown(made.fileno(), os.geteuid(), os.getegid())


@contextlib.contextmanager
def _opened(layers: Sequence[Layer]) -> Iterator[list[IO[bytes]]]:
    with contextlib.ExitStack() as files:
        yield [files.enter_context(layer.path.open("rb")) for layer in layers]


def _confinement(limit: RootLimit) -> Confinement:
    """Begins as root, since this project's modules may lie where no other user can read; then changes its user.

    All that it starts ends with it, so that nothing can write to the image that was made.
    """
    return Confinement(
        capabilities=("setuid", "setgid", "dac_read_search"),
        namespaces=("net", "ipc", "uts", "pid"),
        limits=Limits(
            memory=limit.memory + _FIXED_MEMORY,
            file_size=limit.size + limit.memory,  # squashfs has its metadata beside the files
            open_files=_OPEN_FILES,
            processes=_PROCESSES,
        ),
        dies_with_parent=True,  # whose locks are gone then
        profile="vmsandbox-builder",
    )


def _environment() -> dict[str, str]:
    """The path to the programs, and to the modules of this very project."""
    return {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

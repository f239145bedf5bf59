"""The host's end of building a root image."""

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from vmsandbox import aio, process
from vmsandbox.errors import Internal
from vmsandbox.images.oci import MAX_LAYERS
from vmsandbox.images.rootfs.job import Failure, Job
from vmsandbox.images.rootfs.layers import Layer, RootLimit
from vmsandbox.process import Account, Confinement, Limits

_PROGRAM = (sys.executable, "-B", "-m", "vmsandbox.images.rootfs")
"""The builder's program. Python writes no byte code for it, because it may write only its open files."""

_FIXED_MEMORY = 256 << 20
"""Bytes that the builder takes beside the tree: Python, and the history of a zstd stream (128 MiB)."""
_OPEN_FILES = MAX_LAYERS + 64
_PROCESSES = 4096
"""Processes of all builders together; tar2sqfs has a few threads."""

Arrival = Callable[[Path], Awaitable[None]]
"""Waits until the blob of a layer is at its path, whole and checked."""


async def at_once(_: Path) -> None:
    """All layers are there: an `Arrival`."""


async def build_root_image(
    layers: Sequence[Layer],
    destination: Path,
    *,
    limit: RootLimit,
    account: Account,
    arrival: Arrival = at_once,
    timeout: float = 3600,
) -> None:
    """Merge layers, the lowest first, into one squashfs image at `destination`.

    No layer is unpacked on this host: it is read as a stream of tar entries, twice, the second time from a file
    without a name beside `destination` (`contents`). The same layers give the same bytes. Cancelling it ends all that
    works on it; what is at `destination` then is of no use.

    The program that does it may be taken over by what it reads. It has the layers, the destination and that file
    as open files, and nothing else: no other user's files, no network, no capabilities, and bounded memory.

    Args:
        layers: are only read.
        destination: is made, or replaced; its owner is this process's user.
        limit: of what the layers may unpack to, and of memory.
        account: whom the program runs as.
        arrival: is awaited before each layer is opened; the layers before it are merged meanwhile.
        timeout: seconds.

    Raises:
        Exception: what `arrival` raises; the program has ended then.
        Malformed: a layer is damaged, or its archive makes no sense.
        Internal: a layer is not what its diff_id says.
        ResourceExhausted: the image is larger than the limit, or the disk is full.
        DeadlineExceeded: it took too long.
        FailedPrecondition: tar2sqfs is not installed, or this is not root.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs, destination.open("wb") as made, tempfile.TemporaryFile(dir=destination.parent) as keep:
        os.fchown(made.fileno(), account.uid, account.gid)
        diff_ids = tuple(layer.diff_id for layer in layers)
        job = Job(diff_ids, theirs.fileno(), made.fileno(), keep.fileno(), limit, account)
        ours.setblocking(False)
        await aio.together(_run(job, timeout), _hand_over([layer.path for layer in layers], arrival, ours))
        os.fchown(made.fileno(), os.geteuid(), os.getegid())


async def _run(job: Job, timeout: float) -> None:
    try:
        await process.run(
            _PROGRAM,
            stdin=job.to_bytes(),
            timeout=timeout,
            env=_environment(),
            confinement=_confinement(job.limit),
            descriptors=job.descriptors,
        )
    except Internal as error:
        raise Failure.in_text(error.evidence.get("stderr", "")) from None


async def _hand_over(paths: Sequence[Path], arrival: Arrival, to: socket.socket) -> None:
    """Send the program each layer as an open file, when it is there."""
    for path in paths:
        await arrival(path)
        with path.open("rb") as blob:
            while not _sent(to, blob.fileno()):
                await _writable(to)


def _sent(to: socket.socket, descriptor: int) -> bool:
    try:
        return bool(socket.send_fds(to, [b"\0"], [descriptor]))
    except BlockingIOError:
        return False


async def _writable(end: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    writable = asyncio.Event()
    loop.add_writer(end, writable.set)
    try:
        await writable.wait()
    finally:
        loop.remove_writer(end)


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

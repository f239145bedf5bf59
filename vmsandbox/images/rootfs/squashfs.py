"""Running tar2sqfs (squashfs-tools-ng): the one place that knows its command line.

It runs as a child of the program that merges, not of the daemon; when that one dies, its input ends, and so does it.
"""

import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from vmsandbox.errors import FailedPrecondition, Internal, ResourceExhausted, VmsandboxError
from vmsandbox.images.diagnosis import NO_SPACE_HINT

_COMPRESSION = ("--compressor", "zstd", "--comp-extra", "level=3")
_STDERR_KEPT = 8192


def write_squashfs(stream: Iterable[bytes], destination: Path) -> None:
    """Make a squashfs image of a tar stream; the same stream gives the same bytes.

    Raises:
        FailedPrecondition: tar2sqfs is not installed.
        ResourceExhausted: the disk is full.
        Internal: tar2sqfs failed; what it printed is the evidence.
        Exception: what `stream` raises; tar2sqfs has ended then.
    """
    command = ["tar2sqfs", "--quiet", "--no-skip", "--force", *_COMPRESSION, str(destination)]
    with tempfile.TemporaryFile() as log:
        try:
            tool = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        except FileNotFoundError:
            raise FailedPrecondition(
                "the program tar2sqfs is not installed", hint="`vmsandbox check` lists what this host needs"
            ) from None
        _feed(tool, stream)
        if tool.wait() != 0:
            log.seek(0)
            raise _failure(log.read(_STDERR_KEPT).decode(errors="replace"))


def _feed(tool: subprocess.Popen[bytes], stream: Iterable[bytes]) -> None:
    """Write the stream to the program; one that ends early says why itself."""
    assert tool.stdin is not None
    try:
        _write(tool.stdin, stream)
    except BaseException:
        tool.kill()
        tool.wait()
        raise


def _write(sink: IO[bytes], stream: Iterable[bytes]) -> None:
    with sink:
        for piece in stream:
            try:
                sink.write(piece)
            except BrokenPipeError:
                return


def _failure(stderr: str) -> VmsandboxError:
    if "No space left on device" in stderr or "Disk quota exceeded" in stderr:
        return ResourceExhausted("the disk is full", hint=NO_SPACE_HINT)
    return Internal("tar2sqfs cannot write the root image", evidence={"tar2sqfs": stderr})

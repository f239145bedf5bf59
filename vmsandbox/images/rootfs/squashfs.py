"""Running tar2sqfs (squashfs-tools-ng): the one place that knows its command line.

It runs as a child of the program that merges, not of the daemon; when that one dies, its input ends, and so does it.
"""

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterable
from typing import IO

from vmsandbox.errors import FailedPrecondition, Internal

_COMPRESSION = ("--compressor", "zstd", "--comp-extra", "level=1")
_STDERR_KEPT = 2048
_MOST_JOBS = 8
"""Threads that compress: each takes 8 MiB of stack, which the limit of memory counts."""


def write_squashfs(stream: Iterable[bytes], made: IO[bytes]) -> None:
    """Make a squashfs image of a tar stream in an open file; the same stream gives the same bytes.

    Raises:
        FailedPrecondition: tar2sqfs is not installed.
        OSError: the disk is full, or the like.
        MemoryError: tar2sqfs reached its limit.
        Internal: tar2sqfs failed; what it printed is the evidence.
        Exception: what `stream` raises; tar2sqfs has ended then.
    """
    jobs = f"--num-jobs={min(len(os.sched_getaffinity(0)), _MOST_JOBS)}"
    command = ["tar2sqfs", "--quiet", "--no-skip", "--force", *_COMPRESSION, jobs, f"/dev/fd/{made.fileno()}"]
    with tempfile.TemporaryFile() as log:
        try:
            tool = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=[made.fileno()])
        except FileNotFoundError:
            raise FailedPrecondition(
                "the program tar2sqfs is not installed", hint="`vmsandbox check` lists what this host needs"
            ) from None
        _feed(tool, stream)
        if tool.wait() != 0:
            _write_more(made)
            log.seek(0)
            stderr = log.read(_STDERR_KEPT).decode(errors="replace")
            if os.strerror(errno.ENOMEM) in stderr:
                raise MemoryError
            raise Internal("tar2sqfs cannot write the root image", evidence={"tar2sqfs": stderr})


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


def _write_more(made: IO[bytes]) -> None:
    """Find out what tar2sqfs keeps to itself ("I/O error"): what the disk answers who writes on.

    The file, even removed, takes its room as long as it is open here.
    """
    made.seek(0, os.SEEK_END)
    made.write(bytes(1 << 20))
    made.flush()

"""The program that builds a root image, apart from the daemon: what it reads may be hostile, and keeps a CPU busy.

It reads a `Job` from stdin. An error is a `Failure` on stderr and the exit status 1.
"""

import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from typing import IO

from vmsandbox.errors import VmsandboxError
from vmsandbox.images.disk_errors import error_of_disk
from vmsandbox.images.rootfs.contents import Keep, LayerContent
from vmsandbox.images.rootfs.job import Failure, Job
from vmsandbox.images.rootfs.layers import out_of_memory
from vmsandbox.images.rootfs.pack import pack
from vmsandbox.images.rootfs.squashfs import write_squashfs
from vmsandbox.images.rootfs.tree import merge
from vmsandbox.process import Account

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Do the job; returns the exit status."""
    job = Job.from_bytes(sys.stdin.buffer.read())
    _become(job.account)
    try:
        _build(job)
    except VmsandboxError as error:
        return _failed(error)
    except OSError as error:
        return _failed(error_of_disk(error))
    except MemoryError:
        pass  # the tree goes with the exception
    else:
        return 0
    return _failed(out_of_memory(job.limit))


def _become(account: Account) -> None:
    """Give up root, and so all capabilities. The kernel forgets then that this process is to end with its parent."""
    os.setgroups([])
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _failed(error: VmsandboxError) -> int:
    sys.stderr.write(Failure.of(error).to_line() + "\n")
    return 1


def _build(job: Job) -> None:
    contents: list[LayerContent] = []
    with contextlib.ExitStack() as files, os.fdopen(job.destination, "wb") as made:
        keep = Keep(files.enter_context(os.fdopen(job.keep, "w+b")))
        arriving = (LayerContent(files.enter_context(blob), keep) for blob in _arriving(job))
        tree = merge(job.diff_ids, _noted(arriving, contents), job.limit)
        write_squashfs(pack(tree, contents, tree.budget.for_the_result()), made)


def _arriving(job: Job) -> Iterator[IO[bytes]]:
    """The layers, each when it has come."""
    with socket.socket(fileno=job.layers) as source:
        for _ in job.diff_ids:
            _, (descriptor,), _, _ = socket.recv_fds(source, 1, 1)
            yield os.fdopen(descriptor, "rb")


def _noted(contents: Iterable[LayerContent], noted: list[LayerContent]) -> Iterator[LayerContent]:
    for content in contents:
        noted.append(content)
        yield content


if __name__ == "__main__":
    sys.exit(main())

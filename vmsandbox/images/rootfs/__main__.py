"""The program that builds a root image, apart from the daemon: what it reads may be hostile, and keeps a CPU busy.

It reads a `Job` from stdin. An error is a `Failure` on stderr and the exit status 1.
"""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from vmsandbox.errors import VmsandboxError
from vmsandbox.images.disk_errors import error_of_disk
from vmsandbox.images.rootfs.job import Failure, Job
from vmsandbox.images.rootfs.layers import Layer, out_of_memory
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
    layers = [Layer(Path(f"/dev/fd/{file.descriptor}"), file.diff_id) for file in job.layers]
    with _opened([file.descriptor for file in job.layers]) as blobs, os.fdopen(job.destination, "wb") as made:
        tree = merge(layers, blobs, job.limit)
        write_squashfs(pack(tree, blobs, tree.budget.for_the_result()), made)


@contextlib.contextmanager
def _opened(descriptors: Sequence[int]) -> Iterator[list[IO[bytes]]]:
    with contextlib.ExitStack() as files:
        yield [files.enter_context(os.fdopen(descriptor, "rb")) for descriptor in descriptors]


if __name__ == "__main__":
    sys.exit(main())

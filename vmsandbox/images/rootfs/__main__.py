"""The program that builds a root image, apart from the daemon: what it reads may be hostile, and keeps a CPU busy.

It reads a `Job` from stdin. An error is a `Failure` on stderr and the exit status 1.
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from vmsandbox.errors import VmsandboxError
from vmsandbox.images.diagnosis import of_the_disk
from vmsandbox.images.rootfs.job import Failure, Job
from vmsandbox.images.rootfs.layers import Budget, Layer
from vmsandbox.images.rootfs.merge import merge
from vmsandbox.images.rootfs.pack import pack
from vmsandbox.images.rootfs.squashfs import write_squashfs


def main() -> int:
    """Do the job; returns the exit status."""
    job = Job.from_bytes(sys.stdin.buffer.read())
    try:
        _build(job)
    except VmsandboxError as error:
        return _failed(error)
    except OSError as error:
        return _failed(of_the_disk(error))
    return 0


def _failed(error: VmsandboxError) -> int:
    sys.stderr.write(Failure.of(error).to_line() + "\n")
    return 1


def _build(job: Job) -> None:
    layers = [Layer(Path(layer.path), layer.diff_id) for layer in job.layers]
    with _opened(layers) as blobs:
        tree = merge(layers, blobs, job.limit)
        write_squashfs(pack(tree, blobs, Budget(job.limit)), Path(job.destination))


@contextlib.contextmanager
def _opened(layers: Sequence[Layer]) -> Iterator[list[IO[bytes]]]:
    with contextlib.ExitStack() as files:
        yield [files.enter_context(layer.path.open("rb")) for layer in layers]


if __name__ == "__main__":
    sys.exit(main())

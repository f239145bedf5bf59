"""The virtiofsd of a sandbox: its mount namespace, in which volumes are mounted, and the tree that it serves.

Links that a guest has put into a volume are not followed here: paths are opened below virtiofsd's root, and mounts are
made and moved by descriptors.
"""

import contextlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from vmsandbox.errors import FailedPrecondition
from vmsandbox.fs.below import place_below
from vmsandbox.process import name_of
from vmsandbox.sandbox.files import mount_calls as calls
from vmsandbox.sandbox.files import mountinfo
from vmsandbox.sandbox.files.mountinfo import MountPoint

_SERVER = "virtiofsd"
"""The process name of virtiofsd."""


@dataclass(frozen=True, slots=True)
class ShareServer:
    """A virtiofsd that runs. Descriptors, and what is opened, are closed with the context that has made it."""

    process: Path
    """The process's directory in /proc, by a descriptor, so that a reused process number is not read."""
    root: int
    """The directory that it serves."""
    namespace: int
    opened: contextlib.ExitStack

    def mounts(self) -> list[MountPoint]:
        """Return the mounts of virtiofsd; paths begin at its root."""
        return mountinfo.read(self.process)

    def open(self, path: PurePath) -> int:
        """A descriptor of what is at a path of its, links not followed. Its file system may hang. Raises OSError."""
        return self.keep(place_below(self.root, path.relative_to("/").parts))

    def keep(self, fd: int) -> int:
        """Close a descriptor with the context."""
        self.opened.callback(os.close, fd)
        return fd

    def within(self, work: Callable[[], None]) -> None:
        """Do `work` in its mount namespace, in a thread of its own, which ends with it: its root is that one's."""
        failures: list[BaseException] = []

        def enter_and_work() -> None:
            try:
                calls.enter(self.namespace)
                work()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=enter_and_work, name="mounting")
        thread.start()
        thread.join()
        if failures:
            raise failures[0]


@contextlib.contextmanager
def server_of(share: Path, served: Path) -> Iterator[ShareServer]:
    """The virtiofsd whose root directory is `served`, the read-only mount of `share`.

    Raises:
        FailedPrecondition: there is none; or an older version of this program has started the machine.
    """
    if not served.is_dir():
        raise FailedPrecondition(
            f"the machine of {share} cannot get more volumes: an older version of vmsandbox started it",
            hint="create the pod again: guests of that version can redirect volumes",
        )
    process = next((each for each in Path("/proc").glob("[0-9]*") if _serves(each, served)), None)
    if process is None:
        raise FailedPrecondition(
            f"no virtiofsd serves {served}, so the machine cannot get volumes",
            hint="read its last messages in libvirt's log, and create the pod again",
        )
    with contextlib.ExitStack() as opened:
        yield _opened(process, opened)


def _opened(process: Path, opened: contextlib.ExitStack) -> ShareServer:
    def keep(fd: int) -> int:
        opened.callback(os.close, fd)
        return fd

    directory = keep(os.open(process, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    root = keep(os.open("root", os.O_PATH | os.O_CLOEXEC, dir_fd=directory))
    namespace = keep(os.open("ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory))
    return ShareServer(Path(f"/proc/self/fd/{directory}"), root, namespace, opened)


def _serves(process: Path, served: Path) -> bool:
    """Whether a process is root's virtiofsd with that root directory.

    No other's root directory is looked at: its file system may hang. Only root can have this one, and maybe a QEMU that
    its guest has taken over: hence the user.
    """
    try:
        if name_of(int(process.name)) != _SERVER:
            return False
        is_roots = re.search(rb"^Uid:\t0\t", (process / "status").read_bytes(), re.MULTILINE)
        return is_roots is not None and os.path.samestat((process / "root").stat(), served.stat())
    except OSError:  # it has ended, or is somebody's whom we may not look at
        return False

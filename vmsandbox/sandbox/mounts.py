"""Bind mounts: volumes below the share, and their teardown, which follows no link.

A volume of a container is a bind mount below the sandbox's share, in the mount namespace of the virtiofsd that serves
it, as a container's mounts are in the container's. So the host does not see it, may remove what is mounted (rmdir(2)
gives EBUSY for a mount point of one's own namespace alone), and the mounts end with the machine. A virtiofsd without a
namespace of its own has the host's mounts: the share is a shared mount, so that they appear in the guest all the same.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.errors import InvalidArgument
from vmsandbox.sandbox import mount_calls as calls
from vmsandbox.sandbox.mountinfo import mounts_below


@dataclass(frozen=True, slots=True)
class Access:
    """How a volume is seen below the share."""

    readonly: bool = False
    recursive: bool = False
    """Read-only is also what is mounted below it."""
    follows: bool = False
    """What is mounted below it on the host later appears (and disappears) in it; nothing ever goes the other way."""
    owners: int | None = None
    """A user namespace, as a file descriptor, by which the owners of its files are mapped (see `owners`)."""


def make_shared(directory: Path) -> None:
    """Make a directory a shared mount point of its own (mount_namespaces(7)); mounts below it propagate."""
    calls.mount(str(directory), directory, calls.BIND)
    calls.mount("none", directory, calls.PRIVATE)
    calls.mount("none", directory, calls.SHARED)


def bind(source: Path, target: Path, access: Access = Access(), share: Path | None = None) -> None:
    """Mount `source`, a directory or a file, at `target`, which is made; the caller owns the mount.

    With `share`, a directory above `target` that a virtiofsd serves, it is mounted where that one sees it.

    It appears at its place as it is going to be: nobody sees it writable, or as a peer of its source, before. The
    guest's root acts as root on what is mounted, so set-user-id bits and device nodes in it have no meaning on the
    host (nosuid, nodev), and read-only is the host's to enforce.

    Raises:
        InvalidArgument: the source does not exist.
        FailedPrecondition: the kernel refuses the mount.
    """
    if not source.exists():
        raise InvalidArgument(f"the volume's path {source} does not exist on the host")
    if source.is_dir():
        target.mkdir(parents=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    with calls.copy_of(source) as tree:
        propagation = calls.SLAVE if access.follows else calls.PRIVATE
        calls.set_attributes(tree, source, calls.NOSUID | calls.NODEV, propagation)
        if access.readonly:
            calls.set_attributes(tree, source, calls.READONLY, recursive=access.recursive)
        if access.owners is not None:
            calls.set_attributes(tree, source, calls.IDMAP, owners=access.owners)
        with _namespace_of_server(share) as namespace:
            if share is None or namespace is None:
                calls.attach(tree, source, target)
            else:
                _within(namespace, lambda: calls.attach(tree, source, Path("/") / target.relative_to(share)))


def unmount_below(directory: Path) -> None:
    """Detach every mount at and below `directory`, the latest first. Does nothing where there are none.

    Raises:
        FailedPrecondition: a mount stays; nothing below `directory` may be removed then.
    """
    for target in reversed(mounts_below(directory)):
        calls.detach(target)


@contextlib.contextmanager
def _namespace_of_server(share: Path | None) -> Iterator[int | None]:
    """The mount namespace of the process whose root directory the share is; None where that is ours, or none is."""
    if share is None:
        yield None
        return
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if not os.path.samestat((process / "root").stat(), share.stat()):
                continue
            namespace = os.open(process / "ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # it has ended, or is somebody's whom we may not look at
            continue
        try:
            ours = os.path.samestat(os.fstat(namespace), Path("/proc/self/ns/mnt").stat())
            yield None if ours else namespace
        finally:
            os.close(namespace)
        return
    yield None


def _within(namespace: int, work: Callable[[], None]) -> None:
    """Do `work` in a mount namespace, in a thread of its own, which ends with it: its root is the namespace's then."""
    failures: list[BaseException] = []

    def enter_and_work() -> None:
        try:
            calls.enter(namespace)
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=enter_and_work, name="mounting")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]

"""Bind mounts: volumes below what virtiofsd serves, and their teardown, which follows no link.

A volume of a container is a bind mount below the directory that virtiofsd serves, in that one's mount namespace, as a
container's mounts are in the container's. So the host does not see it, may remove what is mounted (rmdir(2) gives EBUSY
for a mount point of one's own namespace alone), and the mounts end with the machine. A virtiofsd without a namespace of
its own has the host's mounts: the directory is a shared mount, so that volumes appear in the guest all the same.

The directory itself is read-only to the guest, by a mount: the guest's root acts as root on what is served, and could
else put there what it likes, in place of what the host has made.
"""

import contextlib
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.errors import FailedPrecondition, InvalidArgument
from vmsandbox.process import name_of
from vmsandbox.sandbox import mount_calls as calls
from vmsandbox.sandbox.mountinfo import has_mounts_below, mounts_below

_SERVER = "virtiofsd"
"""What a virtiofsd calls itself."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a volume is seen by the guest."""

    readonly: bool = False
    recursive: bool = False
    """Read-only is also what is mounted below it."""
    follows: bool = False
    """What is mounted below it on the host later appears (and disappears) in it; nothing ever goes the other way."""
    owners: int | None = None
    """A user namespace, as a file descriptor, by which the owners of its files are mapped (see `owners`)."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A copy of the mounts at and below a directory or a file, attached nowhere. Its owner closes it."""

    fd: int
    source: Path
    is_directory: bool
    has_mounts_below: bool
    """Whether more than one file system is in it."""

    def close(self) -> None:
        """Let go of it; what was attached stays."""
        os.close(self.fd)


def copy(source: Path) -> Tree:
    """A copy of the mounts at and below `source`; this looks at the source, whose file system may hang.

    Raises:
        InvalidArgument: the source does not exist.
        FailedPrecondition: its file system, or the kernel, refuses.
    """
    try:
        source.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidArgument(f"the volume's path {source} does not exist on the host") from None
    except OSError as error:
        raise FailedPrecondition(f"the volume's path {source} cannot be looked at: {error.strerror}") from None
    has_mounts = has_mounts_below(source)
    fd = calls.copy_of(source)
    return Tree(fd, source, stat.S_ISDIR(os.fstat(fd).st_mode), has_mounts)


def bind(tree: Tree, target: Path, access: Access = Access()) -> None:
    """Mount `tree` at `target`, which is made; the caller owns the mount.

    It appears at its place as it is going to be: nobody sees it writable, or as a peer of its source, before. Through
    this mount set-user-id bits and device nodes have no meaning (nosuid, nodev), and read-only is the host's to
    enforce. The guest's root acts as root on it, though: the files that it makes are the source's as well, where the
    host's own mount decides what their modes mean (docs/security.md).

    Raises:
        FailedPrecondition: the kernel refuses the mount.
    """
    _restrict(tree, access)
    _make_place(target, tree)
    calls.attach(tree.fd, tree.source, target)


def bind_served(tree: Tree, share: Path, served: Path, place: Path, access: Access = Access()) -> None:
    """As `bind`, at `place` below `served`, where the virtiofsd that serves that directory sees it.

    The place is made below `share`, of which `served` is the read-only mount.

    Raises:
        FailedPrecondition: as `bind`; or an older version of this program has started the machine.
    """
    if not served.is_dir():
        raise FailedPrecondition(
            f"the machine of {share} takes no more volumes: an older version of vmsandbox has started it",
            hint="make the pod anew: the guests of that version can change where volumes go",
        )
    _restrict(tree, access)
    _make_place(share / place, tree)
    with _namespace_of_server(served) as namespace:
        if namespace is None:
            calls.attach(tree.fd, tree.source, served / place)
        else:
            _within(namespace, lambda: calls.attach(tree.fd, tree.source, Path("/") / place))


def serve(share: Path, served: Path) -> None:
    """Mount `share` at `served` read-only, for virtiofsd; mounts made below `served` propagate to it."""
    with contextlib.closing(copy(share)) as tree:
        _restrict(tree, Access(readonly=True))
        calls.attach(tree.fd, share, served)
    calls.mount("none", served, calls.SHARED)


def _restrict(tree: Tree, access: Access) -> None:
    propagation = calls.SLAVE if access.follows else calls.PRIVATE
    calls.set_attributes(tree.fd, tree.source, calls.NOSUID | calls.NODEV, propagation)
    if access.readonly:
        calls.set_attributes(tree.fd, tree.source, calls.READONLY, recursive=access.recursive)
    if access.owners is not None:
        calls.set_attributes(tree.fd, tree.source, calls.IDMAP, owners=access.owners)


def _make_place(target: Path, tree: Tree) -> None:
    if tree.is_directory:
        target.mkdir(parents=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()


def unmount_below(directory: Path) -> None:
    """Detach every mount at and below `directory`, the latest first. Does nothing where there are none.

    Raises:
        FailedPrecondition: a mount stays; nothing below `directory` may be removed then.
    """
    for target in reversed(mounts_below(directory)):
        calls.detach(target)


@contextlib.contextmanager
def _namespace_of_server(served: Path) -> Iterator[int | None]:
    """The mount namespace of the virtiofsd whose root directory is served; None where it is ours, or there is none."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if not _serves(process, served):
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


def _serves(process: Path, served: Path) -> bool:
    """Whether a process is root's virtiofsd with that root directory.

    No other's root directory is looked at: its file system may hang. Only root can have this one, and maybe a QEMU that
    its guest has taken over: hence the user.
    """
    if name_of(int(process.name)) != _SERVER:
        return False
    is_roots = re.search(rb"^Uid:\t0\t", (process / "status").read_bytes(), re.MULTILINE)
    return is_roots is not None and os.path.samestat((process / "root").stat(), served.stat())


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

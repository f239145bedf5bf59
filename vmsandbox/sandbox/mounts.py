"""Bind mounts, made with the kernel's own calls; teardown follows no link.

A volume of a container is a bind mount below the sandbox's share, in the mount namespace of the virtiofsd that serves
it, as a container's mounts are in the container's. So the host does not see it, may remove what is mounted (rmdir(2)
gives EBUSY for a mount point of one's own namespace alone), and the mounts end with the machine. A virtiofsd without a
namespace of its own has the host's mounts: the share is a shared mount, so that they appear in the guest all the same.
"""

import contextlib
import ctypes
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.errors import FailedPrecondition, InvalidArgument

_MS_BIND, _MS_PRIVATE, _MS_SLAVE, _MS_SHARED = 4096, 1 << 18, 1 << 19, 1 << 20
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8

_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV, _MOUNT_ATTR_IDMAP = 1, 2, 4, 0x00100000

_CLONE_FS, _CLONE_NEWNS = 0x200, 0x20000

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    """Of mount_setattr(2)."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd"))


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
    _mount(str(directory), directory, _MS_BIND)
    _mount("none", directory, _MS_PRIVATE)
    _mount("none", directory, _MS_SHARED)


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
    with _copy_of(source) as tree:
        propagation = _MS_SLAVE if access.follows else _MS_PRIVATE
        _set_attributes(tree, source, _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV, _AT_RECURSIVE, propagation)
        if access.readonly:
            _set_attributes(tree, source, _MOUNT_ATTR_RDONLY, _AT_RECURSIVE if access.recursive else 0)
        if access.owners is not None:
            _set_attributes(tree, source, _MOUNT_ATTR_IDMAP, _AT_RECURSIVE, owners=access.owners)
        with _namespace_of_server(share) as namespace:
            if share is None or namespace is None:
                _attach(tree, source, target)
            else:
                _within(namespace, lambda: _attach(tree, source, Path("/") / target.relative_to(share)))


def unmount_below(directory: Path) -> None:
    """Detach every mount at and below `directory`, the latest first. Does nothing where there are none.

    Raises:
        FailedPrecondition: a mount stays; nothing below `directory` may be removed then.
    """
    for target in reversed(mounts_below(directory)):
        _check(_libc.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW), f"cannot unmount {target}")


@dataclass(frozen=True, slots=True)
class MountPoint:
    """A line of proc(5) mountinfo."""

    path: Path = Path("/")
    root: str = "/"
    """What of the file system is mounted."""
    filesystem: str = ""


def mounts_below(directory: Path) -> list[Path]:
    """The mount points at and below `directory`, in the order in which they were made."""
    return [each.path for each in _mount_points() if each.path == directory or directory in each.path.parents]


def has_mounts_below(path: Path) -> bool:
    """Whether anything is mounted below `path` (not at it), where its links lead."""
    real = path.resolve()
    return any(real in each.path.parents for each in _mount_points())


def find(path: Path) -> MountPoint | None:
    """What is mounted at `path`, last; None where nothing is."""
    real = path.resolve()
    return next((each for each in reversed(_mount_points()) if each.path == real), None)


def _mount_points() -> list[MountPoint]:
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    return [_parse(*line.split(b" - ", 1)) for line in lines]


def _parse(mount: bytes, source: bytes) -> MountPoint:
    fields = mount.split()
    root, point = (os.fsdecode(_unescape(field)) for field in fields[3:5])
    return MountPoint(Path(point), root, os.fsdecode(source.split()[0]))


def _unescape(point: bytes) -> bytes:
    """Undo the kernel's octal escapes of white space and backslashes."""
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), point)


@contextlib.contextmanager
def _copy_of(source: Path) -> Iterator[int]:
    """A copy of the mounts at and below `source`, following links, attached nowhere (open_tree(2))."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE
    tree = _call(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(source), flags)
    _check(tree, f"cannot open the volume {source}")
    try:
        yield tree
    finally:
        os.close(tree)


def _attach(tree: int, source: Path, target: Path) -> None:
    moved = _call(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
    _check(moved, f"cannot mount {source} at {target}")


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
            _check(_libc.unshare(_CLONE_FS), "cannot leave the process's root directory")
            _check(_libc.setns(namespace, _CLONE_NEWNS), "cannot enter virtiofsd's mount namespace")
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=enter_and_work, name="mounting")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def _set_attributes(
    tree: int, source: Path, attributes: int, flags: int, propagation: int = 0, *, owners: int = 0
) -> None:
    wanted = _MountAttr(attributes, 0, propagation, owners)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    result = _call(_SYS_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH | flags, ctypes.byref(wanted), size)
    _check(result, f"cannot restrict the volume {source}")


def _mount(source: str, target: Path, flags: int) -> None:
    result = _libc.mount(source.encode(), os.fsencode(target), None, ctypes.c_ulong(flags), None)
    _check(result, f"cannot mount {source} at {target}")


def _call(number: int, *arguments: object) -> int:
    """syscall(2), with integers passed as longs."""
    passed = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *passed)
    return result


def _check(result: int, what: str) -> None:
    if result < 0:
        raise FailedPrecondition(f"{what}: {os.strerror(ctypes.get_errno())}", hint="run as root")

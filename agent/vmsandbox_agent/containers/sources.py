"""The sources of a container's volumes, mounted by descriptors at a place that no container reaches.

Whoever writes in a volume may replace a directory by a symbolic link at any moment. So crun is given no path in a
volume, but one of a mount of what was opened there. It keeps the propagation of the volume's mount, which the
container's own mount then inherits.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from vmsandbox.protocol.codec import JSON
from vmsandbox_agent import syscalls
from vmsandbox_agent.containers.spec import path_below
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.settings import Settings

_TRIES = 5
"""A directory that comes to be known by another path cannot be opened while something else is renamed (ESTALE)."""


@contextlib.contextmanager
def staged(spec: JSON, settings: Settings, container_id: str) -> Iterator[JSON]:
    """Return the spec with other sources for what it mounts from volumes; they are there while the context lasts.

    Below the share no link is followed, as the host has found none. Below a volume in memory links are, within it.

    Raises:
        AgentError: nothing is there, or a link is in the way.
    """
    if not isinstance(spec, dict) or not isinstance(spec.get("mounts"), list):
        yield spec
        return
    places = settings.sources / container_id
    with contextlib.ExitStack() as stack:
        places.mkdir(parents=True)
        stack.callback(places.rmdir)
        mounts = [_staged(mount, settings, places / str(at), stack) for at, mount in enumerate(spec["mounts"])]
        yield {**spec, "mounts": mounts}


def _staged(mount: JSON, settings: Settings, place: Path, stack: contextlib.ExitStack) -> JSON:
    if not isinstance(mount, dict) or mount.get("type") != "bind":
        return mount
    source = str(mount.get("source", ""))
    for root in (settings.share, settings.tmpfs):
        if found := path_below(root, source):
            name, *path = found
            opened = _opened(root, "/".join((name, *path))) if root == settings.share else _inside(root / name, path)
            with opened as fd:
                stack.enter_context(_bound(fd, place))
            return {**mount, "source": str(place)}
    return mount


def volume_opened(share: Path, path: str) -> contextlib.AbstractContextManager[int]:
    """Return a context with a descriptor of a volume below the share, by its path in the guest; no link is followed.

    Raises:
        AgentError: the path is not below the share, nothing is there, or a link is in the way.
    """
    if share not in Path(path).parents:
        raise AgentError("invalid_argument", f"{path} is not below the share")
    return _opened(share, str(Path(path).relative_to(share)))


@contextlib.contextmanager
def _opened(share: Path, path: str) -> Iterator[int]:
    with _found(path), syscalls.opened(share) as directory:
        fd = _patiently(directory, path)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _inside(volume: Path, path: list[str]) -> Iterator[int]:
    with _found(volume.name), syscalls.opened(volume) as directory:
        fd = syscalls.open_in_root(directory, "/".join(path) or ".", os.O_PATH)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _found(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AgentError("invalid_argument", f"the volume {name} cannot be opened: {error.strerror}") from None


def _patiently(directory: int, path: str) -> int:
    for left in reversed(range(_TRIES)):
        try:
            return syscalls.open_without_links(directory, path, os.O_PATH)
        except OSError as error:
            if error.errno != errno.ESTALE or not left:
                raise
    raise AssertionError


@contextlib.contextmanager
def _bound(fd: int, place: Path) -> Iterator[None]:
    """Mount what a descriptor is of at a place. What is removed is an empty directory or file, or else is kept."""
    is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
    place.mkdir() if is_directory else place.touch()
    try:
        syscalls.mount(f"/proc/self/fd/{fd}", str(place), "", syscalls.MS_BIND | syscalls.MS_REC)
        try:
            yield
        finally:
            _unmount(place)
    finally:
        place.rmdir() if is_directory else place.unlink()


def _unmount(place: Path) -> None:
    """First it leaves its peers, or what containers have mounted in the volume would be unmounted with it."""
    syscalls.mount("none", str(place), "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.unmount(str(place), syscalls.MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)
